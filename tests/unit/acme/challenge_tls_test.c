/* The certificate that answers TLS-ALPN-01: what RFC 8737 section 3 and RFC 8738 ask of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "acme/challenge_tls.h"
#include "acme/key.h"

#define KEY_AUTHORIZATION "token.thumbprint"

static X509 *make(const char *name)
{
    struct dstr pem;
    struct err err;
    key_text_init(&pem);
    assert_true(challenge_tls_make(slice_str(name), S(KEY_AUTHORIZATION), &pem, &err));
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    assert_non_null(cert);
    assert_int_equal(X509_check_private_key(cert, key), 1);
    assert_int_equal(X509_verify(cert, key), 1);
    assert_int_equal(X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)), 0);
    EVP_PKEY_free(key);
    BIO_free(bio);
    key_text_fini(&pem);
    return cert;
}

static void expect_identifier(X509 *cert)
{
    unsigned char hash[34] = {0x04, 32};
    unsigned n;
    ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
    int at = X509_get_ext_by_OBJ(cert, oid, -1);
    assert_true(at >= 0);
    assert_int_equal(X509_get_ext_by_OBJ(cert, oid, at), -1);
    X509_EXTENSION *ext = X509_get_ext(cert, at);
    assert_int_equal(X509_EXTENSION_get_critical(ext), 1);
    EVP_Digest(KEY_AUTHORIZATION, strlen(KEY_AUTHORIZATION), hash + 2, &n, EVP_sha256(), NULL);
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(ext);
    assert_int_equal(ASN1_STRING_length(value), sizeof(hash));
    assert_memory_equal(ASN1_STRING_get0_data(value), hash, sizeof(hash));
    ASN1_OBJECT_free(oid);
}

static void expect_name(X509 *cert, int type, const void *bytes, size_t n)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(names), 1);
    int found;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, 0), &found);
    assert_int_equal(found, type);
    assert_int_equal(ASN1_STRING_length(value), n);
    assert_memory_equal(ASN1_STRING_get0_data(value), bytes, n);
    GENERAL_NAMES_free(names);
}

static void a_dns_name(void **state UNUSED)
{
    X509 *cert = make("a.example");
    expect_identifier(cert);
    expect_name(cert, GEN_DNS, "a.example", 9);
    X509_free(cert);
}

static void addresses(void **state UNUSED)
{
    X509 *cert = make("192.0.2.1");
    expect_identifier(cert);
    expect_name(cert, GEN_IPADD, "\xc0\0\x02\x01", 4);
    X509_free(cert);
    cert = make("2001:db8::1");
    expect_name(cert, GEN_IPADD, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
    X509_free(cert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_dns_name), cmocka_unit_test(addresses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
