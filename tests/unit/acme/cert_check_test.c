/* What comes from a CA is refused unless key, names, dates and chain are right. */
#include "acme/chain.h"
#include "acme/csr.h"
#include "acme/cert_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "tests/unit/acme/tools.h"

static struct test_chain chain;
static int64_t now_ms;

static int setup(void **state)
{
    (void)state;
    now_ms = clock_wall_ms();
    test_chain_make(&chain, S("example.com"), now_ms - HOUR_MS, now_ms + HOUR_MS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_chain_free(&chain);
    return 0;
}

static bool check(struct slice pem, EVP_PKEY *key, struct slice name, enum cert_names_rule rule)
{
    struct cert_facts facts;
    struct err err;
    return cert_check(pem, key, &name, 1, rule, &facts, &err);
}

static void a_good_chain(void **state)
{
    (void)state;
    struct cert_facts facts;
    struct err err;
    struct slice name = S("EXAMPLE.com");
    assert_true(cert_check(dstr_slice(&chain.pem), chain.leaf_key, &name, 1, CERT_NAMES_EXACT,
                           &facts, &err));
    assert_int_equal(facts.not_before_ms, (now_ms - HOUR_MS) / 1000 * 1000);
    assert_int_equal(facts.not_after_ms, (now_ms + HOUR_MS) / 1000 * 1000);
    assert_true(cert_dates_ok(&facts, now_ms, &err));
    assert_true(cert_chain_ends_at(dstr_slice(&chain.pem), chain.ca));
    assert_false(cert_chain_ends_at(dstr_slice(&chain.pem), chain.leaf));
}

static void another_key(void **state)
{
    (void)state;
    assert_false(check(dstr_slice(&chain.pem), chain.ca_key, S("example.com"), CERT_NAMES_EXACT));
}

static void other_names(void **state)
{
    (void)state;
    struct slice pem = dstr_slice(&chain.pem);
    assert_false(check(pem, chain.leaf_key, S("example.org"), CERT_NAMES_EXACT));
    assert_false(check(pem, chain.leaf_key, S("www.example.com"), CERT_NAMES_INCLUDE));
    assert_false(check(pem, chain.leaf_key, S("127.0.0.1"), CERT_NAMES_INCLUDE));
    struct cert_facts facts;
    struct err err;
    assert_false(cert_check(pem, chain.leaf_key, NULL, 0, CERT_NAMES_EXACT, &facts, &err));
    assert_true(cert_check(pem, chain.leaf_key, NULL, 0, CERT_NAMES_INCLUDE, &facts, &err));
}

static void dates(void **state)
{
    (void)state;
    struct err err;
    struct cert_facts facts = {.not_before_ms = now_ms, .not_after_ms = now_ms + 40000};
    assert_true(cert_dates_ok(&facts, now_ms, &err));
    assert_false(cert_dates_ok(&facts, now_ms + 40000, &err));
    assert_true(cert_dates_ok(&facts, now_ms - CERT_SKEW_MS, &err));
    assert_false(cert_dates_ok(&facts, now_ms - CERT_SKEW_MS - 1, &err));
}

static void shuffled_and_foreign_chains(void **state)
{
    (void)state;
    struct dstr pem;
    struct test_chain other;
    dstr_init(&pem, CERT_PEM_MAX);
    assert_true(cert_to_pem(chain.ca, &pem) && cert_to_pem(chain.leaf, &pem));
    assert_false(check(dstr_slice(&pem), chain.leaf_key, S("example.com"), CERT_NAMES_EXACT));
    /* The same issuer's name, another issuer's key. */
    test_chain_make(&other, S("example.com"), now_ms, now_ms + HOUR_MS);
    dstr_reset(&pem);
    assert_true(cert_to_pem(chain.leaf, &pem) && cert_to_pem(other.ca, &pem));
    assert_false(check(dstr_slice(&pem), chain.leaf_key, S("example.com"), CERT_NAMES_EXACT));
    test_chain_free(&other);
    dstr_fini(&pem);
}

static void damaged_chains(void **state)
{
    (void)state;
    struct slice pem = dstr_slice(&chain.pem);
    assert_false(check(S(""), NULL, S("example.com"), CERT_NAMES_INCLUDE));
    assert_false(check(S("no pem"), NULL, S("example.com"), CERT_NAMES_INCLUDE));
    assert_true(check(pem, NULL, S("example.com"), CERT_NAMES_INCLUDE));
    /* Cut anywhere inside the first or the second certificate (but at a block's end). */
    for (size_t n = 30; n + 30 < pem.n; n += 97) {
        if (check(slice_upto(pem, n), NULL, S("example.com"), CERT_NAMES_INCLUDE)) {
            struct slice head = slice_upto(pem, n);
            assert_true(slice_ends(slice_trim(head), S("-----")) || slice_ends(head, S("\n")));
        }
    }
    struct dstr bad;
    dstr_init(&bad, CERT_PEM_MAX);
    dstr_append(&bad, pem);
    bad.p[100] = '#';
    assert_false(check(dstr_slice(&bad), NULL, S("example.com"), CERT_NAMES_INCLUDE));
    /* Too many. */
    dstr_reset(&bad);
    for (int i = 0; i <= CERT_CHAIN_MAX; i++) {
        assert_true(cert_to_pem(chain.ca, &bad));
    }
    struct cert_chain parsed;
    assert_false(cert_chain_parse(dstr_slice(&bad), &parsed, NULL));
    dstr_fini(&bad);
}

static void pairs(void **state)
{
    (void)state;
    struct err err;
    struct dstr key;
    key_text_init(&key);
    assert_true(key_to_pem(chain.leaf_key, &key, &err));
    assert_true(slice_starts(dstr_slice(&key), S("-----BEGIN EC PRIVATE KEY-----")));
    assert_true(cert_pair_matches(NULL, dstr_slice(&chain.pem), dstr_slice(&key)));
    key_text_fini(&key);
    key_text_init(&key);
    assert_true(key_to_pem(chain.ca_key, &key, &err));
    assert_false(cert_pair_matches(NULL, dstr_slice(&chain.pem), dstr_slice(&key)));
    assert_false(cert_pair_matches(NULL, dstr_slice(&chain.pem), S("")));
    key_text_fini(&key);
}

/* RFC 9773 section 4.1's example: a serial number whose first bit is set. */
static void ids_for_renewal_information(void **state)
{
    (void)state;
    static const unsigned char authority[] = {0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40,
                                              0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0,
                                              0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4};
    char id[CERT_ID_MAX];
    X509 *cert = X509_new();
    assert_false(cert_id(cert, id));
    assert_string_equal(id, "");
    X509_free(cert);
    cert = X509_new(); /* extensions are looked up once, and only in what was signed */
    AUTHORITY_KEYID *key_id = AUTHORITY_KEYID_new();
    key_id->keyid = ASN1_OCTET_STRING_new();
    assert_true(ASN1_OCTET_STRING_set(key_id->keyid, authority, sizeof(authority)));
    assert_true(X509_add1_ext_i2d(cert, NID_authority_key_identifier, key_id, 0, 0));
    assert_true(ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), 0x87654321));
    assert_true(X509_gmtime_adj(X509_getm_notBefore(cert), 0) &&
                X509_gmtime_adj(X509_getm_notAfter(cert), 3600) &&
                X509_set_pubkey(cert, chain.leaf_key) &&
                X509_sign(cert, chain.ca_key, EVP_sha256()) > 0);
    assert_true(cert_id(cert, id));
    assert_string_equal(id, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    AUTHORITY_KEYID_free(key_id);
    X509_free(cert);
}

