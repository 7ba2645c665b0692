/* Making the local CA's certificates and those that answer challenges: profiles of RFC 5280 and RFC
 * 8737 only, no storage. */
#ifndef ACME_LOCAL_CA_CERT_H
#define ACME_LOCAL_CA_CERT_H

#include <openssl/x509.h>

#include "proxy/base/err.h"
#include "proxy/base/slice.h"

struct local_cert_spec {
    const char *common_name; /* NULL: empty subject */
    struct slice name;       /* leaf: the name in subjectAltName; else empty */
    struct slice challenge;  /* key authorisation: a leaf that answers TLS-ALPN-01 with it */
    int path_length;         /* CA: how many CAs may follow; -1: a leaf */
    int64_t not_before_ms;
    int64_t not_after_ms;
};

/* A certificate for key by issuer (NULL: self-signed). NULL and err on failure. */
X509 *local_cert_make(const struct local_cert_spec *spec, EVP_PKEY *key, X509 *issuer,
                      EVP_PKEY *issuer_key, struct err *err);

#endif
