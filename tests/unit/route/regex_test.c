/* Regular expressions: RE2's dialect, searching, replacing, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/route/regex.h"

static struct arena arena;

static struct regex *compiled(const char *pattern)
{
    struct slice why = S("");
    struct regex *re = regex_compile(&arena, slice_str(pattern), &why);
    if (!re) {
        fail_msg("%s: %.*s", pattern, SLICE_ARG(why));
    }
    return re;
}

static void test_search(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        const char *text;
        bool hit;
    } cases[] = {
        {"b+", "abbc", true},        {"^b", "ab", false},          {"c$", "abc", true},
        {"c$", "abc\n", false},      {"a.c", "a\nc", false},       {"(?s)a.c", "a\nc", true},
        {"(?i)ABC", "xabcx", true},  {"a{2,3}$", "aa", true},      {"a{,2}", "a{,2}", true},
        {"a{,2}", "aa", false},      {"[]a]b", "]b", true},        {"[^]a]b", "]b", false},
        {"[[:digit:]]+x", "12x", true}, {"\\Qa.b\\E", "a.b", true}, {"\\Qa.b\\E", "axb", false},
        {"\\v", "\x0b", true},       {"\\v", "\n", false},         {"\\p{Greek}", "\xce\xb1", true},
        {"^.$", "\xc3\xa9", true},   {"^.$", "\xff", false},       {"x", "\xff\xfex", true},
        {"", "", true},              {"(?P<n>a)(?<m>b)", "ab", true}, {"a\\+b", "a+b", true},
        {"(?U)a+", "aa", true},      {"[a[b]", "[", true},         {"\\x{e9}", "\xc3\xa9", true},
        {"a{", "a{", true},          {"^(a|b)*?c", "ababc", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct regex *re = compiled(cases[i].pattern);
        enum regex_result r = regex_search(re, slice_str(cases[i].text), NULL, 0, NULL);
        if (r != (cases[i].hit ? REGEX_MATCH : REGEX_NO)) {
            fail_msg("%s on \"%s\": %d", cases[i].pattern, cases[i].text, (int)r);
        }
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        const char *why;
    } cases[] = {
        {"(a)\\1", "back-reference"},     {"(?P<n>a)(?P=n)", "references"}, {"\\k<n>", "back-ref"},
        {"a(?=b)", "look-ahead"},         {"a(?!b)", "look-ahead"},        {"(?<=a)b", "look-"},
        {"(?<!a)b", "look-"},             {"(?>a)", "atomic"},             {"a*+", "possessive"},
        {"a++", "possessive"},            {"a?+", "possessive"},           {"a{2}+", "possessive"},
        {"a**", "quantifier"},            {"(?R)", "recursion"},           {"(?1)", "this kind"},
        {"(?|a|b)", "this kind"},         {"(?#x)", "this kind"},          {"(?x)a b", "this kind"},
        {"(*UTF)a", "nothing to repeat"}, {"(*atomic:a)", "nothing to"},   {"\\K", "escape"},
        {"\\R", "escape"},                {"\\h", "escape"},               {"[\\b]", "escape"},
        {"\\Z", "escape"},                {"a{1001}", "1000"},             {"(", "parenthes"},
        {"[a", "not closed"},             {"a\\", "backslash"},            {"\\g{1}", "back-ref"},
        {"a{1}{2}", "quantifier"},        {"\\C", "escape"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice why = S("");
        if (regex_compile(&arena, slice_str(cases[i].pattern), &why) ||
            slice_find_slice(why, slice_str(cases[i].why)) == SLICE_NPOS) {
            fail_msg("%s: \"%.*s\"", cases[i].pattern, SLICE_ARG(why));
        }
    }
}

static void test_captures(void **state)
{
    (void)state;
    struct regex *re = compiled("(?P<y>\\d+)-(x)?(\\d+)");
    struct slice c[8];
    size_t n = 0;
    assert_int_equal(regex_search(re, S("on 2026-11!"), c, 8, &n), REGEX_MATCH);
    assert_int_equal(n, 4);
    assert_true(slice_eq(c[0], S("2026-11")) && slice_eq(c[1], S("2026")));
    assert_null(c[2].p);
    assert_true(slice_eq(c[3], S("11")));
    assert_int_equal(regex_group_number(re, S("y")), 1);
    assert_int_equal(regex_group_number(re, S("z")), 0);
}

static void test_replace(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text, *with, *want;
    } cases[] = {
        {"a", "banana", "x", "bxnxnx"},
        {"(\\w)(\\d)", "a1 b2", "$2$1", "1a 2b"},
        {"(\\w)(\\d)", "a1", "${2}x$1", "1xa"},
        {"(\\w)(\\d)", "a1", "$2x", ""},
        {"(?P<h>[a-z]+)", "ab", "<${h}>$$1", "<ab>$1"},
        {"b*", "abc", "-", "-a-c-"}, /* as Go prints it */
        {"^http:", "http://a http:", "https:", "https://a http:"},
        {"x", "aaa", "y", "aaa"},
        {"$", "a", "!", "a!"},
        {"", "\xc3\xa9", "-", "-\xc3\xa9-"},
        {"a", "a", "${", "${"},
        {"a", "", "y", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dstr out;
        dstr_init(&out, 1000);
        assert_int_equal(regex_replace_all(compiled(cases[i].pattern), slice_str(cases[i].text),
                                           slice_str(cases[i].with), &out), REGEX_MATCH);
        if (!slice_eq(dstr_slice(&out), slice_str(cases[i].want))) {
            fail_msg("%s: got \"%.*s\"", cases[i].pattern, SLICE_ARG(dstr_slice(&out)));
        }
        dstr_fini(&out);
    }
}

/* A pattern that takes exponential time is cut off, and says so. */
static void test_limit(void **state)
{
    (void)state;
    char text[2001];
    memset(text, 'a', 2000);
    text[2000] = '\0';
    struct regex *re = compiled("^(a|a|aa)*(a|aa)*(a|aa)*$x|^(a+a+)+b");
    assert_int_equal(regex_search(re, slice_of(text, 2000), NULL, 0, NULL), REGEX_LIMIT);
    struct dstr out;
    dstr_init(&out, 10000);
    assert_int_equal(regex_replace_all(re, slice_of(text, 2000), S(""), &out), REGEX_LIMIT);
    dstr_fini(&out);
}

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_NO_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_search),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_captures), cmocka_unit_test(test_replace),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
