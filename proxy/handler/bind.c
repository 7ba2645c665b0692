/* bind <address>...
 *
 * The IP addresses that the site is reached at, instead of those of default_bind; with automatic
 * HTTPS its redirects are there, too. */
#include "proxy/handler/directives.h"
#include "proxy/net/addr.h"

#define BIND_MAX 64

bool bind_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                size_t count, struct handler *out)
{
    (void)out;
    struct site_settings *s = b->site;
    if (!expect_args(b, d, count, 1, BIND_MAX) || !expect_no_block(b, d)) {
        return false;
    }
    if (s->bind) {
        cf_error(b->diags, &d->name, "\"bind\" is given twice");
        return false;
    }
    s->bind = ARENA_ARRAY(b->arena, struct slice, count);
    must(s->bind);
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        struct slice ip = args[i].text;
        struct addr unused;
        if (ip.n > 2 && ip.p[0] == '[' && ip.p[ip.n - 1] == ']') {
            ip = slice_of(ip.p + 1, ip.n - 2);
        }
        if (!addr_parse_ip(ip, 1, &unused)) {
            cf_error(b->diags, &args[i], "bind takes IP addresses in caddis, not \"%.*s\"",
                     SLICE_ARG(args[i].text));
            ok = false;
        }
        bool twice = false;
        for (size_t k = 0; k < s->bind_count; k++) {
            twice = twice || slice_eq(s->bind[k], ip);
        }
        if (!twice) {
            s->bind[s->bind_count++] = ip;
        }
    }
    return ok;
}
