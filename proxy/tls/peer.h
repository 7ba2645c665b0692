/* Inside proxy/tls: the certificate a client has shown, in words. */
#ifndef TLS_PEER_H
#define TLS_PEER_H

#include <openssl/ssl.h>

#include "proxy/net/stream.h"

/* Bytes of what is kept of one certificate: they come from the client. */
#define TLS_PEER_MAX_BYTES ((size_t)128 * 1024)
#define TLS_PEER_ALT_MAX 256

struct tls_peer;

/* What the other side has shown in the handshake. NULL: nothing, or (with *failed) memory or a
 * certificate that does not fit. */
struct tls_peer *tls_peer_new(SSL *ssl, bool *failed);
void tls_peer_free(struct tls_peer *p); /* NULL is allowed */
const struct stream_client_certificate *tls_peer_certificate(const struct tls_peer *p);

#endif
