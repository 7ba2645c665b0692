/* Trusted roots: the system's, and those in files. */
#ifndef TLS_ROOTS_H
#define TLS_ROOTS_H

#include <openssl/x509.h>

/* The system's roots, read once a process and again when the file has changed. One more reference
 * on a store that is shared (it must not be changed); NULL when the system has no such file. */
X509_STORE *roots_system(void);
/* The certificates in a PEM file, as a store of its own; NULL: none could be read (the reason is
 * in OpenSSL's queue). */
X509_STORE *roots_load(const char *path);
/* Where the system's roots are: $SSL_CERT_FILE or Debian's place. */
const char *roots_system_path(void);

#endif
