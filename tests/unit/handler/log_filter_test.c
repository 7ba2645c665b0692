/* Filters of log lines on texts that clients choose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/handler/log_filter.h"

static void check(const char *filter, const char *line, const char *want)
{
    struct arena arena;
    struct cf_diags diags;
    struct cf_options options = {0};
    struct dstr text;
    arena_init(&arena, ARENA_NO_MAX);
    cf_diags_init(&diags);
    dstr_init(&text, 10000);
    dstr_printf(&text, "x {\n%s\n}\n", filter);
    struct cf_document *doc = cf_parse_text(S("test"), dstr_slice(&text), &options, &diags);
    struct build b = {.arena = &arena, .diags = &diags};
    struct log_filter *f = log_filter_read(&b, doc->sites->directives);
    assert_non_null(f);
    cJSON *tree = cJSON_Parse(line);
    assert_non_null(tree);
    assert_true(log_filters_apply(f, tree));
    char *got = cJSON_PrintUnformatted(tree);
    assert_string_equal(got, want);
    cJSON_free(got);
    cJSON_Delete(tree);
    dstr_fini(&text);
    cf_free(doc);
    cf_diags_fini(&diags);
    arena_fini(&arena);
}

static void test_query(void **state)
{
    (void)state;
    const char *filter = "u query { delete a ; replace b x ; hash c }";
    check(filter, "{\"u\":\"/p\"}", "{\"u\":\"/p\"}");
    check(filter, "{\"u\":\"/p?a=1\"}", "{\"u\":\"/p\"}");
    check(filter, "{\"u\":\"/p?a&b&bb=2&a=3\"}", "{\"u\":\"/p?b=x&bb=2\"}");
    check(filter, "{\"u\":\"/p?z=1?a=2&&c=abc\"}", "{\"u\":\"/p?z=1?a=2&&c=ba7816bf\"}");
}

static void test_cookie(void **state)
{
    (void)state;
    const char *filter = "h>Cookie cookie { delete a ; replace b x }";
    check(filter, "{\"h\":{\"Cookie\":[\"a=1; b=2;c=3\",\"a=9\"]}}",
          "{\"h\":{\"Cookie\":[\"b=x; c=3\",\"\"]}}");
    check(filter, "{\"h\":{\"Cookie\":[\";;= ; b\"]}}", "{\"h\":{\"Cookie\":[\"; ; =; b=x\"]}}");
    check(filter, "{\"h\":{}}", "{\"h\":{}}");
}

static void test_mask(void **state)
{
    (void)state;
    check("a ip_mask 17 33", "{\"a\":\"10.255.255.1\"}", "{\"a\":\"10.255.128.0\"}");
    check("a ip_mask 0 0", "{\"a\":\"10.1.1.1, ::5\"}", "{\"a\":\"0.0.0.0, ::\"}");
    check("a ip_mask", "{\"a\":\"10.1.1.1\"}", "{\"a\":\"10.1.1.1\"}");
    check("a ip_mask 8 33", "{\"a\":\"ffff:ffff:ffff::1\"}", "{\"a\":\"ffff:ffff:8000::\"}");
    check("a ip_mask 8 32", "{\"a\":\"not one, 999.1.1.1\"}", "{\"a\":\"not one, 999.1.1.1\"}");
}

static void test_others(void **state)
{
    (void)state;
    check("a delete", "{\"a\":1,\"b\":2}", "{\"b\":2}");
    check("a rename c", "{\"a\":1,\"b\":2}", "{\"b\":2,\"c\":1}");
    check("a replace x", "{\"a\":{\"b\":1}}", "{\"a\":\"x\"}");
    check("a hash", "{\"a\":\"abc\"}", "{\"a\":\"ba7816bf\"}");
    check("a regexp \"(b+)\" <$1>", "{\"a\":\"abba\"}", "{\"a\":\"a<bb>a\"}");
    check("a>b>c delete", "{\"a\":{\"b\":5}}", "{\"a\":{\"b\":5}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_cookie),
        cmocka_unit_test(test_mask),
        cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
