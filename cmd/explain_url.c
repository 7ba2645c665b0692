/* One made-up request, from its URL through port, host and route; see explain.h. It follows
 * dispatch.c's order: challenge, redirect, site. */
#include <stdio.h>

#include "cmd/explain.h"
#include "proxy/handler/chain.h"
#include "proxy/loop/jobs.h"
#include "proxy/net/stream.h"
#include "proxy/server/site_paths.h"
#include "store/challenge.h"

struct explaining {
    struct chain_trace trace;
    struct loop *loop;
    struct jobs *jobs;
    const struct config *config;
    const struct explain_request *request;
    const struct port_table *table;
    const struct site *site;
    struct exchange *ex;
    struct addr peer;
    struct addr local;
    struct stream_tls tls;
    struct slice target; /* what the last line left the request at */
    uint16_t port;
    bool bad; /* the request could not be made; err says why */
    struct err *err;
};

static struct explaining *current; /* the service's calls have no other way to it */

/* ---- what the chain tells ---------------------------------------------------------------- */

static void print_handler(const struct handler *h, unsigned depth, const char *verdict)
{
    struct dstr line;
    dstr_init(&line, 1 << 16);
    dstr_printf(&line, "%*s%-4s ", (int)(4 * depth), "", verdict);
    explain_handler(h, &line);
    dstr_printf(&line, "%*s  ", line.n < 64 ? (int)(64 - line.n) : 0, "");
    explain_place(&h->line->name.at, &line);
    printf("%s\n", line.p);
    dstr_fini(&line);
}

static void print_note(unsigned depth, const char *text, struct slice more)
{
    printf("%*s       %s%.*s\n", (int)(4 * depth), "", text, SLICE_ARG(more));
}

/* Why a matcher said no: the condition that was not met. */
static void print_unmet(struct exchange *ex, const struct handler *h, unsigned depth)
{
    struct slice kind = matcher_unmet(h->matcher, ex);
    if (kind.n && h->matcher_words && h->line->args[0].text.p[0] == '@') {
        printf("%*s       %.*s is not met: %.*s\n", (int)(4 * depth), "",
               SLICE_ARG(h->line->args[0].text), SLICE_ARG(kind));
    } else if (kind.n) {
        print_note(depth, "is not met: ", kind);
    }
}

static void looked(struct chain_trace *t, struct exchange *ex, const struct handler *h,
                   unsigned depth, enum match_result r, bool excluded)
{
    (void)t;
    if (!h->line) {
        return; /* try_files' own steps: its line tells the end */
    }
    if (excluded) {
        print_handler(h, depth, "-");
        print_note(depth, "not asked: of these only the first that matches runs", S(""));
    } else if (r == MATCH_YES) {
        print_handler(h, depth, "yes");
    } else if (r == MATCH_FAILED) {
        print_handler(h, depth, "?");
        print_note(depth, "could not tell: ", matcher_unmet(h->matcher, ex));
    } else {
        print_handler(h, depth, "no");
        print_unmet(ex, h, depth);
    }
}

static struct slice target_of(struct exchange *ex)
{
    const struct request *req = &ex->req;
    return req->query.p ? arena_printf(&ex->arena, "%.*s %.*s?%.*s", SLICE_ARG(req->method_text),
                                       SLICE_ARG(req->path), SLICE_ARG(req->query))
                        : arena_printf(&ex->arena, "%.*s %.*s", SLICE_ARG(req->method_text),
                                       SLICE_ARG(req->path));
}

static void ran(struct chain_trace *t, struct exchange *ex, const struct handler *h,
                unsigned depth)
{
    struct explaining *e = container_of(t, struct explaining, trace);
    struct slice now = target_of(ex);
    (void)h;
    if (!slice_eq(now, e->target)) {
        print_note(depth, "the request is now ", now);
        e->target = now;
    }
}

/* The handle_errors block that gets an error of this status. */
static void print_error_route(const struct explaining *e, int status)
{
    const struct error_route *r = e->site->settings.errors;
    while (r && r->statuses.any && !status_set_has(&r->statuses, status)) {
        r = r->next;
    }
    if (r) {
        struct handler h = {.line = r->line};
        print_handler(&h, 1, "then");
    }
}

static void over(struct chain_trace *t, struct exchange *ex, const struct handler *h, bool failed)
{
    struct explaining *e = container_of(t, struct explaining, trace);
    if (h) {
        printf("answered by %.*s\n", SLICE_ARG(h->line->name.text));
    } else if (failed && ex->match_status) {
        printf("error %d, which a file matcher asks for\n", ex->match_status);
        print_error_route(e, ex->match_status);
    } else if (failed) {
        printf("error 500, because a matcher could not tell\n");
        print_error_route(e, 500);
    } else {
        printf("nothing answers: an empty 200\n");
    }
    loop_stop(e->loop);
}

/* ---- the exchange ------------------------------------------------------------------------ */

