/* Reading of reverse_proxy's block; its form is described in reverse_proxy.c. */
#include "proxy/handler/reverse_proxy_config.h"

#include "proxy/handler/directives.h"
#include "proxy/handler/reverse_proxy_dynamic.h"

#define DIAL_TIMEOUT_MS 3000
#define KEEPALIVE_IDLE_MS (120 * 1000)
#define KEEPALIVE_MAX 128
#define RESPONSE_HEAD_MAX ((size_t)64 * 1024)

/* Caddy's subdirectives that are not here yet. */
static const struct slice elsewhere[] = {
    S_INIT("request_buffers"), S_INIT("response_buffers"),
};

/* What `transport http` says; the same for all origins of the directive. */
struct transport {
    struct h1_client_limits limits;
    int64_t dial_timeout_ms;
    int64_t keepalive_idle_ms;
    uint64_t keepalive_max;
    unsigned proxy_version;
    unsigned versions; /* ORIGIN_* */
    struct slice resolvers;
    int64_t fallback_delay_ms;
    struct slice tls_server_name;
    struct slice tls_ca_file;
    const struct slice *more_ca_files;
    size_t more_ca_count;
    struct slice tls_cert_file;
    struct slice tls_key_file;
    uint64_t connections_max;
    bool tls_insecure;
    const struct cf_token *tls; /* the option that asks for TLS, or NULL */
};

/* One origin as written, until the transport is known. */
struct draft {
    const struct cf_token *at;
    struct slice host;
    struct slice unix_path;
    uint16_t port;
    bool tls;
    bool h2c;
    bool dynamic; /* stands for all that are looked up */
};

struct drafts {
    struct draft items[ORIGINS_MAX];
    size_t count;
};

static struct tls_client *tls_for_origins(struct build *b, const struct cf_token *t,
                                          const struct transport *transport)
{
    static const struct slice alpn[] = {S_INIT("h2"), S_INIT("http/1.1")};
    bool only_1 = transport->versions == ORIGIN_HTTP_1;
    bool only_2 = transport->versions == ORIGIN_HTTP_2;
    struct tls_client_config config = {
        .alpn = only_1 ? alpn + 1 : alpn,
        .alpn_count = only_1 || only_2 ? 1 : 2,
        .insecure_skip_verify = transport->tls_insecure,
        .server_name = transport->tls_server_name,
        .ca_file = transport->tls_ca_file,
        .more_ca_files = transport->more_ca_files,
        .more_ca_count = transport->more_ca_count,
        .cert_file = transport->tls_cert_file,
        .key_file = transport->tls_key_file,
    };
    struct err err;
    struct tls_client *client = tls_client_new(&config, &err);
    if (!client) {
        cf_error(b->diags, t, "TLS to the origin cannot be prepared: %s", err.text);
    }
    return client;
}

static bool add_draft(struct build *b, struct drafts *drafts, const struct draft *d)
{
    if (drafts->count == ORIGINS_MAX) {
        cf_error(b->diags, d->at, "more than %d origins", ORIGINS_MAX);
        return false;
    }
    drafts->items[drafts->count++] = *d;
    return true;
}

