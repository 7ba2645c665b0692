/* The table of DNS providers, their options, and what those with an HTTP interface share. In:
 * `dns PROVIDER ...` as words. Out: a checked struct acme_dns; requests and their answers. */
#include "acme/dns_provider.h"

#include <stdarg.h>
#include <stdio.h>

#include "acme/key.h"

#define BODY_MAX ((size_t)1 << 20)
#define ARENA_MAX ((size_t)4 << 20)
#define REQUEST_TIMEOUT_MS 30000

static const struct dns_provider *const table[] = {
    &dns_acmedns, &dns_cloudflare, &dns_desec,   &dns_digitalocean, &dns_exec,
    &dns_gandi,   &dns_hetzner,    &dns_rfc2136, &dns_route53,
};

static const struct slice persist = S_INIT("persist");

static const struct dns_provider *find(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (slice_eq(table[i]->name, name)) {
            return table[i];
        }
    }
    return NULL;
}

const struct dns_provider *dns_provider_of(const struct acme_dns *dns)
{
    return find(dns->provider);
}

struct slice dns_value(const struct acme_dns *dns, const char *option)
{
    for (size_t i = 0; i < dns->option_count; i++) {
        if (slice_eq(dns->options[i].name, slice_str(option))) {
            return dns->options[i].value;
        }
    }
    return (struct slice){NULL, 0};
}

/* ---- configuration --------------------------------------------------------------------------- */

bool acme_dns_begin(struct acme_dns *dns, struct slice provider, struct err *err)
{
    *dns = (struct acme_dns){.provider = provider};
    if (slice_eq(provider, persist) || find(provider)) {
        return true;
    }
    (void)err_set(err, "there is no DNS provider \"%.*s\"; there are ", SLICE_ARG(provider));
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        size_t n = strlen(err->text);
        (void)snprintf(err->text + n, sizeof(err->text) - n, "%.*s, ", SLICE_ARG(table[i]->name));
    }
    size_t n = strlen(err->text);
    (void)snprintf(err->text + n, sizeof(err->text) - n,
                   "and persist; any other can be used with a program of your own: dns exec"
                   " PROGRAM");
    return false;
}

static bool add(struct acme_dns *dns, struct slice name, struct slice value, struct err *err)
{
    if (dns->option_count == ACME_DNS_OPTIONS_MAX) {
        return err_set(err, "more than %d options", ACME_DNS_OPTIONS_MAX);
    }
    dns->options[dns->option_count].name = name;
    dns->options[dns->option_count++].value = value;
    return true;
}

bool acme_dns_argument(struct acme_dns *dns, struct slice value, struct err *err)
{
    const struct dns_provider *p = find(dns->provider);
    size_t at = dns->option_count; /* arguments come before the block */
    size_t count = p ? p->argument_count : 0;
    if (count && at >= count && p->many_arguments) {
        at = count - 1;
    }
    if (at >= count) {
        return err_set(err, "%.*s takes %s", SLICE_ARG(dns->provider),
                       count ? "one argument only" : "no arguments, but options in a block");
    }
    return add(dns, p->options[at].name, value, err);
}

static const struct dns_option *option_of(const struct dns_provider *p, struct slice name)
{
    for (const struct dns_option *o = p ? p->options : NULL; o && o->name.n; o++) {
        if (slice_eq(o->name, name)) {
            return o;
        }
    }
    return NULL;
}

bool acme_dns_option(struct acme_dns *dns, struct slice name, struct slice value, struct err *err)
{
    const struct dns_provider *p = find(dns->provider);
    const struct dns_option *o = option_of(p, name);
    char text[65];
    (void)snprintf(text, sizeof(text), "%.*s", SLICE_ARG(slice_upto(name, sizeof(text) - 1)));
    if (!o) {
        return err_set(err, "%.*s has no option \"%s\"", SLICE_ARG(dns->provider), text);
    }
    if (dns_value(dns, text).p) {
        return err_set(err, "%s is given twice", text);
    }
    return o->need == DNS_IGNORED || add(dns, o->name, value, err);
}

bool acme_dns_end(const struct acme_dns *dns, struct err *err)
{
    const struct dns_provider *p = find(dns->provider);
    for (const struct dns_option *o = p ? p->options : NULL; o && o->name.n; o++) {
        char name[65];
        (void)snprintf(name, sizeof(name), "%.*s", SLICE_ARG(o->name));
        if (o->need == DNS_REQUIRED && dns_value(dns, name).n == 0) {
            return err_set(err, "%.*s needs %s", SLICE_ARG(dns->provider), name);
        }
    }
    struct slice url = dns_value(dns, "api_url");
    if (url.n && !slice_starts(url, S("https://")) && !slice_starts(url, S("http://localhost")) &&
        !slice_starts(url, S("http://127.0.0.1")) && !slice_starts(url, S("http://[::1]"))) {
        return err_set(err, "api_url is an https:// address, or http:// on this machine");
    }
    return !p || !p->check || p->check(dns, err);
}

/* ---- calls ----------------------------------------------------------------------------------- */

void dns_call_init(struct dns_call *c, const struct acme_dns *dns, struct stop *stop,
                   struct slice name, struct slice value)
{
    *c = (struct dns_call){.dns = dns,
                           .provider = find(dns->provider),
                           .stop = stop,
                           .name = name,
                           .value = value};
    arena_init(&c->arena, ARENA_MAX);
    reply_init(&c->reply);
}

void dns_call_fini(struct dns_call *c)
{
    transport_free(c->transport);
    reply_fini(&c->reply);
    arena_fini(&c->arena);
}

