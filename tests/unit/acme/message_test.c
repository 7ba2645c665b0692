/* JSON abuse, problem documents as sentences, and the messages of a CA. */
#include "acme/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>

#include "acme/json.h"
#include "acme/zerossl.h"
#include "proxy/base/dstr.h"

static void json_abuse(void **state)
{
    (void)state;
    struct err err;
    const struct slice bad[] = {
        S_INIT(""), S_INIT(" "), S_INIT("null"), S_INIT("[]"), S_INIT("\"x\""), S_INIT("{"),
        S_INIT("{\"a\":}"), S_INIT("{\"a\":1}x"), S_INIT("{\"a\":\"\\u12\"}"), S_INIT("{}{}"),
        S_INIT("\0"), S_INIT("<html>"),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_null(json_parse_object(bad[i], &err));
        assert_true(err.text[0] != '\0');
    }
    /* A hundred thousand brackets must not reach a recursive parser. */
    size_t n = 200000;
    char *deep = malloc(n);
    memset(deep, '[', n);
    memcpy(deep, "{\"a\":", 5);
    assert_null(json_parse_object(slice_of(deep, n), &err));
    free(deep);
    /* Brackets inside strings are no depth. */
    cJSON *obj = json_parse_object(S("{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[\"}\n"), &err);
    assert_non_null(obj);
    assert_null(json_array(obj, "a"));
    assert_null(json_object(obj, "a"));
    assert_null(json_string(obj, "b").p);
    int64_t number = 7;
    assert_false(json_integer(obj, "a", 10, &number));
    assert_int_equal(number, 7);
    cJSON_Delete(obj);
}

static void problems_in_the_ca_s_words(void **state)
{
    (void)state;
    struct problem p;
    problem_parse(S("{\"type\":\"urn:ietf:params:acme:error:malformed\",\"detail\":\"Some\\nnames"
                    "\",\"status\":400,\"subproblems\":[{\"type\":"
                    "\"urn:ietf:params:acme:error:caa\",\"detail\":\"CAA forbids\",\"identifier\":"
                    "{\"type\":\"dns\",\"value\":\"a.example\"}},7,{\"detail\":\"x\"}]}"),
                  400, &p);
    assert_string_equal(p.text, "Some names (malformed); a.example: CAA forbids (caa); x [HTTP "
                                "400]");
    assert_true(problem_is(&p, "malformed"));
    problem_parse(S("<html>\x1b[31mBad Gateway</html>"), 502, &p);
    assert_string_equal(p.text, "HTTP status 502 with a body that is no problem document: <html> "
                                "[31mBad Gateway</html>");
    assert_string_equal(p.type, "");
    problem_parse(S(""), 500, &p);
    assert_string_equal(p.text, "HTTP status 500 and no explanation");
    problem_parse(S("{\"type\":7,\"detail\":[]}"), 400, &p);
    assert_false(problem_is(&p, "badNonce"));
    problem_from_json(NULL, &p);
    assert_string_equal(p.text, "");
}

static void endless_problems_are_cut(void **state)
{
    (void)state;
    struct problem p;
    struct dstr d;
    dstr_init(&d, 1 << 20);
    dstr_append(&d, S("{\"type\":\"t\",\"detail\":\""));
    for (int i = 0; i < 100000; i++) {
        dstr_byte(&d, 'x');
    }
    dstr_append(&d, S("\"}"));
    problem_parse(dstr_slice(&d), 400, &p);
    assert_int_equal(strlen(p.text), sizeof(p.text) - 1);
    dstr_fini(&d);
}

static void urls(void **state)
{
    (void)state;
    assert_true(message_url_ok(S("https://ca.example/dir")));
    assert_true(message_url_ok(S("HTTPS://127.0.0.1:14000/dir?x=y")));
    const struct slice bad[] = {
        S_INIT(""), S_INIT("http://ca/"), S_INIT("https://"), S_INIT("https:///x"),
        S_INIT("file:///etc/passwd"), S_INIT("https://a b"), S_INIT("https://a\r\nX: y"),
        S_INIT("https://a\"b"),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(message_url_ok(bad[i]));
    }
}

