/* Is a certificate chain what it should be? Used on what a CA sent before it is served, and on
 * what is found in the store. RFC 8555 section 7.4.2 leaves this to the client. */
#ifndef ACME_CERT_CHECK_H
#define ACME_CERT_CHECK_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "proxy/base/dstr.h"
#include "proxy/base/err.h"
#include "proxy/base/slice.h"

#define CERT_CHAIN_MAX 10
#define CERT_PEM_MAX ((size_t)256 * 1024)
#define CERT_HASH_BYTES 32
#define CERT_ID_MAX 96
/* A leaf may begin this much in the future. Clocks differ; and where ours is a day or two behind,
 * the certificate is good for everybody else. */
#define CERT_SKEW_MS ((int64_t)50 * 60 * 60 * 1000)

enum cert_names_rule {
    CERT_NAMES_EXACT,  /* the names asked for and no others */
    CERT_NAMES_INCLUDE /* at least these */
};

struct cert_facts {
    int64_t not_before_ms; /* of the leaf */
    int64_t not_after_ms;  /* the earliest in the chain */
    unsigned char hash[CERT_HASH_BYTES]; /* SHA-256 of the leaf's DER */
    char id[CERT_ID_MAX]; /* RFC 9773's, "" when the leaf does not name its issuer's key */
};

struct cert_chain {
    X509 *certs[CERT_CHAIN_MAX]; /* owned, leaf first */
    size_t count;
};

/* Every certificate in the PEM; false (and nothing to free) when one is damaged, there is none,
 * or there are more than CERT_CHAIN_MAX. */
NODISCARD bool cert_chain_parse(struct slice pem, struct cert_chain *out, struct err *err);
void cert_chain_free(struct cert_chain *chain);

/* Parses and checks: the leaf's key is `key` (NULL: not checked), its names are `names` by `rule`,
 * each certificate is signed by the next, and the dates can be read. Dates are NOT compared with
 * any clock: see cert_dates_ok. */
NODISCARD bool cert_check(struct slice chain_pem, EVP_PKEY *key, const struct slice *names,
                          size_t count, enum cert_names_rule rule, struct cert_facts *facts,
                          struct err *err);
/* May a certificate with these dates be taken from a CA at now_ms? */
NODISCARD bool cert_dates_ok(const struct cert_facts *facts, int64_t now_ms, struct err *err);

/* Do a chain and a private key belong together? In store_pair_matches's form. */
bool cert_pair_matches(void *unused, struct slice chain_pem, struct slice key_pem);
/* Was the last certificate of the chain signed by root (or is it root)? */
bool cert_chain_ends_at(struct slice chain_pem, X509 *root);
/* RFC 9773 section 4.1: base64url(key identifier of the authority) "." base64url(serial number's
 * DER content). False, and "", when the certificate has no such identifier or
 * it is too long. */
bool cert_id(X509 *cert, char out[CERT_ID_MAX]);
/* Milliseconds since 1970; false when the time cannot be read. */
NODISCARD bool cert_time_ms(const ASN1_TIME *t, int64_t *out);
/* One certificate as PEM, appended. */
NODISCARD bool cert_to_pem(X509 *cert, struct dstr *out);

#endif
