/* From the Caddyfile's tree to struct config: addresses become ports and hosts, directives become
 * routes, and automatic HTTPS adds its redirects and the names to manage. */
#include "proxy/server/config.h"

#include "proxy/base/mem.h"
#include "proxy/handler/log_global.h"
#include "proxy/handler/bind.h"
#include "proxy/handler/mistakes.h"
#include "proxy/server/never.h"
#include "proxy/server/policies.h"
#include "proxy/server/ports.h"
#include "proxy/server/site_paths.h"

struct building {
    struct config *c;
    struct cf_diags *diags;
    struct policy_list *policies;
    struct map names; /* of TLS sites, so far */
    struct site **last_site;
    struct site_reach reach; /* of the site that is being built */
    struct map loaded; /* name -> struct cert_source, of `load`, so far */
    size_t managed_cap;
    size_t own_cap;
};

static bool is_wildcard(struct slice host)
{
    return slice_find(host, '*') != SLICE_NPOS;
}

/* ---- names ----------------------------------------------------------------------------------- */

static void add_own(struct building *b, struct slice name, struct cert_source *source)
{
    struct config *c = b->c;
    if (c->own_count == b->own_cap) {
        b->own_cap = b->own_cap * 2 + 8;
        c->own = mem_realloc_array(c->own, b->own_cap, sizeof(*c->own));
    }
    c->own[c->own_count++] = (struct certs_own){name, source};
}

struct loaded_names {
    struct building *b;
    struct cert_source *source;
};

static void add_loaded_name(void *ctx, struct slice name)
{
    struct loaded_names *l = ctx;
    struct slice key = arena_copy(&l->b->c->arena, name);
    must(key.p);
    (void)map_put(&l->b->loaded, key, l->source);
}

/* What serves whatever names it has itself. */
static void add_loaded(struct building *b, const struct tls_settings *t)
{
    for (size_t i = 0; i < t->loaded_count; i++) {
        struct loaded_names l = {b, t->loaded[i]};
        cert_source_each_name(t->loaded[i], add_loaded_name, &l);
        add_own(b, S(""), t->loaded[i]);
    }
    if (t->own) {
        add_own(b, S(""), t->own);
    }
}

/* The certificate of the user's own that serves a site's host, or NULL. */
static struct cert_source *own_for(const struct building *b, const struct tls_settings *t,
                                   struct slice host)
{
    size_t dot = slice_find(host, '.');
    struct cert_source *source = t->own ? t->own : map_get(&b->loaded, host);
    if (source || dot == SLICE_NPOS || dot == 0 || host.n - dot > 255) {
        return source;
    }
    char wild[257] = "*";
    memcpy(wild + 1, host.p + dot, host.n - dot);
    return map_get(&b->loaded, slice_of(wild, host.n - dot + 1));
}

static void manage(struct building *b, const struct site *site, struct slice host,
                   const struct cf_token *at)
{
    struct config *c = b->c;
    struct cert_source *own = own_for(b, &site->settings.tls, host);
    if (own) {
        add_own(b, host, own);
        return;
    }
    if (site->settings.tls.on_demand) {
        return; /* when a handshake asks for it */
    }
    if (c->options->auto_https == AUTO_HTTPS_OFF && !site->settings.tls.internal) {
        struct cf_diag *d = cf_warning(b->diags, at,
                                       "auto_https is off, so nobody gets a certificate"
                                       " for \"%.*s\": HTTPS for it fails",
                                       SLICE_ARG(host));
        if (d) {
            d->hint = arena_printf(&b->diags->arena, "for plain HTTP write http://%.*s; for HTTPS"
                                   " give it one with tls CERT KEY", SLICE_ARG(host));
        }
        return;
    }
    if (c->managed_count == b->managed_cap) {
        b->managed_cap = b->managed_cap * 2 + 8;
        c->managed = mem_realloc_array(c->managed, b->managed_cap, sizeof(*c->managed));
    }
    c->managed[c->managed_count++] = config_managed_name(c, site, host, at);
}

/* ---- site addresses -------------------------------------------------------------------------- */

