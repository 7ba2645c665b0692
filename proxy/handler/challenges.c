/* The lines about challenges, in tls and in issuer acme:
 *
 *   dns [PROVIDER [ARGUMENT...]] { OPTION VALUE ... }
 *   dns_ttl DURATION            dns_challenge_override_domain NAME
 *   propagation_timeout DURATION|-1        propagation_delay DURATION
 *   resolvers IP[:PORT]...
 *   disable_http_challenge      disable_tlsalpn_challenge
 *   alt_http_port PORT          alt_tlsalpn_port PORT
 *
 * In: directives. Out: struct challenge_settings. */
#include "proxy/handler/challenges.h"

#include "proxy/handler/handler.h"
#include "proxy/net/dns.h"

#define TTL_MAX_MS INT64_C(604800000)

struct reader {
    struct arena *arena;
    struct cf_diags *diags;
    struct challenge_settings *s;
};

static bool count_is(struct reader *r, const struct cf_directive *d, size_t count)
{
    if (d->arg_count == count) {
        return true;
    }
    cf_error(r->diags, d->arg_count > count ? &d->args[count] : &d->name, "\"%.*s\" takes %s",
             SLICE_ARG(d->name.text), count ? "one value" : "no value");
    return false;
}

static bool duration(struct reader *r, const struct cf_directive *d, int64_t *out)
{
    if (!count_is(r, d, 1)) {
        return false;
    }
    if (!cf_parse_duration(d->args[0].text, out)) {
        cf_error(r->diags, &d->args[0], "\"%.*s\" is no duration such as 30s or 2m",
                 SLICE_ARG(d->args[0].text));
        return false;
    }
    return true;
}

static void port(struct reader *r, const struct cf_directive *d, uint16_t *out)
{
    uint64_t number;
    if (!count_is(r, d, 1)) {
        return;
    }
    if (!slice_u64(d->args[0].text, 65535, &number) || number == 0) {
        cf_error(r->diags, &d->args[0], "\"%.*s\" is no port from 1 to 65535",
                 SLICE_ARG(d->args[0].text));
        return;
    }
    *out = (uint16_t)number;
}

static void line_dns(struct reader *r, const struct cf_directive *d)
{
    if (r->s->dns) {
        cf_error(r->diags, &d->name, "dns is given twice");
        return;
    }
    r->s->dns = d;
}

static void line_ttl(struct reader *r, const struct cf_directive *d)
{
    int64_t ms;
    if (!duration(r, d, &ms)) {
        return;
    }
    if (ms < 1000 || ms > TTL_MAX_MS) {
        cf_error(r->diags, &d->args[0], "dns_ttl is from 1s to 7d");
        return;
    }
    r->s->dns_ttl_s = ms / 1000;
}

static void line_override(struct reader *r, const struct cf_directive *d)
{
    if (count_is(r, d, 1)) {
        r->s->override_name = d->args[0].text;
    }
}

static void line_timeout(struct reader *r, const struct cf_directive *d)
{
    if (d->arg_count == 1 && slice_eq(d->args[0].text, S("-1"))) {
        r->s->propagation_timeout_ms = -1;
        return;
    }
    (void)duration(r, d, &r->s->propagation_timeout_ms);
}

static void line_delay(struct reader *r, const struct cf_directive *d)
{
    (void)duration(r, d, &r->s->propagation_delay_ms);
}

static void line_resolvers(struct reader *r, const struct cf_directive *d)
{
    struct dstr list;
    if (d->arg_count == 0) {
        cf_error(r->diags, &d->name, "resolvers needs the address of a name server");
        return;
    }
    dstr_init(&list, DNS_SERVERS_MAX);
    for (size_t i = 0; i < d->arg_count; i++) {
        if (!dns_servers_valid(d->args[i].text)) {
            cf_error(r->diags, &d->args[i], "\"%.*s\" is no IP address with or without a port",
                     SLICE_ARG(d->args[i].text));
        }
        dstr_printf(&list, "%s%.*s", i ? "," : "", SLICE_ARG(d->args[i].text));
    }
    if (list.failed) {
        cf_error(r->diags, &d->name, "that are too many name servers");
    } else {
        r->s->resolvers = arena_copy(r->arena, dstr_slice(&list));
    }
    dstr_fini(&list);
}

static void line_no_http(struct reader *r, const struct cf_directive *d)
{
    r->s->no_http = count_is(r, d, 0);
}

static void line_no_tls_alpn(struct reader *r, const struct cf_directive *d)
{
    r->s->no_tls_alpn = count_is(r, d, 0);
}

static void line_http_port(struct reader *r, const struct cf_directive *d)
{
    port(r, d, &r->s->alt_http_port);
}

static void line_tls_port(struct reader *r, const struct cf_directive *d)
{
    port(r, d, &r->s->alt_tls_alpn_port);
}

bool challenge_line(struct arena *a, struct cf_diags *diags, const struct cf_directive *d,
                    struct challenge_settings *s)
{
    static const struct {
        struct slice name;
        void (*read)(struct reader *r, const struct cf_directive *d);
        bool about_dns;
    } lines[] = {
        {S_INIT("dns"), line_dns, false},
        {S_INIT("dns_ttl"), line_ttl, true},
        {S_INIT("dns_challenge_override_domain"), line_override, true},
        {S_INIT("propagation_timeout"), line_timeout, true},
        {S_INIT("propagation_delay"), line_delay, true},
        {S_INIT("resolvers"), line_resolvers, true},
        {S_INIT("disable_http_challenge"), line_no_http, false},
        {S_INIT("disable_tlsalpn_challenge"), line_no_tls_alpn, false},
        {S_INIT("alt_http_port"), line_http_port, false},
        {S_INIT("alt_tlsalpn_port"), line_tls_port, false},
    };
    struct reader r = {a, diags, s};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (slice_eq(lines[i].name, d->name.text)) {
            lines[i].read(&r, d);
            s->about_dns = lines[i].about_dns ? d : s->about_dns;
            return true;
        }
    }
    return false;
}

TLS_SUBDIRECTIVE(tls_read_challenges)
{
    unsigned errors = b->diags->errors;
    bool found = challenge_line(b->arena, b->diags, d, &t->challenges);
    must(found); /* tls.c's table and the one above belong together */
    return b->diags->errors == errors;
}
