/* HTTP-01 (RFC 8555 section 8.3): the answer goes into the challenge table, from which the proxy
 * serves /.well-known/acme-challenge/<token>, and into the store, from which any instance does. */
#include "acme/challenge_dns.h"
#include "acme/challenge_type.h"

#include "proxy/base/log.h"

static bool present(const struct challenge_context *c, struct slice token,
                    struct slice key_authorization, struct err *err)
{
    if (!challenge_put(c->table, c->ca, c->name, token, key_authorization, err)) {
        /* This process can answer all the same; only other instances cannot. */
        log_event(LOG_WARN, "acme", "the challenge's answer could not be put into the store",
                  LOG_S("name", c->name), LOG_Z("error", err->text));
    }
    return true;
}

static void take_away(const struct challenge_context *c, struct slice token,
                      struct slice key_authorization)
{
    (void)key_authorization;
    challenge_remove(c->table, c->ca, c->name, token);
}

static bool usable(const struct acme_solvers *s, struct slice name)
{
    /* As in Caddy: with a DNS challenge nothing else is used. */
    return !s->no_http && !slice_starts(name, S("*.")) && (!s->dns || challenge_dns_address(name));
}

const struct challenge_type challenge_http01 = {
    .type = S_INIT("http-01"),
    .needs_token = true,
    .usable = usable,
    .present = present,
    .remove = take_away,
};