struct placed { /* a site address, decided */
    struct slice host;
    struct slice path; /* empty: all of the host */
    uint16_t port;
    bool tls;
};

static void bad_scheme(struct building *b, const struct cf_token *t, struct slice scheme)
{
    struct cf_diag *d = cf_error(b->diags, t, "a site's scheme is http or https, not %.*s",
                                 SLICE_ARG(scheme));
    if (d && slice_starts(scheme, S("ws"))) {
        d->hint = S("WebSockets need nothing special: leave the scheme out");
    }
}

static bool place_port(struct building *b, const struct cf_token *t, const struct cf_address *a,
                       struct placed *out)
{
    const struct options *o = b->c->options;
    uint64_t port = slice_eq(a->scheme, S("http")) ? o->http_port : o->https_port;
    if (a->port.n && (!slice_u64(a->port, 65535, &port) || port == 0)) {
        cf_error(b->diags, t, "\"%.*s\" is no port from 1 to 65535", SLICE_ARG(a->port));
        return false;
    }
    out->port = (uint16_t)port;
    bool http = slice_eq(a->scheme, S("http"));
    bool https = slice_eq(a->scheme, S("https"));
    if ((http && port == o->https_port) || (https && port == o->http_port)) {
        struct cf_diag *d = cf_error(b->diags, t, "the scheme and the port of \"%.*s\" contradict"
                                     " each other", SLICE_ARG(t->text));
        if (d) {
            d->hint = arena_printf(&b->diags->arena, "write %s://%.*s for %s, or %s://%.*s for %s",
                                   http ? "https" : "http", SLICE_ARG(a->host),
                                   http ? "HTTPS" : "HTTP", http ? "http" : "https",
                                   SLICE_ARG(a->host), http ? "HTTP" : "HTTPS");
        }
        return false;
    }
    bool by_default = port == o->https_port || (a->host.n && port != o->http_port);
    out->tls = https || (!http && by_default);
    return true;
}

static bool read_address(struct building *b, const struct cf_token *t, struct cf_address *a)
{
    struct slice why = S("");
    if (!cf_parse_address(&b->c->arena, t->text, a, &why)) {
        struct cf_diag *d = cf_error(b->diags, t, "\"%.*s\" is no site address: %.*s",
                                     SLICE_ARG(t->text), SLICE_ARG(why));
        if (d && t->quote == CF_BARE && t->text.n > 1 &&
            (t->text.p[0] == '{' || t->text.p[0] == '<')) {
            d->hint = arena_printf(&b->diags->arena, "a space is missing behind \"%c\"",
                                   t->text.p[0]);
        } else if (d) {
            d->hint = mistake_address(b->diags, t->text);
        }
        return false;
    }
    if (a->host.n > 1 && a->host.p[a->host.n - 1] == '.') {
        a->host.n--; /* requests are compared without it, too */
    }
    return true;
}

static bool place(struct building *b, const struct cf_token *t, const struct site_settings *s,
                  struct placed *out)
{
    struct cf_address a;
    if (!read_address(b, t, &a)) {
        return false;
    }
    if (a.scheme.n && !slice_eq(a.scheme, S("http")) && !slice_eq(a.scheme, S("https"))) {
        bad_scheme(b, t, a.scheme);
        return false;
    }
    out->path = slice_eq(a.path, S("/")) ? S("") : a.path;
    size_t star = slice_rfind(a.host, '*');
    if (star != SLICE_NPOS && star > 0) {
        cf_error(b->diags, t, "\"*\" stands for the first label only, as in *.example.com");
        return false;
    }
    out->host = a.host;
    if (!place_port(b, t, &a, out)) {
        return false;
    }
    if (s->tls.token && !out->tls && out->port != b->c->options->http_port &&
        !slice_eq(a.scheme, S("http"))) {
        out->tls = true; /* ":8443 { tls ... }" */
    }
    return true;
}

