/* HMAC-SHA256 (RFC 2104) in hexadecimal: values that a client may hold but not make. */
#ifndef TLS_KEYED_HASH_H
#define TLS_KEYED_HASH_H

#include "proxy/base/slice.h"

#define KEYED_HASH_BYTES 65 /* 64 digits and a NUL */

/* False: OpenSSL refused (out is then empty). */
NODISCARD bool keyed_hash_hex(struct slice key, struct slice text, char out[KEYED_HASH_BYTES]);

/* Plain SHA-256 in hexadecimal. */
NODISCARD bool sha256_hex(struct slice text, char out[KEYED_HASH_BYTES]);

#endif
