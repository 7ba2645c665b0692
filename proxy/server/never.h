/* Matchers that no request of their site can meet: a host that none of its addresses has, HTTP on
 * an HTTPS port. */
#ifndef SERVER_NEVER_H
#define SERVER_NEVER_H

#include "proxy/caddyfile/caddyfile.h"

/* What the addresses of a site let in. */
struct site_reach {
    struct slice *hosts; /* lower-case, may be wildcards */
    size_t host_count;
    bool any_host; /* an address without a host, or one that was not understood */
    bool http;
    bool https;
};

/* A warning for each line of a matcher definition that can never match there. Lines that came by an
 * import are left alone: what several sites share need not fit each of them. */
void never_matches_warn(struct cf_diags *diags, const struct cf_site *site,
                        const struct site_reach *reach);

#endif
