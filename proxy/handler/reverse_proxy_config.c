/* Reading of reverse_proxy's block; its form is described in reverse_proxy.c. */
#include "proxy/handler/reverse_proxy_config.h"

#include "proxy/handler/directives.h"
#include "proxy/handler/mistakes.h"
#include "proxy/handler/reverse_proxy_dynamic.h"
#include "proxy/upstream/named.h"
#include "proxy/handler/reverse_proxy_transport.h"

#define DYNAMICS_MAX 256u /* dynamic with placeholders: lists of origins that are remembered */

/* One origin as written, until the transport is known. */
struct draft {
    const struct cf_token *at;
    struct slice host;
    struct slice unix_path;
    uint16_t port;
    bool tls;
    bool h2c;
    bool dynamic; /* stands for all that are looked up */
    struct named_place place;
};

struct drafts {
    struct draft items[ORIGINS_MAX];
    size_t count;
};

static bool add_draft(struct build *b, struct drafts *drafts, const struct draft *d)
{
    if (drafts->count == ORIGINS_MAX) {
        cf_error(b->diags, d->at, "more than %d origins", ORIGINS_MAX);
        return false;
    }
    drafts->items[drafts->count++] = *d;
    return true;
}

static struct slice transport_local(const struct transport *t, char buf[ADDR_TEXT_BYTES])
{
    return t->local.len ? addr_text(&t->local, buf) : S("");
}

static bool draft_wants_tls(const struct draft *d, const struct transport *t)
{
    return d->tls || (!d->unix_path.n && transport_wants_tls(t, d->port));
}

static void *any_origin_ref(void *origin)
{
    return origin_ref(origin);
}

static void any_origin_unref(void *origin)
{
    origin_unref(origin);
}

static void *any_dynamic_ref(void *dynamic)
{
    return dynamic_ref(dynamic);
}

static void any_dynamic_unref(void *dynamic)
{
    dynamic_unref(dynamic);
}

/* Where some origins are made from requests: which, and the table of them. */
static void make_places(const struct proxy_reading *r, const struct drafts *drafts,
                        const struct transport *t)
{
    struct reverse_proxy *p = r->p;
    bool any = false;
    size_t n = 0;
    struct named_place *places = ARENA_ARRAY(r->b->arena, struct named_place, drafts->count + 1);
    must(places);
    for (size_t i = 0; i < drafts->count; i++) {
        const struct draft *d = &drafts->items[i];
        if (d->dynamic && t->tls_name_template) {
            cf_error(r->b->diags, t->tls, "tls_server_name has no placeholders beside dynamic");
        } else if (!d->dynamic) {
            places[n] = d->place;
            places[n].server_name = t->tls_name_template;
            any = any || places[n].address || places[n].server_name;
            n++;
        }
    }
    if (any) {
        p->places = places;
        p->named = named_new(NAMED_MAX, any_origin_ref, any_origin_unref);
    }
}

