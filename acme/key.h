/* Private keys: making, reading and writing them as PEM. One of the few OpenSSL doors of acme. */
#ifndef ACME_KEY_H
#define ACME_KEY_H

#include <openssl/evp.h>

#include "proxy/base/dstr.h"
#include "proxy/base/err.h"

#define KEY_PEM_MAX ((size_t)16384)

/* What certificates' keys can be. */
enum key_type { KEY_TYPE_P256, KEY_TYPE_P384, KEY_TYPE_RSA2048, KEY_TYPE_RSA4096,
                KEY_TYPE_ED25519 };

/* A new key, freed with EVP_PKEY_free (which clears it). NULL and err on failure. RSA may take
 * seconds. */
EVP_PKEY *key_new(enum key_type type, struct err *err);
bool key_is(const EVP_PKEY *key, enum key_type type);
/* A new P-256 key; freed with EVP_PKEY_free (which clears it). NULL and err on failure. */
EVP_PKEY *key_new_p256(struct err *err);
/* Any unencrypted private key in PEM; never asks for a password. */
EVP_PKEY *key_from_pem(struct slice pem, struct err *err);
bool key_is_p256(const EVP_PKEY *key);
/* Appends PEM in the form CertMagic writes ("EC PRIVATE KEY", "RSA PRIVATE KEY"; "PRIVATE KEY" for
 * what has no form of its own). out is initialised by key_text_init and
 * ended by key_text_fini. */
NODISCARD bool key_to_pem(const EVP_PKEY *key, struct dstr *out, struct err *err);

/* A string for a secret: all its memory is taken at once, so that growing leaves no copy behind,
 * and it is cleared before it is given back. */
void key_text_init(struct dstr *d);
void key_text_fini(struct dstr *d);

/* Clears a secret that is held in memory we own. */
void key_wipe(struct slice secret);
/* The first 8 bytes of SHA-256 over text, in hexadecimal: to tell configurations apart in names of
 * records without showing what they hold. */
void key_fingerprint(struct slice text, char out[17]);

/* err = "<what>: <OpenSSL's last reason>"; clears OpenSSL's queue; returns false. */
bool key_openssl_err(struct err *err, const char *what);

#endif
