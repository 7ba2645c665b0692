/* Load balancing: which of the usable origins a request goes to. Pure but for random numbers and
 * the counters that round robin shares.
 *
 * Hashing is rendezvous hashing (highest random weight) over a fixed hash of key and origin: the
 * same on every machine and after every restart, and an origin that goes takes only its own keys
 * with it. */
#ifndef UPSTREAM_BALANCE_H
#define UPSTREAM_BALANCE_H

#include "proxy/upstream/origin.h"

#define ORIGINS_MAX 64

enum lb_policy {
    POLICY_RANDOM,
    POLICY_RANDOM_CHOOSE, /* of `choose` random ones the least busy */
    POLICY_FIRST,
    POLICY_ROUND_ROBIN,
    POLICY_WEIGHTED_ROUND_ROBIN,
    POLICY_LEAST_CONN,
    POLICY_IP_HASH,
    POLICY_CLIENT_IP_HASH,
    POLICY_URI_HASH,
    POLICY_QUERY,
    POLICY_HEADER,
    POLICY_COOKIE,
};

struct balance_counter {
    _Atomic unsigned next; /* shared by the workers */
};

struct balance {
    enum lb_policy policy;
    unsigned choose;         /* POLICY_RANDOM_CHOOSE: at least 2 */
    const unsigned *weights; /* POLICY_WEIGHTED_ROUND_ROBIN: one for each origin */
    struct slice name;       /* of the query key, field or cookie */
    const struct slice *cookies; /* POLICY_COOKIE: the value that stands for each origin */
    int64_t cookie_max_age_s;    /* 0: until the browser ends */
    const struct balance *fallback; /* POLICY_QUERY, _HEADER, _COOKIE: when the request has none */
    struct balance_counter *counter;
    const void *at; /* the reader's own: where it was written */
};

#define BALANCE_NONE SIZE_MAX

/* The index of an origin in usable (bit i: origins[i] may be taken), BALANCE_NONE if there is none.
 * *new_cookie (may be NULL): the client is to be given cookies[index]. */
size_t balance_choose(const struct balance *b, struct origin *const *origins, size_t count,
                      uint64_t usable, const struct exchange *ex, bool *new_cookie);
/* The fixed hash. */
uint64_t balance_hash(struct slice a, struct slice b);

#endif