static void make_origin(const struct proxy_reading *r, const struct draft *d,
                        const struct transport *t, struct tls_client *tls_client)
{
    struct build *b = r->b;
    struct reverse_proxy *p = r->p;
    bool tls = draft_wants_tls(d, t);
    bool fastcgi = t->fastcgi != NULL;
    bool fastcgi_stderr = fastcgi && fastcgi_logs_stderr(t->fastcgi);
    unsigned versions = d->h2c ? ORIGIN_H2C | ORIGIN_HTTP_2 : t->versions;
    bool v6 = slice_find(d->host, ':') != SLICE_NPOS;
    char local[ADDR_TEXT_BYTES];
    struct slice text = d->place.address ? d->place.at->text
                        : d->unix_path.n ? d->unix_path
                                       : arena_printf(b->arena, v6 ? "[%.*s]:%u" : "%.*s:%u",
                                                      SLICE_ARG(d->host), d->port);
    struct origin like = {
        /* Connections are shared only where everything about them is the same. */
        .key = arena_printf(b->arena, "%s://%.*s %d%d %u %d %.*s %.*s %zu %.*s %u %.*s %.*s %.*s",
                            tls ? "https" : d->unix_path.n ? "unix" : "http", SLICE_ARG(text),
                            fastcgi, fastcgi_stderr, versions, t->tls_insecure,
                            SLICE_ARG(t->tls_server_name),
                            SLICE_ARG(t->tls_ca_file), t->more_ca_count,
                            SLICE_ARG(t->tls_cert_file), (unsigned)t->connections_max,
                            SLICE_ARG(t->resolvers), SLICE_ARG(transport_local(t, local)),
                            SLICE_ARG(t->tls_groups)),
        .text = text,
        .host = d->host,
        .port = d->port,
        .unix_path = d->unix_path,
        .tls_client = tls ? tls_client : NULL,
        .versions = versions,
        .proxy_version = t->proxy_version,
        .fastcgi = fastcgi,
        .fastcgi_stderr = fastcgi_stderr,
        .resolvers = t->resolvers,
        .fallback_delay_ms = t->fallback_delay_ms,
        .local = t->local,
        .dial_timeout_ms = t->dial_timeout_ms,
        .tls_timeout_ms = t->tls_timeout_ms ? t->tls_timeout_ms : t->dial_timeout_ms,
        .keepalive_idle_ms = t->keepalive_idle_ms,
        .keepalive_max = t->keepalive_max,
        .connections_max = (unsigned)t->connections_max,
        .limits = t->limits,
        .health = {.policy = r->passive},
    };
    if (d->dynamic && p->sources.any_named) {
        p->dynamic_like = origin_new(&like);
        p->named_dynamics = named_new(DYNAMICS_MAX, any_dynamic_ref, any_dynamic_unref);
    } else if (d->dynamic) {
        p->dynamic = dynamic_new(p->sources.items, p->sources.count, &like);
    } else {
        p->origins[p->origin_count++] = origin_new(&like);
    }
}

static void make_origins(const struct proxy_reading *r, const struct drafts *drafts,
                         const struct transport *t)
{
    struct build *b = r->b;
    struct tls_client *tls_client = NULL;
    for (size_t i = 0; i < drafts->count; i++) {
        const struct draft *d = &drafts->items[i];
        if (draft_wants_tls(d, t) && !tls_client) {
            tls_client = transport_tls_client(b, t->tls ? t->tls : d->at, t);
            if (!tls_client) {
                return;
            }
        }
        if (d->h2c && t->tls) {
            cf_error(b->diags, d->at, "an origin over h2c has no TLS; write https:// for HTTP/2"
                     " over TLS");
        }
        make_origin(r, d, t, tls_client);
    }
    make_places(r, drafts, t);
    tls_client_unref(tls_client);
}

static bool parse_unix(struct build *b, struct drafts *drafts, const struct cf_token *t)
{
    bool h2c = slice_starts(t->text, S("unix+h2c/"));
    struct slice path = slice_from(t->text, strlen(h2c ? "unix+h2c/" : "unix/"));
    struct addr addr;
    if (path.n < 2 || path.p[0] != '/' || !addr_unix(path, &addr)) {
        cf_error(b->diags, t, "\"%.*s\" is no Unix socket: unix//path/to/socket",
                 SLICE_ARG(t->text));
        return false;
    }
    struct draft d = {.at = t, .host = S(""), .unix_path = path, .h2c = h2c};
    return add_draft(b, drafts, &d);
}

static bool parse_ports(struct slice text, uint64_t *first, uint64_t *last)
{
    struct slice head;
    if (!slice_cut(&text, '-', &head) || !slice_u64(head, 65535, first)) {
        return false;
    }
    *last = *first;
    return (!text.p || slice_u64(text, 65535, last)) && *first > 0 && *last >= *first;
}

