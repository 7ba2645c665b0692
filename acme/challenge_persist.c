/* In: a name, the account. Out: whether its owner has put the record. Nothing is put here, and
 * nothing answered: the CA looks at the same record. It is looked for before an order is made, so
 * that a record that is not there yet costs nothing at the CA. */
#include "acme/challenge_persist.h"

#include "acme/challenge_dns.h"
#include "acme/dns_check.h"
#include "proxy/base/arena.h"

#define NS_PORT 53
#define TEXT_MAX 512

bool challenge_persist_used(const struct acme_solvers *solvers, struct slice name)
{
    return solvers->dns && slice_eq(solvers->dns->provider, S("persist")) &&
           !challenge_dns_address(name);
}

bool challenge_persist_fits(struct slice text, struct slice issuer, struct slice account,
                            bool wildcard)
{
    struct slice part, key;
    bool of_account = false, of_wildcards = false;
    if (!slice_cut(&text, ';', &part) || !slice_eq_case(slice_trim(part), issuer)) {
        return false;
    }
    while (slice_cut(&text, ';', &part)) {
        part = slice_trim(part);
        if (slice_cut(&part, '=', &key) && part.p) {
            of_account = of_account || (slice_eq_case(slice_trim(key), S("accounturi")) &&
                                        slice_eq(slice_trim(part), account));
            of_wildcards = of_wildcards || (slice_eq_case(slice_trim(key), S("policy")) &&
                                            slice_eq_case(slice_trim(part), S("wildcard")));
        }
    }
    return of_account && (of_wildcards || !wildcard);
}

struct wanted {
    struct slice issuer, account;
    bool wildcard;
};

static bool fits(const void *ctx, struct slice text)
{
    const struct wanted *w = ctx;
    return challenge_persist_fits(text, w->issuer, w->account, w->wildcard);
}

bool challenge_persist_ready(const struct challenge_context *c, struct slice issuer,
                             struct err *err)
{
    struct arena a;
    struct wanted w = {issuer, c->account, slice_starts(c->name, S("*."))};
    struct dns_check check = {
        .dns = c->solvers->dns, .stop = c->stop, .port = NS_PORT, .fits = fits, .fits_ctx = &w};
    char target[DNS_TEXT_BYTES];
    if (issuer.n == 0) {
        return err_set(err, "the CA's directory names no caaIdentities, without which there is no"
                            " dns-persist-01");
    }
    arena_init(&a, 8192);
    struct slice record = arena_printf(&a, "_validation-persist.%.*s",
                                       SLICE_ARG(w.wildcard ? slice_from(c->name, 2) : c->name));
    struct slice text = arena_printf(&a, "%.*s; accounturi=%.*s%s", SLICE_ARG(issuer),
                                     SLICE_ARG(c->account), w.wildcard ? "; policy=wildcard" : "");
    struct err why = {.text = ""};
    dns_follow(&check, record, target);
    bool ok = dns_visible(&check, slice_str(target), S(""), &why);
    if (!ok) {
        (void)err_set(err, "put this record into the DNS, once and for good; nothing else is needed"
                           " then: %.*s. TXT \"%.*s\" (now: %s)",
                      SLICE_ARG(record), SLICE_ARG(text), why.text);
    }
    arena_fini(&a);
    return ok;
}

static bool present(const struct challenge_context *c, struct slice token,
                    struct slice key_authorization, struct err *err)
{
    (void)c;
    (void)token;
    (void)key_authorization;
    (void)err;
    return true;
}

static void take_away(const struct challenge_context *c, struct slice token,
                      struct slice key_authorization)
{
    (void)c;
    (void)token;
    (void)key_authorization;
}

const struct challenge_type challenge_dns_persist01 = {
    .type = S_INIT("dns-persist-01"),
    .needs_token = false,
    .usable = challenge_persist_used,
    .present = present,
    .remove = take_away,
};
