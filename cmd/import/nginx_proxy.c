/* proxy_pass, grpc_pass and what belongs to them, as reverse_proxy. */
#include "cmd/import/nginx_convert.h"

/* The parts of "http://name:port/path" or "http://unix:/path.sock:/path". */
struct target {
    struct slice scheme;    /* "http", "https", "grpc", "grpcs" */
    struct slice authority; /* host, host:port, or "unix//path" */
    struct slice path;      /* with its slash, or empty */
};

static struct target target_of(struct nginx *n, struct slice url)
{
    struct target t = {S("http"), url, S("")};
    size_t k = slice_find_slice(url, S("://"));
    if (k != SLICE_NPOS) {
        t.scheme = slice_upto(url, k);
        t.authority = slice_from(url, k + 3);
    }
    if (slice_starts(t.authority, S("unix:"))) {
        struct slice path = slice_from(t.authority, 5);
        size_t colon = slice_find(path, ':');
        t.path = colon == SLICE_NPOS ? S("") : slice_from(path, colon + 1);
        t.authority = arena_printf(&n->i->arena, "unix/%.*s", SLICE_ARG(slice_upto(path, colon)));
        return t;
    }
    k = slice_find(t.authority, '/');
    if (k != SLICE_NPOS) {
        t.path = slice_from(t.authority, k);
        t.authority = slice_upto(t.authority, k);
    }
    return t;
}

struct slice nginx_pass_path(struct nginx *n, const struct nginx_scope *scope, struct slice url)
{
    struct slice text, unknown;
    return nginx_text(n, scope, url, &text, &unknown) ? target_of(n, text).path : S("");
}

static const struct nginx_directive *upstream_of(struct nginx *n, struct slice name)
{
    for (const struct nginx_directive *d = n->http.first; d; d = d->next) {
        if (nginx_is(d, S("upstream")) && slice_eq(nginx_word(d, 1), name)) {
            return d;
        }
    }
    return NULL;
}

static struct slice option(const struct nginx_directive *d, struct slice prefix)
{
    for (size_t k = 2; k < d->count; k++) {
        if (slice_starts(d->words[k], prefix)) {
            return slice_from(d->words[k], prefix.n);
        }
    }
    return slice_of(NULL, 0);
}

static bool flag(const struct nginx_directive *d, struct slice word)
{
    for (size_t k = 2; k < d->count; k++) {
        if (slice_eq(d->words[k], word)) {
            return true;
        }
    }
    return false;
}

static void origin(struct nginx *n, struct dstr *out, struct slice scheme, struct slice authority)
{
    struct target t = target_of(n, authority);
    dstr_byte(out, ' ');
    if (slice_eq(scheme, S("https")) || slice_eq(scheme, S("grpcs"))) {
        dstr_append(out, S("https://"));
    } else if (slice_eq(scheme, S("grpc"))) {
        dstr_append(out, S("h2c://"));
    } else if (slice_find(t.authority, ':') == SLICE_NPOS &&
               !slice_starts(t.authority, S("unix/"))) {
        dstr_append(out, S("http://")); /* without a port: 80, as in nginx */
    }
    dstr_append(out, t.authority);
}

/* The words of `server` lines. */
static void upstream_server(struct nginx *n, struct import_text *t, struct dstr *to,
                            struct dstr *weights, bool *weighted, struct slice scheme,
                            const struct nginx_directive *s)
{
    if (flag(s, S("down"))) {
        text_dropped(n->i, t, s->line, nginx_written(n, s), "it is marked as down");
        return;
    }
    if (flag(s, S("backup"))) {
        text_warning(n->i, t, s->line, nginx_written(n, s),
                     "there are no backup origins; it is used like the others (with `lb_policy "
                     "first` the first that works is used)");
    }
    struct slice weight = option(s, S("weight="));
    *weighted = *weighted || weight.n;
    dstr_printf(weights, " %.*s", SLICE_ARG((weight.n ? weight : S("1"))));
    origin(n, to, scheme, nginx_word(s, 1));
}

