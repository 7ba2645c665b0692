/* Encodings: base64 and base64url (RFC 4648 sections 4, and 5 without padding), hexadecimal,
 * percent-encoding. */
#ifndef BASE_ENC_H
#define BASE_ENC_H

#include "proxy/base/arena.h"
#include "proxy/base/dstr.h"

void enc_base64(struct dstr *out, struct slice bytes);
void enc_base64url(struct dstr *out, struct slice bytes);
/* Strict: no padding, no other characters, no stray bits. The result is in the arena. */
NODISCARD bool enc_base64url_decode(struct arena *a, struct slice text, struct slice *out);
/* Standard base64 (section 4), padding required. */
NODISCARD bool enc_base64_decode(struct arena *a, struct slice text, struct slice *out);
void enc_hex(struct dstr *out, struct slice bytes);
/* %XX decoded; false on a broken escape. The result is in the arena (or is text itself). */
NODISCARD bool enc_percent_decode(struct arena *a, struct slice text, struct slice *out);

#endif