static void make_origin(const struct proxy_reading *r, const struct draft *d,
                        const struct transport *t, struct tls_client *tls_client)
{
    struct build *b = r->b;
    struct reverse_proxy *p = r->p;
    bool tls = d->tls || (t->tls && !d->unix_path.n);
    unsigned versions = d->h2c ? ORIGIN_H2C | ORIGIN_HTTP_2 : t->versions;
    bool v6 = slice_find(d->host, ':') != SLICE_NPOS;
    struct slice text = d->unix_path.n ? d->unix_path
                                       : arena_printf(b->arena, v6 ? "[%.*s]:%u" : "%.*s:%u",
                                                      SLICE_ARG(d->host), d->port);
    struct origin like = {
        /* Connections are shared only where everything about them is the same. */
        .key = arena_printf(b->arena, "%s://%.*s %u %d %.*s %.*s %zu %.*s %u %.*s",
                            tls ? "https" : d->unix_path.n ? "unix" : "http", SLICE_ARG(text),
                            versions, t->tls_insecure, SLICE_ARG(t->tls_server_name),
                            SLICE_ARG(t->tls_ca_file), t->more_ca_count,
                            SLICE_ARG(t->tls_cert_file), (unsigned)t->connections_max,
                            SLICE_ARG(t->resolvers)),
        .text = text,
        .host = d->host,
        .port = d->port,
        .unix_path = d->unix_path,
        .tls_client = tls ? tls_client : NULL,
        .versions = versions,
        .proxy_version = t->proxy_version,
        .resolvers = t->resolvers,
        .fallback_delay_ms = t->fallback_delay_ms,
        .dial_timeout_ms = t->dial_timeout_ms,
        .keepalive_idle_ms = t->keepalive_idle_ms,
        .keepalive_max = (unsigned)t->keepalive_max,
        .connections_max = (unsigned)t->connections_max,
        .limits = t->limits,
        .health = {.policy = r->passive},
    };
    if (d->dynamic) {
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
        if ((d->tls || t->tls) && !tls_client) {
            tls_client = tls_for_origins(b, t->tls ? t->tls : d->at, t);
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

static bool parse_origin(struct build *b, struct drafts *drafts, const struct cf_token *t)
{
    if (slice_starts(t->text, S("unix/")) || slice_starts(t->text, S("unix+h2c/"))) {
        return parse_unix(b, drafts, t);
    }
    if (slice_find(t->text, '{') != SLICE_NPOS) {
        cf_error(b->diags, t, "placeholders in an origin are Caddy's and not yet in caddis");
        return false;
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

/* ---- transport http { ... } ------------------------------------------------------------------ */

struct transport_reading {
    struct build *b;
    struct transport *t;
};

typedef void transport_fn(struct transport_reading *r, const struct cf_directive *d);

static void read_duration(struct transport_reading *r, const struct cf_directive *d, int64_t *out)
{
    if (expect_args(r->b, d, d->arg_count, 1, 1) && !cf_parse_duration(d->args[0].text, out)) {
        cf_error(r->b->diags, &d->args[0], "\"%.*s\" is no duration such as 30s, 5m or 1h30m",
                 SLICE_ARG(d->args[0].text));
    }
}

static void transport_dial_timeout(struct transport_reading *r, const struct cf_directive *d)
{
    read_duration(r, d, &r->t->dial_timeout_ms);
}

static void transport_response_header_timeout(struct transport_reading *r,
                                              const struct cf_directive *d)
{
    read_duration(r, d, &r->t->limits.response_header_timeout_ms);
}

static void transport_read_timeout(struct transport_reading *r, const struct cf_directive *d)
{
    read_duration(r, d, &r->t->limits.read_idle_ms);
}

static void transport_keepalive(struct transport_reading *r, const struct cf_directive *d)
{
    if (d->arg_count == 1 && slice_eq(d->args[0].text, S("off"))) {
        r->t->keepalive_max = 0;
        return;
    }
    read_duration(r, d, &r->t->keepalive_idle_ms);
}

static void transport_keepalive_idle_conns(struct transport_reading *r,
                                           const struct cf_directive *d)
{
    if (expect_args(r->b, d, d->arg_count, 1, 1) &&
        !slice_u64(d->args[0].text, 100000, &r->t->keepalive_max)) {
        cf_error(r->b->diags, &d->args[0], "\"%.*s\" is no number of connections",
                 SLICE_ARG(d->args[0].text));
    }
}

static void transport_max_response_header(struct transport_reading *r,
                                          const struct cf_directive *d)
{
    uint64_t v = 0;
    if (!expect_args(r->b, d, d->arg_count, 1, 1)) {
        return;
    }
    if (!cf_parse_size(d->args[0].text, &v) || v < 1024 || v > (512u << 10)) {
        cf_error(r->b->diags, &d->args[0], "max_response_header is a size from 1KiB to 512KiB");
        return;
    }
    r->t->limits.head.head_bytes_max = (size_t)v;
}

static void transport_resolvers(struct transport_reading *r, const struct cf_directive *d)
{
    r->t->resolvers = resolvers_read(r->b, d);
}

static void transport_dial_fallback_delay(struct transport_reading *r, const struct cf_directive *d)
{
    if (d->arg_count == 1 && slice_starts(d->args[0].text, S("-"))) {
        r->t->fallback_delay_ms = -1; /* as in Caddy: off */
        return;
    }
    read_duration(r, d, &r->t->fallback_delay_ms);
}

static void transport_proxy_protocol(struct transport_reading *r, const struct cf_directive *d)
{
    if (!expect_args(r->b, d, d->arg_count, 1, 1)) {
        return;
    }
    r->t->proxy_version = slice_eq(d->args[0].text, S("v1"))   ? 1
                          : slice_eq(d->args[0].text, S("v2")) ? 2
                                                               : 0;
    if (!r->t->proxy_version) {
        cf_error(r->b->diags, &d->args[0], "proxy_protocol is v1 or v2");
    }
}

static void transport_tls(struct transport_reading *r, const struct cf_directive *d)
{
    if (expect_args(r->b, d, d->arg_count, 0, 0)) {
        r->t->tls = &d->name;
    }
}

static void transport_tls_insecure(struct transport_reading *r, const struct cf_directive *d)
{
    transport_tls(r, d);
    r->t->tls_insecure = true;
}

static void transport_tls_server_name(struct transport_reading *r, const struct cf_directive *d)
{
    if (expect_args(r->b, d, d->arg_count, 1, 1)) {
        r->t->tls = &d->name;
        r->t->tls_server_name = d->args[0].text;
    }
}

static void read_ca_files(struct transport_reading *r, const struct cf_directive *d,
                          const struct cf_token *files, size_t count)
{
    struct slice *more = ARENA_ARRAY(r->b->arena, struct slice, count + 1);
    must(more);
    if (count == 0) {
        cf_error(r->b->diags, &d->name, "\"%.*s\" needs a file", SLICE_ARG(d->name.text));
        return;
    }
    for (size_t i = 1; i < count; i++) {
        more[i - 1] = files[i].text;
    }
    r->t->tls = &d->name;
    r->t->tls_ca_file = files[0].text;
    r->t->more_ca_files = more;
    r->t->more_ca_count = count - 1;
}

static void transport_tls_ca(struct transport_reading *r, const struct cf_directive *d)
{
    read_ca_files(r, d, d->args, d->arg_count);
}

/* tls_trust_pool file <file>... [{ pem_file <file>... }] */
static void transport_tls_trust_pool(struct transport_reading *r, const struct cf_directive *d)
{
    if (!expect_args(r->b, d, d->arg_count, 1, 100)) {
        return;
    }
    if (!slice_eq(d->args[0].text, S("file"))) {
        cf_error(r->b->diags, &d->args[0], "tls_trust_pool is file <file>...; \"%.*s\" is not in"
                 " caddis (yet)", SLICE_ARG(d->args[0].text));
        return;
    }
    if (d->arg_count > 1 || !d->children) {
        read_ca_files(r, d, d->args + 1, d->arg_count - 1);
    } else if (slice_eq(d->children->name.text, S("pem_file")) && !d->children->next) {
        read_ca_files(r, d->children, d->children->args, d->children->arg_count);
    } else {
        cf_error(r->b->diags, &d->children->name, "the block of tls_trust_pool file has pem_file");
    }
}

static void transport_tls_client_auth(struct transport_reading *r, const struct cf_directive *d)
{
    if (d->arg_count == 1) {
        cf_error(r->b->diags, &d->args[0], "tls_client_auth takes a certificate and a key file"
                 " here; automatic certificates are not in caddis (yet)");
    } else if (expect_args(r->b, d, d->arg_count, 2, 2)) {
        r->t->tls = &d->name;
        r->t->tls_cert_file = d->args[0].text;
        r->t->tls_key_file = d->args[1].text;
    }
}

static void transport_write_timeout(struct transport_reading *r, const struct cf_directive *d)
{
    read_duration(r, d, &r->t->limits.write_idle_ms);
}

/* 1.1, 2 (over TLS, where the origin chooses), h2c (in the plain, instead of 1.1). */
static void transport_versions(struct transport_reading *r, const struct cf_directive *d)
{
    unsigned versions = 0;
    for (size_t i = 0; i < d->arg_count; i++) {
        struct slice v = d->args[i].text;
        if (slice_eq(v, S("1.1"))) {
            versions |= ORIGIN_HTTP_1;
        } else if (slice_eq(v, S("2"))) {
            versions |= ORIGIN_HTTP_2;
        } else if (slice_eq(v, S("h2c"))) {
            versions |= ORIGIN_H2C | ORIGIN_HTTP_2;
        } else if (slice_eq(v, S("3")) && d->arg_count > 1) {
            cf_warning(r->b->diags, &d->args[i], "HTTP/3 towards origins is not in caddis (yet);"
                       " the other versions are used");
        } else {
            cf_error(r->b->diags, &d->args[i], "versions are 1.1, 2 and h2c, not \"%.*s\"",
                     SLICE_ARG(v));
        }
    }
    if (d->arg_count == 0) {
        cf_error(r->b->diags, &d->name, "versions needs one of 1.1, 2 and h2c");
    }
    r->t->versions = versions;
}

static void transport_max_conns(struct transport_reading *r, const struct cf_directive *d)
{
    if (expect_args(r->b, d, d->arg_count, 1, 1) &&
        !slice_u64(d->args[0].text, 1000 * 1000, &r->t->connections_max)) {
        cf_error(r->b->diags, &d->args[0], "\"%.*s\" is no number of connections",
                 SLICE_ARG(d->args[0].text));
    }
}

/* Caddy's tuning of its own buffers and probes: nothing is lost without it. */
static void transport_harmless(struct transport_reading *r, const struct cf_directive *d)
{
    cf_warning(r->b->diags, &d->name, "\"%.*s\" has no meaning in caddis and is left out",
               SLICE_ARG(d->name.text));
}

/* `compression off` and `tls_renegotiation never` ask for what is always so here. */
static void transport_always(struct transport_reading *r, const struct cf_directive *d)
{
    bool compression = slice_eq(d->name.text, S("compression"));
    struct slice want = compression ? S("off") : S("never");
    if (expect_args(r->b, d, d->arg_count, 1, 1) && !slice_eq(d->args[0].text, want)) {
        cf_error(r->b->diags, &d->args[0], "\"%.*s\" can only be %.*s here",
                 SLICE_ARG(d->name.text), SLICE_ARG(want));
    }
}

static const struct {
    struct slice name;
    transport_fn *read;
} transport_options[] = {
    {S_INIT("dial_timeout"), transport_dial_timeout},
    {S_INIT("response_header_timeout"), transport_response_header_timeout},
    {S_INIT("read_timeout"), transport_read_timeout},
    {S_INIT("keepalive"), transport_keepalive},
    {S_INIT("keepalive_idle_conns"), transport_keepalive_idle_conns},
    {S_INIT("keepalive_idle_conns_per_host"), transport_keepalive_idle_conns},
    {S_INIT("max_response_header"), transport_max_response_header},
    {S_INIT("proxy_protocol"), transport_proxy_protocol},
    {S_INIT("resolvers"), transport_resolvers},
    {S_INIT("dial_fallback_delay"), transport_dial_fallback_delay},
    {S_INIT("tls"), transport_tls},
    {S_INIT("tls_insecure_skip_verify"), transport_tls_insecure},
    {S_INIT("tls_server_name"), transport_tls_server_name},
    {S_INIT("tls_trusted_ca_certs"), transport_tls_ca},
    {S_INIT("tls_trust_pool"), transport_tls_trust_pool},
    {S_INIT("tls_client_auth"), transport_tls_client_auth},
    {S_INIT("write_timeout"), transport_write_timeout},
    {S_INIT("max_conns_per_host"), transport_max_conns},
    {S_INIT("versions"), transport_versions},
    {S_INIT("read_buffer"), transport_harmless},
    {S_INIT("write_buffer"), transport_harmless},
    {S_INIT("keepalive_interval"), transport_harmless},
    {S_INIT("expect_continue_timeout"), transport_harmless},
    {S_INIT("tls_timeout"), transport_harmless},
    {S_INIT("compression"), transport_always},
    {S_INIT("tls_renegotiation"), transport_always},
};

static void parse_transport_option(struct transport_reading *r, const struct cf_directive *d)
{
    struct slice names[ARRAY_LEN(transport_options)];
    for (size_t i = 0; i < ARRAY_LEN(transport_options); i++) {
        names[i] = transport_options[i].name;
        if (slice_eq(d->name.text, names[i])) {
            transport_options[i].read(r, d);
            return;
        }
    }
    struct cf_diag *diag = cf_error(r->b->diags, &d->name,
                                    "the transport option \"%.*s\" is not in caddis (yet)",
                                    SLICE_ARG(d->name.text));
    if (diag) {
        cf_did_you_mean(r->b->diags, diag, d->name.text, names, ARRAY_LEN(names));
    }
}

static void parse_transport(struct build *b, struct transport *t, const struct cf_directive *d)
{
    if (!expect_args(b, d, d->arg_count, 1, 1)) {
        return;
    }
    if (!slice_eq(d->args[0].text, S("http"))) {
        cf_error(b->diags, &d->args[0], "the transport is http; \"%.*s\" is not in caddis (yet)",
                 SLICE_ARG(d->args[0].text));
        return;
    }
    struct transport_reading r = {b, t};
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        parse_transport_option(&r, o);
    }
}

/* ---- the directive --------------------------------------------------------------------------- */

#define OPTION_NAMES_MAX 64

static void unknown_option(struct build *b, const struct cf_directive *d)
{
    struct slice names[OPTION_NAMES_MAX] = {S("to"), S("transport")};
    size_t count = 2 + reverse_proxy_option_names(names + 2, OPTION_NAMES_MAX - 2);
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
        if (slice_eq(elsewhere[i], d->name.text)) {
            cf_error(b->diags, &d->name,
                     "reverse_proxy's \"%.*s\" is Caddy's and not yet in caddis",
                     SLICE_ARG(d->name.text));
            return;
        }
    }
    struct cf_diag *diag = cf_error(b->diags, &d->name, "\"reverse_proxy\" has no option \"%.*s\"",
                                    SLICE_ARG(d->name.text));
    if (diag) {
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
        parse_transport(r->b, t, d);
    } else if (!reverse_proxy_read_option(r, d)) {
        unknown_option(r->b, d);
    }
}

bool reverse_proxy_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                         size_t count, struct handler *out)
{
    unsigned errors = b->diags->errors;
    struct drafts drafts = {.count = 0};
    struct transport t = {
        .limits = {.head = {.head_bytes_max = RESPONSE_HEAD_MAX,
                            .fields_max = FIELDS_FROM_PEER_MAX}},
        .versions = ORIGIN_HTTP_1 | ORIGIN_HTTP_2,
        .dial_timeout_ms = DIAL_TIMEOUT_MS,
        .keepalive_idle_ms = KEEPALIVE_IDLE_MS,
        .keepalive_max = KEEPALIVE_MAX,
    };
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
    make_origins(&r, &drafts, &t);
    reverse_proxy_reading_end(&r, d);
    if (b->diags->errors != errors) {
        reverse_proxy_ops.release(p);
        return false;
    }
    return true;
}
