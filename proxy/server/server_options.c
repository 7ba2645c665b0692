/* Reading of `servers`: a row of the table for each option. */
#include "proxy/server/server_options.h"

#include "proxy/server/listener_wrappers.h"
#include "proxy/server/options.h"

#define H2_STREAMS_MAX 128u
#define KEEPALIVE_SECONDS_MAX 32767
#define KEEPALIVE_COUNT_MAX 127

struct server_reading {
    struct option_reading *r;
    struct server_options *s;
};

typedef void server_option_fn(struct server_reading *r, const struct cf_directive *d);

void server_options_init(struct server_options *s)
{
    static struct slice forwarded_for[] = {S_INIT("X-Forwarded-For")};
    *s = (struct server_options){
        .client_ip = {.field_names = forwarded_for, .field_count = 1},
        .protocols = PROTOCOL_H2,
        .limits = {.head = {.head_bytes_max = 64 * 1024, .fields_max = FIELDS_FROM_PEER_MAX},
                   .header_timeout_ms = 30 * 1000,
                   .idle_timeout_ms = 5 * 60 * 1000,
                   .body_idle_ms = 60 * 1000,
                   .body_min_rate = 64,
                   .write_idle_ms = 10 * 60 * 1000},
    };
}

struct h2_server_limits server_options_h2(const struct server_options *s)
{
    const struct h1_server_limits *l = &s->limits;
    return (struct h2_server_limits){
        .head_bytes_max = l->head.head_bytes_max,
        .fields_max = l->head.fields_max,
        .streams_max = H2_STREAMS_MAX,
        .header_timeout_ms = l->header_timeout_ms,
        .idle_timeout_ms = l->idle_timeout_ms,
        .body_idle_ms = l->body_idle_ms,
        .write_idle_ms = l->write_idle_ms,
        .body_min_rate = l->body_min_rate,
    };
}

/* ---- times ----------------------------------------------------------------------------------- */

static void opt_timeouts(struct server_reading *r, const struct cf_directive *d)
{
    struct h1_server_limits *l = &r->s->limits;
    const struct {
        struct slice name;
        int64_t *ms;
    } times[] = {
        {S("read_header"), &l->header_timeout_ms}, {S("read_body"), &r->s->read_body_ms},
        {S("read_body_idle"), &l->body_idle_ms},   {S("write"), &r->s->write_ms},
        {S("write_idle"), &l->write_idle_ms},      {S("idle"), &l->idle_timeout_ms},
    };
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        size_t i = 0;
        while (i < ARRAY_LEN(times) && !slice_eq(c->name.text, times[i].name)) {
            i++;
        }
        if (i < ARRAY_LEN(times)) {
            option_duration(r->r, c, times[i].ms);
        } else {
            cf_error(r->r->diags, &c->name, "timeouts has read_header, read_body, read_body_idle,"
                     " write, write_idle and idle, not \"%.*s\"", SLICE_ARG(c->name.text));
        }
    }
}

/* Seconds of the kernel's; what Caddy has as a duration. Negative, off: the kernel's longest. */
static void keepalive_seconds(struct server_reading *r, const struct cf_directive *d, unsigned *out)
{
    int64_t ms = 0;
    option_duration(r->r, d, &ms);
    if (ms) {
        int64_t s = (ms + 999) / 1000;
        *out = s > KEEPALIVE_SECONDS_MAX ? KEEPALIVE_SECONDS_MAX : (unsigned)s;
    }
}

static void opt_keepalive_idle(struct server_reading *r, const struct cf_directive *d)
{
    keepalive_seconds(r, d, &r->s->keepalive_idle_s);
}

static void opt_keepalive_interval(struct server_reading *r, const struct cf_directive *d)
{
    keepalive_seconds(r, d, &r->s->keepalive_interval_s);
}

