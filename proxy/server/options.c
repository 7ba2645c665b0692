/* Every option is a row in the table below: its name, and the function that reads it. */
#include "proxy/server/options.h"

#include "proxy/handler/directive_order.h"
#include "proxy/net/addr.h"
#include "proxy/server/listener_wrappers.h"
#include "proxy/server/storage.h"

struct reading {
    struct arena *arena;
    struct cf_diags *diags;
    struct options *o;
};

typedef void option_fn(struct reading *r, const struct cf_directive *d);

static bool args_between(struct reading *r, const struct cf_directive *d, size_t min, size_t max)
{
    if (d->arg_count < min) {
        cf_error(r->diags, &d->name, "the option \"%.*s\" needs a value", SLICE_ARG(d->name.text));
    } else if (d->arg_count > max) {
        cf_error(r->diags, &d->args[max], "the option \"%.*s\" takes %s", SLICE_ARG(d->name.text),
                 max == 0 ? "no value" : "fewer values");
    }
    return d->arg_count >= min && d->arg_count <= max;
}

static void read_duration(struct reading *r, const struct cf_directive *d, int64_t *out)
{
    if (args_between(r, d, 1, 1) && !cf_parse_duration(d->args[0].text, out)) {
        cf_error(r->diags, &d->args[0], "\"%.*s\" is no duration such as 30s, 5m or 1h30m",
                 SLICE_ARG(d->args[0].text));
    }
}

static void read_port(struct reading *r, const struct cf_directive *d, uint16_t *out)
{
    uint64_t v;
    if (!args_between(r, d, 1, 1)) {
        return;
    }
    if (!slice_u64(d->args[0].text, 65535, &v) || v == 0) {
        cf_error(r->diags, &d->args[0], "\"%.*s\" is no port from 1 to 65535",
                 SLICE_ARG(d->args[0].text));
        return;
    }
    *out = (uint16_t)v;
}

static void read_text(struct reading *r, const struct cf_directive *d, struct slice *out)
{
    if (args_between(r, d, 1, 1)) {
        *out = d->args[0].text;
    }
}

static void opt_debug(struct reading *r, const struct cf_directive *d)
{
    r->o->debug = args_between(r, d, 0, 0);
}

static void opt_http_port(struct reading *r, const struct cf_directive *d)
{
    read_port(r, d, &r->o->http_port);
}

static void opt_https_port(struct reading *r, const struct cf_directive *d)
{
    read_port(r, d, &r->o->https_port);
}

static void opt_default_bind(struct reading *r, const struct cf_directive *d)
{
    if (!args_between(r, d, 1, BIND_MAX)) {
        return;
    }
    for (size_t i = 0; i < d->arg_count; i++) {
        struct addr unused;
        struct slice ip = d->args[i].text;
        if (ip.n > 2 && ip.p[0] == '[' && ip.p[ip.n - 1] == ']') {
            ip = slice_of(ip.p + 1, ip.n - 2);
        }
        if (!addr_parse_ip(ip, 1, &unused)) {
            cf_error(r->diags, &d->args[i], "default_bind takes IP addresses, not \"%.*s\"",
                     SLICE_ARG(d->args[i].text));
            continue;
        }
        r->o->default_bind[i] = ip;
    }
    r->o->default_bind_count = d->arg_count;
}

static void opt_auto_https(struct reading *r, const struct cf_directive *d)
{
    if (!args_between(r, d, 1, 1)) {
        return;
    }
    struct slice v = d->args[0].text;
    if (slice_eq(v, S("off"))) {
        r->o->auto_https = AUTO_HTTPS_OFF;
    } else if (slice_eq(v, S("disable_redirects"))) {
        r->o->auto_https = AUTO_HTTPS_NO_REDIRECTS;
    } else if (slice_eq(v, S("disable_certs")) || slice_eq(v, S("ignore_loaded_certs"))) {
        cf_error(r->diags, &d->args[0], "auto_https %.*s is Caddy's and not yet in caddis",
                 SLICE_ARG(v));
    } else {
        cf_error(r->diags, &d->args[0], "auto_https takes off or disable_redirects");
    }
}

static void opt_email(struct reading *r, const struct cf_directive *d)
{
    read_text(r, d, &r->o->email);
    if (r->o->email.n && slice_find(r->o->email, '@') == SLICE_NPOS) {
        cf_error(r->diags, &d->args[0], "\"%.*s\" is no e-mail address", SLICE_ARG(r->o->email));
    }
}

