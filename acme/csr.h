/* Certificate requests (PKCS #10) with exactly the names asked for: no subject, names only in
 * subjectAltName, IP addresses as iPAddress (RFC 8555 section 7.4, RFC 8738). */
#ifndef ACME_CSR_H
#define ACME_CSR_H

#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "proxy/base/dstr.h"
#include "proxy/base/err.h"

/* Appends the DER. names: DNS names (also "*.name") and IP address texts. */
NODISCARD bool csr_make(EVP_PKEY *key, const struct slice *names, size_t count, struct dstr *der,
                        struct err *err);
/* The names as a subjectAltName; NULL and err on failure. */
GENERAL_NAMES *csr_general_names(const struct slice *names, size_t count, struct err *err);
/* 4 or 16 and the address in out when the text is an IP address, 0 when it is none. */
size_t csr_ip_bytes(struct slice text, unsigned char out[16]);

#endif
