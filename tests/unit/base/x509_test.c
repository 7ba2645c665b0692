/* Reading PEM and DER without a cryptographic library: pairs of each kind, names, dates, damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/base/x509.h"
#include "tests/unit/base/x509_pems.h"

/* The first block whose label ends with what. */
static void first(const char *pem, const char *what, struct dstr *der)
{
    struct slice rest = slice_str(pem);
    struct slice label;
    bool broken = false;
    dstr_init(der, 65536);
    while (pem_next(&rest, &label, der, &broken)) {
        if (slice_ends(label, slice_str(what))) {
            return;
        }
        dstr_reset(der);
    }
    fail();
}

static enum x509_pair fits(const char *crt, const char *key)
{
    struct dstr c;
    struct dstr k;
    struct x509_facts facts;
    first(crt, "CERTIFICATE", &c);
    first(key, "PRIVATE KEY", &k);
    assert_true(x509_read(dstr_slice(&c), &facts));
    enum x509_pair result = x509_fits(&facts, dstr_slice(&k));
    dstr_fini(&c);
    dstr_fini(&k);
    return result;
}

static void test_pairs(void **state)
{
    (void)state;
    static const char *const ec[] = {ec_sec1, ec_pkcs8};
    static const char *const rsa[] = {rsa_pkcs1, rsa_pkcs8};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(fits(ec_crt, ec[i]), X509_PAIR_FITS);
        assert_int_equal(fits(rsa_crt, ec[i]), X509_PAIR_DIFFERS);
        assert_int_equal(fits(rsa_crt, rsa[i]), X509_PAIR_FITS);
        assert_int_equal(fits(ec_crt, rsa[i]), X509_PAIR_DIFFERS);
    }
    assert_int_equal(fits(ed_crt, ed_pkcs8), X509_PAIR_UNKNOWN);
}

static void test_facts(void **state)
{
    (void)state;
    struct dstr der;
    struct x509_facts facts;
    struct x509_name name;
    first(ec_crt, "CERTIFICATE", &der);
    assert_true(x509_read(dstr_slice(&der), &facts));
    /* A hundred years: the end is written in the other form of a time. */
    assert_true(facts.not_after_ms - facts.not_before_ms == (int64_t)36500 * 86400 * 1000);
    static const char *const dns[] = {"A.test", "*.b.test"};
    for (size_t i = 0; i < 2; i++) {
        assert_true(x509_next_name(&facts.alt_names, &name));
        assert_true(!name.is_ip && slice_eq(name.value, slice_str(dns[i])));
    }
    assert_true(x509_next_name(&facts.alt_names, &name));
    assert_true(name.is_ip && slice_eq(name.value, S("\xc0\0\2\1")));
    assert_true(x509_next_name(&facts.alt_names, &name));
    assert_true(name.is_ip && name.value.n == 16);
    assert_false(x509_next_name(&facts.alt_names, &name)); /* the person is skipped */
    dstr_fini(&der);
    first(rsa_crt, "CERTIFICATE", &der);
    assert_true(x509_read(dstr_slice(&der), &facts));
    assert_int_equal(facts.alt_names.n, 0);
    dstr_fini(&der);
}

/* Every cut and every changed byte: nothing past the end is read (ASan; memory of its own). */
static void test_damage(void **state)
{
    (void)state;
    struct dstr der;
    struct x509_facts facts;
    struct x509_name name;
    first(ec_crt, "CERTIFICATE", &der);
    for (size_t n = 0; n < der.n; n++) {
        char *copy = malloc(n ? n : 1);
        memcpy(copy, der.p, n);
        assert_false(x509_read(slice_of(copy, n), &facts));
        free(copy);
    }
    char *copy = malloc(der.n);
    for (size_t i = 0; i < der.n; i++) {
        memcpy(copy, der.p, der.n);
        copy[i] = (char)(copy[i] ^ 0xff);
        if (x509_read(slice_of(copy, der.n), &facts)) {
            while (x509_next_name(&facts.alt_names, &name)) {
            }
        }
    }
    free(copy);
    dstr_fini(&der);
}

static void test_pem(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool broken;
    } cases[] = {
        {"", false},
        {"no block at all", false},
        {"-----BEGIN X-----\nAAAA\n", true},
        {"-----BEGIN X-----\nAAAA\n-----END Y-----\n", true},
        {"-----BEGIN X-----\nAA*A\n-----END X-----\n", true},
        {"-----BEGIN X-----\nAA=A\n-----END X-----\n", true},
        {"-----BEGIN X-----\n-----END X-----\n", true},
        {"-----BEGIN X\n-----END X-----\n", true},
        {"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n"
         "-----END RSA PRIVATE KEY-----\n", true},
    };
    struct slice label;
    struct dstr der;
    dstr_init(&der, 1000);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice rest = slice_str(cases[i].text);
        bool broken = false;
        assert_false(pem_next(&rest, &label, &der, &broken));
        assert_int_equal(broken, cases[i].broken);
    }
    struct slice rest = S("text\n-----BEGIN A B-----\r\nZm9v\r\nYg==\r\n-----END A B-----\r\n"
                          "more-----BEGIN C-----\nAA\n-----END C-----");
    bool broken = false;
    dstr_reset(&der);
    assert_true(pem_next(&rest, &label, &der, &broken));
    assert_true(slice_eq(label, S("A B")) && slice_eq(dstr_slice(&der), S("foob")));
    assert_true(pem_next(&rest, &label, &der, &broken));
    assert_true(slice_eq(label, S("C")) && der.n == 5);
    assert_false(pem_next(&rest, &label, &der, &broken));
    assert_false(broken);
    dstr_fini(&der);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_pem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