static void opt_keepalive_count(struct server_reading *r, const struct cf_directive *d)
{
    uint64_t v = 0;
    if (option_args(r->r, d, 1, 1) &&
        (!slice_u64(d->args[0].text, KEEPALIVE_COUNT_MAX, &v) || v == 0)) {
        cf_error(r->r->diags, &d->args[0], "keepalive_count is a number from 1 to %d",
                 KEEPALIVE_COUNT_MAX);
    }
    r->s->keepalive_count = (unsigned)v;
}

/* ---- who the client is ----------------------------------------------------------------------- */

static void opt_trusted_proxies(struct server_reading *r, const struct cf_directive *d)
{
    if (d->arg_count < 2) {
        cf_error(r->r->diags, &d->name, "trusted_proxies needs static and ranges: trusted_proxies"
                 " static private_ranges");
        return;
    }
    if (!option_args(r->r, d, 2, IP_RANGES_MAX)) {
        return;
    }
    if (!slice_eq(d->args[0].text, S("static"))) {
        cf_error(r->r->diags, &d->args[0], "trusted_proxies takes static and ranges; the source"
                 " \"%.*s\" is not in caddis", SLICE_ARG(d->args[0].text));
        return;
    }
    for (size_t i = 1; i < d->arg_count; i++) {
        (void)ip_ranges_add(r->r->arena, &r->s->client_ip.trusted, &d->args[i], r->r->diags);
    }
}

static void opt_client_ip_headers(struct server_reading *r, const struct cf_directive *d)
{
    struct client_ip_policy *p = &r->s->client_ip;
    if (!option_args(r->r, d, 1, 16)) {
        return;
    }
    p->field_names = ARENA_ARRAY(r->r->arena, struct slice, d->arg_count);
    must(p->field_names);
    p->field_count = d->arg_count;
    for (size_t i = 0; i < d->arg_count; i++) {
        p->field_names[i] = d->args[i].text;
        if (!field_name_valid(d->args[i].text)) {
            cf_error(r->r->diags, &d->args[i], "\"%.*s\" is no field name",
                     SLICE_ARG(d->args[i].text));
        }
    }
}

static void opt_trusted_strict(struct server_reading *r, const struct cf_directive *d)
{
    r->s->client_ip.strict = option_args(r->r, d, 0, 0);
}

static void opt_trusted_unix(struct server_reading *r, const struct cf_directive *d)
{
    r->s->client_ip.trust_unix = option_args(r->r, d, 0, 0);
}

/* ---- the others ------------------------------------------------------------------------------ */

static void opt_protocols(struct server_reading *r, const struct cf_directive *d)
{
    bind_protocols_read(r->r->diags, d, &r->s->protocols);
}

static void opt_strict_sni_host(struct server_reading *r, const struct cf_directive *d)
{
    if (!option_args(r->r, d, 0, 1)) {
        return;
    }
    if (d->arg_count == 0 || slice_eq(d->args[0].text, S("on"))) {
        r->s->strict_sni = STRICT_SNI_ON;
    } else if (slice_eq(d->args[0].text, S("insecure_off"))) {
        r->s->strict_sni = STRICT_SNI_OFF;
    } else {
        cf_error(r->r->diags, &d->args[0], "strict_sni_host is on or insecure_off");
    }
}

static void opt_listener_wrappers(struct server_reading *r, const struct cf_directive *d)
{
    r->s->proxy = listener_wrappers_read(r->r->arena, r->r->diags, d);
}

static void opt_max_header_size(struct server_reading *r, const struct cf_directive *d)
{
    uint64_t v = 0;
    if (option_args(r->r, d, 1, 1) &&
        (!cf_parse_size(d->args[0].text, &v) || v < 1024 || v > (512u << 10))) {
        cf_error(r->r->diags, &d->args[0], "max_header_size is a size from 1KiB to 512KiB");
    } else if (v) {
        r->s->limits.head.head_bytes_max = (size_t)v;
    }
}

