/* What comes from a CA is refused unless key, names, dates and chain are right. */
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
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