static void ambiguous(struct building *b, const struct cf_token *t, const struct site *other)
{
    struct cf_diag *d = cf_error(
        b->diags, t, "\"%.*s\" stands for the same as an earlier address (of the site \"%.*s\")",
        SLICE_ARG(t->text), SLICE_ARG(other->name->text));
    if (d) {
        d->hint = arena_printf(&b->diags->arena, "a site has one block: put both into that of line"
                               " %u", other->name->at.line);
    }
}

/* One of the names that the site may get certificates for: what would be wrong with its first
 * handshake is wrong now. */
static void sample_demand(struct building *b, const struct site *site, const struct cf_token *t,
                          struct slice host)
{
    struct config *c = b->c;
    struct slice parent = is_wildcard(host) ? slice_from(host, 1) : host;
    struct slice name = !parent.n         ? S("any.example")
                        : is_wildcard(host) ? arena_printf(&c->arena, "any%.*s", SLICE_ARG(parent))
                                            : host;
    c->demanded = mem_realloc_array(c->demanded, c->demanded_count + 1, sizeof(*c->demanded));
    c->demanded[c->demanded_count++] = config_managed_name(c, site, name, t);
}

/* Without somebody to ask, anyone could have certificates ordered for any name. */
static void check_demand(struct building *b, const struct site *site, const struct cf_token *t,
                         struct slice host)
{
    const struct options *o = b->c->options;
    b->c->on_demand = true;
    sample_demand(b, site, t, host);
    if ((host.n && !is_wildcard(host)) || o->demand_ask.n || o->demand_allow_count) {
        return;
    }
    struct cf_diag *d = cf_error(b->diags, t, "certificates on demand for \"%.*s\" need somebody"
                                 " who permits them", SLICE_ARG(t->text));
    if (d) {
        d->hint = S("a global option: on_demand_tls { ask http://localhost:9000/check }, or"
                    " on_demand_tls { allow example.com *.example.net }");
    }
}

/* False: after an error. */
static bool add_to_table(struct building *b, struct site *site, const struct placed *p,
                         const struct bind_address *bind, const struct cf_token *t)
{
    struct port_table *table = ports_get(b->c, b->diags, bind, p->port, p->tls, t);
    if (!table) {
        return false;
    }
    struct map *hosts = is_wildcard(p->host) ? &table->wildcard : &table->exact;
    struct site *there = p->host.n ? map_get(hosts, p->host) : table->any;
    struct site *other = !p->path.n && there && !there->forks ? there : NULL;
    struct site *now = other ? NULL
                             : site_paths_add(&b->c->arena, there, site, p->path, t, b->diags,
                                              &other);
    if (other) {
        ambiguous(b, t, other);
    } else if (now && p->host.n) {
        (void)map_put(hosts, p->host, now);
    } else if (now) {
        table->any = now;
    }
    return now != NULL;
}

/* A name has one certificate; who comes first says how it is obtained. */
static void one_certificate(struct building *b, const struct site *first,
                            const struct cf_token *tls, struct slice host)
{
    struct cf_diag *d = cf_warning(b->diags, tls, "the certificate of \"%.*s\" is not affected by"
                                   " this: another site of that name comes first",
                                   SLICE_ARG(host));
    if (d) {
        d->hint = arena_printf(&b->diags->arena, "put it into the site of line %u, too",
                               first->name->at.line);
    }
}

static void add_address(struct building *b, struct site *site, const struct cf_token *t)
{
    struct placed p;
    const struct site_settings *s = &site->settings;
    if (!place(b, t, s, &p)) {
        b->reach.any_host = b->reach.http = b->reach.https = true; /* whatever it was meant to be */
        return;
    }
    b->reach.http |= !p.tls;
    b->reach.https |= p.tls;
    b->reach.any_host |= p.host.n == 0;
    b->reach.hosts[b->reach.host_count++] = p.host;
    bool ok = s->bind || add_to_table(b, site, &p, NULL, t);
    for (size_t i = 0; s->bind && i < s->bind->count && ok; i++) {
        ok = add_to_table(b, site, &p, &s->bind->items[i], t);
    }
    const struct tls_settings *tls = &s->tls;
    if (!ok) {
        return;
    }
    if (p.tls && tls->on_demand) {
        check_demand(b, site, t, p.host);
    }
    if (p.tls && p.host.n) {
        struct site *first = map_get(&b->names, p.host); /* on another port, or for other paths */
        if (!first) {
            (void)map_put(&b->names, p.host, site);
            manage(b, site, p.host, t);
        } else if (first != site && tls->token && !first->settings.tls.token) {
            one_certificate(b, first, tls->token, p.host);
        }
    } else if (p.tls && !tls->own && !tls->loaded_count && !tls->on_demand) {
        cf_warning(b->diags, t, "\"%.*s\" names no host, so no certificate can be obtained for it;"
                   " it answers only for names that other sites have", SLICE_ARG(t->text));
    }
}