/* A hint for what people write and what is not an origin's form. */
static void origin_hint(struct build *b, struct cf_diag *diag, struct slice text)
{
    struct arena *a = &b->diags->arena;
    struct slice rest = text;
    struct slice path;
    uint64_t port;
    if (!diag || !text.n) {
        return;
    }
    if (slice_u64(text, 65535, &port)) {
        diag->hint = arena_printf(a, "for this machine: localhost:%.*s", SLICE_ARG(text));
    } else if (text.p[text.n - 1] == ';') {
        diag->hint = S("a directive ends with its line; on one line put a space in front of \";\"");
    } else if (text.p[text.n - 1] == ',') {
        diag->hint = S("origins are separated by spaces");
    } else if (slice_starts(text, S("unix:"))) {
        (void)slice_cut(&rest, ':', &path);
        while (rest.n > 1 && rest.p[1] == '/') {
            rest = slice_from(rest, 1);
        }
        diag->hint = arena_printf(a, "a Unix socket is written unix/%.*s", SLICE_ARG(rest));
    } else if (slice_starts(text, S("/"))) {
        diag->hint = arena_printf(a, "a Unix socket is written unix/%.*s", SLICE_ARG(text));
    }
}

/* The scheme is none of http, https and h2c. */
static void origin_scheme(struct build *b, const struct cf_token *t, struct slice scheme)
{
    struct cf_diag *diag = cf_error(b->diags, t,
                                    "an origin's scheme is http, https or h2c, not %.*s",
                                    SLICE_ARG(scheme));
    if (diag && slice_starts(scheme, S("ws"))) {
        diag->hint = S("WebSockets need nothing special: write http:// (or https:// for wss://)");
    } else {
        origin_hint(b, diag, t->text);
    }
}

static bool parse_named(struct build *b, struct drafts *drafts, const struct cf_token *t)
{
    struct draft d = {.at = t, .host = S("placeholder")};
    if (!named_place_read(b, t, &d.place)) {
        return false;
    }
    d.port = d.place.port;
    return add_draft(b, drafts, &d);
}

static bool parse_origin(struct build *b, struct drafts *drafts, const struct cf_token *t)
{
    if (slice_find(t->text, '{') != SLICE_NPOS) {
        return parse_named(b, drafts, t);
    }
    if (slice_starts(t->text, S("unix/")) || slice_starts(t->text, S("unix+h2c/"))) {
        return parse_unix(b, drafts, t);
    }
    struct slice rest = t->text;
    struct cf_address a;
    struct slice why = S("");
    if (slice_starts(rest, S(":")) && slice_rfind(rest, ':') == 0) { /* ":8000" is this machine */
        rest = arena_printf(b->arena, "localhost%.*s", SLICE_ARG(rest));
    }
    if (!cf_parse_address(b->arena, rest, &a, &why)) {
        origin_hint(b, cf_error(b->diags, t, "\"%.*s\" is no origin: %.*s", SLICE_ARG(t->text),
                                SLICE_ARG(why)), t->text);
        return false;
    }
    bool tls = slice_eq(a.scheme, S("https"));
    bool h2c = slice_eq(a.scheme, S("h2c"));
    if (!tls && !h2c && a.scheme.n && !slice_eq(a.scheme, S("http"))) {
        origin_scheme(b, t, a.scheme);
        return false;
    }
    if (a.path.n) {
        struct cf_diag *diag = cf_error(b->diags, t,
                                        "an origin has no path; forwarded requests keep"
                                        " their own");
        if (diag) {
            diag->hint = arena_printf(&b->diags->arena, "write %.*s",
                                      SLICE_ARG(slice_upto(t->text, t->text.n - a.path.n)));
        }
        return false;
    }
    if (!a.host.n) {
        origin_hint(b, cf_error(b->diags, t, "\"%.*s\" names no host", SLICE_ARG(t->text)),
                    t->text);
        return false;
    }
    uint64_t first = tls ? 443 : 80;
    uint64_t last = first;
    if (slice_find(a.host, ':') != SLICE_NPOS && slice_find(t->text, '[') == SLICE_NPOS) {
        struct cf_diag *diag = cf_error(b->diags, t, "an IPv6 address is written in brackets here");
        if (diag) {
            diag->hint = arena_printf(&b->diags->arena, "[%.*s]:8000", SLICE_ARG(a.host));
        }
        return false;
    }
    if (a.port.n && !parse_ports(a.port, &first, &last)) {
        cf_error(b->diags, t, "\"%.*s\" is no port or range of ports from 1 to 65535",
                 SLICE_ARG(a.port));
        return false;
    }
    for (uint64_t port = first; port <= last; port++) {
        struct draft d = {.at = t, .host = a.host, .port = (uint16_t)port, .tls = tls,
                          .h2c = h2c};
        if (!add_draft(b, drafts, &d)) {
            return false;
        }
    }
    return true;
}

