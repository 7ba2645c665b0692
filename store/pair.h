/* A certificate chain and its private key as one thing: on disk there is at every instant a pair
 * that matches, the newest one that was written whole.
 *
 * Writing (under a lock of its own): <name>.json.new, <name>.key.new and then <name>.crt.new are
 * written and fsynced, and from then on the new pair counts; the present .crt and .key are linked
 * to .crt.prev and .key.prev; then .key.new, .json.new and, last, .crt.new are renamed over the
 * present ones, the folder fsynced after each. Reading: of the combinations of {new, current,
 * prev} the first that matches: new/new, .crt.new with the present key (its key was renamed
 * already), current/current, then mixed, prev/prev last. A reader that finds a half-done write
 * finishes it or clears it away, and one that has to go back to .prev brings that back, so that a
 * Caddy reading the folder sees a matching pair too. In a store that cannot be written it only
 * reads. */
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
 * is set aside (store_set_aside) and *damaged is true. *damaged (may be NULL) is also true beside
 * STORE_OK when something had to be set aside and an older copy serves. STORE_FAILED when a file
 * cannot be read (EACCES, a symbolic link, too large) and the others do not make up for it. out is
 * initialised by the caller and replaced on STORE_OK only. */
NODISCARD enum store_result store_pair_get(struct store *s, struct slice ca, struct slice name,
                                           store_pair_matches *matches, void *ctx,
                                           struct store_pair *out, bool *damaged, struct err *err);
/* STORE_OK: durable, and the next store_pair_get anywhere returns this pair. STORE_FAILED: the old
 * pair is as it was (or, if the disk failed right after the new one was whole and would not let it
 * be taken back, the new one is there after all). Takes the lock "pair_<ca>_<name>": do not hold
 * that one. */
NODISCARD enum store_result store_pair_put(struct store *s, struct slice ca, struct slice name,
                                           const struct store_pair *pair, struct err *err);

#endif
