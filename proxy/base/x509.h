/* What can be seen of a certificate and a private key without any cryptography: their bytes out of
 * PEM, the public key, the names, the dates. For loading thousands of pairs at once: decoding a
 * pair with OpenSSL takes half a millisecond, looking at it here a hundredth of that. Nothing here
 * says that a certificate is good; whoever uses it decodes it. */
#ifndef BASE_X509_H
#define BASE_X509_H

#include "proxy/base/dstr.h"

/* ---- PEM (RFC 7468) -------------------------------------------------------------------------- */

/* Takes the next block off *pem: its label ("CERTIFICATE") and, appended to der, its bytes. Text
 * between blocks is skipped. *broken (set, never cleared): a block that does not end, is encrypted
 * or has other bytes than base64. False: none is left, or broken. */
NODISCARD bool pem_next(struct slice *pem, struct slice *label, struct dstr *der, bool *broken);

/* ---- certificates (RFC 5280) ----------------------------------------------------------------- */

struct x509_facts {
    struct slice public_key; /* contents of SubjectPublicKeyInfo's bit string */
    struct slice alt_names;  /* contents of subjectAltName; empty: there is none */
    int64_t not_before_ms;   /* since 1970 */
    int64_t not_after_ms;
};

/* Slices point into der. False: it is no certificate. */
NODISCARD bool x509_read(struct slice der, struct x509_facts *out);
/* Takes the next DNS name or IP address off *alt_names; others are skipped. False: the end. */
struct x509_name {
    bool is_ip;         /* then value has 4 or 16 bytes, in network order */
    struct slice value; /* a DNS name as it is written */
};
NODISCARD bool x509_next_name(struct slice *alt_names, struct x509_name *out);

/* ---- pairs ----------------------------------------------------------------------------------- */

enum x509_pair {
    X509_PAIR_FITS,
    X509_PAIR_DIFFERS,
    X509_PAIR_UNKNOWN, /* the key does not tell its public half (Ed25519), or is of another form */
};

/* key: PKCS #8, SEC 1 or PKCS #1 in DER. What a key says of itself is believed. */
enum x509_pair x509_fits(const struct x509_facts *facts, struct slice key);

#endif
