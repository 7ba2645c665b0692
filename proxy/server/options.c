/* Every option is a row in the table below: its name, and the function that reads it. */
#include "proxy/server/options.h"

#include "proxy/handler/directive_order.h"
#include "proxy/handler/mistakes.h"
#include "proxy/net/addr.h"
#include "proxy/server/storage.h"

typedef void option_fn(struct option_reading *r, const struct cf_directive *d);

static void read_port(struct option_reading *r, const struct cf_directive *d, uint16_t *out)
{
    uint64_t v;
    if (!option_args(r, d, 1, 1)) {
        return;
    }
    if (!slice_u64(d->args[0].text, 65535, &v) || v == 0) {
        cf_error(r->diags, &d->args[0], "\"%.*s\" is no port from 1 to 65535",
                 SLICE_ARG(d->args[0].text));
        return;
    }
    *out = (uint16_t)v;
}

static void opt_debug(struct option_reading *r, const struct cf_directive *d)
{
    r->o->debug = option_args(r, d, 0, 0);
}

static void opt_http_port(struct option_reading *r, const struct cf_directive *d)
{
    read_port(r, d, &r->o->http_port);
}

static void opt_https_port(struct option_reading *r, const struct cf_directive *d)
{
    read_port(r, d, &r->o->https_port);
}

static void opt_default_bind(struct option_reading *r, const struct cf_directive *d)
{
    (void)bind_read(r->arena, r->diags, d, &r->o->default_bind);
}

