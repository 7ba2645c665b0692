/* Reading of `transport ... { ... }`; see reverse_proxy_transport.h. A table of names and readers;
 * what Caddy has there and caddis has not is a warning where nothing is lost without it, else an
 * error. */
#include "proxy/handler/reverse_proxy_transport.h"

#include "proxy/handler/directives.h"
#include "proxy/handler/fastcgi.h"
#include "proxy/handler/reverse_proxy_dynamic.h"
#include "proxy/tls/policy.h"

#define DIAL_TIMEOUT_MS 3000
#define KEEPALIVE_IDLE_MS (120 * 1000)
#define KEEPALIVE_MAX 128
#define CURVES_MAX 8
#define RESPONSE_HEAD_MAX ((size_t)64 * 1024)

void transport_init(struct transport *t)
{
    *t = (struct transport){
        .limits = {.head = {.head_bytes_max = RESPONSE_HEAD_MAX,
                            .fields_max = FIELDS_FROM_PEER_MAX}},
        .versions = ORIGIN_HTTP_1 | ORIGIN_HTTP_2,
        .dial_timeout_ms = DIAL_TIMEOUT_MS,
        .keepalive_idle_ms = KEEPALIVE_IDLE_MS,
        .keepalive_max = KEEPALIVE_MAX,
    };
}

bool transport_wants_tls(const struct transport *t, uint16_t port)
{
    for (size_t i = 0; i < t->tls_except_count; i++) {
        if (t->tls_except_ports[i] == port) {
            return false;
        }
    }
    return t->tls != NULL;
}

struct tls_client *transport_tls_client(struct build *b, const struct cf_token *at,
                                        const struct transport *t)
{
    static const struct slice alpn[] = {S_INIT("h2"), S_INIT("http/1.1")};
    bool only_1 = t->versions == ORIGIN_HTTP_1;
    bool only_2 = t->versions == ORIGIN_HTTP_2;
    struct tls_client_config config = {
        .alpn = only_1 ? alpn + 1 : alpn,
        .alpn_count = only_1 || only_2 ? 1 : 2,
        .insecure_skip_verify = t->tls_insecure,
        .server_name = t->tls_server_name,
        .ca_file = t->tls_ca_file,
        .more_ca_files = t->more_ca_files,
        .more_ca_count = t->more_ca_count,
        .cert_file = t->tls_cert_file,
        .key_file = t->tls_key_file,
        .groups = t->tls_groups,
    };
    struct err err;
    struct tls_client *client = tls_client_new(&config, &err);
    if (!client) {
        cf_error(b->diags, at, "TLS to the origin cannot be prepared: %s", err.text);
    }
    return client;
}

