/* What was asked of a CA of late, per name and account, so that its limits are kept across
 * restarts and by all instances together. Only for CAs whose limits are known by their host
 * (https://letsencrypt.org/docs/rate-limits: buckets that refill steadily); others say themselves
 * when it is too much. caddis/ledger/<ca>/. */
#ifndef ACME_LEDGER_H
#define ACME_LEDGER_H

#include "proxy/base/err.h"
#include "store/store.h"

enum ledger_event {
    LEDGER_ORDER,      /* a new order, per account */
    LEDGER_FAILURE,    /* a failed validation, per name */
    LEDGER_CERTIFICATE /* a certificate, per name and per registered domain */
};

struct ledger {
    struct store *store;
    struct slice directory_url, ca; /* ca: store name */
    struct slice account;           /* something that tells accounts apart: the e-mail address */
    struct slice name;
    bool renewal;  /* of the same name: exempt from the limits per account and domain */
    bool replaces; /* ordered inside the window the CA suggested: exempt from all limits */
};

/* How many ms until an order for the name is within every limit, 0: now. why says which limit. */
int64_t ledger_wait_ms(const struct ledger *l, int64_t now_ms, struct err *why);
/* Writes down what happened. Best effort: a store that fails is reported elsewhere. */
void ledger_count(const struct ledger *l, enum ledger_event event, int64_t now_ms);

/* ---- for tests: pure */

/* Fills with every event, empties steadily. */
struct ledger_bucket {
    int64_t level_milli; /* thousandths of an event */
    int64_t at_ms;       /* when that was */
};
/* Until one more event fits into a bucket of `capacity` events that loses one each refill_ms. */
int64_t ledger_bucket_wait_ms(const struct ledger_bucket *b, int64_t capacity, int64_t refill_ms,
                              int64_t now_ms);
void ledger_bucket_add(struct ledger_bucket *b, int64_t capacity, int64_t refill_ms,
                       int64_t now_ms);
/* The domain that a CA counts a name under: its last two labels, or three where the last two look
 * like a registry's ("co.uk"). Counting too many names together only makes us more careful. */
struct slice ledger_domain(struct slice name);

#endif
