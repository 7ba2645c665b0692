/* One order, from newOrder to a checked certificate: RFC 8555 section 7.4, in reading order. Each
 * step that cannot be taken back is in the store first, so that a process that dies goes on with
 * the same order. */
#ifndef ACME_ORDER_H
#define ACME_ORDER_H

#include "acme/acme.h"
#include "acme/challenge_type.h"
#include "acme/key.h"
#include "acme/order_saved.h"
#include "acme/session.h"

struct order_run {
    struct session *session; /* account_ready */
    const struct acme_issuer *issuer;
    struct store *store;
    struct challenge_table *challenges;
    struct slice ca;   /* store name */
    struct slice name; /* the one name to prove and to certify */
    int64_t failures;  /* of this name's attempts before this one: decides the way to prove it */
    enum key_type key_type;
    EVP_PKEY *old_key;     /* to use again, or NULL; owned */
    struct slice replaces; /* id of the certificate that this one is to replace (RFC 9773 section
                            * 5), or empty */
    bool rehearsal;        /* nothing is kept in the store */
    /* What is being done, for people. */
    void (*say)(void *ctx, const char *activity);
    void *say_ctx;

    /* The rest belongs to order.c and authorise.c. */
    struct arena arena;
    struct reply reply;
    struct order_saved saved;
    int64_t deadline_mono_ms; /* of the step under way */
    unsigned tried;           /* challenge types that have failed, a bit each */
    unsigned trying;          /* the bit of the one under way */
    struct err tried_errors;  /* why */

    /* Results. */
    struct dstr chain_pem;
    struct slice certificate_url; /* in arena */
    bool validation_failed; /* the CA counted a failed validation */
    bool perhaps_made; /* order_new: no answer came, but the CA may have made an order */
    bool order_dead; /* after a failed order_resume: the order is of no more use */
};

void order_run_init(struct order_run *run);
/* Clears keys. */
void order_run_fini(struct order_run *run);

/* Goes on with the order in the store (run->saved, loaded by the caller). */
NODISCARD bool order_resume(struct order_run *run, struct failure *f);
/* Makes a new one, with a new key. */
NODISCARD bool order_new(struct order_run *run, struct failure *f);

/* For authorise.c: POST-as-GET into run->reply, patient with lost answers and 5xx until the
 * deadline. */
NODISCARD bool order_fetch(struct order_run *run, struct slice url, struct failure *f);
/* Waits between two looks: what the last reply's Retry-After says, else *interval_ms, which grows.
 * False: stopped (FAILURE_STOPPED) or past the deadline (FAILURE_SLOW, with `what`). */
NODISCARD bool order_pause(struct order_run *run, int64_t *interval_ms, const char *what,
                           struct failure *f);
void order_say(struct order_run *run, const char *fmt, ...) PRINTF(2, 3);

#endif
