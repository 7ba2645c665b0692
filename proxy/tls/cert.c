/* Decoding of certificates and keys (and back), and the stand-in. See cert.h. */
#include "proxy/tls/cert.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/net/addr.h"
#include "proxy/tls/ossl.h"

#define STAND_IN_SECONDS (30L * 24 * 3600)

static struct cert *cert_new(void)
{
    struct cert *c = calloc(1, sizeof(*c));
    if (c) {
        atomic_init(&c->refs, 1);
    }
    return c;
}

struct cert *cert_ref(struct cert *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void cert_unref(struct cert *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    X509_free(c->leaf);
    sk_X509_pop_free(c->chain, X509_free);
    EVP_PKEY_free(c->key); /* OpenSSL zeroes the secret numbers */
    free(c);
}

/* An encrypted key must fail: the default would ask on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *ctx)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

static BIO *open_pem(struct slice pem, const char *what, struct err *err)
{
    if (pem.n == 0 || pem.n > CERT_PEM_MAX) {
        err_set(err, "the %s is %s", what, pem.n ? "too large" : "empty");
        return NULL;
    }
    BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!b) {
        ossl_err(err, what);
    }
    return b;
}

/* Reads what follows the leaf; the end shows as "no start line". */
static bool read_chain(struct cert *c, BIO *b, struct err *err)
{
    for (;;) {
        X509 *x = PEM_read_bio_X509(b, NULL, no_passphrase, NULL);
        if (!x) {
            unsigned long e = ERR_peek_last_error();
            bool end = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
            if (!end) {
                return ossl_err(err, "reading the certificate chain");
            }
            ERR_clear_error();
            return true;
        }
        if (sk_X509_num(c->chain) >= CERT_CHAIN_MAX) {
            X509_free(x);
            return err_set(err, "the certificate chain has more than %d certificates",
                           CERT_CHAIN_MAX + 1);
        }
        if (!sk_X509_push(c->chain, x)) {
            X509_free(x);
            return err_set(err, "out of memory");
        }
    }
}

static bool read_certificates(struct cert *c, struct slice pem, struct err *err)
{
    BIO *b = open_pem(pem, "certificate", err);
    if (!b) {
        return false;
    }
    c->chain = sk_X509_new_null();
    c->leaf = c->chain ? PEM_read_bio_X509(b, NULL, no_passphrase, NULL) : NULL;
    bool ok = c->leaf ? read_chain(c, b, err) : ossl_err(err, "reading the certificate");
    BIO_free(b);
    return ok;
}

static bool read_key(struct cert *c, struct slice pem, struct err *err)
{
    BIO *b = open_pem(pem, "private key", err);
    if (!b) {
        return false;
    }
    c->key = PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL);
    BIO_free(b);
    return c->key || ossl_err(err, "reading the private key");
}

struct cert *cert_parse(struct slice chain_pem, struct slice key_pem, struct err *err)
{
    ossl_init();
    ERR_clear_error();
    struct cert *c = cert_new();
    if (!c) {
        err_set(err, "out of memory");
        return NULL;
    }
    bool ok = read_certificates(c, chain_pem, err) && read_key(c, key_pem, err);
    if (ok && X509_check_private_key(c->leaf, c->key) != 1) {
        ok = ossl_err(err, "the certificate and the private key do not belong together");
    }
    if (!ok) {
        cert_unref(c);
        return NULL;
    }
    ERR_clear_error();
    return c;
}

struct cert *cert_of(X509 *leaf, STACK_OF(X509) *chain, EVP_PKEY *key)
{
    struct cert *c = leaf && chain && key ? cert_new() : NULL;
    if (c) {
        c->leaf = leaf;
        c->chain = chain;
        c->key = key;
        if (X509_check_private_key(leaf, key) == 1) {
            return c;
        }
        cert_unref(c);
        return NULL;
    }
    X509_free(leaf);
    sk_X509_pop_free(chain, X509_free);
    EVP_PKEY_free(key);
    return NULL;
}

