/* The certificate that answers a TLS-ALPN-01 challenge. */
#ifndef ACME_CHALLENGE_TLS_H
#define ACME_CHALLENGE_TLS_H

#include <openssl/x509.h>

#include "proxy/base/dstr.h"
#include "proxy/base/err.h"

/* Appends the certificate and its key as PEM; pem as key_text_init makes it. name: a DNS name or an
 * address. */
NODISCARD bool challenge_tls_make(struct slice name, struct slice key_authorization,
                                  struct dstr *pem, struct err *err);
/* Adds acmeIdentifier (RFC 8737 section 3), critical. */
NODISCARD bool challenge_tls_extension(X509 *cert, struct slice key_authorization);

#endif