static void print_site(const struct site *site, const char *why)
{
    struct dstr place;
    dstr_init(&place, 4096);
    explain_place(&site->name->at, &place);
    printf("Site %.*s (%s): %s\n", SLICE_ARG(site->name->text), place.p, why);
    dstr_fini(&place);
}

static void begin(struct exchange *ex)
{
    struct explaining *e = current;
    if (!chain_new(ex, NULL, e->jobs)) {
        e->bad = !err_set(e->err, "out of memory");
        loop_stop(e->loop);
        return;
    }
    if (e->site->forks) {
        e->site = site_paths_find(e->table, ex);
        if (!e->site) {
            printf("None of this host's sites has the path: an empty 200.\n");
            loop_stop(e->loop);
            return;
        }
        print_site(e->site, "by host and path");
    }
    chain_of(ex)->trace = &e->trace;
    chain_of(ex)->errors = e->site->settings.errors;
    e->target = target_of(ex);
    chain_run(ex, &e->site->route);
}

/* A handler that was run gave an error: the only answers that are made here. */
static void respond(struct exchange *ex)
{
    printf("answered with status %d: %.*s\n", ex->res.status, SLICE_ARG(ex->error_detail));
    loop_stop(ex->loop);
}

static void end(struct exchange *ex)
{
    exchange_release(ex);
}

static void reset(struct exchange *ex, enum end_reason reason)
{
    (void)reason;
    printf("the connection is ended\n");
    loop_stop(ex->loop);
}

static const struct http_service service = {begin, respond, end};
static const struct exchange_codec codec = {.reset = reset};

/* ---- making the request up --------------------------------------------------------------- */

static bool add_field(struct exchange *ex, const char *line, struct err *err)
{
    struct slice value = slice_str(line);
    struct slice name;
    bool ok = slice_cut(&value, ':', &name) && value.p;
    name = slice_trim(name);
    value = slice_trim(value);
    if (!ok || !field_name_valid(name) || !field_value_valid(value)) {
        return err_set(err, "\"%s\" is no field: it is written 'Name: value'", line);
    }
    return fields_add(&ex->req.fields, &ex->arena, name, value) ||
           err_set(err, "there are too many fields");
}

struct url {
    struct slice authority;
    struct slice target;
    struct slice host;
    bool tls;
    uint16_t port;
};

/* A URL as people type it: without a scheme it is https. */
static bool read_url(struct arena *a, const struct config *c, struct slice text, struct url *u,
                     struct err *err)
{
    struct slice port;
    uint64_t number;
    size_t scheme = slice_find_slice(text, S("://"));
    struct slice rest = scheme == SLICE_NPOS ? text : slice_from(text, scheme + 3);
    struct slice name = scheme == SLICE_NPOS ? S("https") : slice_upto(text, scheme);
    u->tls = !slice_eq_case(name, S("http"));
    if (u->tls && !slice_eq_case(name, S("https"))) {
        return err_set(err, "\"%.*s\" is no URL of http or https", SLICE_ARG(text));
    }
    rest = slice_upto(rest, slice_find(rest, '#'));
    size_t path = 0;
    while (path < rest.n && rest.p[path] != '/' && rest.p[path] != '?') {
        path++;
    }
    u->authority = slice_upto(rest, path);
    u->target = slice_from(rest, path);
    if (!slice_starts(u->target, S("/"))) {
        u->target = arena_printf(a, "/%.*s", SLICE_ARG(u->target));
    }
    if (!http_split_authority(a, u->authority, &u->host, &port)) {
        return err_set(err, "\"%.*s\" is no host", SLICE_ARG(u->authority));
    }
    u->port = u->tls ? c->options->https_port : c->options->http_port;
    if (port.n && slice_u64(port, 65535, &number)) {
        u->port = (uint16_t)number;
    }
    return true;
}

static bool fill_request(struct explaining *e, const struct url *u)
{
    struct exchange *ex = e->ex;
    struct request *req = &ex->req;
    size_t question = slice_find(u->target, '?');
    req->method_text = e->request->method;
    req->method = http_method_of(req->method_text);
    req->version = u->tls ? HTTP_2 : HTTP_1_1;
    req->scheme = u->tls ? S("https") : S("http");
    req->authority = u->authority;
    req->host = u->host;
    req->target = u->target;
    req->path = slice_upto(u->target, question);
    if (question != SLICE_NPOS) {
        req->query = slice_from(u->target, question + 1);
    }
    if (!fields_add(&req->fields, &ex->arena, S("Host"), u->authority)) {
        return err_set(e->err, "out of memory");
    }
    for (size_t i = 0; i < e->request->field_count; i++) {
        if (!add_field(ex, e->request->fields[i], e->err)) {
            return false;
        }
    }
    return true;
}

/* Behind trusted proxies the client is whom they speak for. */
static void find_client(struct explaining *e)
{
    static struct addr found;
    const struct client_ip_policy *p = &e->config->options->servers.client_ip;
    e->ex->peer_trusted = client_ip_trusts(p, &e->peer);
    if (e->ex->peer_trusted && client_ip_find(p, &e->ex->req.fields, &found)) {
        e->ex->client_addr = &found;
    }
}