static void opt_max_header_fields(struct server_reading *r, const struct cf_directive *d)
{
    uint64_t v = 0;
    if (option_args(r->r, d, 1, 1) &&
        (!slice_u64(d->args[0].text, FIELDS_MAX / 2 + FIELDS_MAX / 4, &v) || v < 16)) {
        cf_error(r->r->diags, &d->args[0], "max_header_fields is a number from 16 to 192");
    } else if (v) {
        r->s->limits.head.fields_max = (unsigned)v;
    }
}

static void opt_max_request_body(struct server_reading *r, const struct cf_directive *d)
{
    if (option_args(r->r, d, 1, 1) && (!cf_parse_size(d->args[0].text, &r->s->max_request_body) ||
                                       r->s->max_request_body == 0)) {
        cf_error(r->r->diags, &d->args[0], "max_request_body is a size such as 50MiB");
    }
}

/* Connections are counted over all listeners. */
static void opt_max_connections(struct server_reading *r, const struct cf_directive *d)
{
    if (r->s->address.n) {
        cf_error(r->r->diags, &d->name, "max_connections is for all listeners together: it belongs"
                 " into servers without an address");
    } else if (option_args(r->r, d, 1, 1) &&
               !slice_u64(d->args[0].text, 100 * 1000 * 1000, &r->r->o->max_connections)) {
        cf_error(r->r->diags, &d->args[0], "max_connections is a number");
    }
}

static void opt_server_metrics(struct server_reading *r, const struct cf_directive *d)
{
    metrics_option(r->r, d);
}

static void opt_log_credentials(struct server_reading *r, const struct cf_directive *d)
{
    r->s->log_credentials = option_args(r->r, d, 0, 0);
}

/* Caddy's name for a server in its JSON and its metrics, which have listeners' names here. */
static void opt_name(struct server_reading *r, const struct cf_directive *d)
{
    (void)option_args(r->r, d, 1, 1);
}

/* What is so anyway. */
static void opt_enable_full_duplex(struct server_reading *r, const struct cf_directive *d)
{
    (void)option_args(r->r, d, 0, 0);
}

static void opt_0rtt(struct server_reading *r, const struct cf_directive *d)
{
    if (option_args(r->r, d, 1, 1) && !slice_eq(d->args[0].text, S("off"))) {
        cf_error(r->r->diags, &d->args[0], "0rtt takes off");
    }
}

static void opt_trace(struct server_reading *r, const struct cf_directive *d)
{
    cf_warning(r->r->diags, &d->name, "caddis has no trace of handlers in its log; \"caddis explain"
               " URL\" shows which ones a request meets");
}

static const struct {
    struct slice name;
    server_option_fn *read; /* NULL: Caddy's, not here */
} table[] = {
    {S_INIT("timeouts"), opt_timeouts},
    {S_INIT("protocols"), opt_protocols},
    {S_INIT("listener_wrappers"), opt_listener_wrappers},
    {S_INIT("trusted_proxies"), opt_trusted_proxies},
    {S_INIT("trusted_proxies_strict"), opt_trusted_strict},
    {S_INIT("trusted_proxies_unix"), opt_trusted_unix},
    {S_INIT("client_ip_headers"), opt_client_ip_headers},
    {S_INIT("strict_sni_host"), opt_strict_sni_host},
    {S_INIT("max_header_size"), opt_max_header_size},
    {S_INIT("max_header_fields"), opt_max_header_fields},
    {S_INIT("max_request_body"), opt_max_request_body},
    {S_INIT("max_connections"), opt_max_connections},
    {S_INIT("keepalive_idle"), opt_keepalive_idle},
    {S_INIT("keepalive_interval"), opt_keepalive_interval},
    {S_INIT("keepalive_count"), opt_keepalive_count},
    {S_INIT("log_credentials"), opt_log_credentials},
    {S_INIT("metrics"), opt_server_metrics},
    {S_INIT("name"), opt_name},
    {S_INIT("enable_full_duplex"), opt_enable_full_duplex},
    {S_INIT("0rtt"), opt_0rtt},
    {S_INIT("trace"), opt_trace},
    {S_INIT("packet_conn_wrappers"), NULL},
    {S_INIT("expected_underscore_headers"), NULL},
    {S_INIT("expected_dot_headers"), NULL},
};

