/* Challenge answers: in memory, in the store, as CertMagic writes them, and for strangers. */
#include "tests/unit/store/helper.h"

#include <pthread.h>
#include <stdatomic.h>

#include "store/challenge.h"

#define CA     "ca.example-dir"
#define TOKEN  "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
#define ANSWER TOKEN ".nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ"
#define KEY    "acme/" CA "/challenge_tokens/a.example.json"

static struct store *s;
static struct challenge_table *t;

static int setup(void **state UNUSED)
{
    s = store_open_memory();
    t = challenge_table_new(s);
    return 0;
}

static int teardown(void **state UNUSED)
{
    challenge_table_free(t);
    store_close(s);
    return 0;
}

static const char *local(struct challenge_table *table, const char *token)
{
    static char out[CHALLENGE_ANSWER_MAX + 1];
    size_t n = challenge_find_local(table, slice_str(token), out);
    out[n] = '\0';
    return n ? out : NULL;
}

static const char *stored(struct challenge_table *table, const char *host, const char *token)
{
    static char out[CHALLENGE_ANSWER_MAX + 1];
    size_t n = challenge_find_stored(table, slice_str(host), slice_str(token), out);
    out[n] = '\0';
    return n ? out : NULL;
}

static void put_find_remove(void **state UNUSED)
{
    struct err err = {0};
    assert_null(local(t, TOKEN));
    assert_null(stored(t, "a.example", TOKEN));
    assert_true(challenge_put(t, S(CA), S("a.example"), S(TOKEN), S(ANSWER), &err));
    assert_string_equal(local(t, TOKEN), ANSWER);
    assert_string_equal(stored(t, "a.example", TOKEN), ANSWER);
    assert_string_equal(
        get(s, KEY), "{\"type\":\"http-01\",\"token\":\"" TOKEN "\",\"keyAuthorization\":\"" ANSWER
                     "\",\"identifier\":{\"type\":\"dns\",\"value\":\"a.example\"}}");
    /* Another instance on the same store. */
    struct challenge_table *other = challenge_table_new(s);
    assert_null(local(other, TOKEN));
    assert_string_equal(stored(other, "a.example", TOKEN), ANSWER);
    assert_null(stored(other, "b.example", TOKEN));
    assert_null(stored(other, "a.example", "other"));
    /* Only its own entry is taken back. */
    challenge_remove(other, S(CA), S("a.example"), S("other"));
    assert_string_equal(stored(other, "a.example", TOKEN), ANSWER);
    challenge_remove(t, S(CA), S("a.example"), S(TOKEN));
    assert_null(local(t, TOKEN));
    assert_null(stored(other, "a.example", TOKEN));
    assert_null(get(s, KEY));
    challenge_remove(t, S(CA), S("a.example"), S(TOKEN));
    challenge_table_free(other);
}

static void addresses(void **state UNUSED)
{
    struct err err;
    assert_true(challenge_put(t, S(CA), S("2001:db8::1"), S("t6"), S("t6.x"), &err));
    assert_true(challenge_put(t, S(CA), S("192.0.2.1"), S("t4"), S("t4.x"), &err));
    assert_string_equal(stored(t, "[2001:db8::1]", "t6"), "t6.x");
    assert_string_equal(stored(t, "2001:db8::1", "t6"), "t6.x");
    assert_string_equal(stored(t, "192.0.2.1", "t4"), "t4.x");
    assert_non_null(
        strstr(get(s, "acme/" CA "/challenge_tokens/192.0.2.1.json"), "\"type\":\"ip\""));
}

static void memory_only(void **state UNUSED)
{
    struct challenge_table *m = challenge_table_new(NULL);
    struct err err;
    assert_true(challenge_put(m, S(CA), S("a.example"), S(TOKEN), S(ANSWER), &err));
    assert_string_equal(local(m, TOKEN), ANSWER);
    assert_null(stored(m, "a.example", TOKEN));
    /* The same token again replaces its answer. */
    assert_true(challenge_put(m, S(CA), S("a.example"), S(TOKEN), S(TOKEN ".new"), &err));
    assert_string_equal(local(m, TOKEN), TOKEN ".new");
    challenge_remove(m, S(CA), S("a.example"), S(TOKEN));
    assert_null(local(m, TOKEN));
    challenge_table_free(m);
    challenge_table_free(NULL);
}

#define PEM "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"

static bool tls(struct challenge_table *table, const char *server_name, bool in_store)
{
    struct dstr pem;
    dstr_init(&pem, CHALLENGE_PEM_MAX);
    bool found = in_store ? challenge_find_tls_stored(table, slice_str(server_name), &pem)
                          : challenge_find_tls_local(table, slice_str(server_name), &pem);
    assert_true(!found || slice_eq(dstr_slice(&pem), S(PEM)));
    dstr_fini(&pem);
    return found;
}

