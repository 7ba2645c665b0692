/* nginx's configuration as a Caddyfile: http, servers, names, certificates. */
#include "cmd/import/nginx_convert.h"

#define LISTENS_MAX 16

struct listen {
    struct slice port;
    bool tls;
};

struct server {
    const struct nginx_directive *at;
    struct listen listens[LISTENS_MAX];
    size_t count;
    bool tls, plain;
};

/* ---- redirects to HTTPS ------------------------------------------------------------------ */

/* "return 301 https://$host$request_uri;" in one of its spellings. */
static bool is_https_return(const struct nginx_directive *d)
{
    static const struct slice hosts[] = {S_INIT("$host"), S_INIT("$http_host"),
                                         S_INIT("$server_name")};
    struct slice to = nginx_word(d, d->count - 1);
    if (!nginx_is(d, S("return")) || !slice_starts(to, S("https://"))) {
        return false;
    }
    to = slice_from(to, 8);
    for (size_t k = 0; k < ARRAY_LEN(hosts); k++) {
        struct slice rest = slice_from(to, hosts[k].n);
        if (slice_starts(to, hosts[k]) &&
            (slice_eq(rest, S("$request_uri")) || slice_eq(rest, S("$uri$is_args$args")) ||
             slice_eq(rest, S("$uri")))) {
            return true;
        }
    }
    return false;
}

bool nginx_to_https(const struct nginx_directive *d)
{
    for (const struct nginx_directive *c = d->children; c; c = c->next) {
        if (is_https_return(c)) {
            return true;
        }
    }
    return false;
}

/* A plain server that only leads to HTTPS: itself, in "if", or in location /. */
static bool only_redirects(const struct nginx_directive *server)
{
    bool redirects = nginx_to_https(server);
    for (const struct nginx_directive *d = server->children; d; d = d->next) {
        struct slice name = d->words[0];
        if (d->has_block && nginx_to_https(d)) {
            redirects = true;
        } else if (nginx_is(d, S("rewrite")) &&
                   slice_starts(nginx_word(d, 2), S("https://$"))) {
            redirects = true;
        } else if (nginx_is(d, S("location")) &&
                   slice_find_slice(nginx_word(d, d->count - 1), S(".well-known")) == SLICE_NPOS) {
            return false;
        } else if (slice_eq(name, S("proxy_pass")) || slice_eq(name, S("try_files"))) {
            return false;
        }
    }
    return redirects;
}

/* ---- addresses --------------------------------------------------------------------------- */

static void read_listens(struct server *s)
{
    const struct nginx_directive *ssl = nginx_in(s->at->children, S("ssl"));
    bool always = ssl && slice_eq(nginx_word(ssl, 1), S("on"));
    for (const struct nginx_directive *d = s->at->children; d; d = d->next) {
        if (!nginx_is(d, S("listen")) || s->count == LISTENS_MAX) {
            continue;
        }
        struct slice where = nginx_word(d, 1), port = where;
        size_t colon = slice_rfind(where, ':');
        uint64_t number;
        if (colon != SLICE_NPOS && slice_find(slice_from(where, colon), ']') == SLICE_NPOS) {
            port = slice_from(where, colon + 1);
        }
        struct listen l = {slice_u64(port, 65535, &number) ? port : S("80"), always};
        for (size_t k = 2; k < d->count; k++) {
            l.tls = l.tls || slice_eq(d->words[k], S("ssl")) || slice_eq(d->words[k], S("quic"));
        }
        bool known = false;
        for (size_t k = 0; k < s->count; k++) {
            known = known || (slice_eq(s->listens[k].port, l.port) && s->listens[k].tls == l.tls);
        }
        if (!known) {
            s->listens[s->count++] = l;
        }
    }
    if (s->count == 0) {
        s->listens[s->count++] = (struct listen){S("80"), always};
    }
    for (size_t k = 0; k < s->count; k++) {
        s->tls = s->tls || s->listens[k].tls;
        s->plain = s->plain || !s->listens[k].tls;
    }
}