static EVP_PKEY *stand_in_key(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static EVP_PKEY *key; /* lives as long as the process */
    pthread_mutex_lock(&lock);
    if (!key) {
        key = EVP_EC_gen("P-256");
    }
    EVP_PKEY *k = key && EVP_PKEY_up_ref(key) == 1 ? key : NULL;
    pthread_mutex_unlock(&lock);
    return k;
}

static bool add_alt_name(X509 *x, const char *name, size_t n)
{
    struct addr ip;
    char value[300];
    bool is_ip = addr_parse_ip(slice_of(name, n), 0, &ip);
    (void)snprintf(value, sizeof(value), "%s:%s", is_ip ? "IP" : "DNS", name);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, value);
    bool ok = ext && X509_add_ext(x, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static bool set_serial(X509 *x)
{
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
        return false;
    }
    bytes[0] = (unsigned char)((bytes[0] & 0x3f) | 0x40); /* positive, fixed length */
    BIGNUM *bn = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)) != NULL;
    BN_free(bn);
    return ok;
}

static bool fill_stand_in(X509 *x, EVP_PKEY *key, const char *name, size_t n)
{
    X509_NAME *subject = X509_get_subject_name(x);
    return X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
           X509_gmtime_adj(X509_getm_notBefore(x), -3600) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(x), STAND_IN_SECONDS) != NULL &&
           X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC,
                                      (const unsigned char *)"no certificate yet", -1, -1,
                                      0) == 1 &&
           X509_set_issuer_name(x, subject) == 1 && X509_set_pubkey(x, key) == 1 &&
           add_alt_name(x, name, n) && X509_sign(x, key, EVP_sha256()) > 0;
}

/* What OpenSSL's configuration syntax for names would take apart must not reach it. */
static bool plain_name(struct slice name)
{
    for (size_t i = 0; i < name.n; i++) {
        char ch = name.p[i];
        if (!ascii_is_alpha(ch) && !ascii_is_digit(ch) && !strchr("-._*:", ch)) {
            return false;
        }
    }
    return name.n > 0 && name.n <= 255;
}

struct cert *cert_stand_in(struct slice name)
{
    ossl_init();
    char text[256];
    if (!plain_name(name)) {
        return NULL;
    }
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    struct cert *c = cert_new();
    if (!c) {
        return NULL;
    }
    c->stand_in = true;
    c->key = stand_in_key();
    c->leaf = X509_new();
    c->chain = sk_X509_new_null();
    if (!c->key || !c->leaf || !c->chain || !fill_stand_in(c->leaf, c->key, text, name.n)) {
        cert_unref(c);
        ERR_clear_error();
        return NULL;
    }
    return c;
}

bool cert_use(const struct cert *c, SSL *ssl)
{
    return SSL_use_cert_and_key(ssl, c->leaf, c->key, c->chain, 1) == 1;
}

/* The BIO's bytes are zeroed: a key may be among them. */
static bool move_text(BIO *from, struct dstr *to)
{
    char *p = NULL;
    long n = BIO_get_mem_data(from, &p);
    (void)dstr_reserve(to, n > 0 ? (size_t)n : 0); /* no outgrown copies */
    dstr_append(to, slice_of(p, n > 0 ? (size_t)n : 0));
    OPENSSL_cleanse(p, n > 0 ? (size_t)n : 0);
    return n > 0 && !to->failed;
}

bool cert_write_pem(const struct cert *c, struct dstr *chain_pem, struct dstr *key_pem)
{
    BIO *certs = BIO_new(BIO_s_mem());
    BIO *key = BIO_new(BIO_s_secmem());
    bool ok = certs && key && PEM_write_bio_X509(certs, c->leaf) == 1;
    for (int i = 0; ok && i < sk_X509_num(c->chain); i++) {
        ok = PEM_write_bio_X509(certs, sk_X509_value(c->chain, i)) == 1;
    }
    ok = ok && PEM_write_bio_PKCS8PrivateKey(key, c->key, NULL, NULL, 0, NULL, NULL) == 1 &&
         move_text(certs, chain_pem) && move_text(key, key_pem);
    BIO_free(certs);
    BIO_free(key);
    ERR_clear_error();
    return ok;
}