static void directories(void **state)
{
    (void)state;
    struct arena a;
    struct err err;
    struct directory d;
    arena_init(&a, 65536);
    assert_true(message_directory(&a, S("{\"newNonce\":\"https://c/n\",\"newAccount\":"
                                        "\"https://c/a\",\"newOrder\":\"https://c/o\",\"meta\":"
                                        "{\"externalAccountRequired\":true}}"),
                                  &d, &err));
    assert_true(d.binding_required);
    assert_true(slice_eq(d.new_order, S("https://c/o")));
    assert_false(message_directory(&a, S("{\"newNonce\":\"http://c/n\",\"newAccount\":"
                                         "\"https://c/a\",\"newOrder\":\"https://c/o\"}"),
                                   &d, &err));
    assert_false(message_directory(&a, S("{\"newNonce\":[],\"newAccount\":{},\"newOrder\":3}"), &d,
                                   &err));
    arena_fini(&a);
}

static void orders(void **state)
{
    (void)state;
    struct arena a;
    struct err err;
    struct order_message o;
    arena_init(&a, 1 << 20);
    /* Born ready, without authorisations. */
    assert_true(message_order(&a, S("{\"status\":\"ready\",\"finalize\":\"https://c/f\"}"), &o,
                              &err));
    assert_int_equal(o.status, STATUS_READY);
    assert_int_equal(o.authorization_count, 0);
    assert_true(message_order(&a, S("{\"status\":\"invalid\",\"finalize\":\"https://c/f\","
                                    "\"authorizations\":[\"https://c/1\"],\"error\":"
                                    "{\"detail\":\"no\"}}"),
                              &o, &err));
    assert_string_equal(o.error.text, "no");
    assert_int_equal(o.authorization_count, 1);
    assert_false(message_order(&a, S("{\"status\":\"odd\",\"finalize\":\"https://c/f\"}"), &o,
                               &err));
    assert_false(message_order(&a, S("{\"status\":\"ready\"}"), &o, &err));
    assert_false(message_order(&a, S("{\"status\":\"pending\",\"finalize\":\"https://c/f\","
                                     "\"authorizations\":[\"http://c/1\"]}"),
                               &o, &err));
    assert_false(message_order(&a, S("{\"status\":\"pending\",\"finalize\":\"https://c/f\","
                                     "\"authorizations\":[7]}"),
                               &o, &err));
    arena_fini(&a);
}

static void authorisations(void **state)
{
    (void)state;
    struct arena a;
    struct err err;
    struct authz_message z;
    arena_init(&a, 1 << 20);
    assert_true(message_authz(
        &a,
        S("{\"status\":\"pending\",\"identifier\":{\"value\":\"a.b\"},\"challenges\":["
          "{\"type\":\"dns-persist-01\",\"url\":\"https://c/1\",\"status\":\"pending\"},"
          "{\"type\":\"http-01\",\"url\":\"http://c/2\",\"token\":\"t\"},"
          "{\"type\":\"http-01\",\"url\":\"https://c/3\",\"token\":\"tok\",\"status\":"
          "\"processing\"},7,{}]}"),
        &z, &err));
    assert_int_equal(z.challenge_count, 2); /* the one that is not https is left out */
    assert_int_equal(z.challenges[0].token.n, 0);
    assert_int_equal(z.challenges[1].status, STATUS_PROCESSING);
    assert_true(slice_eq(z.challenges[1].token, S("tok")));
    struct dstr many;
    dstr_init(&many, 1 << 20);
    dstr_append(&many, S("{\"status\":\"valid\",\"challenges\":["));
    for (int i = 0; i < 1000; i++) {
        dstr_append(&many, S("{\"type\":\"x\",\"url\":\"https://c/1\"},"));
    }
    dstr_append(&many, S("{}]}"));
    assert_true(message_authz(&a, dstr_slice(&many), &z, &err));
    assert_int_equal(z.challenge_count, MESSAGE_CHALLENGES_MAX);
    dstr_fini(&many);
    arena_fini(&a);
}

