/* Matchers that never match; see never.h. Only what is certain is said. */
#include "proxy/server/never.h"

#include "proxy/handler/mistakes.h"

/* Is there a host that both patterns fit? "*" stands for one label; a lone "*" has one label. */
static bool can_meet(struct slice a, struct slice b)
{
    struct slice la;
    struct slice lb;
    for (;;) {
        bool more_a = slice_cut(&a, '.', &la);
        bool more_b = slice_cut(&b, '.', &lb);
        if (!more_a || !more_b) {
            return more_a == more_b;
        }
        if (!slice_eq(la, S("*")) && !slice_eq(lb, S("*")) && !slice_eq_case(la, lb)) {
            return false;
        }
    }
}

static bool is_reached(const struct site_reach *reach, struct slice host)
{
    bool found = reach->any_host || slice_find(host, '{') != SLICE_NPOS;
    for (size_t i = 0; i < reach->host_count && !found; i++) {
        found = can_meet(reach->hosts[i], host);
    }
    return found;
}

/* "example.com:443", "https://example.com", "[::1]": no host at all. "::1" is. */
static struct slice only_host(struct slice text)
{
    size_t scheme = slice_find_slice(text, S("://"));
    text = scheme == SLICE_NPOS ? text : slice_from(text, scheme + 3);
    text = slice_upto(text, slice_find(text, '/'));
    if (slice_starts(text, S("[")) && slice_find(text, ']') != SLICE_NPOS) {
        return slice_upto(slice_from(text, 1), slice_find(text, ']') - 1);
    }
    size_t colon = slice_find(text, ':');
    return colon != SLICE_NPOS && colon == slice_rfind(text, ':') ? slice_upto(text, colon) : text;
}

static void check_hosts(struct cf_diags *diags, const struct cf_token *args, size_t count,
                        const struct cf_site *site, const struct site_reach *reach)
{
    bool met = count == 0;
    for (size_t i = 0; i < count; i++) {
        struct slice host = args[i].text;
        struct slice bare = only_host(host);
        if (args[i].at.imported_from) {
            return;
        }
        if (bare.n != host.n && slice_find(host, '{') == SLICE_NPOS) {
            struct cf_diag *d = cf_warning(diags, &args[i], "this never matches: a host has no"
                                           " scheme, port, path or brackets");
            if (d) {
                d->hint = arena_printf(&diags->arena, "write %.*s", SLICE_ARG(bare));
            }
            met = true;
        }
        met = met || is_reached(reach, host);
    }
    if (met) {
        return;
    }
    struct cf_diag *d = cf_warning(diags, &args[0], "this never matches: no address of the site"
                                   " has the host \"%.*s\"", SLICE_ARG(args[0].text));
    if (d) {
        d->hint = arena_printf(&diags->arena, "add %.*s to the addresses in line %u, or give it a"
                               " site of its own", SLICE_ARG(args[0].text),
                               site->addresses[0].at.line);
    }
}

static void check_protocol(struct cf_diags *diags, const struct cf_token *args, size_t count,
                           const struct site_reach *reach)
{
    bool http = count == 1 && slice_eq(args[0].text, S("http"));
    bool https = count == 1 && slice_eq(args[0].text, S("https"));
    if (args[0].at.imported_from || !((http && !reach->http) || (https && !reach->https))) {
        return;
    }
    struct cf_diag *d = cf_warning(diags, &args[0], "this never matches: the site is served over %s"
                                   " only", http ? "HTTPS" : "HTTP");
    if (d) {
        d->hint = http ? S("redirects from HTTP to HTTPS are made without being asked for")
                       : S("behind a proxy that speaks HTTPS for it: header X-Forwarded-Proto"
                           " https");
    }
}

static void check_line(struct cf_diags *diags, const struct cf_token *kind,
                       const struct cf_token *args, size_t count, const struct cf_site *site,
                       const struct site_reach *reach)
{
    if (kind->quote != CF_BARE || count == 0) {
        return;
    }
    if (slice_eq(kind->text, S("host"))) {
        check_hosts(diags, args, count, site, reach);
    } else if (slice_eq(kind->text, S("protocol"))) {
        check_protocol(diags, args, count, reach);
    }
}

static void check_definition(struct cf_diags *diags, const struct cf_directive *d,
                             const struct cf_site *site, const struct site_reach *reach)
{
    if (d->arg_count) {
        check_line(diags, &d->args[0], d->args + 1, d->arg_count - 1, site, reach);
        return;
    }
    for (const struct cf_directive *line = d->children; line; line = line->next) {
        check_line(diags, &line->name, line->args, line->arg_count, site, reach);
    }
}

static void check_block(struct cf_diags *diags, const struct cf_directive *first,
                        const struct cf_site *site, const struct site_reach *reach)
{
    for (const struct cf_directive *d = first; d; d = d->next) {
        if (d->name.quote == CF_BARE && d->name.text.n && d->name.text.p[0] == '@') {
            check_definition(diags, d, site, reach);
        } else if (mistake_is_own_block(d->name.text)) {
            check_block(diags, d->children, site, reach);
        }
    }
}

void never_matches_warn(struct cf_diags *diags, const struct cf_site *site,
                        const struct site_reach *reach)
{
    check_block(diags, site->directives, site, reach);
}
