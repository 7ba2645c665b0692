/* Expressions: what they give, and what is refused; escaped path patterns; queries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/loop/loop.h"
#include "proxy/net/addr.h"
#include "proxy/route/matcher.h"
#include "proxy/route/path.h"
#include "proxy/route/vars.h"

static struct loop *loop;
static struct addr peer;
static const struct http_service service = {0};
static const struct exchange_codec codec = {0};

static struct exchange *an_exchange(void)
{
    struct client_info client = {.peer = &peer, .local = &peer};
    struct exchange *ex = exchange_new(loop, loop_queue(loop), &codec, &service, &client);
    ex->req.method_text = S("GET");
    ex->req.host = ex->req.authority = S("www.example.com");
    ex->req.target = S("/a/b.txt?n=7&x=one&t=true");
    ex->req.path = slice_upto(ex->req.target, 8);
    ex->req.query = slice_from(ex->req.target, 9);
    ex->req.scheme = S("https");
    assert_true(fields_add(&ex->req.fields, &ex->arena, S("X-A"), S("1")));
    assert_true(vars_set(ex, S("http.vars.v"), S("5")));
    return ex;
}

/* -1: refused when compiled, with an error. */
static int outcome(const char *text)
{
    struct arena a;
    struct cf_diags diags;
    struct matcher *m;
    arena_init(&a, ARENA_NO_MAX);
    cf_diags_init(&diags);
    struct cf_token words[] = {
        {.text = S("expression")},
        {.text = slice_str(text), .quote = CF_BACKTICK},
    };
    int result = -1;
    if (matcher_from_words(&a, words, 2, NULL, &m, &diags)) {
        struct exchange *ex = an_exchange();
        assert_int_equal(diags.errors, 0);
        result = (int)matcher_matches(m, ex);
        exchange_release(ex);
    } else {
        assert_true(diags.errors > 0);
    }
    cf_diags_fini(&diags);
    arena_fini(&a);
    return result;
}

static void test_outcomes(void **state)
{
    (void)state;
    enum { NO = MATCH_NO, YES = MATCH_YES, FAILS = MATCH_FAILED, BAD = -1 };
    static const struct {
        const char *text;
        int want;
    } cases[] = {
        {"true", YES}, {"false", NO}, {"!false", YES}, {"!!true", YES}, {"true && !false", YES},
        {"1 + 2 * 3 == 7", YES}, {"(1 + 2) * 3 == 9", YES}, {"10 - 2 - 3 == 5", YES},
        {"7 / 2 == 3 && 7 % 2 == 1", YES}, {"-1 < 0 && 1.5 > 1", YES}, {"0x10 == 16", YES},
        {"1.5e1 == 15", YES}, {"5u == 5", YES}, {"1 == 1.0", YES}, {"'a' == \"a\"", YES},
        {"'a' < 'b' && 'b' >= 'b'", YES}, {"'a' + 'b' == 'ab'", YES}, {"'\\n'.size() == 1", YES},
        {"r'\\n'.size() == 2", YES}, {"'''it's'''.size() == 4", YES},
        {"'\\u00e9'.size() == 1", YES},
        {"'\\x41' == 'A'", YES}, {"2 in [1, 2]", YES}, {"'x' in []", NO}, {"'k' in {'k': 1}", YES},
        {"[1, 2] + [3] == [1, 2, 3]", YES}, {"[1, 2][1] == 2", YES}, {"{'a': 1}['a'] == 1", YES},
        {"[1][1] == 1", FAILS}, {"1 / 0 == 1", FAILS}, {"true || 1 / 0 == 1", YES},
        {"1 / 0 == 1 || true", YES}, {"1 / 0 == 1 && false", NO}, {"1 / 0 == 1 && true", FAILS},
        {"9223372036854775807 + 1 > 0", FAILS}, {"true ? false : true", NO},
        {"{method} == 'GET'", YES}, {"{path}.endsWith('.txt')", YES}, {"{query.n} == 7", YES},
        {"{query.n} > 6.5", YES}, {"{query.t}  == true", YES}, {"{vars.v} in [4, 5]", YES},
        {"{query.none} == null", YES}, {"{query.x} == null", NO}, {"{query.x} < 5", FAILS},
        {"'a,b'.split(',') == ['a', 'b']", YES}, {"['a', 'b'].join('-') == 'a-b'", YES},
        {"'abc'.replace('b', 'x') == 'axc'", YES}, {"'aaa'.replace('a', 'b', 2) == 'bba'", YES},
        {"'Ab'.lowerAscii() == 'ab' && 'Ab'.upperAscii() == 'AB'", YES},
        {"' x '.trim() == 'x'", YES}, {"'abc'.substring(1) == 'bc'", YES},
        {"'abc'.substring(1, 2) == 'b'", YES}, {"'abc'.substring(4) == ''", FAILS},
        {"'abcb'.indexOf('b') == 1 && 'abcb'.lastIndexOf('b') == 3", YES},
        {"'abc'.contains('bc') && 'abc'.matches('^a.c$')", YES}, {"size([1, 2]) == 2", YES},
        {"int('12') == 12 && string(12) == '12' && double('1.5') == 1.5", YES},
        {"bool('true')", YES}, {"int('x') == 1", FAILS}, {"[1, 2].all(i, i > 0)", YES},
        {"[1, 2].exists(i, i == 2) && [1, 2].exists_one(i, i > 1)", YES},
        {"['a'].exists(x, ['b'].exists(y, x + y == 'ab'))", YES},
        {"path('/a/*') && method('GET', 'PUT') && host('*.example.com')", YES},
        {"header({'X-A': ['0', '1']}) && !header({'X-A': '2'})", YES},
        {"query({'n': '7', 'x': '*'})", YES}, {"vars({'v': '5'})", YES},
        {"vars_regexp('n', '{query.n}', '^[0-9]$')", YES}, {"path_regexp('b.txt')", YES},
        {"remote_ip('192.0.2.0/24')", YES}, {"protocol('http')", YES}, {"path({path})", YES},
        {"true // a comment", YES}, {"in_there == 1", BAD},
        /* refused */
        {"", BAD}, {"1", BAD}, {"'x'", BAD}, {"{path}", BAD}, {"1 +", BAD}, {"(true", BAD},
        {"true)", BAD}, {"true true", BAD}, {"'x", BAD}, {"'\\q' == ''", BAD}, {"x == 1", BAD},
        {"nope()", BAD}, {"'x'.nope()", BAD}, {"'x'.startsWith()", BAD}, {"[1, 2", BAD},
        {"{'a' 1} == 1", BAD}, {"'x'.matches({path})", BAD}, {"'x'.matches('(')", BAD},
        {"path(1)", BAD}, {"path('x')", BAD}, {"header('X')", BAD}, {"not(true)", BAD},
        {"99999999999999999999 > 1", BAD}, {"true ? 1", BAD}, {"[1].exists(1, true)", BAD},
        {"path()", BAD}, {"true ? 'a' : 'b'", BAD},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int got = outcome(cases[i].text);
        if (got != cases[i].want) {
            fail_msg("%s: %d, want %d", cases[i].text, got, cases[i].want);
        }
    }
}