static void opt_acme_ca(struct reading *r, const struct cf_directive *d)
{
    read_text(r, d, &r->o->acme_ca);
    if (r->o->acme_ca.n && !slice_starts(r->o->acme_ca, S("https://"))) {
        cf_error(r->diags, &d->args[0], "acme_ca is the https:// address of a CA's directory");
    }
}

static void opt_acme_ca_root(struct reading *r, const struct cf_directive *d)
{
    read_text(r, d, &r->o->acme_ca_root);
    if (r->o->acme_ca_root.n) {
        (void)cf_check_file(r->diags, &d->args[0]);
    }
}

static void opt_acme_test_ca(struct reading *r, const struct cf_directive *d)
{
    read_text(r, d, &r->o->acme_test_ca);
    if (r->o->acme_test_ca.n && !slice_starts(r->o->acme_test_ca, S("https://"))) {
        cf_error(r->diags, &d->args[0],
                 "acme_test_ca is the https:// address of a CA's test directory");
    }
}

static void opt_acme_dns(struct reading *r, const struct cf_directive *d)
{
    r->o->acme_dns = d;
}

/* The provider that acme_dns and tls's dns mean when they name none. */
static void opt_dns(struct reading *r, const struct cf_directive *d)
{
    if (d->arg_count == 0) {
        cf_error(r->diags, &d->name, "dns needs the name of a DNS provider");
        return;
    }
    r->o->dns = d;
}

static void opt_tls_resolvers(struct reading *r, const struct cf_directive *d)
{
    struct challenge_settings s = {.dns = NULL};
    struct cf_directive as = *d;
    as.name.text = S("resolvers");
    bool read = challenge_line(r->arena, r->diags, &as, &s);
    must(read);
    r->o->tls_resolvers = s.resolvers;
}

static void opt_issuance(struct reading *r, const struct cf_directive *d)
{
    issuance_option(r->arena, r->diags, d, &r->o->issuance);
}

static void opt_on_certificate(struct reading *r, const struct cf_directive *d)
{
    read_text(r, d, &r->o->on_certificate);
    if (r->o->on_certificate.n && r->o->on_certificate.p[0] != '/') {
        cf_error(r->diags, &d->args[0], "on_certificate is the absolute path of a program");
    }
}

static void opt_acme_eab(struct reading *r, const struct cf_directive *d)
{
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        if (slice_eq(c->name.text, S("key_id"))) {
            read_text(r, c, &r->o->eab_key_id);
        } else if (slice_eq(c->name.text, S("mac_key"))) {
            read_text(r, c, &r->o->eab_mac_key);
        } else {
            cf_error(r->diags, &c->name, "acme_eab has key_id and mac_key");
        }
    }
    if (!r->o->eab_key_id.n || !r->o->eab_mac_key.n) {
        cf_error(r->diags, &d->name, "acme_eab needs a block with key_id and mac_key");
    }
}

/* Read when the logs of sites are: see log_read_own. */
static void opt_log(struct reading *r, const struct cf_directive *d)
{
    if (d->arg_count > 1 || (d->arg_count && !slice_eq(d->args[0].text, S("default")))) {
        struct cf_diag *e = cf_error(r->diags, &d->args[0], "the only log among the global options"
                                     " of caddis is its own: log { ... } or log default { ... }");
        if (e) {
            e->hint = S("a log of requests is a directive of a site");
        }
    } else if (r->o->log) {
        cf_error(r->diags, &d->name, "the option \"log\" is there already");
    } else {
        r->o->log = d;
    }
}

static void opt_storage(struct reading *r, const struct cf_directive *d)
{
    r->o->storage = storage_read(r->arena, d, r->diags);
}

static void opt_admin(struct reading *r, const struct cf_directive *d)
{
    if (!args_between(r, d, 1, 1)) {
        return;
    }
    struct slice v = d->args[0].text;
    struct addr unused;
    if (slice_eq(v, S("off"))) {
        r->o->admin_off = true;
    } else if (slice_starts(v, S("unix/"))) {
        struct slice path = slice_from(v, 5);
        size_t bar = slice_find(path, '|'); /* a mode is Caddy's; ours is always 0600 */
        path = slice_upto(path, bar);
        if (path.n < 2 || path.p[0] != '/' || !addr_unix(path, &unused)) {
            cf_error(r->diags, &d->args[0], "admin takes unix//path/to/socket or off");
            return;
        }
        r->o->admin_path = arena_copy(r->arena, path);
    } else {
        cf_warning(r->diags, &d->args[0], "caddis is controlled through a Unix socket, not a TCP"
                   " port: this address is not opened");
    }
}

