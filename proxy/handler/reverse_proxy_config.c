/* Reading of reverse_proxy's block; its form is described in reverse_proxy.c. */
#include "proxy/handler/reverse_proxy_config.h"

#include "proxy/handler/directives.h"

#define DIAL_TIMEOUT_MS 3000
#define KEEPALIVE_IDLE_MS (120 * 1000)
#define KEEPALIVE_MAX 128
#define RESPONSE_HEAD_MAX ((size_t)256 * 1024)

static const struct {
    struct slice name;
    enum lb_policy policy;
} policies[] = {
    {S_INIT("random"), POLICY_RANDOM},
    {S_INIT("round_robin"), POLICY_ROUND_ROBIN},
    {S_INIT("first"), POLICY_FIRST},
    {S_INIT("least_conn"), POLICY_LEAST_CONN},
};

/* Caddy's subdirectives that are not here yet. */
static const struct slice elsewhere[] = {
    S_INIT("dynamic"),           S_INIT("lb_retries"),       S_INIT("lb_try_duration"),
    S_INIT("lb_try_interval"),   S_INIT("lb_retry_match"),   S_INIT("health_uri"),
    S_INIT("health_port"),       S_INIT("health_path"),      S_INIT("health_upstream"),
    S_INIT("health_method"),     S_INIT("health_headers"),   S_INIT("health_request_body"),
    S_INIT("health_body"),       S_INIT("health_interval"),  S_INIT("health_timeout"),
    S_INIT("health_passes"),     S_INIT("health_fails"),     S_INIT("health_status"),
    S_INIT("health_follow_redirects"), S_INIT("fail_duration"), S_INIT("max_fails"),
    S_INIT("unhealthy_status"),  S_INIT("unhealthy_latency"), S_INIT("unhealthy_request_count"),
    S_INIT("flush_interval"),    S_INIT("request_buffers"),  S_INIT("response_buffers"),
    S_INIT("stream_timeout"),    S_INIT("stream_close_delay"), S_INIT("trusted_proxies"),
    S_INIT("header_up"),         S_INIT("header_down"),      S_INIT("method"),
    S_INIT("rewrite"),           S_INIT("transport"),        S_INIT("replace_status"),
    S_INIT("handle_response"),   S_INIT("verbose_logs"),     S_INIT("copy_response"),
};

static struct tls_client *tls_for_origins(struct build *b, const struct cf_token *t)
{
    struct slice alpn[] = {S("http/1.1")};
    struct tls_client_config config = {.alpn = alpn, .alpn_count = 1};
    struct err err;
    struct tls_client *client = tls_client_new(&config, &err);
    if (!client) {
        cf_error(b->diags, t, "TLS to the origin cannot be prepared: %s", err.text);
    }
    return client;
}

static bool add_origin(struct build *b, struct reverse_proxy *p, const struct cf_token *t,
                       struct slice host, struct slice unix_path, uint16_t port, bool tls)
{
    if (p->origin_count == ORIGINS_MAX) {
        cf_error(b->diags, t, "more than %d origins", ORIGINS_MAX);
        return false;
    }
    bool v6 = slice_find(host, ':') != SLICE_NPOS;
    struct slice text =
        unix_path.n ? unix_path
                    : arena_printf(b->arena, v6 ? "[%.*s]:%u" : "%.*s:%u", SLICE_ARG(host), port);
    struct origin like = {
        .key = arena_printf(b->arena, "%s://%.*s", tls ? "https" : unix_path.n ? "unix" : "http",
                            SLICE_ARG(text)),
        .text = text,
        .host = host,
        .port = port,
        .unix_path = unix_path,
        .tls_client = tls ? tls_for_origins(b, t) : NULL,
        .dial_timeout_ms = DIAL_TIMEOUT_MS,
        .keepalive_idle_ms = KEEPALIVE_IDLE_MS,
        .keepalive_max = KEEPALIVE_MAX,
        .limits = {.head = {.head_bytes_max = RESPONSE_HEAD_MAX,
                            .fields_max = FIELDS_FROM_PEER_MAX}},
    };
    if (tls && !like.tls_client) {
        return false;
    }
    p->origins[p->origin_count++] = origin_new(&like);
    tls_client_unref(like.tls_client);
    return true;
}

