/* A decoded certificate chain and its key, counted and immutable: read from PEM, or the self-signed
 * stand-in for a name that has none yet. Any thread. */
#ifndef TLS_CERT_H
#define TLS_CERT_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "proxy/base/dstr.h"
#include "proxy/base/err.h"

#define CERT_PEM_MAX ((size_t)256 * 1024) /* bytes of a chain or a key file that are looked at */
#define CERT_CHAIN_MAX 16                 /* certificates behind the leaf */

struct cert {
    atomic_uint refs;
    X509 *leaf;
    STACK_OF(X509) * chain; /* what follows the leaf; may be empty */
    EVP_PKEY *key;
    bool stand_in;
};

/* Chain (leaf first) and unencrypted key in PEM; they must belong together. NULL with the reason.
 * err may be NULL. */
struct cert *cert_parse(struct slice chain_pem, struct slice key_pem, struct err *err);
/* Of parts that are decoded already, which it takes whatever happens. NULL: one is NULL, they do
 * not belong together (the reason is in OpenSSL's queue), or memory. */
struct cert *cert_of(X509 *leaf, STACK_OF(X509) *chain, EVP_PKEY *key);
/* Self-signed, P-256, 30 days, for a DNS name (also "*.x") or an IP text; about 0.1 ms. The key is
 * the same for all of them, drawn once a process. NULL: memory. */
struct cert *cert_stand_in(struct slice name);
struct cert *cert_ref(struct cert *c);
/* NULL is allowed. */
void cert_unref(struct cert *c);

/* Appends both as PEM (the key as PKCS #8; it is secret). False: memory, or no room. */
NODISCARD bool cert_write_pem(const struct cert *c, struct dstr *chain_pem, struct dstr *key_pem);

/* Makes ssl answer with it. False: memory, or a key OpenSSL's security level refuses. */
NODISCARD bool cert_use(const struct cert *c, SSL *ssl);

#endif