static void certificates(void **state UNUSED)
{
    struct err err;
    struct challenge_table *other = challenge_table_new(s);
    assert_false(tls(t, "a.example", false));
    assert_true(
        challenge_put_tls(t, S(CA), S("a.example"), S(TOKEN), S(ANSWER), S(PEM), &err));
    assert_true(tls(t, "a.example", false) && tls(t, "a.example", true));
    assert_true(tls(other, "a.example", true) && !tls(other, "a.example", false));
    assert_false(tls(t, "b.example", false) || tls(t, "b.example", true));
    /* It is no answer over HTTP from the store; an HTTP-01 answer is none in a handshake. */
    assert_null(stored(other, "a.example", TOKEN));
    assert_true(challenge_put(t, S(CA), S("c.example"), S("tc"), S("tc.x"), &err));
    assert_false(tls(t, "c.example", false) || tls(t, "c.example", true));
    /* Addresses go by their reverse names (RFC 8738). */
    assert_true(challenge_put_tls(t, S(CA), S("192.0.2.1"), S("t4"), S("t4.x"), S(PEM), &err));
    assert_true(tls(t, "1.2.0.192.in-addr.arpa", false));
    assert_true(tls(other, "1.2.0.192.in-addr.arpa", true));
    assert_false(tls(t, "192.0.2.1", false));
    challenge_remove(t, S(CA), S("a.example"), S(TOKEN));
    challenge_remove(t, S(CA), S("192.0.2.1"), S("t4"));
    assert_false(tls(t, "a.example", false) || tls(t, "a.example", true));
    assert_false(tls(t, "1.2.0.192.in-addr.arpa", true));
    assert_false(challenge_put_tls(t, S(CA), S("a.example"), S(TOKEN), S(ANSWER), S(""), &err));
    challenge_table_free(other);
}

static void what_certmagic_writes(void **state UNUSED)
{
    put(s, KEY,
        "{\"type\":\"http-01\",\"url\":\"https://ca.example/chall/1\",\"status\":\"pending\","
        "\"validated\":\"0001-01-01T00:00:00Z\",\"error\":{\"type\":\"urn:x\",\"status\":403,"
        "\"subproblems\":[{\"type\":\"urn:y\",\"token\":\"inner\"}]},"
        "\"token\":\"" TOKEN "\",\"keyAuthorization\":\"" ANSWER "\","
        "\"identifier\":{\"type\":\"dns\",\"value\":\"a.example\"},\"payload\":null}\n");
    assert_string_equal(stored(t, "a.example", TOKEN), ANSWER);
    assert_null(stored(t, "a.example", "inner"));
}

static void expect_silent(const char *json)
{
    put(s, KEY, json);
    if (stored(t, "a.example", TOKEN)) {
        fail_msg("answered from %s", json);
    }
}

static void what_is_wrong_answers_nothing(void **state UNUSED)
{
    expect_silent("");
    expect_silent("{}");
    expect_silent("{\"type\":\"http-01\",\"token\":\"" TOKEN "\"}");
    expect_silent("{\"type\":\"http-01\",\"keyAuthorization\":\"" ANSWER "\"}");
    expect_silent("{\"token\":\"" TOKEN "\",\"keyAuthorization\":\"" ANSWER "\"}");
    expect_silent("{\"type\":\"tls-alpn-01\",\"token\":\"" TOKEN "\",\"keyAuthorization\":\"" ANSWER
                  "\"}");
    expect_silent("{\"type\":\"http-01\",\"token\":\"" TOKEN "\",\"keyAuthorization\":\"" ANSWER
                  "\"");
    expect_silent("{\"type\":\"http-01\",\"token\":\"x\",\"keyAuthorization\":\"" ANSWER "\"}");
    expect_silent("{\"type\":\"http-01\",\"token\":\"" TOKEN
                  "\",\"keyAuthorization\":\"other.x\"}");
    expect_silent("{\"type\":\"http-01\",\"token\":\"" TOKEN "\",\"keyAuthorization\":\"" TOKEN
                  ".\"}");
    expect_silent("{\"type\":\"http-01\",\"token\":\"" TOKEN "\",\"keyAuthorization\":\"" TOKEN
                  ".a\\r\\nb\"}");
}

