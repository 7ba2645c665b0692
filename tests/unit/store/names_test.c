/* Names as CertMagic writes them, and names that try to leave their folder. */
#include "tests/unit/store/helper.h"

#include "store/names.h"

static struct arena a;

static int setup(void **state UNUSED)
{
    arena_init(&a, ARENA_NO_MAX);
    return 0;
}

static int teardown(void **state UNUSED)
{
    arena_fini(&a);
    return 0;
}

static void safe(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"example.com", "example.com"},
        {"EXAMPLE.Com", "example.com"},
        {"*.example.com", "wildcard_.example.com"},
        {"me+tag@example.com", "me_plus_tag@example.com"},
        {"2001:db8::1", "2001-db8--1"},
        {"localhost:14000-dir", "localhost-14000-dir"},
        {"  a b\t", "a_b"},
        {"a..b", "ab"},
        {"a...b", "a.b"},
        {"../../etc/passwd", "etcpasswd"},
        {"b\xc3\xbc"
         "cher.example",
         "bcher.example"},
        {"a/b\\c%2e\"'<>", "abc2e"},
        {"under_score-dash", "under_score-dash"},
        {"", "_"},
        {".", "_."},
        {"..", "_"},
        {"./.", "_.."},
        {"/././", "_.."},
        {"///", "_"},
        {".caddis-tmp-x", "_.caddis-tmp-x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice got = store_safe_name(&a, slice_str(cases[i][0]));
        assert_string_equal(got.p, cases[i][1]);
        assert_true(store_key_valid(got, false));
    }
    assert_string_equal(store_safe_name(&a, slice_of("a\0b", 3)).p, "ab");
}

/* Any bytes at all give one valid part. */
static void safe_is_always_one_part(void **state UNUSED)
{
    static const char alphabet[] = "./\\.:*+ \0a\x80~";
    for (unsigned code = 0; code < 100000; code++) {
        char name[8];
        size_t n = 0;
        for (unsigned c = code; c; c /= sizeof(alphabet) - 1) {
            name[n++] = alphabet[c % (sizeof(alphabet) - 1)];
        }
        struct slice got = store_safe_name(&a, slice_of(name, n));
        assert_true(store_key_valid(got, false));
        assert_true(slice_find(got, '/') == SLICE_NPOS);
        if (code % 1000 == 0) {
            arena_reset(&a);
        }
    }
}

static void ca_names(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"https://acme-v02.api.letsencrypt.org/directory",
         "acme-v02.api.letsencrypt.org-directory"},
        {"https://acme-staging-v02.api.letsencrypt.org/directory",
         "acme-staging-v02.api.letsencrypt.org-directory"},
        {"https://acme.zerossl.com/v2/DV90", "acme.zerossl.com-v2-dv90"},
        {"https://localhost:14000/dir", "localhost-14000-dir"},
        {"https://ca.example", "ca.example"},
        {"https://ca.example/", "ca.example"},
        {"https://ca.example/a/b/?x=/y#z", "ca.example-a-b"},
        {"https://user:pw@ca.example/d", "ca.example-d"},
        {"https://[::1]:14000/dir", "--1-14000-dir"},
        {"https://ca.example/../../x", "ca.example---x"},
        {"local", "local"},
        {"", "_"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_string_equal(store_ca_name(&a, slice_str(cases[i][0])).p, cases[i][1]);
    }
}

static void keys(void **state UNUSED)
{
    struct slice ca = S("ca.example-dir");
    assert_string_equal(store_cert_key(&a, ca, S("*.A.example"), ".crt").p,
                        "certificates/ca.example-dir/wildcard_.a.example/wildcard_.a.example.crt");
    assert_string_equal(store_account_key(&a, ca, S("Me@Example.com"), ".json").p,
                        "acme/ca.example-dir/users/me@example.com/me.json");
    assert_string_equal(store_account_key(&a, ca, S(""), ".key").p,
                        "acme/ca.example-dir/users/default/default.key");
    assert_string_equal(store_account_key(&a, ca, S("@x"), ".key").p,
                        "acme/ca.example-dir/users/@x/x.key");
    assert_string_equal(store_account_key(&a, ca, S("@"), ".json").p,
                        "acme/ca.example-dir/users/@/registration.json");
    assert_string_equal(store_account_key(&a, ca, S("@"), ".key").p,
                        "acme/ca.example-dir/users/@/private.key");
    assert_string_equal(store_challenge_key(&a, ca, S("a.example")).p,
                        "acme/ca.example-dir/challenge_tokens/a.example.json");
    assert_string_equal(store_pki_key(&a, S("local"), "root.crt").p,
                        "pki/authorities/local/root.crt");
    assert_string_equal(store_schedule_key(&a, ca, S("a.example")).p,
                        "caddis/schedule/ca.example-dir/a.example.json");
    assert_string_equal(store_order_key(&a, ca, S("a.example"), ".key").p,
                        "caddis/order/ca.example-dir/a.example.key");
    assert_string_equal(store_cert_key(&a, S("../.."), S("../../x"), ".crt").p,
                        "certificates/_/x/x.crt");
}

static void a_full_arena_gives_no_key(void **state UNUSED)
{
    struct arena tiny;
    arena_init(&tiny, 0);
    assert_int_equal(store_safe_name(&tiny, S("a")).n, 0);
    assert_int_equal(store_cert_key(&tiny, S("a"), S("b"), ".crt").n, 0);
    assert_int_equal(store_challenge_key(&tiny, S("a"), S("b")).n, 0);
    assert_true(tiny.failed);
    arena_fini(&tiny);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(safe), TEST(safe_is_always_one_part),   TEST(ca_names),
        TEST(keys), TEST(a_full_arena_gives_no_key),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
