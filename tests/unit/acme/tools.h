/* What the tests of acme share: certificates to order. Everything is the caller's to free. */
#ifndef TESTS_ACME_TOOLS_H
#define TESTS_ACME_TOOLS_H

#include "acme/cert_check.h"
#include "acme/key.h"
#include "acme/local_ca_cert.h"
#include "proxy/base/clock.h"
#include "proxy/base/dstr.h"

#define HOUR_MS ((int64_t)3600 * 1000)

/* A CA, and a leaf by it with a key of its own. */
struct test_chain {
    EVP_PKEY *ca_key;
    EVP_PKEY *leaf_key;
    X509 *ca;
    X509 *leaf;
    struct dstr pem; /* leaf, then CA */
};

static inline void test_chain_make(struct test_chain *t, struct slice name, int64_t from_ms,
                                   int64_t to_ms)
{
    struct err err;
    t->ca_key = key_new_p256(&err);
    t->leaf_key = key_new_p256(&err);
    struct local_cert_spec ca = {.common_name = "Test CA",
                                 .path_length = 0,
                                 .not_before_ms = from_ms - 24 * HOUR_MS,
                                 .not_after_ms = to_ms + 24 * HOUR_MS};
    struct local_cert_spec leaf = {
        .name = name, .path_length = -1, .not_before_ms = from_ms, .not_after_ms = to_ms};
    t->ca = local_cert_make(&ca, t->ca_key, NULL, t->ca_key, &err);
    t->leaf = local_cert_make(&leaf, t->leaf_key, t->ca, t->ca_key, &err);
    dstr_init(&t->pem, CERT_PEM_MAX);
    must(cert_to_pem(t->leaf, &t->pem) && cert_to_pem(t->ca, &t->pem));
}

static inline void test_chain_free(struct test_chain *t)
{
    X509_free(t->ca);
    X509_free(t->leaf);
    EVP_PKEY_free(t->ca_key);
    EVP_PKEY_free(t->leaf_key);
    dstr_fini(&t->pem);
}

#endif
