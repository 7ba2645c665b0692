/* The parts of `caddis storage` among themselves. */
#ifndef CMD_STORAGE_H
#define CMD_STORAGE_H

#include "proxy/base/arena.h"
#include "store/store.h"

/* One certificate's files: certificates/<ca>/<name>/<name><suffix>. */
struct storage_cert_key {
    struct slice ca, name, suffix;
};
/* False: key is no file of a certificate. Slices of key. */
NODISCARD bool storage_cert_key(struct slice key, struct storage_cert_key *out);

/* Is it a lock, a temp file, a damaged value set aside or half of a write: nothing to carry? */
bool storage_is_debris(struct slice key);

/* Prints what will become of every entry; the number of those that will not be used, or -1 after a
 * message when the store cannot be read. */
int64_t storage_check(struct store *s);

#endif
