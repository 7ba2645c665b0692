/* Facts about methods and status codes, and the splitting of authorities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxy/http/message.h"

static void assert_slice(struct slice s, const char *text)
{
    assert_int_equal(s.n, strlen(text));
    assert_memory_equal(s.p, text, s.n);
}

static void test_methods(void **state)
{
    (void)state;
    assert_int_equal(http_method_of(S("GET")), METHOD_GET);
    assert_int_equal(http_method_of(S("TRACE")), METHOD_TRACE);
    assert_int_equal(http_method_of(S("get")), METHOD_OTHER);
    assert_int_equal(http_method_of(S("")), METHOD_OTHER);
    assert_int_equal(http_method_of(S("PROPFIND")), METHOD_OTHER);
    assert_true(http_method_idempotent(METHOD_PUT));
    assert_false(http_method_idempotent(METHOD_POST));
    assert_false(http_method_idempotent(METHOD_PATCH));
    assert_false(http_method_idempotent(METHOD_OTHER));
}

static void test_status(void **state)
{
    (void)state;
    assert_slice(http_reason(404), "Not Found");
    assert_slice(http_reason(799), "");
    assert_true(http_status_has_body(METHOD_GET, 200));
    assert_true(http_status_has_body(METHOD_GET, 205));
    assert_false(http_status_has_body(METHOD_HEAD, 200));
    assert_false(http_status_has_body(METHOD_GET, 103));
    assert_false(http_status_has_body(METHOD_GET, 204));
    assert_false(http_status_has_body(METHOD_GET, 304));
    assert_false(http_status_has_body(METHOD_CONNECT, 200));
    assert_true(http_status_has_body(METHOD_CONNECT, 405));
    assert_slice(http_version_text(HTTP_1_0), "HTTP/1.0");
    assert_slice(http_version_text(HTTP_1_1), "HTTP/1.1");
}

static void good(const char *text, const char *host, const char *port)
{
    struct arena a;
    struct slice h;
    struct slice p;
    arena_init(&a, 4096);
    assert_true(http_split_authority(&a, slice_str(text), &h, &p));
    assert_slice(h, host);
    assert_slice(p, port);
    arena_fini(&a);
}

static void test_authority_good(void **state)
{
    (void)state;
    good("example.com", "example.com", "");
    good("Example.COM:8080", "example.com", "8080");
    good("example.com:", "example.com", "");
    good("a_b.example.", "a_b.example", "");
    good("Example.com.:80", "example.com", "80");
    good(".", ".", "");
    good("[0:0::0:1]", "::1", "");
    good("127.0.0.1:1", "127.0.0.1", "1");
    good("[::1]", "::1", "");
    good("[2001:DB8::1]:65535", "2001:db8::1", "65535");
    good("xn--bcher-kva.example", "xn--bcher-kva.example", "");
    good("%41.example", "%41.example", "");
}

static void test_authority_bad(void **state)
{
    (void)state;
    const char *bad[] = {
        "",          ":80",       "a:b",       "a:65536",    "a:-1",     "a:000080", "a:80:80",
        "u@a",       "u:p@a",     "a b",       "a/b",        "a?b",      "a#b",      "a\\b",
        "[::1",      "::1",       "[::1]x",    "[]",         "[::g]",    "[::1%25a]", "[1.2.3.4]",
        "[v1.a]",    "a%",        "a%4",       "a%zz",       "caf\xc3\xa9", "a\tb",  "<a>",
        "a,b\"",     "[::1]:x",   "]",         "a\x7f",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct arena a;
        struct slice h;
        struct slice p;
        arena_init(&a, 4096);
        if (http_split_authority(&a, slice_str(bad[i]), &h, &p)) {
            fail_msg("accepted: %s", bad[i]);
        }
        arena_fini(&a);
    }
    char name[256];
    memset(name, 'a', sizeof(name));
    struct arena a;
    struct slice h;
    struct slice p;
    arena_init(&a, 4096);
    assert_true(http_split_authority(&a, slice_of(name, 255), &h, &p));
    assert_false(http_split_authority(&a, slice_of(name, 256), &h, &p));
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_authority_good),
        cmocka_unit_test(test_authority_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