static void opt_grace_period(struct reading *r, const struct cf_directive *d)
{
    read_duration(r, d, &r->o->grace_period_ms);
}

static void opt_renew_interval(struct reading *r, const struct cf_directive *d)
{
    read_duration(r, d, &r->o->renew_interval_ms);
}

static void opt_local_certs(struct reading *r, const struct cf_directive *d)
{
    r->o->local_certs = args_between(r, d, 0, 0);
}

static void opt_skip_install_trust(struct reading *r, const struct cf_directive *d)
{
    r->o->skip_install_trust = args_between(r, d, 0, 0);
}

static void opt_default_sni(struct reading *r, const struct cf_directive *d)
{
    struct slice name = S("");
    read_text(r, d, &name);
    r->o->default_sni = arena_lower(r->arena, name);
}

static void opt_order(struct reading *r, const struct cf_directive *d)
{
    r->o->order = r->o->order ? r->o->order : directive_order_new(r->arena);
    directive_order_change(r->o->order, d, r->diags);
}

static void opt_persist_config(struct reading *r, const struct cf_directive *d)
{
    cf_warning(r->diags, &d->name,
               "caddis always reads the Caddyfile; persist_config does nothing");
}

/* Let's Encrypt has ended OCSP, and nothing depends on it. */
static void opt_ocsp(struct reading *r, const struct cf_directive *d)
{
    if (!d->arg_count || !slice_eq(d->args[0].text, S("off"))) {
        cf_warning(r->diags, &d->name, "caddis staples no OCSP answers; %.*s does nothing",
                   SLICE_ARG(d->name.text));
    }
}

static void opt_timeouts(struct reading *r, const struct cf_directive *d)
{
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        struct slice name = c->name.text;
        struct h1_server_limits *l = &r->o->limits;
        if (slice_eq(name, S("read_header"))) {
            read_duration(r, c, &l->header_timeout_ms);
        } else if (slice_eq(name, S("idle"))) {
            read_duration(r, c, &l->idle_timeout_ms);
        } else if (slice_eq(name, S("read_body_idle"))) {
            read_duration(r, c, &l->body_idle_ms);
        } else if (slice_eq(name, S("write_idle"))) {
            read_duration(r, c, &l->write_idle_ms);
        } else {
            cf_error(r->diags, &c->name, "timeouts has read_header, read_body_idle, write_idle and"
                     " idle, not \"%.*s\"", SLICE_ARG(name));
        }
    }
}

static void opt_server_protocols(struct reading *r, const struct cf_directive *d)
{
    bool h1 = false;
    r->o->protocols = 0;
    for (size_t i = 0; i < d->arg_count; i++) {
        struct slice v = d->args[i].text;
        if (slice_eq(v, S("h1"))) {
            h1 = true;
        } else if (slice_eq(v, S("h2"))) {
            r->o->protocols |= PROTOCOL_H2;
        } else if (slice_eq(v, S("h2c"))) {
            r->o->protocols |= PROTOCOL_H2C;
        } else if (slice_eq(v, S("h3"))) {
            cf_warning(r->diags, &d->args[i], "caddis has no HTTP/3 yet; h3 is left out");
        } else {
            cf_error(r->diags, &d->args[i], "protocols are h1, h2, h2c and h3, not \"%.*s\"",
                     SLICE_ARG(v));
        }
    }
    if (!d->arg_count) {
        cf_error(r->diags, &d->name, "protocols needs at least one of h1, h2 and h2c");
    } else if (!h1) {
        cf_error(r->diags, &d->name, "caddis always speaks h1: name it among the protocols");
    }
}

static void opt_trusted_proxies(struct reading *r, const struct cf_directive *d)
{
    if (d->arg_count < 2) {
        cf_error(r->diags, &d->name, "trusted_proxies needs static and ranges: trusted_proxies"
                 " static private_ranges");
        return;
    }
    if (!args_between(r, d, 2, IP_RANGES_MAX)) {
        return;
    }
    if (!slice_eq(d->args[0].text, S("static"))) {
        cf_error(r->diags, &d->args[0], "trusted_proxies takes static and ranges; the source"
                 " \"%.*s\" is not in caddis", SLICE_ARG(d->args[0].text));
        return;
    }
    for (size_t i = 1; i < d->arg_count; i++) {
        (void)ip_ranges_add(r->arena, &r->o->client_ip.trusted, &d->args[i], r->diags);
    }
}

