/* Inside proxy/tls: what the handshake code sees of a policy. */
#ifndef TLS_POLICY_PRIV_H
#define TLS_POLICY_PRIV_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "proxy/tls/policy.h"

#define TLS_ALPN_WIRE_MAX ((size_t)256)
#define TLS_LEAFS_MAX ((size_t)1024)

struct tls_policy {
    atomic_uint refs;
    SSL_CTX *ctx; /* owned */
    int min_version, max_version; /* OpenSSL's numbers */
    char *groups; /* owned; NULL: the usual ones */
    unsigned char alpn[TLS_ALPN_WIRE_MAX];
    unsigned alpn_n;
    enum tls_client_mode client;
    uint64_t client_id;
    unsigned char (*leafs)[32]; /* owned: SHA-256 of the certificates that are let in */
    size_t leaf_count;
    struct log_sink *secrets; /* counted, or NULL */
};

/* In the client-hello callback: makes ssl follow p from here on. False: memory. */
NODISCARD bool tls_policy_apply(const struct tls_policy *p, SSL *ssl);

#endif
