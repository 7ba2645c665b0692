/* Sealing values with AES-256-GCM (NIST SP 800-38D): what a shared engine keeps can be neither read
 * nor put in another value's place by whoever runs it. Not prevented: that an older value of the
 * same key is put back. */
#ifndef STORE_SEAL_H
#define STORE_SEAL_H

#include "proxy/base/dstr.h"
#include "proxy/base/err.h"

#define SEAL_KEY_BYTES 32
/* A random nonce in front, the tag behind. */
#define SEAL_NONCE_BYTES 12
#define SEAL_TAG_BYTES   16
#define SEAL_OVERHEAD    (SEAL_NONCE_BYTES + SEAL_TAG_BYTES)

/* Exactly 32 bytes, or 64 hexadecimal digits. False: it is neither. */
NODISCARD bool seal_key_parse(struct slice text, unsigned char key[SEAL_KEY_BYTES]);
/* Appends nonce, ciphertext and tag of plain to out. bound_to is authenticated, not kept. */
NODISCARD bool seal(const unsigned char key[SEAL_KEY_BYTES], struct slice bound_to,
                    struct slice plain, struct dstr *out, struct err *err);
/* The reverse; false (out is as it was) when it was sealed with another key, for another name, or
 * changed. */
NODISCARD bool seal_open(const unsigned char key[SEAL_KEY_BYTES], struct slice bound_to,
                         struct slice sealed, struct dstr *out, struct err *err);

#endif