static void opt_client_ip_headers(struct reading *r, const struct cf_directive *d)
{
    struct client_ip_policy *p = &r->o->client_ip;
    if (!args_between(r, d, 1, 16)) {
        return;
    }
    p->field_names = ARENA_ARRAY(r->arena, struct slice, d->arg_count);
    must(p->field_names);
    p->field_count = d->arg_count;
    for (size_t i = 0; i < d->arg_count; i++) {
        p->field_names[i] = d->args[i].text;
        if (!field_name_valid(d->args[i].text)) {
            cf_error(r->diags, &d->args[i], "\"%.*s\" is no field name",
                     SLICE_ARG(d->args[i].text));
        }
    }
}

static void opt_metrics(struct reading *r, const struct cf_directive *d)
{
    r->o->metrics = args_between(r, d, 0, 0);
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        cf_error(r->diags, &c->name, "the option \"%.*s\" of metrics is Caddy's and not yet in"
                 " caddis", SLICE_ARG(c->name.text));
    }
}

/* Those of `servers` that say who the client is; false: d is another option. */
static bool opt_client_ip(struct reading *r, const struct cf_directive *d)
{
    struct slice name = d->name.text;
    if (slice_eq(name, S("trusted_proxies"))) {
        opt_trusted_proxies(r, d);
    } else if (slice_eq(name, S("trusted_proxies_strict"))) {
        r->o->client_ip.strict = args_between(r, d, 0, 0);
    } else if (slice_eq(name, S("trusted_proxies_unix"))) {
        r->o->client_ip.trust_unix = args_between(r, d, 0, 0);
    } else if (slice_eq(name, S("client_ip_headers"))) {
        opt_client_ip_headers(r, d);
    } else {
        return false;
    }
    return true;
}

static void demand_url(struct reading *r, const struct cf_token *t)
{
    struct slice url = t->text;
    if (!slice_starts(url, S("http://")) && !slice_starts(url, S("https://"))) {
        cf_error(r->diags, t, "\"%.*s\" is no URL: http://... or https://...", SLICE_ARG(url));
        return;
    }
    r->o->demand_ask = url;
}

static void demand_names(struct reading *r, const struct cf_directive *d)
{
    struct options *o = r->o;
    size_t count = o->demand_allow_count + d->arg_count;
    struct slice *all = ARENA_ARRAY(r->arena, struct slice, count + 1);
    must(all);
    for (size_t i = 0; i < o->demand_allow_count; i++) {
        all[i] = o->demand_allow[i];
    }
    for (size_t i = 0; i < d->arg_count; i++) {
        all[o->demand_allow_count + i] = arena_lower(r->arena, d->args[i].text);
    }
    o->demand_allow = all;
    o->demand_allow_count = count;
}

/* on_demand_tls { ask <url>; permission http <url>; allow <name>... } */
static void opt_on_demand_tls(struct reading *r, const struct cf_directive *d)
{
    if (!args_between(r, d, 0, 0)) {
        return;
    }
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        struct slice name = c->name.text;
        if (slice_eq(name, S("ask")) && args_between(r, c, 1, 1)) {
            demand_url(r, &c->args[0]);
        } else if (slice_eq(name, S("permission")) && args_between(r, c, 2, 2)) {
            if (slice_eq(c->args[0].text, S("http"))) {
                demand_url(r, &c->args[1]);
            } else {
                cf_error(r->diags, &c->args[0], "permission is http <url>; \"%.*s\" is not in"
                         " caddis", SLICE_ARG(c->args[0].text));
            }
        } else if (slice_eq(name, S("allow")) && args_between(r, c, 1, 10000)) {
            demand_names(r, c);
        } else if (!slice_eq(name, S("ask")) && !slice_eq(name, S("permission")) &&
                   !slice_eq(name, S("allow"))) {
            cf_error(r->diags, &c->name, "on_demand_tls has ask, permission http and allow, not"
                     " \"%.*s\"", SLICE_ARG(name));
        }
    }
}

static void opt_strict_sni_host(struct reading *r, const struct cf_directive *d)
{
    if (!args_between(r, d, 0, 1)) {
        return;
    }
    if (d->arg_count == 0 || slice_eq(d->args[0].text, S("on"))) {
        r->o->strict_sni = STRICT_SNI_ON;
    } else if (slice_eq(d->args[0].text, S("insecure_off"))) {
        r->o->strict_sni = STRICT_SNI_OFF;
    } else {
        cf_error(r->diags, &d->args[0], "strict_sni_host is on or insecure_off");
    }
}