static bool parse_unix(struct build *b, struct reverse_proxy *p, const struct cf_token *t)
{
    struct slice path = slice_from(t->text, strlen("unix/"));
    struct addr addr;
    if (path.n < 2 || path.p[0] != '/' || !addr_unix(path, &addr)) {
        cf_error(b->diags, t, "\"%.*s\" is no Unix socket: unix//path/to/socket",
                 SLICE_ARG(t->text));
        return false;
    }
    return add_origin(b, p, t, S(""), path, 0, false);
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

static bool parse_origin(struct build *b, struct reverse_proxy *p, const struct cf_token *t)
{
    if (slice_starts(t->text, S("unix/"))) {
        return parse_unix(b, p, t);
    }
    if (slice_find(t->text, '{') != SLICE_NPOS) {
        cf_error(b->diags, t, "placeholders in an origin are Caddy's and not yet in caddis");
        return false;
    }
    struct slice rest = t->text;
    struct cf_address a;
    struct slice why = S("");
    if (slice_starts(rest, S(":"))) { /* ":8000" is this machine */
        rest = arena_printf(b->arena, "localhost%.*s", SLICE_ARG(rest));
    }
    if (!cf_parse_address(b->arena, rest, &a, &why)) {
        cf_error(b->diags, t, "\"%.*s\" is no origin: %.*s", SLICE_ARG(t->text), SLICE_ARG(why));
        return false;
    }
    bool tls = slice_eq(a.scheme, S("https"));
    if (!tls && a.scheme.n && !slice_eq(a.scheme, S("http"))) {
        struct cf_diag *diag = cf_error(b->diags, t, "an origin's scheme is http or https, not %.*s",
                                        SLICE_ARG(a.scheme));
        if (diag && slice_starts(a.scheme, S("ws"))) {
            diag->hint = S("WebSockets need nothing special: write http:// (or https:// for wss://)");
        }
        return false;
    }
    if (a.path.n) {
        cf_error(b->diags, t, "an origin has no path; forwarded requests keep their own");
        return false;
    }
    if (!a.host.n) {
        cf_error(b->diags, t, "\"%.*s\" names no host", SLICE_ARG(t->text));
        return false;
    }
    uint64_t first = tls ? 443 : 80;
    uint64_t last = first;
    if (a.port.n && !parse_ports(a.port, &first, &last)) {
        cf_error(b->diags, t, "\"%.*s\" is no port or range of ports from 1 to 65535",
                 SLICE_ARG(a.port));
        return false;
    }
    for (uint64_t port = first; port <= last; port++) {
        if (!add_origin(b, p, t, a.host, S(""), (uint16_t)port, tls)) {
            return false;
        }
    }
    return true;
}

static bool parse_policy(struct build *b, struct reverse_proxy *p, const struct cf_directive *d)
{
    struct slice names[ARRAY_LEN(policies)];
    if (!expect_args(b, d, d->arg_count, 1, 1)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
        if (slice_eq(d->args[0].text, policies[i].name)) {
            p->policy = policies[i].policy;
            return true;
        }
        names[i] = policies[i].name;
    }
    struct cf_diag *diag = cf_error(b->diags, &d->args[0], "unknown load-balancing policy \"%.*s\""
                                    " (random, round_robin, first, least_conn)",
                                    SLICE_ARG(d->args[0].text));
    if (diag) {
        cf_did_you_mean(b->diags, diag, d->args[0].text, names, ARRAY_LEN(names));
    }
    return false;
}

static void unknown_option(struct build *b, const struct cf_directive *d)
{
    static const struct slice ours[] = {S_INIT("to"), S_INIT("lb_policy")};
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
        if (slice_eq(elsewhere[i], d->name.text)) {
            cf_error(b->diags, &d->name, "reverse_proxy's \"%.*s\" is Caddy's and not yet in caddis",
                     SLICE_ARG(d->name.text));
            return;
        }
    }
    struct cf_diag *diag = cf_error(b->diags, &d->name, "\"reverse_proxy\" has no option \"%.*s\"",
                                    SLICE_ARG(d->name.text));
    if (diag) {
        cf_did_you_mean(b->diags, diag, d->name.text, ours, ARRAY_LEN(ours));
    }
}

static void parse_option(struct build *b, struct reverse_proxy *p, const struct cf_directive *d)
{
    if (slice_eq(d->name.text, S("to"))) {
        if (expect_args(b, d, d->arg_count, 1, ORIGINS_MAX)) {
            for (size_t i = 0; i < d->arg_count; i++) {
                (void)parse_origin(b, p, &d->args[i]);
            }
        }
    } else if (slice_eq(d->name.text, S("lb_policy"))) {
        (void)parse_policy(b, p, d);
    } else {
        unknown_option(b, d);
    }
}

bool reverse_proxy_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                         size_t count, struct handler *out)
{
    unsigned errors = b->diags->errors;
    struct reverse_proxy *p = ARENA_NEW(b->arena, struct reverse_proxy);
    must(p);
    p->counters = ARENA_NEW(b->arena, struct reverse_proxy_counters);
    must(p->counters);
    out->ops = &reverse_proxy_ops;
    out->instance = p;
    for (size_t i = 0; i < count; i++) {
        (void)parse_origin(b, p, &args[i]);
    }
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        parse_option(b, p, o);
    }
    if (p->origin_count == 0 && b->diags->errors == errors) {
        cf_error(b->diags, &d->name, "\"reverse_proxy\" needs an origin: reverse_proxy localhost:8000");
    }
    if (b->diags->errors != errors) {
        reverse_proxy_ops.release(p);
        return false;
    }
    return true;
}
