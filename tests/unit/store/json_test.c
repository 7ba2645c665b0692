/* The strict reader of single string members. */
#include "tests/unit/store/helper.h"

#include "store/json.h"

/* The member "k", "(none)" if there is none, NULL if the document is refused. */
static const char *member(const char *doc, size_t n)
{
    static char out[256];
    struct arena a;
    struct slice v;
    arena_init(&a, 1 << 16);
    /* An exact copy, so that the sanitizer sees a byte too far. */
    char *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    memcpy(exact, doc, n);
    bool ok = store_json_string(&a, slice_of(exact, n), S("k"), &v);
    (void)snprintf(out, sizeof(out), "%.*s", v.p ? (int)v.n : 6, v.p ? v.p : "(none)");
    free(exact);
    arena_fini(&a);
    return ok ? out : NULL;
}

static void reads(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"{\"k\":\"v\"}", "v"},
        {"{}", "(none)"},
        {" \t\r\n{ \"k\" : \"v\" } \n", "v"},
        {"{\"a\":{\"k\":\"inner\"},\"k\":\"v\"}", "v"},
        {"{\"a\":{\"k\":\"inner\"}}", "(none)"},
        {"{\"a\":[1,-2.5e+3,0,0.1,true,false,null,\"x\",[],{}],\"k\":\"v\"}", "v"},
        {"{\"k\":\"\"}", ""},
        {"{\"k\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "\"\\/\b\f\n\r\t"},
        {"{\"k\":\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"}",
         "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"{\"k\":\"\xc3\xa9\"}", "\xc3\xa9"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got = member(cases[i][0], strlen(cases[i][0]));
        assert_non_null(got);
        assert_string_equal(got, cases[i][1]);
    }
}

static void refuses(void **state UNUSED)
{
    static const char *const cases[] = {
        "",
        " ",
        "[]",
        "\"k\"",
        "null",
        "{",
        "{\"k\"}",
        "{\"k\":}",
        "{\"k\":\"v\"",
        "{\"k\":\"v\",}",
        "{,}",
        "{\"k\":\"v\"}x",
        "{\"k\":\"v\"}{}",
        "{\"k\":1}",
        "{\"k\":null}",
        "{\"k\":[\"v\"]}",
        "{\"k\":\"v\",\"k\":\"w\"}",
        "{k:\"v\"}",
        "{'k':'v'}",
        "{\"k\":\"a\nb\"}",
        "{\"k\":\"\\x41\"}",
        "{\"k\":\"\\u12\"}",
        "{\"k\":\"\\ud83d\"}",
        "{\"k\":\"\\ude00\"}",
        "{\"k\":\"\\ud83d\\u0041\"}",
        "{\"k\":\"v\",\"a\":01}",
        "{\"k\":\"v\",\"a\":1.}",
        "{\"k\":\"v\",\"a\":-}",
        "{\"k\":\"v\",\"a\":+1}",
        "{\"k\":\"v\",\"a\":1e}",
        "{\"k\":\"v\",\"a\":tru}",
        "{\"k\":\"v\",\"a\":[1,]}",
        "{\"k\":\"v\",\"a\":NaN}",
        "{\"k\":\"v\" \"a\":1}",
        "{\"k\":\"v\";}",
        "{\"a\":{\"b\":}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (member(cases[i], strlen(cases[i]))) {
            fail_msg("accepted: %s", cases[i]);
        }
    }
    assert_null(member("{\"k\":\"v\"}\0", 10));
}

static void every_cut_is_refused(void **state UNUSED)
{
    static const char doc[] = "{\"a\":[1.5e3,true,{\"b\":\"\\u00e9\\ud83d\\ude00\"}],\"k\":\"v\"}";
    for (size_t n = 0; n < sizeof(doc) - 1; n++) {
        assert_null(member(doc, n));
    }
    assert_string_equal(member(doc, sizeof(doc) - 1), "v");
}

static void depth_is_bounded(void **state UNUSED)
{
    char doc[512];
    for (int depth = 1; depth < 100; depth++) {
        size_t n = 0;
        n += (size_t)snprintf(doc, sizeof(doc), "{\"k\":\"v\",\"a\":");
        for (int i = 1; i < depth; i++) {
            doc[n++] = '[';
        }
        for (int i = 1; i < depth; i++) {
            doc[n++] = ']';
        }
        n += (size_t)snprintf(doc + n, sizeof(doc) - n, "%s}", depth == 1 ? "0" : "");
        assert_int_equal(member(doc, n) != NULL, depth <= STORE_JSON_DEPTH_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(refuses),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