/* ---- automatic redirects --------------------------------------------------------------------- */

static void redirect_hosts(struct config *c, struct port_table *plain, const struct map *hosts,
                           uint16_t port)
{
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(hosts, &cursor));) {
        struct redirect_port *have = map_get(&plain->redirect_ports, e->key);
        if (have && have->port == c->options->https_port) {
            continue; /* several HTTPS ports for one host: the usual one wins */
        }
        struct redirect_port *r = ARENA_NEW(&c->arena, struct redirect_port);
        must(r);
        r->port = port;
        map_put(&plain->redirect_ports, e->key, r);
    }
}

static bool needs_challenges(const struct config *c, config_name_is_local *is_local)
{
    if (c->on_demand) {
        return true;
    }
    for (size_t i = 0; i < c->managed_count; i++) {
        const struct managed_name *m = &c->managed[i];
        bool said = m->issuance && m->issuance->issuer_count;
        if (!m->internal && (said || !is_local(m->name))) {
            return true;
        }
    }
    return false;
}

/* alt_http_port, alt_tlsalpn_port: further ports, for nothing but challenges. */
static void add_challenge_port(struct building *b, const struct challenge_settings *s)
{
    struct port_table *t =
        s->alt_http_port ? ports_get(b->c, b->diags, NULL, s->alt_http_port, false, NULL) : NULL;
    if (t) {
        t->challenges = true;
    }
    if (s->alt_tls_alpn_port) {
        (void)ports_get(b->c, b->diags, NULL, s->alt_tls_alpn_port, true, NULL);
    }
}

static void add_challenge_ports(struct building *b)
{
    const struct config *c = b->c;
    for (size_t i = 0; i < c->managed_count + c->demanded_count; i++) {
        const struct managed_name *m =
            i < c->managed_count ? &c->managed[i] : &c->demanded[i - c->managed_count];
        const struct issuance *all[] = {m->issuance, &c->options->issuance};
        add_challenge_port(b, m->challenges);
        for (size_t k = 0; k < ARRAY_LEN(all); k++) {
            for (size_t n = 0; all[k] && n < all[k]->issuer_count; n++) {
                add_challenge_port(b, &all[k]->issuers[n]->challenges);
            }
        }
    }
}

/* The HTTP port is there for redirects and for the CA's challenges, if there is either: at each
 * address that something is served over HTTPS at. */
