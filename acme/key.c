/* In: PEM or nothing. Out: EVP_PKEY or PEM. Callers own what they get; text of keys is cleared. */
#include "acme/key.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>

bool key_openssl_err(struct err *err, const char *what)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return err_set(err, "%s: %s", what, reason ? reason : "OpenSSL gives no reason");
}

EVP_PKEY *key_new(enum key_type type, struct err *err)
{
    EVP_PKEY *key = NULL;
    switch (type) {
    case KEY_TYPE_P256:
        key = EVP_EC_gen("P-256");
        break;
    case KEY_TYPE_P384:
        key = EVP_EC_gen("P-384");
        break;
    case KEY_TYPE_RSA2048:
        key = EVP_RSA_gen(2048);
        break;
    case KEY_TYPE_RSA4096:
        key = EVP_RSA_gen(4096);
        break;
    case KEY_TYPE_ED25519:
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;
    }
    if (!key) {
        (void)key_openssl_err(err, "making a private key");
    }
    return key;
}

EVP_PKEY *key_new_p256(struct err *err)
{
    return key_new(KEY_TYPE_P256, err);
}

/* Without this OpenSSL would ask on the terminal. */
static int no_password(char *buf, int size, int writing, void *ctx)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

EVP_PKEY *key_from_pem(struct slice pem, struct err *err)
{
    if (pem.n == 0 || pem.n > KEY_PEM_MAX) {
        (void)err_set(err, "a private key of %zu bytes", pem.n);
        return NULL;
    }
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    if (!key) {
        (void)key_openssl_err(err, "reading a private key");
    }
    ERR_clear_error();
    return key;
}

static bool of_group(const EVP_PKEY *key, const char *name, const char *other_name)
{
    char group[32];
    size_t n = 0;
    return EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_group_name(key, group, sizeof(group), &n) == 1 &&
           (strcmp(group, name) == 0 || strcmp(group, other_name) == 0);
}

bool key_is_p256(const EVP_PKEY *key)
{
    return of_group(key, "prime256v1", "P-256");
}

bool key_is(const EVP_PKEY *key, enum key_type type)
{
    switch (type) {
    case KEY_TYPE_P256:
        return key_is_p256(key);
    case KEY_TYPE_P384:
        return of_group(key, "secp384r1", "P-384");
    case KEY_TYPE_RSA2048:
        return EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) == 2048;
    case KEY_TYPE_RSA4096:
        return EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) == 4096;
    case KEY_TYPE_ED25519:
        return EVP_PKEY_is_a(key, "ED25519");
    }
    return false;
}

bool key_to_pem(const EVP_PKEY *key, struct dstr *out, struct err *err)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    bool traditional = EVP_PKEY_is_a(key, "EC") || EVP_PKEY_is_a(key, "RSA");
    if (!bio ||
        (traditional
             ? PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL)
             : PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)) != 1) {
        BIO_free(bio);
        return key_openssl_err(err, "writing a private key");
    }
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);
    if (n > 0) {
        dstr_append(out, slice_of(p, (size_t)n));
    }
    bool ok = n > 0 && !out->failed;
    BIO_free(bio); /* a BIO of the secure kind clears its memory */
    return ok || err_set(err, "writing a private key: too large");
}

void key_text_init(struct dstr *d)
{
    dstr_init(d, KEY_PEM_MAX);
    (void)dstr_reserve(d, KEY_PEM_MAX);
}

void key_text_fini(struct dstr *d)
{
    if (d->p) {
        OPENSSL_cleanse(d->p, d->cap);
    }
    dstr_fini(d);
}

void key_wipe(struct slice secret)
{
    if (secret.n) {
        OPENSSL_cleanse((void *)(uintptr_t)secret.p, secret.n);
    }
}

void key_fingerprint(struct slice text, char out[17])
{
    unsigned char digest[32];
    unsigned n = 0;
    must(EVP_Digest(text.n ? text.p : "", text.n, digest, &n, EVP_sha256(), NULL) == 1 && n == 32);
    for (size_t i = 0; i < 8; i++) {
        out[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    out[16] = '\0';
}