static void opt_servers(struct reading *r, const struct cf_directive *d)
{
    if (d->arg_count > 0) {
        cf_error(r->diags, &d->args[0], "servers with an address is Caddy's and not yet in caddis");
        return;
    }
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        uint64_t v = 0;
        struct slice name = c->name.text;
        if (opt_client_ip(r, c)) {
            continue;
        }
        if (slice_eq(name, S("timeouts"))) {
            opt_timeouts(r, c);
        } else if (slice_eq(name, S("metrics"))) {
            opt_metrics(r, c);
        } else if (slice_eq(name, S("strict_sni_host"))) {
            opt_strict_sni_host(r, c);
        } else if (slice_eq(name, S("protocols"))) {
            opt_server_protocols(r, c);
        } else if (slice_eq(name, S("listener_wrappers"))) {
            r->o->proxy = listener_wrappers_read(r->arena, r->diags, c);
        } else if (slice_eq(name, S("max_header_size"))) {
            if (args_between(r, c, 1, 1) &&
                (!cf_parse_size(c->args[0].text, &v) || v < 1024 || v > (512u << 10))) {
                cf_error(r->diags, &c->args[0], "max_header_size is a size from 1KiB to 512KiB");
            } else if (v) {
                r->o->limits.head.head_bytes_max = (size_t)v;
            }
        } else if (slice_eq(name, S("max_request_body"))) {
            if (args_between(r, c, 1, 1) &&
                (!cf_parse_size(c->args[0].text, &r->o->max_request_body) ||
                 r->o->max_request_body == 0)) {
                cf_error(r->diags, &c->args[0], "max_request_body is a size such as 50MiB");
            }
        } else if (slice_eq(name, S("max_header_fields"))) {
            if (args_between(r, c, 1, 1) &&
                (!slice_u64(c->args[0].text, FIELDS_MAX / 2 + FIELDS_MAX / 4, &v) || v < 16)) {
                cf_error(r->diags, &c->args[0], "max_header_fields is a number from 16 to 192");
            } else if (v) {
                r->o->limits.head.fields_max = (unsigned)v;
            }
        } else if (slice_eq(name, S("max_connections"))) {
            if (args_between(r, c, 1, 1) &&
                !slice_u64(c->args[0].text, 100 * 1000 * 1000, &r->o->max_connections)) {
                cf_error(r->diags, &c->args[0], "max_connections is a number");
            }
        } else {
            cf_error(r->diags, &c->name,
                     "the servers option \"%.*s\" is not in caddis (yet); it has"
                     " timeouts, protocols, listener_wrappers, max_header_size, max_header_fields,"
                     " max_request_body, max_connections, metrics, trusted_proxies,"
                     " strict_sni_host, trusted_proxies_strict, trusted_proxies_unix,"
                     " client_ip_headers",
                     SLICE_ARG(name));
        }
    }
}

static const struct {
    struct slice name;
    option_fn *read; /* NULL: Caddy's, not here yet */
} table[] = {
    {S_INIT("acme_ca"), opt_acme_ca},
    {S_INIT("acme_ca_root"), opt_acme_ca_root},
    {S_INIT("acme_dns"), opt_acme_dns},
    {S_INIT("acme_eab"), opt_acme_eab},
    {S_INIT("acme_test_ca"), opt_acme_test_ca},
    {S_INIT("admin"), opt_admin},
    {S_INIT("auto_https"), opt_auto_https},
    {S_INIT("debug"), opt_debug},
    {S_INIT("dns"), opt_dns},
    {S_INIT("tls_resolvers"), opt_tls_resolvers},
    {S_INIT("default_bind"), opt_default_bind},
    {S_INIT("default_sni"), opt_default_sni},
    {S_INIT("cert_issuer"), opt_issuance},
    {S_INIT("cert_lifetime"), opt_issuance},
    {S_INIT("email"), opt_email},
    {S_INIT("grace_period"), opt_grace_period},
    {S_INIT("http_port"), opt_http_port},
    {S_INIT("https_port"), opt_https_port},
    {S_INIT("key_type"), opt_issuance},
    {S_INIT("local_certs"), opt_local_certs},
    {S_INIT("metrics"), opt_metrics},
    {S_INIT("on_certificate"), opt_on_certificate},
    {S_INIT("persist_config"), opt_persist_config},
    {S_INIT("preferred_chains"), opt_issuance},
    {S_INIT("renew_interval"), opt_renew_interval},
    {S_INIT("renewal_window_ratio"), opt_issuance},
    {S_INIT("servers"), opt_servers},
    {S_INIT("skip_install_trust"), opt_skip_install_trust},
    {S_INIT("storage"), opt_storage},
    {S_INIT("ech"), NULL},
    {S_INIT("events"), NULL},
    {S_INIT("fallback_sni"), NULL},
    {S_INIT("filesystem"), NULL},
    {S_INIT("log"), opt_log},
    {S_INIT("ocsp_interval"), opt_ocsp},
    {S_INIT("ocsp_stapling"), opt_ocsp},
    {S_INIT("on_demand_tls"), opt_on_demand_tls},
    {S_INIT("order"), opt_order},
    {S_INIT("pki"), NULL},
    {S_INIT("shutdown_delay"), NULL},
    {S_INIT("storage_check"), NULL},
    {S_INIT("storage_clean_interval"), NULL},
};