static void add_redirects(struct building *b, config_name_is_local *is_local)
{
    struct config *c = b->c;
    bool redirects = c->options->auto_https == AUTO_HTTPS_ON;
    if (!redirects && !needs_challenges(c, is_local)) {
        return;
    }
    struct port_table *first = c->ports; /* those that are added come in front of it */
    for (const struct port_table *t = first; t; t = t->next) {
        bool used = t->exact.count || t->wildcard.count || t->any; /* not for challenges only */
        bool at_path = t->bind && t->bind->text.p[0] == '/'; /* a socket has one port */
        struct port_table *plain =
            t->tls ? ports_find(c, t->bind, c->options->http_port) : NULL;
        if (!t->tls || !used || at_path || (plain && plain->tls)) {
            continue;
        }
        plain = plain ? plain
                      : ports_get(c, b->diags, t->bind, c->options->http_port, false, NULL);
        if (!plain) {
            continue;
        }
        plain->redirects = redirects;
        if (redirects) {
            redirect_hosts(c, plain, &t->exact, t->port);
            redirect_hosts(c, plain, &t->wildcard, t->port);
        }
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* "reverse_proxy localhost:8000" where an address belongs: the brace in front of it is missing. */
static bool directive_among_addresses(struct building *b, const struct cf_site *source, size_t i)
{
    const struct cf_token *t = &source->addresses[i];
    if (t->quote != CF_BARE || !directive_is_known(t->text)) {
        return false;
    }
    struct cf_diag *d = cf_error(b->diags, t, "\"%.*s\" stands where a site address should be, but"
                                 " is a directive", SLICE_ARG(t->text));
    if (d) {
        d->hint = i == 0 ? S("put it into a site: example.com { reverse_proxy localhost:8000 }")
                         : S("put a \"{\" in front of it and a \"}\" at its end");
    }
    return true;
}

static void empty_site(struct building *b, const struct cf_token *name)
{
    struct cf_diag *d = cf_warning(b->diags, name, "the site \"%.*s\" has no directives: it answers"
                                   " every request with an empty page", SLICE_ARG(name->text));
    if (d && slice_starts(name->text, S("localhost:"))) {
        d->hint = arena_printf(&b->diags->arena, "if an app listens there: example.com {"
                               " reverse_proxy %.*s }", SLICE_ARG(name->text));
    } else if (d) {
        d->hint = S("reverse_proxy localhost:8000 in it would pass them on to an app");
    }
}

/* "email me@example.com" above the sites. */
static bool option_among_addresses(struct building *b, const struct cf_site *source)
{
    const struct cf_token *t = &source->addresses[0];
    if (t->quote != CF_BARE || !source->unbraced || !options_have(t->text)) {
        return false;
    }
    struct cf_diag *d = cf_error(b->diags, t, "\"%.*s\" stands where a site address should be, but"
                                 " is a global option", SLICE_ARG(t->text));
    if (d) {
        d->hint = arena_printf(&b->diags->arena, "global options stand in a block of their own at"
                               " the top: { %.*s ... }", SLICE_ARG(t->text));
    }
    return true;
}

/* As in Caddy: settings of the DNS challenge without one are a mistake. */
static void check_dns_lines(struct building *b, const struct tls_settings *t)
{
    const struct challenge_settings *s = &t->challenges;
    bool provider = s->dns || b->c->options->acme_dns;
    for (size_t i = 0; t->issuance && i < t->issuance->issuer_count; i++) {
        provider = provider || t->issuance->issuers[i]->challenges.dns;
    }
    struct cf_diag *d = !s->about_dns || provider
                            ? NULL
                            : cf_error(b->diags, &s->about_dns->name, "\"%.*s\" is about the DNS"
                                       " challenge, which has no provider here",
                                       SLICE_ARG(s->about_dns->name.text));
    if (d) {
        d->hint = S("write dns PROVIDER beside it, or the global option acme_dns PROVIDER");
    }
}

static void build_site(struct building *b, const struct cf_site *source, struct build *build)
{
    struct site *site = ARENA_NEW(&b->c->arena, struct site);
    must(site);
    site->name = &source->addresses[0];
    site->source = source;
    *b->last_site = site;
    b->last_site = &site->next;
    build->site = &site->settings;
    if (option_among_addresses(b, source)) {
        return;
    }
    if (!route_build(build, source->directives, &site->route)) {
        /* Its errors are in diags; go on, so that the rest is checked too. */
    } else {
        policy_list_apply(b->policies, b->c, site, b->diags);
    }
    add_loaded(b, &site->settings.tls);
    check_dns_lines(b, &site->settings.tls);
    mistakes_of_site(b->diags, source);
    b->reach = (struct site_reach){
        .hosts = ARENA_ARRAY(&b->c->arena, struct slice, source->address_count)};
    must(b->reach.hosts);
    for (size_t i = 0; i < source->address_count; i++) {
        if (directive_among_addresses(b, source, i)) {
            return;
        }
        add_address(b, site, &source->addresses[i]);
    }
    never_matches_warn(b->diags, source, &b->reach);
    mistakes_of_files(b->diags, source);
    if (!source->directives && !source->torn) {
        empty_site(b, site->name);
    }
}

struct config *config_build(struct cf_document *document, config_name_is_local *is_local,
                            struct cf_diags *diags)
{
    struct config *c = mem_zalloc(sizeof(*c));
    atomic_init(&c->refs, 1);
    arena_init(&c->arena, ARENA_NO_MAX);
    c->document = document;
    c->bindings = mem_zalloc(BINDINGS_MAX * sizeof(*c->bindings));
    c->options = options_read(&c->arena, document->options, diags);
    struct building b = {.c = c,
                         .diags = diags,
                         .policies = policy_list_new(&c->arena),
                         .last_site = &c->sites};
    map_init(&b.names);
    map_init(&b.loaded);
    struct build build = {.arena = &c->arena, .diags = diags, .order = c->options->order};
    log_read_globals(&build, c->options->logs, c->options->log_count,
                     c->options->debug ? LOG_DEBUG : LOG_INFO);
    for (const struct cf_site *s = document->sites; s; s = s->next) {
        directives_declare(diags, s->directives);
    }
    for (const struct cf_named_route *n = document->named_routes; n; n = n->next) {
        directives_declare(diags, n->directives);
    }
    build.named_routes = named_routes_new(&c->arena, document->named_routes);
    named_routes_build(&build);
    for (const struct cf_site *s = document->sites; s; s = s->next) {
        build_site(&b, s, &build);
    }
    named_routes_end(&build);
    log_names_resolve(&build);
    c->releases = build.releases;
    c->global_logs = build.global_logs;
    c->backgrounds = build.backgrounds;
    if (!document->sites && diags->errors == 0) {
        struct cf_diag *d = cf_warning(diags, NULL, "the Caddyfile has no site: nothing is served");
        if (d) {
            d->hint = S("one line is enough: example.com { reverse_proxy localhost:8000 }");
        }
    }
    add_redirects(&b, is_local);
    add_challenge_ports(&b);
    ports_check_servers(c, diags);
    policies_note_asking(c);
    map_fini(&b.names);
    map_fini(&b.loaded);
    if (diags->errors > 0) {
        config_unref(c);
        return NULL;
    }
    return c;
}

struct config *config_ref(struct config *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void config_unref(struct config *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    build_release_all(c->releases);
    for (struct port_table *t = c->ports; t; t = t->next) {
        map_fini(&t->exact);
        map_fini(&t->wildcard);
        map_fini(&t->redirect_ports);
    }
    free(c->own);
    free(c->trusting);
    free(c->managed);
    free(c->demanded);
    free(c->bindings);
    cf_free(c->document);
    arena_fini(&c->arena);
    free(c);
}

/* ---- description ----------------------------------------------------------------------------- */

#define DESCRIBED_MAX 10

static void describe_one(const struct port_table *t, struct slice host, unsigned *count,
                         struct dstr *out)
{
    bool v6 = slice_find(host, ':') != SLICE_NPOS;
    if ((*count)++ >= DESCRIBED_MAX) {
        return;
    }
    dstr_printf(out, v6 ? "%s%s://[%.*s]" : "%s%s://%.*s", *count > 1 ? " " : "",
                t->tls ? "https" : "http", SLICE_ARG(host));
    if (t->port != (t->tls ? 443 : 80)) {
        dstr_printf(out, ":%u", t->port);
    }
}

void config_describe(const struct config *c, struct dstr *out)
{
    unsigned count = 0;
    for (const struct port_table *t = c->ports; t; t = t->next) {
        const struct map *maps[] = {&t->exact, &t->wildcard};
        for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
            size_t cursor = 0;
            for (struct map_entry *e; (e = map_next(maps[i], &cursor));) {
                describe_one(t, e->key, &count, out);
            }
        }
        if (t->any) {
            describe_one(t, S(""), &count, out);
        }
    }
    if (count > DESCRIBED_MAX) {
        dstr_printf(out, " and %u more", count - DESCRIBED_MAX);
    }
}