static void tokens(void **state UNUSED)
{
    char longest[CHALLENGE_TOKEN_MAX + 1], answer[CHALLENGE_ANSWER_MAX + 1];
    struct err err = {0};
    memset(longest, 'a', sizeof(longest));
    memset(answer, 'a', sizeof(answer));
    assert_true(challenge_token_valid(S(TOKEN)));
    assert_true(challenge_token_valid(slice_of(longest, CHALLENGE_TOKEN_MAX)));
    assert_false(challenge_token_valid(slice_of(longest, CHALLENGE_TOKEN_MAX + 1)));
    static const char *const bad[] = {"",   "a/b",  "..",       "a b", "a.b",
                                      "a=", "a%41", "\xc3\xa9", "a\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(challenge_token_valid(slice_str(bad[i])));
        assert_false(challenge_put(t, S(CA), S("a"), slice_str(bad[i]), S(ANSWER), &err));
        assert_true(err.text[0]);
        assert_null(local(t, bad[i]));
        assert_null(stored(t, "a.example", bad[i]));
        challenge_remove(t, S(CA), S("a"), slice_str(bad[i]));
    }
    assert_false(challenge_token_valid(slice_of("a\0b", 3)));
    answer[CHALLENGE_TOKEN_MAX] = '.';
    struct slice token = slice_of(longest, CHALLENGE_TOKEN_MAX);
    assert_false(
        challenge_put(t, S(CA), S("a"), token, slice_of(answer, CHALLENGE_ANSWER_MAX + 1), &err));
    assert_true(
        challenge_put(t, S(CA), S("a"), token, slice_of(answer, CHALLENGE_ANSWER_MAX), &err));
    char out[CHALLENGE_ANSWER_MAX];
    assert_int_equal(challenge_find_local(t, token, out), CHALLENGE_ANSWER_MAX);
    assert_int_equal(challenge_find_stored(t, S("a"), token, out), CHALLENGE_ANSWER_MAX);
    assert_memory_equal(out, answer, CHALLENGE_ANSWER_MAX);
}

static void hosts_stay_inside(void **state UNUSED)
{
    put(s, "secret.json", "{\"type\":\"http-01\",\"token\":\"t\",\"keyAuthorization\":\"t.x\"}");
    put(s, "acme/" CA "/challenge_tokens/x.json", "{}");
    assert_null(stored(t, "../../../secret", "t"));
    assert_null(stored(t, "", "t"));
    assert_null(stored(t, "/", "t"));
    char longest[10000];
    memset(longest, 'h', sizeof(longest));
    char out[CHALLENGE_ANSWER_MAX];
    assert_int_equal(challenge_find_stored(t, slice_of(longest, sizeof(longest)), S("t"), out), 0);
    assert_int_equal(challenge_find_stored(t, slice_of("[]", 2), S("t"), out), 0);
}

static void a_failing_store_leaves_the_answer_visible(void **state UNUSED)
{
    char folder[PATH_BYTES];
    struct err err = {0};
    temp_folder(folder);
    struct store *fs = open_store(folder);
    struct challenge_table *m = challenge_table_new(fs);
    step_errno = ENOSPC;
    step_countdown = 1;
    store_fs_step = fail_from_step;
    assert_false(challenge_put(m, S(CA), S("a.example"), S(TOKEN), S(ANSWER), &err));
    store_fs_step = NULL;
    assert_non_null(strstr(err.text, "No space left"));
    assert_string_equal(local(m, TOKEN), ANSWER);
    challenge_table_free(m);
    store_close(fs);
    remove_tree(folder);
}

static void the_table_is_bounded(void **state UNUSED)
{
    struct challenge_table *m = challenge_table_new(NULL);
    struct err err = {0};
    int i = 0;
    for (bool room = true; room; i++) {
        char token[32], answer[32];
        (void)snprintf(token, sizeof(token), "t%d", i);
        (void)snprintf(answer, sizeof(answer), "t%d.x", i);
        room = challenge_put(m, S(CA), S("a"), slice_str(token), slice_str(answer), &err);
        assert_true(i <= 10000);
    }
    assert_int_equal(i, 10001);
    assert_non_null(strstr(err.text, "10000"));
    assert_null(local(m, "t10000"));
    assert_string_equal(local(m, "t0"), "t0.x");
    assert_string_equal(local(m, "t9999"), "t9999.x");
    challenge_remove(m, S(CA), S("a"), S("t5"));
    assert_true(challenge_put(m, S(CA), S("a"), S("u"), S("u.x"), &err));
    challenge_table_free(m);
}

static atomic_int wrong;
static atomic_bool stop;

static void *ask(void *arg UNUSED)
{
    while (!atomic_load(&stop)) {
        const char *want = "t.x";
        char out[CHALLENGE_ANSWER_MAX];
        size_t n = challenge_find_local(t, S("t"), out);
        if (n && !slice_eq(slice_of(out, n), slice_str(want))) {
            atomic_fetch_add(&wrong, 1);
        }
    }
    return NULL;
}

static void asked_while_changing(void **state UNUSED)
{
    pthread_t threads[2];
    struct err err;
    atomic_store(&stop, false);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask, NULL), 0);
    }
    for (int i = 0; i < 300; i++) {
        assert_true(challenge_put(t, S(CA), S("a"), S("t"), S("t.x"), &err));
        challenge_remove(t, S(CA), S("a"), S("t"));
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&wrong), 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(put_find_remove),
        TEST(certificates),
        TEST(addresses),
        TEST(memory_only),
        TEST(what_certmagic_writes),
        TEST(what_is_wrong_answers_nothing),
        TEST(tokens),
        TEST(hosts_stay_inside),
        TEST(a_failing_store_leaves_the_answer_visible),
        TEST(the_table_is_bounded),
        TEST(asked_while_changing),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
