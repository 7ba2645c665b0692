/* What the store has about a name: its certificate, and the record of its attempts. */
#ifndef ACME_STORED_H
#define ACME_STORED_H

#include "acme/cert_check.h"
#include "acme/schedule.h"
#include "store/names.h"
#include "store/pair.h"

enum stored_result {
    STORED_OK,
    STORED_MISSING,
    STORED_DAMAGED, /* there was something; it is set aside */
    STORED_FAILED   /* the store cannot be read; err is set */
};

/* The pair that is there, checked for key and name; dates are the caller's to judge. */
NODISCARD enum stored_result stored_pair(struct store *s, struct slice ca, struct slice name,
                                         struct store_pair *out, struct cert_facts *facts,
                                         struct err *err);
/* What stored_best found. */
struct stored_best {
    size_t at; /* which of the CAs */
    struct cert_facts facts;
    bool failed; /* a folder could not be read: */
    struct err err;
};
/* Is a pair of CA i to be served rather than one of CA `best`? Public CAs date their certificates
 * back, each in its own way: that says nothing beside the local CA, where their order decides.
 * Among public ones the latest to begin is the latest that was obtained. */
bool stored_better(const struct slice *cas, size_t i, int64_t not_before_ms, size_t best,
                   int64_t best_not_before_ms);
/* The pair to serve among those that several CAs signed: the best that has not expired. False when
 * there is none. */
NODISCARD bool stored_best(struct store *s, const struct slice *cas, size_t ca_count,
                           struct slice name, int64_t now_ms, struct store_pair *out,
                           struct stored_best *best);
/* SHA-256 of the first certificate in the stored chain, cheaply; false when it cannot be read. */
NODISCARD bool stored_hash(struct store *s, struct slice ca, struct slice name,
                           unsigned char out[CERT_HASH_BYTES], bool *missing);
/* Saves the pair with CertMagic's .json beside it. */
NODISCARD bool stored_save(struct store *s, struct slice ca, struct slice name,
                           struct store_pair *pair, struct err *err);
/* CertMagic's {"sans":[…],"issuer_data":{…}}; both URLs may be empty. */
void stored_meta(struct slice name, struct slice ca_url, struct slice certificate_url,
                 struct dstr *out);

/* An empty schedule when there is none or it is damaged; dates from another clock are mended and
 * written back. */
void stored_schedule(struct store *s, struct slice ca, struct slice name, struct schedule *out);
NODISCARD bool stored_schedule_save(struct store *s, struct slice ca, struct slice name,
                                    const struct schedule *schedule, struct err *err);
void stored_schedule_clear(struct store *s, struct slice ca, struct slice name);
/* Is there an order to resume? */
bool stored_has_order(struct store *s, struct slice ca, struct slice name);

#endif