static void address(struct dstr *out, struct slice name, const struct listen *l)
{
    bool usual = slice_eq(l->port, l->tls ? S("443") : S("80"));
    if (out->n) {
        dstr_append(out, S(", "));
    }
    if (!l->tls && (usual || name.n)) {
        dstr_append(out, S("http://"));
    } else if (l->tls && name.n == 0) {
        dstr_append(out, S("https://"));
    }
    dstr_append(out, name);
    if (!usual) {
        dstr_printf(out, ":%.*s", SLICE_ARG(l->port));
    }
}

static void addresses_of_name(struct nginx *n, struct import_text *notes, struct dstr *out,
                              const struct server *s, struct slice name, bool plain_too)
{
    if (slice_starts(name, S("~")) || slice_ends(name, S(".*"))) {
        text_warning(n->i, notes, s->at->line, name, "names must be written out here");
        return;
    }
    bool dot = slice_starts(name, S("."));
    for (size_t k = 0; k < s->count; k++) {
        if (s->listens[k].tls || plain_too) {
            address(out, dot ? slice_from(name, 1) : name, &s->listens[k]);
            if (dot) {
                address(out, arena_printf(&n->i->arena, "*%.*s", SLICE_ARG(name)), &s->listens[k]);
            }
        }
    }
}

static struct slice addresses(struct nginx *n, const struct server *s, bool plain_too)
{
    struct dstr out;
    bool any = false;
    dstr_init(&out, IMPORT_TEXT_MAX);
    for (const struct nginx_directive *d = s->at->children; d; d = d->next) {
        for (size_t k = 1; nginx_is(d, S("server_name")) && k < d->count; k++) {
            if (!slice_eq(d->words[k], S("_")) && d->words[k].n &&
                !slice_starts(d->words[k], S("$"))) {
                addresses_of_name(n, &n->i->head, &out, s, d->words[k], plain_too);
                any = true;
            }
        }
    }
    if (!any) {
        addresses_of_name(n, &n->i->head, &out, s, S(""), plain_too);
    }
    struct slice copy = arena_copy(&n->i->arena, dstr_slice(&out));
    dstr_fini(&out);
    return copy;
}

/* ---- what a whole server has ------------------------------------------------------------- */

static void certificate(struct nginx *n, struct import_text *t, const struct nginx_scope *scope)
{
    const struct nginx_directive *cert = nginx_inherited(scope, S("ssl_certificate"));
    const struct nginx_directive *key = nginx_inherited(scope, S("ssl_certificate_key"));
    if (!cert) {
        return;
    }
    if (import_cert_is_automatic(nginx_word(cert, 1))) {
        text_dropped(n->i, t, cert->line, nginx_written(n, cert), "certificates are automatic");
    } else if (key) {
        text_line(t, "tls %.*s %.*s", SLICE_ARG(import_quoted(n->i, nginx_word(cert, 1))),
                  SLICE_ARG(import_quoted(n->i, nginx_word(key, 1))));
    }
}

static void access_log(struct nginx *n, struct import_text *t, const struct nginx_scope *scope)
{
    const struct nginx_directive *log = nginx_inherited(scope, S("access_log"));
    if (!log || slice_eq(nginx_word(log, 1), S("off"))) {
        return;
    }
    if (!slice_starts(nginx_word(log, 1), S("/"))) {
        text_line(t, "log");
        return;
    }
    text_open(t, "log");
    text_line(t, "output file %.*s", SLICE_ARG(import_quoted(n->i, nginx_word(log, 1))));
    text_close(t);
}

static void error_pages(struct nginx *n, struct import_text *t, const struct nginx_scope *scope)
{
    const struct nginx_directive *root = nginx_inherited(scope, S("root"));
    for (const struct nginx_directive *d = n->server->children; d; d = d->next) {
        if (!nginx_is(d, S("error_page")) || d->count < 3) {
            continue;
        }
        struct slice page = nginx_word(d, d->count - 1);
        if (!slice_starts(page, S("/")) || !root) {
            text_warning(n->i, t, d->line, nginx_written(n, d), "see handle_errors");
            continue;
        }
        text_open(t, "handle_errors %.*s",
                  SLICE_ARG(import_join(n->i, d->words + 1, d->count - 2)));
        text_line(t, "root * %.*s", SLICE_ARG(import_quoted(n->i, nginx_word(root, 1))));
        text_line(t, "rewrite %.*s", SLICE_ARG(import_quoted(n->i, page)));
        text_line(t, "file_server");
        text_close(t);
    }
}