/* ---- the directive --------------------------------------------------------------------------- */

#define OPTION_NAMES_MAX 64

static void unknown_option(struct build *b, const struct cf_directive *d)
{
    struct slice names[OPTION_NAMES_MAX] = {S("to"), S("transport")};
    size_t count = 2 + reverse_proxy_option_names(names + 2, OPTION_NAMES_MAX - 2);
    struct cf_diag *diag = cf_error(b->diags, &d->name, "\"reverse_proxy\" has no option \"%.*s\"",
                                    SLICE_ARG(d->name.text));
    if (!diag) {
        return;
    }
    diag->hint = mistake_proxy_option(d->name.text);
    if (!diag->hint.n) {
        cf_did_you_mean(b->diags, diag, d->name.text, names, count);
    }
}

static void parse_option(struct proxy_reading *r, struct drafts *drafts, struct transport *t,
                         const struct cf_directive *d)
{
    if (slice_eq(d->name.text, S("to"))) {
        if (expect_args(r->b, d, d->arg_count, 1, ORIGINS_MAX)) {
            for (size_t i = 0; i < d->arg_count; i++) {
                (void)parse_origin(r->b, drafts, &d->args[i]);
            }
        }
    } else if (slice_eq(d->name.text, S("dynamic"))) {
        struct draft looked_up = {.at = &d->name, .host = S("dynamic"), .dynamic = true};
        if (dynamic_read(r->b, d, &r->p->sources)) {
            (void)add_draft(r->b, drafts, &looked_up);
        }
    } else if (slice_eq(d->name.text, S("transport"))) {
        transport_read(r->b, t, d);
    } else if (!reverse_proxy_read_option(r, d)) {
        unknown_option(r->b, d);
    }
}

/* FastCGI has no TLS, no HTTP/2, and no path that a check of health could ask for. */
static void check_fastcgi(const struct proxy_reading *r, const struct drafts *drafts,
                          const struct transport *t, const struct cf_token *at)
{
    r->p->fastcgi = t->fastcgi;
    if (!t->fastcgi) {
        return;
    }
    for (size_t i = 0; i < drafts->count; i++) {
        if (drafts->items[i].tls || drafts->items[i].h2c) {
            cf_error(r->b->diags, drafts->items[i].at, "a FastCGI origin has no scheme; write"
                     " host:port or unix//path");
        }
    }
    if (r->active || r->active_at) {
        cf_error(r->b->diags, r->active_at ? r->active_at : at,
                 "active health checks ask over HTTP; a FastCGI origin"
                 " can have passive ones (fail_duration)");
    }
}

bool reverse_proxy_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                         size_t count, struct handler *out)
{
    unsigned errors = b->diags->errors;
    struct drafts drafts = {.count = 0};
    struct transport t;
    transport_init(&t);
    struct reverse_proxy *p = ARENA_NEW(b->arena, struct reverse_proxy);
    must(p);
    struct proxy_reading r;
    reverse_proxy_reading_init(&r, b, p);
    out->ops = &reverse_proxy_ops;
    out->instance = p;
    for (size_t i = 0; i < count; i++) {
        (void)parse_origin(b, &drafts, &args[i]);
    }
    reverse_proxy_define_matchers(&r, d->children);
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        parse_option(&r, &drafts, &t, o);
    }
    if (drafts.count == 0 && b->diags->errors == errors) {
        cf_error(b->diags, &d->name,
                 "\"reverse_proxy\" needs an origin: reverse_proxy localhost:8000");
    }
    check_fastcgi(&r, &drafts, &t, &d->name);
    make_origins(&r, &drafts, &t);
    reverse_proxy_reading_end(&r, d);
    for (const struct response_rule *rule = p->response_rules; rule; rule = rule->next) {
        out->may_pass = out->may_pass || !rule->status; /* handle_response */
    }
    if (b->diags->errors != errors) {
        reverse_proxy_ops.release(p);
        return false;
    }
    if (t.fastcgi) {
        fastcgi_resolve_before(b, t.fastcgi, out);
    }
    return true;
}
