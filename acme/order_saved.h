/* The order under way, as it is kept in the store: its URL and the private key of the certificate
 * to come. caddis/order/<ca>/<name>.{json,key}. */
#ifndef ACME_ORDER_SAVED_H
#define ACME_ORDER_SAVED_H

#include <openssl/evp.h>

#include "store/names.h"
#include "store/store.h"

struct order_saved {
    struct dstr url;
    EVP_PKEY *key; /* owned */
};

void order_saved_init(struct order_saved *o);
void order_saved_fini(struct order_saved *o);
/* STORE_MISSING when there is none that is whole. */
NODISCARD enum store_result order_saved_load(struct store *s, struct slice ca, struct slice name,
                                             struct order_saved *out, struct err *err);
/* The key first, so that an order that is there always has its key. */
NODISCARD enum store_result order_saved_put(struct store *s, struct slice ca, struct slice name,
                                            const struct order_saved *o, struct err *err);
/* Best effort: one that stays is found dead by the next attempt. */
void order_saved_delete(struct store *s, struct slice ca, struct slice name);

#endif