static void windows(void **state)
{
    (void)state;
    struct arena a;
    struct err err;
    struct renewal_message w;
    arena_init(&a, 65536);
    assert_true(message_renewal(&a, S("{\"suggestedWindow\":{\"start\":\"2026-12-01T00:00:00Z\","
                                      "\"end\":\"2026-12-01T01:00:00+00:30\"},\"explanationURL\":"
                                      "\"https://ca.example/why\"}"),
                                &w, &err));
    assert_int_equal(w.end_ms - w.start_ms, 30 * 60 * 1000);
    assert_true(slice_eq(w.explanation_url, S("https://ca.example/why")));
    const struct slice bad[] = {
        S_INIT("{}"), S_INIT("[]"), S_INIT("{\"suggestedWindow\":{\"start\":\"soon\"}}"),
        S_INIT("{\"suggestedWindow\":{\"start\":\"2026-12-02T00:00:00Z\","
               "\"end\":\"2026-12-01T00:00:00Z\"}}"),
        S_INIT("{\"suggestedWindow\":{\"start\":\"2026-12-02T00:00:00Z\","
               "\"end\":\"2026-12-02T00:00:00Z\"}}"),
        S_INIT("{\"suggestedWindow\":{\"start\":1,\"end\":2}}"),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(message_renewal(&a, bad[i], &w, &err));
    }
    arena_fini(&a);
}

static void alternate_links(void **state)
{
    (void)state;
    struct arena a;
    struct slice out[MESSAGE_ALTERNATES_MAX];
    arena_init(&a, 65536);
    size_t n = message_alternates(
        &a, S("<https://c/dir>;rel=\"index\", <https://c/1>; rel=\"alternate\"\n"
              "<https://c/2>;title=\"x\";rel=\"up alternate\"\n<http://c/3>;rel=alternate\n"
              "<https://c/4>\n<https://c/5>;rel=up"), out);
    assert_int_equal(n, 2);
    assert_true(slice_eq(out[0], S("https://c/1")));
    assert_true(slice_eq(out[1], S("https://c/2")));
    struct dstr many;
    dstr_init(&many, 65536);
    for (int i = 0; i < 100; i++) {
        dstr_append(&many, S("<https://c/x>;rel=alternate,"));
    }
    assert_int_equal(message_alternates(&a, dstr_slice(&many), out), MESSAGE_ALTERNATES_MAX);
    dstr_fini(&many);
    arena_fini(&a);
}

static void zerossl_credentials(void **state)
{
    (void)state;
    struct arena a;
    struct err err;
    struct slice id, mac;
    arena_init(&a, 65536);
    assert_true(zerossl_parse(
        &a, S("{\"success\":true,\"eab_kid\":\"k\",\"eab_hmac_key\":\"bQ\"}"), &id, &mac, &err));
    assert_true(slice_eq(id, S("k")) && slice_eq(mac, S("bQ")));
    assert_false(zerossl_parse(
        &a, S("{\"success\":false,\"error\":{\"code\":1,\"type\":\"invalid_access_key\"}}"), &id,
        &mac, &err));
    assert_non_null(strstr(err.text, "invalid_access_key"));
    assert_false(zerossl_parse(&a, S("{\"eab_kid\":7}"), &id, &mac, &err));
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_abuse),
        cmocka_unit_test(problems_in_the_ca_s_words),
        cmocka_unit_test(endless_problems_are_cut),
        cmocka_unit_test(urls),
        cmocka_unit_test(directories),
        cmocka_unit_test(orders),
        cmocka_unit_test(authorisations),
        cmocka_unit_test(windows),
        cmocka_unit_test(alternate_links),
        cmocka_unit_test(zerossl_credentials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
