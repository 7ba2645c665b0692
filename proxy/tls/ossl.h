/* What everything here needs of OpenSSL: the one-time start, the parts of the policy that both
 * directions share, and its error words. */
#ifndef TLS_OSSL_H
#define TLS_OSSL_H

#include <openssl/ssl.h>

#include "proxy/base/err.h"

/* Starts the library once. Without its atexit handler: threads may still run while exit() does. */
void ossl_init(void);

/* The reason of the first error in this thread's queue in OpenSSL's or the system's words (static
 * text), or otherwise; empties the queue. */
const char *ossl_reason(const char *otherwise);
/* Sets err to "what: reason"; returns false. Empties the queue. */
bool ossl_err(struct err *err, const char *what);

/* TLS 1.2 and 1.3, groups, modes, no compression, no renegotiation, read-ahead. False: memory. */
NODISCARD bool ossl_common_policy(SSL_CTX *ctx);
/* ECDHE with AEAD only; AES-128-GCM first where the processor has AES, else ChaCha20. */
NODISCARD bool ossl_cipher_policy(SSL_CTX *ctx);

/* Protocol names in the length-prefixed form of RFC 7301 section 3.1, at most cap bytes; 0 when
 * there are none, or one is empty, too long or does not fit. */
size_t ossl_alpn_wire(const struct slice *alpn, size_t count, unsigned char *out, size_t cap);

#endif
