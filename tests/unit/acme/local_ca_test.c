/* The local CA: made once, reused, renewed when needed, mended when damaged. */
#include "acme/local_ca.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <openssl/x509v3.h>

#include "acme/acme.h"
#include "tests/unit/acme/tools.h"

#define DAY_MS (24 * HOUR_MS)
#define LEAF_MS (12 * HOUR_MS)
#define KEY(file) S("pki/authorities/local/" file)

static struct store *store;
static int64_t now_ms;

static int setup(void **state)
{
    (void)state;
    store = store_open_memory();
    now_ms = clock_wall_ms();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    return 0;
}

static void get(struct slice key, struct dstr *out)
{
    struct err err;
    dstr_init(out, 65536);
    if (store_get(store, key, out, &err) != STORE_OK) {
        fail_msg("%.*s is not there", SLICE_ARG(key));
    }
}

static bool changed(struct slice key, struct dstr *before)
{
    struct dstr after;
    get(key, &after);
    bool different = !slice_eq(dstr_slice(before), dstr_slice(&after));
    dstr_fini(before);
    *before = after;
    return different;
}

static void ready(int64_t at_ms)
{
    struct local_ca ca;
    struct err err;
    if (!local_ca_ready(&ca, store, LEAF_MS, at_ms, NULL, &err)) {
        fail_msg("%s", err.text);
    }
    local_ca_fini(&ca);
}

static void issues(void **state)
{
    (void)state;
    struct local_ca ca;
    struct err err;
    const struct slice names[] = {S_INIT("localhost"), S_INIT("127.0.0.1"), S_INIT("::1"),
                                  S_INIT("*.localhost")};
    assert_true(local_ca_ready(&ca, store, LEAF_MS, now_ms, NULL, &err));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct store_pair pair;
        struct cert_facts facts;
        store_pair_init(&pair);
        const struct local_leaf leaf = {.name = names[i], .lifetime_ms = LEAF_MS};
        assert_true(local_ca_issue(&ca, &leaf, now_ms, &pair, &err));
        assert_true(cert_check(dstr_slice(&pair.chain_pem), NULL, &names[i], 1, CERT_NAMES_EXACT,
                               &facts, &err));
        assert_true(cert_pair_matches(NULL, dstr_slice(&pair.chain_pem),
                                      dstr_slice(&pair.key_pem)));
        assert_true(cert_chain_ends_at(dstr_slice(&pair.chain_pem), ca.root));
        assert_int_equal(facts.not_after_ms - facts.not_before_ms, LEAF_MS);
        store_pair_fini(&pair);
    }
    local_ca_fini(&ca);
}

