/* Inside proxy/tls: what the handshake code sees of a policy. */
#ifndef TLS_POLICY_PRIV_H
#define TLS_POLICY_PRIV_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "proxy/tls/client_trust.h"

#define TLS_ALPN_WIRE_MAX ((size_t)256)

struct tls_policy {
    atomic_uint refs;
    SSL_CTX *ctx; /* owned */
    int min_version, max_version; /* OpenSSL's numbers */
    char *groups; /* owned; NULL: the usual ones */
    unsigned char alpn[TLS_ALPN_WIRE_MAX];
    unsigned alpn_n;
    enum tls_client_mode client;
    uint64_t client_id;
    pthread_mutex_t trust_lock;
    struct client_trust *trust; /* counted, under trust_lock; NULL: nothing is verified */
    struct log_sink *secrets; /* counted, or NULL */
};

/* In the client-hello callback: makes ssl follow p from here on. False: memory. */
NODISCARD bool tls_policy_apply(struct tls_policy *p, SSL *ssl);

#endif
