/* The account with a CA: found in the store or registered, once for all instances that share it.
 * RFC 8555 section 7.3. Kept as CertMagic keeps it: users/<email|default>/…{.json,.key}. */
#ifndef ACME_ACCOUNT_H
#define ACME_ACCOUNT_H

#include "acme/acme.h"
#include "acme/session.h"
#include "store/names.h"

/* Makes session able to sign as the account of issuer. lost_url: the account URL that the CA does
 * not know any more (then the same key is registered again), or empty. The terms of service are
 * agreed to, as using the program says (Caddy does the same). */
NODISCARD bool account_ready(struct session *s, struct store *store,
                             const struct acme_issuer *issuer, struct slice ca,
                             struct slice lost_url, struct failure *f);

/* Appends the account's URL as far as the store knows it: nothing when it does not. */
void account_url(struct store *store, const struct acme_issuer *issuer, struct slice ca,
                 struct dstr *out);
/* Held while an account is made or changed. NULL: see store_lock. */
struct store_lock *account_lock(struct store *store, struct slice ca, struct stop *stop,
                                struct err *err);
/* The account that s signs as gets a new key. s is of no more use afterwards. A change that was
 * cut off is finished by another call. */
NODISCARD bool account_roll_over(struct session *s, struct store *store,
                                 const struct acme_issuer *issuer, struct slice ca,
                                 struct failure *f);
/* The account is ended at the CA, and its record set aside: the next order registers another. */
NODISCARD bool account_deactivate(struct session *s, struct store *store,
                                  const struct acme_issuer *issuer, struct slice ca,
                                  struct failure *f);

/* Has somebody given the account another key than the session's, in the store? */
bool account_key_changed(const struct session *s, struct store *store,
                         const struct acme_issuer *issuer, struct slice ca);

#endif
