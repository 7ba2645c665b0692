/* In: a name, a CA. Out: what the CAA records between the name and the root say of the two. */
#include "acme/caa.h"

#include <stdio.h>

#include "acme/dns_ask.h"

#define VALUE_SHOWN 100

/* What one name's records say. */
struct records {
    bool any; /* there are records */
    bool limits, allows; /* by issue */
    bool limits_wild, allows_wild;
    char said[VALUE_SHOWN + 1]; /* the first value that is not for us */
};

bool caa_allows(struct slice value, const struct slice *identities, size_t count,
                struct slice account)
{
    struct slice part;
    bool named = false;
    if (!slice_cut(&value, ';', &part)) {
        return false;
    }
    for (size_t i = 0; i < count && !named; i++) {
        named = slice_eq_case(slice_trim(part), identities[i]);
    }
    while (named && slice_cut(&value, ';', &part)) {
        struct slice key;
        if (slice_cut(&part, '=', &key) && slice_eq_case(slice_trim(key), S("accounturi")) &&
            account.n) {
            named = slice_eq(slice_trim(part), account);
        }
    }
    return named;
}

/* False: a critical property that nobody here, and perhaps not the CA, understands. */
static bool count_in(struct records *all, const struct caa_question *q, const struct dns_caa *caa)
{
    bool wild = slice_eq_case(caa->tag, S("issuewild"));
    all->any = true;
    if (!wild && !slice_eq_case(caa->tag, S("issue"))) {
        return !caa->critical || slice_eq_case(caa->tag, S("iodef")) ||
               slice_eq_case(caa->tag, S("issuemail"));
    }
    bool allows = caa_allows(caa->value, q->identities, q->identity_count, q->account);
    *(wild ? &all->limits_wild : &all->limits) = true;
    *(wild ? &all->allows_wild : &all->allows) |= allows;
    if (!allows && !all->said[0]) {
        (void)snprintf(all->said, sizeof(all->said), "%.*s",
                       SLICE_ARG(slice_upto(caa->value, VALUE_SHOWN)));
    }
    for (char *p = all->said; *p; p++) {
        *p = *p >= ' ' && *p < 127 ? *p : '?'; /* it goes to a terminal */
    }
    return true;
}

static enum caa_verdict judge(const struct caa_question *q, struct slice at,
                              struct dns_message *m, bool *found, struct err *err)
{
    struct records all = {.any = false};
    struct dns_record r;
    struct dns_caa caa;
    bool wildcard = slice_starts(q->name, S("*."));
    while (dns_next(m, &r)) {
        if (r.section == DNS_ANSWER && r.type == DNS_CAA && dns_caa(&r, &caa) &&
            !count_in(&all, q, &caa)) {
            (void)err_set(err, "%.*s has a critical CAA record that CAs may not know",
                          SLICE_ARG(at));
            return CAA_FORBIDDEN;
        }
    }
    *found = all.any;
    bool by_wild = wildcard && all.limits_wild;
    if (by_wild ? all.allows_wild : all.allows) {
        return CAA_ALLOWED;
    }
    if (by_wild || all.limits) {
        (void)err_set(err, "the CAA records of %.*s allow others only (\"%s\")", SLICE_ARG(at),
                      all.said);
        return CAA_FORBIDDEN;
    }
    return CAA_NONE;
}

enum caa_verdict caa_ask(const struct caa_question *q, struct err *err)
{
    struct dstr answer;
    struct dns_message m;
    enum caa_verdict verdict = CAA_NONE;
    bool found = false;
    struct slice at = slice_starts(q->name, S("*.")) ? slice_from(q->name, 2) : q->name;
    dstr_init(&answer, DNS_MESSAGE_MAX + 1);
    while (at.n && !found && verdict == CAA_NONE) {
        struct slice label;
        if (!dns_ask(q->resolvers, at, DNS_CAA, true, q->stop, &answer, &m, err)) {
            verdict = CAA_UNKNOWN;
        } else if (m.rcode != DNS_NOERROR && m.rcode != DNS_NXDOMAIN) {
            verdict = CAA_UNKNOWN;
            (void)err_set(err, "asking for the CAA records of %.*s gives code %u", SLICE_ARG(at),
                          m.rcode);
        } else {
            verdict = judge(q, at, &m, &found, err);
        }
        (void)slice_cut(&at, '.', &label);
    }
    dstr_fini(&answer);
    return verdict;
}