static bool run_route(struct explaining *e, const struct url *u)
{
    struct client_info client = {.peer = &e->peer, .local = &e->local,
                                 .tls = u->tls ? &e->tls : NULL};
    e->tls = (struct stream_tls){.version = S("tls1.3"), .cipher = S("TLS_AES_128_GCM_SHA256"),
                                 .alpn = S("h2"), .server_name = u->host};
    e->ex = exchange_new(e->loop, loop_queue(e->loop), &codec, &service, &client);
    if (!e->ex) {
        return err_set(e->err, "out of memory");
    }
    bool ok = fill_request(e, u);
    if (ok) {
        find_client(e);
        current = e;
        exchange_begin(e->ex);
        loop_run(e->loop);
        exchange_finish(e->ex, END_NONE);
        ok = !e->bad;
    } else {
        exchange_release(e->ex);
    }
    return ok;
}

/* ---- port and host ----------------------------------------------------------------------- */

static const struct port_table *find_table(const struct config *c, uint16_t port)
{
    const struct port_table *t = c->ports;
    while (t && t->port != port) {
        t = t->next;
    }
    return t;
}

static void print_ports(const struct config *c)
{
    printf("It listens on:");
    for (const struct port_table *t = c->ports; t; t = t->next) {
        printf(" %u (%s)", t->port, t->tls ? "HTTPS" : "HTTP");
    }
    printf("\n");
}

/* True: there is no more to say. */
static bool print_what_comes_first(const struct port_table *t, const struct config *c,
                                   const struct url *u)
{
    if (!t) {
        printf("Nothing listens on port %u.\n", u->port);
        print_ports(c);
        return true;
    }
    if (t->tls != u->tls) {
        printf("Port %u speaks %s.\n", t->port, t->tls ? "HTTPS" : "HTTP");
        return true;
    }
    if (t->challenges && slice_starts(u->target, S(CHALLENGE_PREFIX))) {
        printf("While a certificate is ordered its challenge is answered here. Otherwise:\n");
    }
    return false;
}

/* NULL: there is no site, and a line says what happens. */
static const struct site *find_site(const struct port_table *t, const struct config *c,
                                    const struct url *u)
{
    uint16_t https = port_table_redirect(t, u->host);
    const struct site *site = port_table_find(t, u->host, false);
    if (!site && https) {
        printf("Redirected to HTTPS (308, port %u), because a site for %.*s is there.\n", https,
               SLICE_ARG(u->host));
        return NULL;
    }
    site = site ? site : t->any;
    if (!site && t->redirects) {
        printf("Redirected to HTTPS (308), as every host without a site of its own on this"
               " port.\n");
    } else if (!site && t->tls) {
        printf("No site has this host: the TLS handshake is refused (unrecognized_name).\n");
        print_ports(c);
    } else if (!site) {
        printf("No site has this host: an empty 200.\n");
    }
    return site;
}

static const char *why_this_host(const struct site *site, const struct port_table *t,
                                 const struct url *u)
{
    return map_get(&t->exact, u->host) == site ? "the host is its own"
           : t->any == site                    ? "it takes every host"
                                               : "its wildcard fits the host";
}

static bool explain_on(struct explaining *e, const struct url *u)
{
    const struct port_table *t = find_table(e->config, u->port);
    printf("%.*s %s://%.*s%.*s from %.*s\n", SLICE_ARG(e->request->method),
           u->tls ? "https" : "http", SLICE_ARG(u->authority), SLICE_ARG(u->target),
           SLICE_ARG(e->request->client));
    if (print_what_comes_first(t, e->config, u)) {
        return true;
    }
    e->table = t;
    e->site = find_site(t, e->config, u);
    if (!e->site) {
        return true;
    }
    if (!e->site->forks) { /* else by the path, which is known when there is a request */
        print_site(e->site, why_this_host(e->site, t, u));
    }
    return run_route(e, u);
}

bool explain_url(const struct config *c, const struct explain_request *r, struct err *err)
{
    struct explaining e = {.trace = {looked, ran, over}, .config = c, .request = r, .err = err};
    struct arena a;
    struct url u;
    arena_init(&a, ARENA_NO_MAX);
    bool ok = read_url(&a, c, r->url, &u, err);
    if (ok && !addr_parse_ip(r->client, 40000, &e.peer)) {
        ok = err_set(err, "\"%.*s\" is no IP address", SLICE_ARG(r->client));
    }
    ok = ok && addr_parse_ip(S("127.0.0.1"), u.port, &e.local);
    if (ok) {
        e.loop = loop_new(err);
        e.jobs = e.loop ? jobs_new(1, 16, err) : NULL;
        ok = e.jobs && explain_on(&e, &u);
        jobs_free(e.jobs);
        if (e.loop) {
            loop_free(e.loop);
        }
    }
    exchange_pool_drain();
    arena_fini(&a);
    return ok;
}
