/* One attempt for one name: lock, look again, record, obtain, save. Run by one thread, without any
 * lock of the manager. */
#ifndef ACME_ATTEMPT_H
#define ACME_ATTEMPT_H

#include "acme/acme.h"
#include "acme/session.h"
#include "acme/stored.h"

enum attempt_result {
    ATTEMPT_OBTAINED, /* pair and facts are new; saved says whether they are in the store */
    ATTEMPT_FOUND,    /* the store has a good one that the caller did not know, or that was lost */
    ATTEMPT_BUSY,     /* another process or thread is at it */
    ATTEMPT_WAIT,     /* not yet: hold_ms */
    ATTEMPT_FAILED    /* failure; hold_ms when it is this name's own, -1 when it is the CA's */
};

struct attempt {
    struct store *store;
    struct challenge_table *challenges;
    struct stop *stop;
    struct slice name;
    struct slice ca; /* store name */
    const struct acme_issuer *issuer;
    struct session **session; /* of this CA; made here when NULL, taken away when it is no good */
    int64_t leaf_lifetime_ms; /* local CA */
    bool has_cert;            /* the caller serves one: */
    struct cert_facts known;  /* this */
    bool known_is_ours;       /* and this issuer signed it */
    enum acme_key_type key_type;
    bool reuse_key;
    unsigned ratio_ppm;
    bool in_window; /* the moment that the CA suggests for renewing it is now */
    bool lost;      /* the store has lost the one that is served, and it is not due: put it back */
    const struct acme_callbacks *callbacks; /* lost: whom to ask for it */
    bool emergency; /* the certificate that is served is near its end */
    bool by_hand;   /* somebody asked for it: no wait of ours holds it up, and what is in the store
                     * is no reason not to order */
    void (*say)(void *ctx, const char *activity);
    void *say_ctx;

    struct store_pair pair;
    struct cert_facts facts;
    bool saved;
    int64_t hold_ms;
    int64_t failures; /* in a row, of this name */
    bool another_key; /* ATTEMPT_FAILED, but only because the account has another key meanwhile */
    struct failure failure;
};

void attempt_init(struct attempt *t);
void attempt_fini(struct attempt *t);
NODISCARD enum attempt_result attempt_acme(struct attempt *t);
NODISCARD enum attempt_result attempt_local(struct attempt *t);
/* One at a time makes attempts for t->name at t->ca (store, stop). NULL: somebody else does (err
 * empty), or it cannot be locked. */
struct store_lock *attempt_lock(const struct attempt *t, struct err *err);

/* When the certificate is to be renewed by its own dates; the jitter comes from the certificate. */
int64_t attempt_renew_at_ms(const struct cert_facts *facts, unsigned ratio_ppm);
/* Can it be served at all: not expired? (One that is not valid yet is served: then it is our clock
 * that is likely wrong.) */
bool attempt_servable(const struct cert_facts *facts, int64_t now_ms);
/* Was a local chain signed under the local CA's root that is in the store now? */
bool attempt_of_present_root(struct store *s, struct slice chain_pem);

#endif
