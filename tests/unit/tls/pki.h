/* Test certificates, made with OpenSSL on the spot: a CA and leaves, as PEM text. */
#ifndef TEST_TLS_PKI_H
#define TEST_TLS_PKI_H

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/slice.h"

struct pki_pair {
    char chain[8192];
    char key[2048];
    X509 *x;
    EVP_PKEY *pkey;
};

static UNUSED void pki_text(BIO *b, char *out, size_t cap)
{
    char *p = NULL;
    long n = BIO_get_mem_data(b, &p);
    must(n > 0 && (size_t)n < cap);
    memcpy(out, p, (size_t)n);
    out[n] = '\0';
    BIO_free(b);
}

static UNUSED void pki_ext(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    must(e && X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
}

/* alt: "DNS:a.test,IP:127.0.0.1". days: of validity from now, may be negative. issuer NULL: a CA
 * that signs itself. */
static UNUSED struct pki_pair *pki_make(const char *cn, const char *alt, int days,
                                        const struct pki_pair *issuer)
{
    static long serial = 1;
    struct pki_pair *p = calloc(1, sizeof(*p));
    must(p);
    p->pkey = EVP_EC_gen("P-256");
    p->x = X509_new();
    must(p->pkey && p->x);
    X509_set_version(p->x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(p->x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(p->x), -90L * 86400);
    X509_gmtime_adj(X509_getm_notAfter(p->x), days * 86400L);
    X509_NAME *name = X509_get_subject_name(p->x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(p->x, issuer ? X509_get_subject_name(issuer->x) : name);
    X509_set_pubkey(p->x, p->pkey);
    if (alt) {
        pki_ext(p->x, NID_subject_alt_name, alt);
    }
    if (!issuer) {
        pki_ext(p->x, NID_basic_constraints, "critical,CA:TRUE");
        pki_ext(p->x, NID_key_usage, "critical,keyCertSign");
    }
    must(X509_sign(p->x, issuer ? issuer->pkey : p->pkey, EVP_sha256()) > 0);
    BIO *b = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(b, p->x);
    if (issuer) {
        PEM_write_bio_X509(b, issuer->x);
    }
    pki_text(b, p->chain, sizeof(p->chain));
    b = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS8PrivateKey(b, p->pkey, NULL, NULL, 0, NULL, NULL);
    pki_text(b, p->key, sizeof(p->key));
    return p;
}

static UNUSED void pki_free(struct pki_pair *p)
{
    X509_free(p->x);
    EVP_PKEY_free(p->pkey);
    free(p);
}

#endif