static bool takes_block(option_fn *read)
{
    return read == opt_acme_dns || read == opt_acme_eab || read == opt_dns ||
           read == opt_issuance || read == opt_log || read == opt_on_demand_tls ||
           read == opt_servers || read == opt_storage;
}

/* Options of `servers` that people write one level too high. */
static bool belongs_to_servers(struct slice name)
{
    static const struct slice names[] = {
        S_INIT("client_ip_headers"), S_INIT("listener_wrappers"), S_INIT("max_connections"),
        S_INIT("max_header_size"), S_INIT("max_request_body"), S_INIT("protocols"),
        S_INIT("strict_sni_host"), S_INIT("timeouts"), S_INIT("trusted_proxies"),
        S_INIT("trusted_proxies_strict"), S_INIT("trusted_proxies_unix"),
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_eq(names[i], name)) {
            return true;
        }
    }
    return false;
}

static void read_one(struct reading *r, const struct cf_directive *d)
{
    struct slice names[ARRAY_LEN(table)];
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        names[i] = table[i].name;
        if (slice_eq(d->name.text, table[i].name)) {
            if (table[i].read && d->has_block && !takes_block(table[i].read)) {
                cf_error(r->diags, &d->name, "the option \"%.*s\" takes no block",
                         SLICE_ARG(d->name.text));
            } else if (table[i].read) {
                table[i].read(r, d);
            } else {
                cf_error(r->diags, &d->name, "the option \"%.*s\" is Caddy's and not yet in caddis",
                         SLICE_ARG(d->name.text));
            }
            return;
        }
    }
    struct cf_diag *diag = cf_error(r->diags, &d->name, "unknown global option \"%.*s\"",
                                    SLICE_ARG(d->name.text));
    if (diag && belongs_to_servers(d->name.text)) {
        diag->hint = arena_printf(&r->diags->arena, "it belongs into a block in this one: servers {"
                                  " %.*s ... }", SLICE_ARG(d->name.text));
    } else if (diag && directive_is_known(d->name.text)) {
        diag->hint = S("it is a directive of a site: is the site's address missing in front of"
                       " \"{\"?");
    } else if (diag) {
        cf_did_you_mean(r->diags, diag, d->name.text, names, ARRAY_LEN(names));
    }
}

#define H2_STREAMS_MAX 128u

struct h2_server_limits options_h2_limits(const struct options *o)
{
    const struct h1_server_limits *l = &o->limits;
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

struct options *options_read(struct arena *a, const struct cf_directive *first,
                             struct cf_diags *diags)
{
    static struct slice forwarded_for[] = {S_INIT("X-Forwarded-For")};
    struct options *o = ARENA_NEW(a, struct options);
    must(o);
    *o = (struct options){
        .http_port = 80,
        .https_port = 443,
        .grace_period_ms = 10 * 1000,
        .client_ip = {.field_names = forwarded_for, .field_count = 1},
        .protocols = PROTOCOL_H2,
        .limits = {.head = {.head_bytes_max = 64 * 1024, .fields_max = FIELDS_FROM_PEER_MAX},
                   .header_timeout_ms = 30 * 1000,
                   .idle_timeout_ms = 5 * 60 * 1000,
                   .body_idle_ms = 60 * 1000,
                   .body_min_rate = 64,
                   .write_idle_ms = 10 * 60 * 1000},
    };
    struct reading r = {a, diags, o};
    for (const struct cf_directive *d = first; d; d = d->next) {
        read_one(&r, d);
    }
    if (o->http_port == o->https_port) {
        cf_error(diags, NULL, "http_port and https_port are both %u", o->http_port);
    }
    return o;
}