static void verifies_with_openssl(void **state)
{
    (void)state;
    struct local_ca ca;
    struct err err;
    struct store_pair pair;
    struct cert_chain chain;
    store_pair_init(&pair);
    assert_true(local_ca_ready(&ca, store, LEAF_MS, now_ms, NULL, &err));
    const struct local_leaf leaf = {.name = S("localhost"), .lifetime_ms = LEAF_MS};
    assert_true(local_ca_issue(&ca, &leaf, now_ms, &pair, &err));
    assert_true(cert_chain_parse(dstr_slice(&pair.chain_pem), &chain, &err));
    X509_STORE *roots = X509_STORE_new();
    STACK_OF(X509) *between = sk_X509_new_null();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    assert_int_equal(X509_STORE_add_cert(roots, ca.root), 1);
    assert_true(sk_X509_push(between, chain.certs[1]) > 0);
    assert_int_equal(X509_STORE_CTX_init(ctx, roots, chain.certs[0], between), 1);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
    assert_int_equal(X509_VERIFY_PARAM_set1_host(param, "localhost", 0), 1);
    assert_int_equal(X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER), 1);
    if (X509_verify_cert(ctx) != 1) {
        fail_msg("%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    }
    X509_STORE_CTX_free(ctx);
    sk_X509_free(between);
    X509_STORE_free(roots);
    cert_chain_free(&chain);
    store_pair_fini(&pair);
    local_ca_fini(&ca);
}

static void is_reused_and_renewed_when_needed(void **state)
{
    (void)state;
    struct dstr root, intermediate;
    ready(now_ms);
    get(KEY("root.crt"), &root);
    get(KEY("intermediate.crt"), &intermediate);
    ready(now_ms + 5 * DAY_MS);
    assert_false(changed(KEY("root.crt"), &root));
    assert_false(changed(KEY("intermediate.crt"), &intermediate));
    ready(now_ms + 6 * DAY_MS); /* less than a fifth of the week left */
    assert_false(changed(KEY("root.crt"), &root));
    assert_true(changed(KEY("intermediate.crt"), &intermediate));
    ready(now_ms + 3600 * DAY_MS);
    assert_false(changed(KEY("root.crt"), &root));
    ready(now_ms + 3640 * DAY_MS); /* a month before the end */
    assert_true(changed(KEY("root.crt"), &root));
    dstr_fini(&root);
    dstr_fini(&intermediate);
}

static void damage(struct slice key, struct slice bytes)
{
    struct err err;
    assert_int_equal(store_put(store, key, bytes, &err), STORE_OK);
}

static void a_damaged_intermediate_is_made_anew(void **state)
{
    (void)state;
    const struct slice what[] = {KEY("intermediate.crt"), KEY("intermediate.key")};
    struct dstr root, intermediate;
    ready(now_ms);
    get(KEY("root.crt"), &root);
    get(KEY("intermediate.crt"), &intermediate);
    for (size_t i = 0; i < ARRAY_LEN(what); i++) {
        damage(what[i], i == 0 ? S("-----BEGIN CERTIFICATE-----\nAAAA") : S(""));
        ready(now_ms);
        assert_true(changed(KEY("intermediate.crt"), &intermediate));
        assert_false(changed(KEY("root.crt"), &root));
    }
    dstr_fini(&root);
    dstr_fini(&intermediate);
}

static void the_root_key_is_read_only_when_signing(void **state)
{
    (void)state;
    struct err err;
    struct dstr root;
    ready(now_ms);
    get(KEY("root.crt"), &root);
    assert_int_equal(store_delete(store, KEY("root.key"), &err), STORE_OK);
    ready(now_ms + DAY_MS);
    assert_false(changed(KEY("root.crt"), &root));
    /* The intermediate must be made anew: there is no way to go on with this root. */
    ready(now_ms + 7 * DAY_MS);
    assert_true(changed(KEY("root.crt"), &root));
    dstr_fini(&root);
}

static void count_damaged(void *ctx, struct slice name, bool is_folder)
{
    (void)is_folder;
    if (slice_find_slice(name, S("damaged")) != SLICE_NPOS) {
        ++*(int *)ctx;
    }
}

static void a_damaged_root_is_set_aside(void **state)
{
    (void)state;
    struct err err;
    struct dstr out;
    int aside = 0;
    ready(now_ms);
    damage(KEY("root.crt"), S("garbage"));
    dstr_init(&out, 65536);
    assert_true(acme_local_root(store, &out, &err));
    assert_true(slice_starts(dstr_slice(&out), S("-----BEGIN CERTIFICATE-----")));
    dstr_fini(&out);
    assert_int_equal(store_list(store, S("pki/authorities/local"), count_damaged, &aside, &err),
                     STORE_OK);
    assert_true(aside >= 1);
}

/* Caddy's: no path length on the root, PKCS #8 or SEC 1 keys, its own names. */
static void a_foreign_root_is_reused(void **state)
{
    (void)state;
    struct err err;
    struct dstr root, crt, key;
    struct local_cert_spec spec = {.common_name = "Caddy Local Authority - 2024 ECC Root",
                                   .path_length = 1,
                                   .not_before_ms = now_ms - 400 * DAY_MS,
                                   .not_after_ms = now_ms + 3200 * DAY_MS};
    EVP_PKEY *pkey = key_new_p256(&err);
    X509 *cert = local_cert_make(&spec, pkey, NULL, pkey, &err);
    dstr_init(&crt, 65536);
    key_text_init(&key);
    assert_true(cert_to_pem(cert, &crt) && key_to_pem(pkey, &key, &err));
    damage(KEY("root.crt"), dstr_slice(&crt));
    damage(KEY("root.key"), dstr_slice(&key));
    ready(now_ms);
    get(KEY("root.crt"), &root);
    assert_true(slice_eq(dstr_slice(&root), dstr_slice(&crt)));
    dstr_fini(&root);
    dstr_fini(&crt);
    key_text_fini(&key);
    X509_free(cert);
    EVP_PKEY_free(pkey);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(issues),
        TEST(verifies_with_openssl),
        TEST(is_reused_and_renewed_when_needed),
        TEST(a_damaged_intermediate_is_made_anew),
        TEST(the_root_key_is_read_only_when_signing),
        TEST(a_damaged_root_is_set_aside),
        TEST(a_foreign_root_is_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
