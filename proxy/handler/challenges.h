/* How control of a site's names may be proven: the lines of `tls` and of `issuer acme` that are
 * about challenges, and the global options of the same meaning. Data only: cmd makes acme's
 * solvers of it, because proxy knows no acme. */
#ifndef HANDLER_CHALLENGES_H
#define HANDLER_CHALLENGES_H

#include "proxy/caddyfile/caddyfile.h"

/* What was not said is 0, NULL or empty. */
struct challenge_settings {
    const struct cf_directive *dns; /* dns [PROVIDER [ARGUMENT...] { ... }], its words unread */
    const struct cf_directive *about_dns; /* a line that means nothing without a provider */
    int64_t dns_ttl_s;
    int64_t propagation_timeout_ms; /* -1: it is not looked for */
    int64_t propagation_delay_ms;
    struct slice override_name;
    struct slice resolvers; /* "IP[:PORT],..." */
    bool no_http, no_tls_alpn;
    uint16_t alt_http_port, alt_tls_alpn_port;
};

/* Reads one line into s; what it finds lives in a and in the document. Errors go to diags. False:
 * the line is none of those above. */
NODISCARD bool challenge_line(struct arena *a, struct cf_diags *diags,
                              const struct cf_directive *d, struct challenge_settings *s);

#endif
