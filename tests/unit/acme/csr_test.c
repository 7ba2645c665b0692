/* A request has exactly the names that were asked for, and nothing else. */
#include "acme/csr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <openssl/x509.h>

#include "acme/key.h"

static X509_REQ *make(EVP_PKEY *key, const struct slice *names, size_t count)
{
    struct err err;
    struct dstr der;
    dstr_init(&der, 65536);
    assert_true(csr_make(key, names, count, &der, &err));
    const unsigned char *p = (const unsigned char *)der.p;
    X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)der.n);
    assert_non_null(req);
    assert_ptr_equal(p, der.p + der.n);
    dstr_fini(&der);
    return req;
}

static void exactly_the_names(void **state)
{
    (void)state;
    struct err err;
    EVP_PKEY *key = key_new_p256(&err);
    const struct slice names[] = {S_INIT("Example.COM"), S_INIT("*.example.com"),
                                  S_INIT("192.0.2.7"), S_INIT("2001:db8::1")};
    X509_REQ *req = make(key, names, ARRAY_LEN(names));
    assert_int_equal(X509_REQ_verify(req, key), 1);
    assert_int_equal(X509_NAME_entry_count(X509_REQ_get_subject_name(req)), 0);
    STACK_OF(X509_EXTENSION) *list = X509_REQ_get_extensions(req);
    assert_int_equal(sk_X509_EXTENSION_num(list), 1);
    GENERAL_NAMES *san = X509V3_get_d2i(list, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(san), 4);
    const GENERAL_NAME *first = sk_GENERAL_NAME_value(san, 0);
    assert_int_equal(first->type, GEN_DNS);
    assert_memory_equal(ASN1_STRING_get0_data(first->d.dNSName), "example.com", 11);
    const GENERAL_NAME *ip = sk_GENERAL_NAME_value(san, 2);
    assert_int_equal(ip->type, GEN_IPADD);
    assert_int_equal(ASN1_STRING_length(ip->d.iPAddress), 4);
    assert_memory_equal(ASN1_STRING_get0_data(ip->d.iPAddress), "\xc0\x00\x02\x07", 4);
    assert_int_equal(ASN1_STRING_length(sk_GENERAL_NAME_value(san, 3)->d.iPAddress), 16);
    GENERAL_NAMES_free(san);
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
}

static void bad_names_are_refused(void **state)
{
    (void)state;
    struct err err;
    struct dstr der;
    dstr_init(&der, 65536);
    EVP_PKEY *key = key_new_p256(&err);
    const struct slice bad[] = {S_INIT(""), S_INIT("a b"), S_INIT("a\nb"), S_INIT("m\xc3\xbc.de")};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(csr_make(key, &bad[i], 1, &der, &err));
    }
    assert_false(csr_make(key, NULL, 0, &der, &err));
    assert_int_equal(der.n, 0);
    EVP_PKEY_free(key);
    dstr_fini(&der);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_the_names),
        cmocka_unit_test(bad_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