static void passive_checks(struct nginx *n, struct import_text *t,
                           const struct nginx_directive *upstream)
{
    for (const struct nginx_directive *s = upstream->children; s; s = s->next) {
        struct slice fails = option(s, S("max_fails=")), time = option(s, S("fail_timeout="));
        if (fails.n && !slice_eq(fails, S("0"))) {
            text_line(t, "max_fails %.*s", SLICE_ARG(fails));
        }
        if (!slice_eq(fails, S("0")) && (fails.n || time.n)) {
            struct slice d = nginx_duration(n, time.n ? time : S("10"));
            text_line(t, "fail_duration %.*s", SLICE_ARG(d));
            return;
        }
    }
}

static void upstream(struct nginx *n, struct import_text *t, struct dstr *to, struct slice scheme,
                     const struct nginx_directive *u)
{
    struct dstr weights;
    bool weighted = false;
    struct slice policy = S("round_robin");
    size_t count = 0;
    dstr_init(&weights, IMPORT_TEXT_MAX);
    for (const struct nginx_directive *d = u->children; d; d = d->next) {
        if (nginx_is(d, S("server"))) {
            upstream_server(n, t, to, &weights, &weighted, scheme, d);
            count++;
        } else if (nginx_is(d, S("least_conn"))) {
            policy = S("least_conn");
        } else if (nginx_is(d, S("ip_hash"))) {
            policy = S("ip_hash");
        } else if (nginx_is(d, S("hash"))) {
            policy = slice_find_slice(nginx_word(d, 1), S("uri")) != SLICE_NPOS ? S("uri_hash")
                                                                              : S("client_ip_hash");
        } else if (nginx_is(d, S("random"))) {
            policy = S("random");
        } else if (nginx_needless(d->words[0])) {
            text_dropped(n->i, t, d->line, nginx_written(n, d), nginx_needless(d->words[0]));
        } else {
            text_warning(n->i, t, d->line, nginx_written(n, d), "not carried over");
        }
    }
    if (weighted && slice_eq(policy, S("round_robin"))) {
        text_line(t, "lb_policy weighted_round_robin%.*s", SLICE_ARG(dstr_slice(&weights)));
    } else if (count > 1) {
        text_line(t, "lb_policy %.*s", SLICE_ARG(policy));
    }
    passive_checks(n, t, u);
    dstr_fini(&weights);
}

static void set_field(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                      const struct nginx_directive *d, bool tls)
{
    struct slice name = nginx_word(d, 1), value = nginx_word(d, 2), text, unknown;
    bool same_host = slice_eq(value, S("$host")) || slice_eq(value, S("$http_host"));
    if (slice_eq_case(name, S("Host"))) {
        if (same_host && !tls) {
            text_dropped(n->i, t, d->line, nginx_written(n, d), "Host passes as it came");
            return;
        }
        value = same_host ? S("$http_host") : value;
    } else if (import_field_is_automatic(name)) {
        text_dropped(n->i, t, d->line, nginx_written(n, d), "automatic");
        return;
    }
    if (value.n == 0) {
        text_line(t, "header_up -%.*s", SLICE_ARG(name));
    } else if (nginx_text(n, scope, value, &text, &unknown)) {
        text_line(t, "header_up %.*s %.*s", SLICE_ARG(name), SLICE_ARG(import_quoted(n->i, text)));
    } else {
        text_warning(n->i, t, d->line, nginx_written(n, d), "$%.*s has no counterpart here",
                     SLICE_ARG(unknown));
    }
}

static void fields(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                   bool grpc, bool tls, struct slice authority)
{
    struct slice set = grpc ? S("grpc_set_header") : S("proxy_set_header");
    const struct nginx_directive *list = nginx_list(scope, set);
    bool host = false;
    for (const struct nginx_directive *d = list; d; d = d->next) {
        if (nginx_is(d, set)) {
            host = host || slice_eq_case(nginx_word(d, 1), S("Host"));
            set_field(n, t, scope, d, tls);
        }
    }
    if (!host && !tls) {
        /* nginx's default is the name that stands in proxy_pass. */
        text_line(t, "header_up Host %.*s", SLICE_ARG(authority));
    }
    list = nginx_list(scope, S("proxy_hide_header"));
    for (const struct nginx_directive *d = list; d; d = d->next) {
        if (nginx_is(d, S("proxy_hide_header"))) {
            text_line(t, "header_down -%.*s", SLICE_ARG(nginx_word(d, 1)));
        }
    }
}

