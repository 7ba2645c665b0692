/* CAA records (RFC 8659, RFC 8657): may this CA, for this account, sign a name? */
#ifndef ACME_CAA_H
#define ACME_CAA_H

#include "acme/dns_parse.h"
#include "acme/stop.h"
#include "proxy/base/err.h"

enum caa_verdict {
    CAA_NONE,      /* no record says anything */
    CAA_ALLOWED,   /* a record names the CA */
    CAA_FORBIDDEN, /* err says which name's records, and what they say */
    CAA_UNKNOWN    /* no answer: err says why */
};

struct caa_question {
    struct slice name;              /* "*.name" asks about the wildcard */
    struct slice resolvers;         /* "IP[:PORT],...", or empty: the system's */
    const struct slice *identities; /* of the CA: "letsencrypt.org" */
    size_t identity_count;
    struct slice account;           /* its URL, or empty: not known */
    struct stop *stop;
};

/* Climbs from the name until there are records. Blocks. */
NODISCARD enum caa_verdict caa_ask(const struct caa_question *q, struct err *err);
/* Does the value of an issue or issuewild property name one of the identities, with no account but
 * this one (empty: any)? Pure. */
bool caa_allows(struct slice value, const struct slice *identities, size_t count,
                struct slice account);

#endif
