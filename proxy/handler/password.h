/* Password hashes, bcrypt and argon2id: making and checking them. Both take long on purpose (up to
 * seconds) and must never be called on an event loop. The one door to libcrypt and libargon2. */
#ifndef HANDLER_PASSWORD_H
#define HANDLER_PASSWORD_H

#include "proxy/base/err.h"

enum password_kind { PASSWORD_BCRYPT, PASSWORD_ARGON2ID };

#define PASSWORD_BYTES_MAX 1024u
#define PASSWORD_HASH_BYTES 512u

#define BCRYPT_COST_MIN 4u
#define BCRYPT_COST_MAX 17u /* about ten seconds a try */

struct argon2_cost {
    unsigned time;
    unsigned memory_kib;
    unsigned threads;
    unsigned key_bytes;
};

/* Is hash a well-formed one of that kind, with a cost that can be borne? Else *why says what is
 * wrong with it. */
NODISCARD bool password_hash_valid(enum password_kind kind, struct slice hash, const char **why);
/* hash ends with a NUL. False also when memory is out. */
NODISCARD bool password_matches(enum password_kind kind, struct slice hash, struct slice password);

NODISCARD bool password_bcrypt(struct slice password, unsigned cost, char out[PASSWORD_HASH_BYTES],
                               struct err *err);
NODISCARD bool password_argon2id(struct slice password, const struct argon2_cost *cost,
                                 char out[PASSWORD_HASH_BYTES], struct err *err);

#endif