bool server_options_have(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (table[i].read && slice_eq(name, table[i].name)) {
            return !slice_eq(name, S("name")) && !slice_eq(name, S("metrics"));
        }
    }
    return false;
}

static void read_one(struct server_reading *r, const struct cf_directive *d)
{
    struct slice names[ARRAY_LEN(table)];
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        names[i] = table[i].name;
        if (!slice_eq(d->name.text, table[i].name)) {
            continue;
        }
        if (table[i].read) {
            table[i].read(r, d);
        } else {
            cf_error(r->r->diags, &d->name, "the servers option \"%.*s\" is Caddy's and not yet in"
                     " caddis", SLICE_ARG(d->name.text));
        }
        return;
    }
    struct cf_diag *diag = cf_error(r->r->diags, &d->name, "servers has no option \"%.*s\"",
                                    SLICE_ARG(d->name.text));
    cf_did_you_mean(r->r->diags, diag, d->name.text, names, ARRAY_LEN(names));
}

/* ---- which listener -------------------------------------------------------------------------- */

/* ":443", "tcp/:443", "1.2.3.4:443", "[::1]:443", "unix//path" as struct server_options has it. */
static bool read_address(struct option_reading *r, const struct cf_token *t, struct slice *out)
{
    struct slice text = t->text;
    struct addr addr;
    uint64_t port = 0;
    char buf[ADDR_TEXT_BYTES];
    if (slice_starts(text, S("unix/"))) {
        text = slice_from(text, strlen("unix/"));
        *out = slice_upto(text, slice_find(text, '|'));
        return addr_unix(*out, &addr) && out->p[0] == '/';
    }
    text = slice_starts(text, S("tcp/")) ? slice_from(text, strlen("tcp/")) : text;
    size_t colon = slice_rfind(text, ':');
    if (colon == SLICE_NPOS || !slice_u64(slice_from(text, colon + 1), 65535, &port) || !port) {
        return false;
    }
    struct slice host = slice_upto(text, colon);
    if (!host.n) {
        *out = text;
        return true;
    }
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
        host = slice_of(host.p + 1, host.n - 2);
    }
    if (!addr_parse_ip(host, (uint16_t)port, &addr)) {
        return false;
    }
    *out = arena_copy(r->arena, addr_text(&addr, buf));
    return true;
}

static bool is_there(struct option_reading *r, struct slice address)
{
    for (const struct server_options *s = r->o->listed_servers; s; s = s->next) {
        if (slice_eq(s->address, address)) {
            return true;
        }
    }
    return !address.n && r->o->servers.at;
}

void server_options_read(struct option_reading *r, const struct cf_directive *d)
{
    struct server_options *s = &r->o->servers;
    struct slice address = S("");
    if (!option_args(r, d, 0, 1)) {
        return;
    }
    if (d->arg_count && !read_address(r, &d->args[0], &address)) {
        struct cf_diag *diag = cf_error(r->diags, &d->args[0], "\"%.*s\" is no listener's address",
                                        SLICE_ARG(d->args[0].text));
        if (diag) {
            diag->hint = S("servers :443 { ... }, or with what bind has: servers 127.0.0.1:443");
        }
        return;
    }
    if (is_there(r, address)) {
        cf_error(r->diags, &d->name, d->arg_count ? "servers for this address is there already"
                                                  : "servers is there already");
        return;
    }
    if (d->arg_count) {
        s = ARENA_NEW(r->arena, struct server_options);
        must(s);
        server_options_init(s);
        s->next = r->o->listed_servers;
        r->o->listed_servers = s;
    }
    s->address = address;
    s->at = d->arg_count ? &d->args[0] : &d->name;
    struct server_reading reading = {r, s};
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        read_one(&reading, c);
    }
}