/* Long reading times are there for WebSockets and long polls, which have no limit here. */
#define LONG_S 600

static bool is_long(struct slice v)
{
    uint64_t seconds = 0;
    size_t digits = 0;
    while (digits < v.n && ascii_is_digit(v.p[digits])) {
        digits++;
    }
    char unit = digits < v.n ? v.p[digits] : 's';
    return !slice_u64(slice_upto(v, digits), UINT32_MAX, &seconds) || unit == 'h' || unit == 'd' ||
           (unit == 'm' && digits + 1 == v.n && seconds * 60 > LONG_S) ||
           (unit == 's' && seconds > LONG_S);
}

static void transport(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                      bool tls)
{
    struct import_text sub = {.depth = t->depth + 1};
    dstr_init(&sub.out, IMPORT_TEXT_MAX);
    const struct nginx_directive *d = nginx_inherited(scope, S("proxy_connect_timeout"));
    if (d) {
        text_line(&sub, "dial_timeout %.*s", SLICE_ARG(nginx_duration(n, nginx_word(d, 1))));
    }
    d = nginx_inherited(scope, S("proxy_read_timeout"));
    if (d && is_long(nginx_word(d, 1))) {
        text_dropped(n->i, t, d->line, nginx_written(n, d),
                     "WebSockets and slow answers have no time limit");
    } else if (d) {
        struct slice time = nginx_duration(n, nginx_word(d, 1));
        text_line(&sub, "response_header_timeout %.*s", SLICE_ARG(time));
        text_line(&sub, "read_timeout %.*s", SLICE_ARG(time));
    }
    if (tls) {
        d = nginx_inherited(scope, S("proxy_ssl_name"));
        if (d) {
            text_line(&sub, "tls_server_name %.*s", SLICE_ARG(nginx_word(d, 1)));
        }
        d = nginx_inherited(scope, S("proxy_ssl_trusted_certificate"));
        if (d) {
            text_line(&sub, "tls_trusted_ca_certs %.*s",
                      SLICE_ARG(import_quoted(n->i, nginx_word(d, 1))));
        }
        d = nginx_inherited(scope, S("proxy_ssl_verify"));
        if (!d || !slice_eq(nginx_word(d, 1), S("on"))) {
            text_warning(n->i, &sub, d ? d->line : 0, S("proxy_ssl_verify off"),
                         "nginx did not check the origin's certificate; without the next line "
                         "caddis does");
            text_line(&sub, "tls_insecure_skip_verify");
        }
    }
    if (sub.out.n) {
        text_open(t, "transport http");
        dstr_append(&t->out, dstr_slice(&sub.out));
        text_close(t);
    }
    dstr_fini(&sub.out);
}

void nginx_proxy(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                 const struct nginx_directive *d)
{
    struct slice url, unknown;
    if (!nginx_text(n, scope, nginx_word(d, 1), &url, &unknown)) {
        text_warning(n->i, t, d->line, nginx_written(n, d), "$%.*s has no counterpart here",
                     SLICE_ARG(unknown));
        return;
    }
    struct target target = target_of(n, url);
    struct import_text sub = {.depth = t->depth + 1};
    struct dstr to;
    dstr_init(&sub.out, IMPORT_TEXT_MAX);
    dstr_init(&to, IMPORT_TEXT_MAX);
    bool grpc = slice_starts(target.scheme, S("grpc"));
    bool tls = slice_ends(target.scheme, S("s"));
    const struct nginx_directive *u = upstream_of(n, target.authority);
    if (u) {
        upstream(n, &sub, &to, target.scheme, u);
    } else {
        origin(n, &to, target.scheme, target.authority);
    }
    fields(n, &sub, scope, grpc, tls, slice_starts(target.authority, S("unix/")) ? S("localhost")
                                                                              : target.authority);
    transport(n, &sub, scope, tls);
    if (sub.out.n) {
        text_open(t, "reverse_proxy%.*s", SLICE_ARG(dstr_slice(&to)));
        dstr_append(&t->out, dstr_slice(&sub.out));
        text_close(t);
    } else {
        text_line(t, "reverse_proxy%.*s", SLICE_ARG(dstr_slice(&to)));
    }
    dstr_fini(&to);
    dstr_fini(&sub.out);
}