/* Deep, long and multiplying ones end. */
static void test_limits(void **state)
{
    (void)state;
    static char text[20000];
    memset(text, '(', 1000);
    assert_int_equal(outcome(text), -1);
    memset(text, '!', 1000);
    assert_int_equal(outcome(text), -1);
    memset(text, 'x', sizeof(text) - 1);
    assert_int_equal(outcome(text), -1);
    memset(text, 0, sizeof(text));
    for (size_t n = 0; n < 2000; n += 8) {
        memcpy(text + n, "true && ", 8);
    }
    memcpy(text + 2000, "true", 5);
    assert_int_equal(outcome(text), MATCH_YES);
    for (size_t n = 0; n < 10000; n += 8) {
        memcpy(text + n, "true && ", 8);
    }
    memcpy(text + 10000, "true", 5);
    assert_int_equal(outcome(text), -1);
    assert_int_equal(outcome("[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, "
                             "[0,1,2,3,4,5,6,7,8,9].all(c, [0,1,2,3,4,5,6,7,8,9].all(d, "
                             "[0,1,2,3,4,5,6,7,8,9].all(e, a + b + c + d + e >= 0)))))"),
                     MATCH_FAILED);
}

static void test_escaped_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        const char *raw;
        bool hit;
    } cases[] = {
        {"/a%2Fb", "/a%2fb", true}, {"/a%2fb", "/a/b", false}, {"/a%2fb", "/a%2fbc", false},
        {"/a%2f*", "/a%2fb/c", true}, {"/%*/x", "/a%2fb/x", true},
        {"/*/x%20y", "/a%2fb/x%20y", false}, {"/b%20*", "/b%20c", true}, {"/%61x", "/ax", false},
        {"/%*", "/anything/at/all", true}, {"/a%2f", "/a", false}, {"/a%2f", "/a%2", false},
        {"/x/%*%20y", "/x/a b%20y", true}, {"/%", "/%", true}, {"/x%*", "/x", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool hit = path_escaped_pattern_matches(slice_str(cases[i].pattern),
                                                slice_str(cases[i].raw));
        if (hit != cases[i].hit) {
            fail_msg("%s on %s: %d", cases[i].pattern, cases[i].raw, hit);
        }
    }
}

static void test_queries(void **state)
{
    (void)state;
    struct arena a;
    struct dstr d;
    struct slice key;
    struct slice value;
    struct slice rest = S("a=1&b&=x&c=%41+b&%zz=1&d=%4&e;f=1&&g==h");
    arena_init(&a, ARENA_NO_MAX);
    dstr_init(&d, 1000);
    while (query_next(&a, &rest, &key, &value)) {
        dstr_printf(&d, "%.*s=%.*s,", SLICE_ARG(key), SLICE_ARG(value));
    }
    assert_string_equal(d.p, "a=1,b=,=x,c=A b,g==h,");
    dstr_fini(&d);
    arena_fini(&a);
}

static void test_variables(void **state)
{
    (void)state;
    struct exchange *ex = an_exchange();
    struct slice v;
    assert_true(vars_set(ex, S("http.regexp.1"), S("a")));
    assert_true(vars_set(ex, S("http.regexp.1"), S("b")));
    assert_true(vars_get(ex, S("http.regexp.1"), &v) && slice_eq(v, S("b")));
    vars_remove_prefix(ex, S("http.regexp."));
    assert_false(vars_get(ex, S("http.regexp.1"), &v));
    assert_true(slice_eq(vars_value(ex, S("http.vars.v")), S("5")));
    unsigned n = 0;
    while (vars_set(ex, arena_printf(&ex->arena, "x%u", n), S("1"))) {
        n++;
        assert_true(n <= VARS_MAX);
    }
    exchange_release(ex);
}

static int set_up(void **state)
{
    (void)state;
    struct err err;
    loop = loop_new(&err);
    return loop && addr_parse_ip(S("192.0.2.7"), 4000, &peer) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    exchange_pool_drain();
    loop_free(loop);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes),         cmocka_unit_test(test_limits),
        cmocka_unit_test(test_escaped_patterns), cmocka_unit_test(test_queries),
        cmocka_unit_test(test_variables),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
