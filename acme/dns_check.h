/* Where a challenge's record belongs, and whether it can be seen: asked of the system's resolvers
 * and then of the zone's own name servers; or, where the configuration names `resolvers`, of those
 * alone. Blocks, minds stop. */
#ifndef ACME_DNS_CHECK_H
#define ACME_DNS_CHECK_H

#include "acme/acme.h"
#include "acme/dns_parse.h"
#include "acme/stop.h"

struct dns_check {
    const struct acme_dns *dns;
    struct stop *stop;
    struct slice system; /* who is asked where a zone's servers are; empty: the system's */
    unsigned port;       /* of a zone's own servers: 53 */
    /* Is a record's text what is looked for? NULL: it has to be the value. */
    bool (*fits)(const void *ctx, struct slice text);
    const void *fits_ctx;
    /* What is being done, for people; may be NULL. */
    void (*say)(void *ctx, const char *activity);
    void *say_ctx;
};

/* The name that the record has to be put at: name, or where its CNAME leads (RFC 8555 section 8.4:
 * the CA follows it). A resolver that gives no answer leaves it as it is. */
void dns_follow(const struct dns_check *c, struct slice name, char out[DNS_TEXT_BYTES]);
/* Waits until every server that answers has the value, propagation_delay and propagation_timeout
 * being as the configuration says. False: err says which server has what. */
NODISCARD bool dns_await(const struct dns_check *c, struct slice name, struct slice value,
                         struct err *err);
/* One look, without waiting. True: it is to be seen everywhere, or not to be looked for. */
NODISCARD bool dns_visible(const struct dns_check *c, struct slice name, struct slice value,
                           struct err *err);

#endif