static void kinds_of_keys(void **state)
{
    (void)state;
    const enum key_type types[] = {KEY_TYPE_P256, KEY_TYPE_P384, KEY_TYPE_RSA2048,
                                   KEY_TYPE_ED25519};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct err err;
        struct dstr pem, der;
        struct slice name = S("a.example");
        EVP_PKEY *key = key_new(types[i], &err);
        key_text_init(&pem);
        dstr_init(&der, 65536);
        assert_non_null(key);
        assert_true(key_to_pem(key, &pem, &err));
        EVP_PKEY *again = key_from_pem(dstr_slice(&pem), &err);
        assert_int_equal(EVP_PKEY_eq(key, again), 1);
        assert_true(csr_make(key, &name, 1, &der, &err));
        for (size_t k = 0; k < ARRAY_LEN(types); k++) {
            assert_int_equal(key_is(again, types[k]), i == k);
        }
        dstr_fini(&der);
        key_text_fini(&pem);
        EVP_PKEY_free(again);
        EVP_PKEY_free(key);
    }
}

static void chains_that_are_preferred(void **state)
{
    (void)state;
    const struct acme_chains none = {.smallest = true};
    const struct acme_chains root = {.roots = {S_INIT("Other"), S_INIT("Test CA")},
                                     .root_count = 2};
    const struct acme_chains any = {.any_names = {S_INIT("Test CA")}, .any_count = 1};
    const struct acme_chains other = {.any_names = {S_INIT("Other")}, .any_count = 1};
    assert_int_equal(chain_rank(dstr_slice(&chain.pem), &none), 0);
    assert_int_equal(chain_rank(dstr_slice(&chain.pem), &root), 1);
    assert_int_equal(chain_rank(dstr_slice(&chain.pem), &any), 0);
    assert_int_equal(chain_rank(dstr_slice(&chain.pem), &other), CHAIN_UNWANTED);
    assert_int_equal(chain_rank(S("x"), &other), CHAIN_UNWANTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_chain),
        cmocka_unit_test(another_key),
        cmocka_unit_test(other_names),
        cmocka_unit_test(dates),
        cmocka_unit_test(shuffled_and_foreign_chains),
        cmocka_unit_test(damaged_chains),
        cmocka_unit_test(pairs),
        cmocka_unit_test(ids_for_renewal_information),
        cmocka_unit_test(kinds_of_keys),
        cmocka_unit_test(chains_that_are_preferred),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