static void opt_auto_https(struct option_reading *r, const struct cf_directive *d)
{
    if (!option_args(r, d, 1, 1)) {
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

static void opt_email(struct option_reading *r, const struct cf_directive *d)
{
    option_text(r, d, &r->o->email);
    if (r->o->email.n && slice_find(r->o->email, '@') == SLICE_NPOS) {
        cf_error(r->diags, &d->args[0], "\"%.*s\" is no e-mail address", SLICE_ARG(r->o->email));
    }
}

static void opt_acme_ca(struct option_reading *r, const struct cf_directive *d)
{
    option_text(r, d, &r->o->acme_ca);
    if (r->o->acme_ca.n && !slice_starts(r->o->acme_ca, S("https://"))) {
        cf_error(r->diags, &d->args[0], "acme_ca is the https:// address of a CA's directory");
    }
}

static void opt_acme_ca_root(struct option_reading *r, const struct cf_directive *d)
{
    option_text(r, d, &r->o->acme_ca_root);
    if (r->o->acme_ca_root.n) {
        (void)cf_check_file(r->diags, &d->args[0]);
    }
}

static void opt_acme_test_ca(struct option_reading *r, const struct cf_directive *d)
{
    option_text(r, d, &r->o->acme_test_ca);
    if (r->o->acme_test_ca.n && !slice_starts(r->o->acme_test_ca, S("https://"))) {
        cf_error(r->diags, &d->args[0],
                 "acme_test_ca is the https:// address of a CA's test directory");
    }
}

static void opt_acme_dns(struct option_reading *r, const struct cf_directive *d)
{
    r->o->acme_dns = d;
}

/* The provider that acme_dns and tls's dns mean when they name none. */
static void opt_dns(struct option_reading *r, const struct cf_directive *d)
{
    if (d->arg_count == 0) {
        cf_error(r->diags, &d->name, "dns needs the name of a DNS provider");
        return;
    }
    r->o->dns = d;
}

static void opt_tls_resolvers(struct option_reading *r, const struct cf_directive *d)
{
    struct challenge_settings s = {.dns = NULL};
    struct cf_directive as = *d;
    as.name.text = S("resolvers");
    bool read = challenge_line(r->arena, r->diags, &as, &s);
    must(read);
    r->o->tls_resolvers = s.resolvers;
}

static void opt_issuance(struct option_reading *r, const struct cf_directive *d)
{
    issuance_option(r->arena, r->diags, d, &r->o->issuance);
}

static void opt_on_certificate(struct option_reading *r, const struct cf_directive *d)
{
    option_text(r, d, &r->o->on_certificate);
    if (r->o->on_certificate.n && r->o->on_certificate.p[0] != '/') {
        cf_error(r->diags, &d->args[0], "on_certificate is the absolute path of a program");
    }
}

static void opt_acme_eab(struct option_reading *r, const struct cf_directive *d)
{
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        if (slice_eq(c->name.text, S("key_id"))) {
            option_text(r, c, &r->o->eab_key_id);
        } else if (slice_eq(c->name.text, S("mac_key"))) {
            option_text(r, c, &r->o->eab_mac_key);
        } else {
            cf_error(r->diags, &c->name, "acme_eab has key_id and mac_key");
        }
    }
    if (!r->o->eab_key_id.n || !r->o->eab_mac_key.n) {
        cf_error(r->diags, &d->name, "acme_eab needs a block with key_id and mac_key");
    }
}

/* Read when the logs of sites are: see log_read_globals. */
static void opt_log(struct option_reading *r, const struct cf_directive *d)
{
    if (!option_args(r, d, 0, 1)) {
        return;
    }
    struct slice name = d->arg_count ? d->args[0].text : S("default");
    for (size_t i = 0; i < r->o->log_count; i++) {
        const struct cf_directive *x = r->o->logs[i];
        if (slice_eq(x->arg_count ? x->args[0].text : S("default"), name)) {
            cf_error(r->diags, &d->name, "the log \"%.*s\" is there already", SLICE_ARG(name));
            return;
        }
    }
    if (r->o->log_count == GLOBAL_LOGS_MAX) {
        cf_error(r->diags, &d->name, "more than %u global logs", GLOBAL_LOGS_MAX);
        return;
    }
    r->o->logs[r->o->log_count++] = d;
}

static void opt_storage(struct option_reading *r, const struct cf_directive *d)
{
    r->o->storage = storage_read(r->arena, d, r->diags);
}

static void opt_admin(struct option_reading *r, const struct cf_directive *d)
{
    if (!option_args(r, d, 1, 1)) {
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

static void opt_grace_period(struct option_reading *r, const struct cf_directive *d)
{
    option_duration(r, d, &r->o->grace_period_ms);
}

static void opt_renew_interval(struct option_reading *r, const struct cf_directive *d)
{
    option_duration(r, d, &r->o->renew_interval_ms);
}

static void opt_local_certs(struct option_reading *r, const struct cf_directive *d)
{
    r->o->local_certs = option_args(r, d, 0, 0);
}

static void opt_skip_install_trust(struct option_reading *r, const struct cf_directive *d)
{
    r->o->skip_install_trust = option_args(r, d, 0, 0);
}

static void opt_default_sni(struct option_reading *r, const struct cf_directive *d)
{
    struct slice name = S("");
    option_text(r, d, &name);
    r->o->default_sni = arena_lower(r->arena, name);
}

static void opt_order(struct option_reading *r, const struct cf_directive *d)
{
    r->o->order = r->o->order ? r->o->order : directive_order_new(r->arena);
    directive_order_change(r->o->order, d, r->diags);
}

static void opt_persist_config(struct option_reading *r, const struct cf_directive *d)
{
    cf_warning(r->diags, &d->name,
               "caddis always reads the Caddyfile; persist_config does nothing");
}

/* Let's Encrypt has ended OCSP, and nothing depends on it. */
static void opt_ocsp(struct option_reading *r, const struct cf_directive *d)
{
    if (!d->arg_count || !slice_eq(d->args[0].text, S("off"))) {
        cf_warning(r->diags, &d->name, "caddis staples no OCSP answers; %.*s does nothing",
                   SLICE_ARG(d->name.text));
    }
}

void metrics_option(struct option_reading *r, const struct cf_directive *d)
{
    r->o->metrics = option_args(r, d, 0, 0);
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        if (slice_eq(c->name.text, S("per_host"))) {
            r->o->metrics_per_host = option_args(r, c, 0, 0);
        } else if (slice_eq(c->name.text, S("observe_catchall_hosts"))) {
            r->o->metrics_every_host = option_args(r, c, 0, 0);
        } else if (slice_eq(c->name.text, S("otlp"))) {
            cf_error(r->diags, &c->name, "metrics are fetched from caddis (by Prometheus), not sent"
                     " by OTLP");
        } else {
            cf_error(r->diags, &c->name, "the option \"metrics\" has per_host and"
                     " observe_catchall_hosts, not \"%.*s\"", SLICE_ARG(c->name.text));
        }
    }
}

static void demand_url(struct option_reading *r, const struct cf_token *t)
{
    struct slice url = t->text;
    if (!slice_starts(url, S("http://")) && !slice_starts(url, S("https://"))) {
        cf_error(r->diags, t, "\"%.*s\" is no URL: http://... or https://...", SLICE_ARG(url));
        return;
    }
    r->o->demand_ask = url;
}

static void demand_names(struct option_reading *r, const struct cf_directive *d)
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
static void opt_on_demand_tls(struct option_reading *r, const struct cf_directive *d)
{
    if (!option_args(r, d, 0, 0)) {
        return;
    }
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        struct slice name = c->name.text;
        if (slice_eq(name, S("ask")) && option_args(r, c, 1, 1)) {
            demand_url(r, &c->args[0]);
        } else if (slice_eq(name, S("permission")) && option_args(r, c, 2, 2)) {
            if (slice_eq(c->args[0].text, S("http"))) {
                demand_url(r, &c->args[1]);
            } else {
                cf_error(r->diags, &c->args[0], "permission is http <url>; \"%.*s\" is not in"
                         " caddis", SLICE_ARG(c->args[0].text));
            }
        } else if (slice_eq(name, S("allow")) && option_args(r, c, 1, 10000)) {
            demand_names(r, c);
        } else if (!slice_eq(name, S("ask")) && !slice_eq(name, S("permission")) &&
                   !slice_eq(name, S("allow"))) {
            cf_error(r->diags, &c->name, "on_demand_tls has ask, permission http and allow, not"
                     " \"%.*s\"", SLICE_ARG(name));
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
    {S_INIT("metrics"), metrics_option},
    {S_INIT("on_certificate"), opt_on_certificate},
    {S_INIT("persist_config"), opt_persist_config},
    {S_INIT("preferred_chains"), opt_issuance},
    {S_INIT("renew_interval"), opt_renew_interval},
    {S_INIT("renewal_window_ratio"), opt_issuance},
    {S_INIT("servers"), server_options_read},
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
           read == opt_default_bind || read == metrics_option ||
           read == opt_issuance || read == opt_log || read == opt_on_demand_tls ||
           read == server_options_read || read == opt_storage;
}

static void read_one(struct option_reading *r, const struct cf_directive *d)
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
    if (diag && d->name.quote != CF_BARE) {
        diag->hint = S("this looks like JSON, Caddy's other format; caddis reads Caddyfiles");
    } else if (diag && mistake_plug_in(d->name.text).n) {
        diag->hint = mistake_plug_in(d->name.text);
    } else if (diag && server_options_have(d->name.text)) {
        diag->hint = arena_printf(&r->diags->arena, "it belongs into a block in this one: servers {"
                                  " %.*s ... }", SLICE_ARG(d->name.text));
    } else if (diag && directive_is_known(d->name.text)) {
        diag->hint = S("it is a directive of a site: is the site's address missing in front of"
                       " \"{\"?");
    } else if (diag) {
        cf_did_you_mean(r->diags, diag, d->name.text, names, ARRAY_LEN(names));
    }
}

bool options_have(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (slice_eq(name, table[i].name)) {
            return true;
        }
    }
    return false;
}

struct options *options_read(struct arena *a, const struct cf_directive *first,
                             struct cf_diags *diags)
{
    struct options *o = ARENA_NEW(a, struct options);
    must(o);
    *o = (struct options){
        .http_port = 80,
        .https_port = 443,
        .grace_period_ms = 10 * 1000,
    };
    server_options_init(&o->servers);
    struct option_reading r = {a, diags, o};
    for (const struct cf_directive *d = first; d; d = d->next) {
        read_one(&r, d);
    }
    if (o->http_port == o->https_port) {
        cf_error(diags, NULL, "http_port and https_port are both %u", o->http_port);
    }
    return o;
}