/* What stands in the server itself and is not of one location. */
static void server_lines(struct nginx *n, struct import_text *t, const struct nginx_scope *scope)
{
    const struct nginx_directive *gzip = nginx_inherited(scope, S("gzip"));
    certificate(n, t, scope);
    access_log(n, t, scope);
    if (gzip && slice_eq(nginx_word(gzip, 1), S("on"))) {
        text_line(t, "encode");
    }
    error_pages(n, t, scope);
    if (n->whole_size) {
        nginx_size_limit(n, t, scope);
    }
    if (n->whole_fields) {
        nginx_fields(n, t, scope);
    }
    nginx_lines(n, t, scope);
}

/* Has no location a list of its own, so that the server's holds for all of it? */
static bool is_whole(const struct nginx_directive *server, struct slice name)
{
    for (const struct nginx_directive *d = server->children; d; d = d->next) {
        if (nginx_is(d, S("location")) && nginx_in(d->children, name)) {
            return false;
        }
    }
    return true;
}

static void convert_server(struct nginx *n, const struct nginx_directive *d)
{
    struct server s = {.at = d};
    struct nginx_scope scope = {d->children, &n->http};
    read_listens(&s);
    n->server = d;
    struct slice names = addresses(n, &s, true);
    if (!s.tls && only_redirects(d)) {
        struct slice what = arena_printf(&n->i->arena, "server %.*s", SLICE_ARG(names));
        text_dropped(n->i, &n->i->head, d->line, what, "HTTP is redirected to HTTPS by itself");
        return;
    }
    /* One server for both that leads plain requests away is the HTTPS one. */
    struct import_site *site =
        import_site_of(n->i, addresses(n, &s, !s.tls || !only_redirects(d)));
    if (!site) {
        return;
    }
    n->whole_size = is_whole(d, S("client_max_body_size"));
    n->whole_fields = is_whole(d, S("add_header"));
    server_lines(n, &site->body, &scope);
    const struct nginx_directive *answer = nginx_in(d->children, S("return"));
    if (answer && !is_https_return(answer)) {
        nginx_content(n, &site->body, &scope, NULL);
        return;
    }
    nginx_locations(n, &site->body, &scope);
}

/* ---- http -------------------------------------------------------------------------------- */

static void convert_http(struct nginx *n, const struct nginx_directive *first)
{
    n->http = (struct nginx_scope){first, NULL};
    for (const struct nginx_directive *d = first; d; d = d->next) {
        const char *why = nginx_needless(d->words[0]);
        if (nginx_is(d, S("server"))) {
            convert_server(n, d);
        } else if (nginx_is(d, S("map")) &&
                   slice_eq(nginx_word(d, 1), S("$http_upgrade"))) {
            text_dropped(n->i, &n->i->head, d->line, nginx_written(n, d),
                         "WebSockets and other upgrades are automatic");
        } else if (nginx_is(d, S("upstream")) || nginx_is(d, S("limit_req_zone")) ||
                   nginx_is(d, S("http")) || nginx_is_handled(d->words[0])) {
            continue; /* read where they are used */
        } else if (why) {
            text_dropped(n->i, &n->i->head, d->line, nginx_written(n, d), why);
        } else if (nginx_is(d, S("include"))) {
            nginx_include(n, &n->i->head, d);
        } else if (!nginx_access_line(n, &n->i->head, d)) {
            text_warning(n->i, &n->i->head, d->line, nginx_written(n, d), "not carried over");
        }
    }
}

bool import_nginx(struct import *i, struct slice text, struct err *err)
{
    struct nginx_directive *top;
    struct nginx n = {.i = i};
    if (!nginx_parse(&i->arena, text, &top, err)) {
        return false;
    }
    const struct nginx_directive *http = nginx_in(top, S("http"));
    convert_http(&n, top);
    if (http) {
        convert_http(&n, http->children);
    }
    return i->sites || i->head.out.n ||
           err_set(err, "there is no server block in it; is it nginx's configuration?");
}