struct transport_reading {
    struct build *b;
    struct transport *t;
    bool idle_conns_set;
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

/* How many idle connections are kept: Caddy counts them all together and by host, caddis by worker
 * and origin; the smaller of the two counts. */
static void transport_keepalive_idle_conns(struct transport_reading *r,
                                           const struct cf_directive *d)
{
    uint64_t v;
    if (!expect_args(r->b, d, d->arg_count, 1, 1)) {
        return;
    }
    if (!slice_u64(d->args[0].text, 100000, &v)) {
        cf_error(r->b->diags, &d->args[0], "\"%.*s\" is no number of connections",
                 SLICE_ARG(d->args[0].text));
        return;
    }
    if (!r->idle_conns_set || v < r->t->keepalive_max) {
        r->t->keepalive_max = (unsigned)v;
    }
    r->idle_conns_set = true;
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
        struct slice name = d->args[0].text;
        r->t->tls = &d->name;
        if (slice_find(name, '{') == SLICE_NPOS) {
            r->t->tls_server_name = name;
        } else if (!slice_eq(name, S("{http.reverse_proxy.upstream.host}")) &&
                   !slice_eq(name, S("{rp.upstream.host}"))) { /* that is what it is anyway */
            r->t->tls_name_template = template_compile(r->b->arena, &d->args[0], r->b->diags);
            if (r->t->tls_name_template && template_names_origin(r->t->tls_name_template)) {
                cf_error(r->b->diags, &d->args[0], "of the origin's placeholders only"
                         " {http.reverse_proxy.upstream.host} is for tls_server_name");
            }
        }
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

/* An address of this machine, perhaps with a port; origins of the other family cannot be reached
 * from it. */
static void transport_local_address(struct transport_reading *r, const struct cf_directive *d)
{
    if (!expect_args(r->b, d, d->arg_count, 1, 1)) {
        return;
    }
    struct slice text = d->args[0].text;
    struct slice port = S("0");
    size_t colon = slice_rfind(text, ':');
    uint64_t v = 0;
    if (slice_starts(text, S("["))) {
        size_t end = slice_find(text, ']');
        port = end != SLICE_NPOS && end + 1 < text.n ? slice_from(text, end + 2) : port;
        text = end == SLICE_NPOS ? S("") : slice_of(text.p + 1, end - 1);
    } else if (colon != SLICE_NPOS && slice_find(text, ':') == colon) {
        port = slice_from(text, colon + 1);
        text = slice_upto(text, colon);
    }
    if (!slice_u64(port, 65535, &v) || !addr_parse_ip(text, (uint16_t)v, &r->t->local)) {
        cf_error(r->b->diags, &d->args[0], "\"%.*s\" is no IP address of this machine, such as"
                 " 192.0.2.1 or 192.0.2.1:4000", SLICE_ARG(d->args[0].text));
    }
}

static void transport_tls_timeout(struct transport_reading *r, const struct cf_directive *d)
{
    read_duration(r, d, &r->t->tls_timeout_ms);
}

/* Those that this machine's OpenSSL does not have are left out with a warning. */
static void transport_tls_curves(struct transport_reading *r, const struct cf_directive *d)
{
    struct slice all = S("");
    if (!expect_args(r->b, d, d->arg_count, 1, CURVES_MAX)) {
        return;
    }
    for (size_t i = 0; i < d->arg_count; i++) {
        struct slice group;
        switch (tls_group_find(d->args[i].text, &group)) {
        case TLS_GROUP_OK:
            all = arena_printf(r->b->arena, "%.*s%s%.*s", SLICE_ARG(all), all.n ? ":" : "",
                               SLICE_ARG(group));
            break;
        case TLS_GROUP_MISSING:
            cf_warning(r->b->diags, &d->args[i], "this machine's OpenSSL does not have %.*s",
                       SLICE_ARG(d->args[i].text));
            break;
        case TLS_GROUP_UNKNOWN:
            cf_error(r->b->diags, &d->args[i], "\"%.*s\" is none of x25519mlkem768, x25519,"
                     " secp256r1, secp384r1, secp521r1", SLICE_ARG(d->args[i].text));
            break;
        }
    }
    r->t->tls = &d->name;
    r->t->tls_groups = all;
}

static void transport_tls_except_ports(struct transport_reading *r, const struct cf_directive *d)
{
    uint16_t *ports = ARENA_ARRAY(r->b->arena, uint16_t, d->arg_count + 1);
    must(ports);
    if (!expect_args(r->b, d, d->arg_count, 1, 100)) {
        return;
    }
    for (size_t i = 0; i < d->arg_count; i++) {
        uint64_t v = 0;
        if (!slice_u64(d->args[i].text, 65535, &v) || v == 0) {
            cf_error(r->b->diags, &d->args[i], "\"%.*s\" is no port", SLICE_ARG(d->args[i].text));
        }
        ports[i] = (uint16_t)v;
    }
    r->t->tls = &d->name;
    r->t->tls_except_ports = ports;
    r->t->tls_except_count = d->arg_count;
}

/* Origins are reached directly; HTTP_PROXY and its like in the environment are not looked at. */
static void transport_network_proxy(struct transport_reading *r, const struct cf_directive *d)
{
    bool none = d->arg_count == 1 && slice_eq(d->args[0].text, S("none"));
    if (!none) {
        cf_error(r->b->diags, &d->name, "origins behind a forward proxy are not in caddis;"
                 " only network_proxy none is");
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
    {S_INIT("tls_timeout"), transport_tls_timeout},
    {S_INIT("tls_curves"), transport_tls_curves},
    {S_INIT("tls_except_ports"), transport_tls_except_ports},
    {S_INIT("local_address"), transport_local_address},
    {S_INIT("network_proxy"), transport_network_proxy},
    {S_INIT("forward_proxy_url"), transport_network_proxy}, /* its old name */
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

static void read_fastcgi_option(struct transport_reading *r, const struct cf_directive *d)
{
    static const struct {
        struct slice name;
        transport_fn *read;
    } timeouts[] = {{S_INIT("dial_timeout"), transport_dial_timeout},
                    {S_INIT("read_timeout"), transport_read_timeout},
                    {S_INIT("write_timeout"), transport_write_timeout}};
    struct slice names[16];
    size_t count = fastcgi_option_names(names, 16 - ARRAY_LEN(timeouts));
    if (fastcgi_read_option(r->b, r->t->fastcgi, d)) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(timeouts); i++) {
        names[count++] = timeouts[i].name;
        if (slice_eq(d->name.text, timeouts[i].name)) {
            timeouts[i].read(r, d);
            return;
        }
    }
    struct cf_diag *diag = cf_error(r->b->diags, &d->name, "transport fastcgi has no option"
                                    " \"%.*s\"", SLICE_ARG(d->name.text));
    if (diag) {
        cf_did_you_mean(r->b->diags, diag, d->name.text, names, count);
    }
}

/* Scripts are waited for as long as is said of every read, the first included. */
static void read_fastcgi(struct transport_reading *r, const struct cf_directive *d)
{
    r->t->fastcgi = fastcgi_new(r->b, &d->name);
    r->t->versions = ORIGIN_HTTP_1;
    r->t->keepalive_max = 0;
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        read_fastcgi_option(r, o);
    }
    r->t->limits.response_header_timeout_ms = r->t->limits.read_idle_ms;
}

void transport_read(struct build *b, struct transport *t, const struct cf_directive *d)
{
    if (!expect_args(b, d, d->arg_count, 1, 1)) {
        return;
    }
    struct transport_reading r = {.b = b, .t = t};
    if (slice_eq(d->args[0].text, S("fastcgi"))) {
        read_fastcgi(&r, d);
        return;
    }
    if (!slice_eq(d->args[0].text, S("http"))) {
        cf_error(b->diags, &d->args[0], "the transport is http or fastcgi; \"%.*s\" is not in"
                 " caddis (yet)", SLICE_ARG(d->args[0].text));
        return;
    }
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        parse_transport_option(&r, o);
    }
}
