/* A certificate chain and its private key as one thing: on disk there is at every instant a pair
 * that matches, the newest one that was written whole.
 *
 * Writing: <name>.key.new and <name>.crt.new are written and fsynced; the present <name>.key and
 * <name>.crt are linked to <name>.key.prev and <name>.crt.prev; the new ones are renamed over the
 * present ones; the folder is fsynced after each step that matters; then .json. Reading: of the
 * combinations of {new, current, prev} for each of the two files, the first that matches, in the
 * order new/new, current/current, then mixed, prev/prev last; a reader that finds a half-done
 * write finishes it (under the lock) so that a Caddy reading the folder sees a matching pair too. */
#ifndef STORE_PAIR_H
#define STORE_PAIR_H

#include "store/store.h"

struct store_pair {
    struct dstr chain_pem; /* leaf first */
    struct dstr key_pem;   /* secret: zeroed by store_pair_fini */
    struct dstr meta_json; /* CertMagic's .json, may be empty */
};

void store_pair_init(struct store_pair *p);
void store_pair_fini(struct store_pair *p);

/* Do chain and key belong together and parse? Given by the caller, because store has no OpenSSL. */
typedef bool store_pair_matches(void *ctx, struct slice chain_pem, struct slice key_pem);

/* STORE_MISSING when there is nothing, or nothing that matches; in the latter case what was there
 * is set aside (store_set_aside) and *damaged is true. */
NODISCARD enum store_result store_pair_get(struct store *s, struct slice ca, struct slice name,
                                           store_pair_matches *matches, void *ctx,
                                           struct store_pair *out, bool *damaged, struct err *err);
NODISCARD enum store_result store_pair_put(struct store *s, struct slice ca, struct slice name,
                                           const struct store_pair *pair, struct err *err);

#endif
