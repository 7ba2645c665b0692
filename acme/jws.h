/* JSON Web Signatures as ACME wants them (RFC 8555 section 6.2): flattened, ES256 with a raw
 * signature of exactly 64 bytes; the key's thumbprint (RFC 7638); external account binding
 * (RFC 8555 section 7.3.4). */
#ifndef ACME_JWS_H
#define ACME_JWS_H

#include <openssl/evp.h>

#include "proxy/base/dstr.h"
#include "proxy/base/err.h"

#define JWS_BYTES_MAX ((size_t)256 * 1024)

struct jws_key {
    EVP_PKEY *pkey;      /* owned, P-256 */
    char jwk[192];       /* the public key, members in RFC 7638's order, no spaces */
    char thumbprint[44]; /* base64url SHA-256 of jwk */
};

/* Takes pkey over, also on failure. */
NODISCARD bool jws_key_init(struct jws_key *k, EVP_PKEY *pkey, struct err *err);
void jws_key_fini(struct jws_key *k);

/* Appends the signed message. nonce with p == NULL: none (a message inside of another). kid empty:
 * the header carries the public key instead. payload with p == NULL is the empty payload of
 * POST-as-GET. */
NODISCARD bool jws_sign(const struct jws_key *k, struct slice nonce, struct slice url,
                        struct slice kid, struct slice payload, struct dstr *out,
                        struct err *err);
/* Appends the HS256 binding of k's public key to an account the CA knows otherwise; url is the
 * newAccount URL, mac_key the key as the CA gave it (base64url). */
NODISCARD bool jws_external_binding(const struct jws_key *k, struct slice key_id,
                                    struct slice mac_key, struct slice url, struct dstr *out,
                                    struct err *err);
/* DER ECDSA-Sig-Value to r || s, each left-padded to 32 bytes. False when it is none. */
NODISCARD bool jws_raw_signature(struct slice der, unsigned char out[64]);
/* token "." thumbprint (RFC 8555 section 8.1). */
void jws_key_authorization(const struct jws_key *k, struct slice token, struct dstr *out);

#endif