struct slice dns_url(struct dns_call *c, const char *fmt, ...)
{
    struct dstr out;
    va_list ap;
    struct slice base = dns_value(c->dns, "api_url");
    base = base.n ? base : slice_str(c->provider->api.url);
    while (base.n && base.p[base.n - 1] == '/') {
        base.n--;
    }
    dstr_init(&out, 4096);
    dstr_append(&out, base);
    va_start(ap, fmt);
    dstr_vprintf(&out, fmt, ap);
    va_end(ap);
    struct slice url = out.failed ? S("") : arena_copy(&c->arena, dstr_slice(&out));
    dstr_fini(&out);
    return url;
}

struct slice dns_secret(struct dns_call *c, const char *field, const char *option)
{
    return arena_printf(&c->arena, "%s%.*s", field, SLICE_ARG(dns_value(c->dns, option)));
}

bool dns_send(struct dns_call *c, const struct dns_request *r, struct err *err)
{
    if (!c->transport) {
        struct transport_options options = {.timeout_ms = REQUEST_TIMEOUT_MS,
                                            .plain_too = true}; /* as the user writes */
        c->transport = transport_new(&options, c->stop, err);
        if (!c->transport) {
            return false;
        }
    }
    struct transport_request request = {.method = TRANSPORT_API,
                                        .verb = r->verb,
                                        .url = r->url,
                                        .body = r->body,
                                        .body_max = BODY_MAX};
    for (size_t i = 0; i < ARRAY_LEN(r->fields) && r->fields[i].n; i++) {
        request.fields[request.field_count++] = r->fields[i];
    }
    for (size_t i = 0; i < ARRAY_LEN(r->secrets) && r->secrets[i].n; i++) {
        request.fields[request.field_count++] = r->secrets[i];
    }
    if (r->body.p) {
        request.fields[request.field_count++] =
            arena_printf(&c->arena, "Content-Type: %s",
                         r->content_type ? r->content_type : "application/json");
    }
    bool ok = transport_send(c->transport, &request, &c->reply, err) == TRANSPORT_OK;
    for (size_t i = 0; i < ARRAY_LEN(r->secrets); i++) {
        key_wipe(r->secrets[i]);
    }
    return ok;
}

bool dns_succeeded(const struct dns_call *c, const char *what, struct err *err)
{
    if (c->reply.status >= 200 && c->reply.status < 300) {
        return true;
    }
    char said[301];
    struct slice body = slice_upto(dstr_slice(&c->reply.body), sizeof(said) - 1);
    for (size_t i = 0; i < body.n; i++) {
        said[i] = body.p[i] < ' ' || body.p[i] == 0x7f ? ' ' : body.p[i];
    }
    said[body.n] = '\0';
    return err_set(err, "%.*s, %s: status %ld%s%s%s", SLICE_ARG(c->dns->provider), what,
                   c->reply.status, said[0] ? ": " : "", said,
                   c->reply.status == 401 || c->reply.status == 403
                       ? " (are the token and its rights what they should be?)"
                       : "");
}

cJSON *dns_json(const struct dns_call *c, const char *what, struct err *err)
{
    cJSON *obj = json_parse_object(dstr_slice(&c->reply.body), err);
    if (!obj) {
        (void)err_prefix(err, "%.*s, %s: ", SLICE_ARG(c->dns->provider), what);
    }
    return obj;
}

bool dns_find_zone(struct dns_call *c,
                   int (*exists)(struct dns_call *c, struct slice zone, struct err *err),
                   struct err *err)
{
    struct slice zone = c->name;
    for (int i = 0; i < DNS_LABELS_MAX; i++) {
        size_t dot = slice_find(zone, '.');
        if (dot == SLICE_NPOS) {
            break;
        }
        int found = exists(c, zone, err);
        if (found < 0) {
            return false;
        }
        if (found > 0) {
            c->zone = zone;
            c->relative = zone.n == c->name.n ? S("@")
                                              : slice_upto(c->name, c->name.n - zone.n - 1);
            return true;
        }
        zone = slice_from(zone, dot + 1);
    }
    return err_set(err, "%.*s has no zone for %.*s that these credentials may change",
                   SLICE_ARG(c->dns->provider), SLICE_ARG(c->name));
}

bool dns_api_ask(struct dns_call *c, const char *verb, struct slice url, struct slice body,
                 struct err *err)
{
    const struct dns_api *api = &c->provider->api;
    struct dns_request r = {.verb = verb,
                            .url = url,
                            .secrets = {dns_secret(c, api->field, api->token)},
                            .body = body};
    return dns_send(c, &r, err);
}

static int own_zone_exists(struct dns_call *c, struct slice zone, struct err *err)
{
    const struct dns_api *api = &c->provider->api;
    struct slice url = dns_url(c, "%s%.*s%s", api->zone, SLICE_ARG(zone),
                               api->zone_end ? api->zone_end : "");
    if (!dns_api_ask(c, "GET", url, (struct slice){NULL, 0}, err)) {
        return -1;
    }
    return c->reply.status == 404 ? 0 : dns_succeeded(c, "looking for the zone", err) ? 1 : -1;
}

bool dns_api_find_zone(struct dns_call *c, struct err *err)
{
    return dns_find_zone(c, own_zone_exists, err);
}

bool dns_same_text(struct slice text, struct slice value)
{
    if (text.n >= 2 && text.p[0] == '"' && text.p[text.n - 1] == '"') {
        text = slice_of(text.p + 1, text.n - 2);
    }
    return slice_eq(text, value);
}
