/* Reading of listener_wrappers. Caddy's meaning: wrappers run in the order they are written, and
 * `tls` marks where the TLS handshake is. A PROXY header stands in front of the handshake, so here
 * proxy_protocol does too, whether `tls` is written behind it or left out. */
#include "proxy/server/listener_wrappers.h"

#include "proxy/route/ip_ranges.h"

#define PROXY_TIMEOUT_MS 5000
#define PROXY_TIMEOUT_MAX_MS (60 * 1000)

struct reading {
    struct arena *arena;
    struct cf_diags *diags;
    struct proxy_policy *policy;
};

static void read_timeout(struct reading *r, const struct cf_directive *d)
{
    int64_t ms = 0;
    if (d->arg_count != 1 || !cf_parse_duration(d->args[0].text, &ms) ||
        ms > PROXY_TIMEOUT_MAX_MS) {
        cf_error(r->diags, d->arg_count ? &d->args[0] : &d->name,
                 "timeout is a duration up to 1m such as 5s");
        return;
    }
    /* 0 is "no limit" in Caddy. A connection that never says anything must end some day. */
    r->policy->timeout_ms = ms ? ms : PROXY_TIMEOUT_MAX_MS;
}

static void read_ranges(struct reading *r, const struct cf_directive *d, struct ip_ranges *ranges)
{
    if (d->arg_count == 0) {
        cf_error(r->diags, &d->name, "\"%.*s\" needs IP ranges such as 10.0.0.0/8",
                 SLICE_ARG(d->name.text));
    }
    for (size_t i = 0; i < d->arg_count; i++) {
        (void)ip_ranges_add(r->arena, ranges, &d->args[i], r->diags);
    }
}

static void read_fallback(struct reading *r, const struct cf_directive *d)
{
    static const struct {
        struct slice name;
        enum proxy_trust trust;
    } policies[] = {
        {S_INIT("ignore"), PROXY_IGNORE},   {S_INIT("use"), PROXY_USE},
        {S_INIT("reject"), PROXY_REJECT},   {S_INIT("require"), PROXY_REQUIRE},
        {S_INIT("skip"), PROXY_SKIP},
    };
    for (size_t i = 0; d->arg_count == 1 && i < ARRAY_LEN(policies); i++) {
        if (slice_eq_case(d->args[0].text, policies[i].name)) {
            r->policy->fallback = policies[i].trust;
            return;
        }
    }
    cf_error(r->diags, d->arg_count ? &d->args[0] : &d->name,
             "fallback_policy is ignore, use, reject, require or skip");
}

static void read_proxy_protocol(struct reading *r, const struct cf_directive *d)
{
    struct proxy_policy *p = ARENA_NEW(r->arena, struct proxy_policy);
    must(p);
    struct ip_ranges allow = {0};
    struct ip_ranges deny = {0};
    p->timeout_ms = PROXY_TIMEOUT_MS;
    p->fallback = PROXY_IGNORE;
    r->policy = p;
    if (d->arg_count) {
        cf_error(r->diags, &d->args[0], "proxy_protocol takes a block, not values");
    }
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        struct slice name = c->name.text;
        if (slice_eq(name, S("timeout"))) {
            read_timeout(r, c);
        } else if (slice_eq(name, S("allow"))) {
            read_ranges(r, c, &allow);
        } else if (slice_eq(name, S("deny"))) {
            read_ranges(r, c, &deny);
        } else if (slice_eq(name, S("fallback_policy"))) {
            read_fallback(r, c);
        } else {
            cf_error(r->diags, &c->name, "proxy_protocol has timeout, allow, deny and"
                     " fallback_policy, not \"%.*s\"", SLICE_ARG(name));
        }
    }
    p->allow = allow.items;
    p->allow_count = allow.count;
    p->deny = deny.items;
    p->deny_count = deny.count;
    if (p->allow_count == 0 && p->fallback == PROXY_IGNORE) {
        struct cf_diag *diag = cf_warning(r->diags, &d->name, "nobody is allowed to send PROXY"
                                          " headers: they are taken off and ignored");
        if (diag) {
            diag->hint = S("allow the load balancer's addresses: allow 10.0.0.0/8");
        }
    }
}

const struct proxy_policy *listener_wrappers_read(struct arena *a, struct cf_diags *diags,
                                                  const struct cf_directive *d)
{
    struct reading r = {.arena = a, .diags = diags};
    bool tls = false;
    if (d->arg_count) {
        cf_error(diags, &d->args[0], "listener_wrappers takes a block, not values");
    }
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        struct slice name = c->name.text;
        if (slice_eq(name, S("tls"))) {
            tls = true;
        } else if (slice_eq(name, S("proxy_protocol")) && r.policy) {
            cf_error(diags, &c->name, "proxy_protocol is given twice");
        } else if (slice_eq(name, S("proxy_protocol"))) {
            if (tls) {
                cf_error(diags, &c->name,
                         "proxy_protocol stands in front of tls: PROXY headers come"
                         " before the handshake");
            }
            read_proxy_protocol(&r, c);
        } else if (slice_eq(name, S("http_redirect"))) {
            cf_error(diags, &c->name,
                     "the listener wrapper \"http_redirect\" is Caddy's and not yet"
                     " in caddis");
        } else {
            cf_error(diags, &c->name, "listener_wrappers has proxy_protocol and tls, not \"%.*s\"",
                     SLICE_ARG(name));
        }
    }
    return r.policy;
}
