/* Addresses in texts from outside, and the table of what they stand for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/net/addr.h"
#include "proxy/upstream/named.h"

static void addresses(void **state)
{
    static const struct {
        const char *text;
        const char *host;
        uint16_t port;
    } good[] = {
        {"app", "app", 80},
        {"app:8000", "app", 8000},
        {"my_app-1.example.com:1", "my_app-1.example.com", 1},
        {"192.0.2.1:65535", "192.0.2.1", 65535},
        {"[::1]", "::1", 80},
        {"[2001:db8::1]:443", "2001:db8::1", 443},
    };
    static const char *const bad[] = {
        "",      ":8000",    "a:",         "a:0",    "a:65536",    "a:b",    "a:1:2",
        "::1",   "::1:80",   "[::1",       "[]:80",  "[a]:80",     "[1.2.3.4]", "[::1]a",
        "a b",   "http://a", "a/b",        "a@b",    "a?b",        "a#b",    "a%20b",
        ".a",    "-a",       "a..b",       "a.-b",   "{host}",     "a:+1",   "a: 1",
        "a\nb",  "[::1%lo]:1", "evil:22:80", "unix//run/x",
    };
    struct named_address a;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(named_address_parse(slice_str(good[i].text), 80, &a));
        assert_true(slice_eq(a.host, slice_str(good[i].host)));
        assert_int_equal(a.port, good[i].port);
        assert_int_equal(a.unix_path.n, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (named_address_parse(slice_str(bad[i]), 80, &a)) {
            fail_msg("taken: %s", bad[i]);
        }
    }
    assert_false(named_address_parse(S("app"), 0, &a)); /* no port anywhere */
}

static void paths(void **state)
{
    static const char *const bad[] = {"", "run/x", "/run/../x", "/..", "/run/./x", "/a/.."};
    struct named_address a;
    char longer[200];
    (void)state;
    assert_true(named_unix_parse(S("/run/app.1/x..sock"), &a));
    assert_true(slice_eq(a.unix_path, S("/run/app.1/x..sock")));
    assert_int_equal(a.host.n, 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(named_unix_parse(slice_str(bad[i]), &a));
    }
    memset(longer, 'a', sizeof(longer));
    longer[0] = '/';
    assert_false(named_unix_parse(slice_of(longer, sizeof(longer)), &a));
}

static void *ref(void *thing)
{
    return origin_ref(thing);
}

static void unref(void *thing)
{
    origin_unref(thing);
}

static struct origin *make(struct slice host)
{
    const struct origin like = {.key = S("https://x insecure"), .text = S("x")};
    const struct named_address at = {.host = host, .port = 443, .unix_path = S("")};
    return named_origin_new(&like, &at, S("sni.test"));
}

static void origins(void **state)
{
    (void)state;
    struct origin *o = make(S("::1"));
    assert_true(slice_eq(o->text, S("[::1]:443")));
    assert_true(slice_eq(o->server_name, S("sni.test")));
    assert_true(slice_ends(o->key, S("https://x insecure")));
    assert_true(slice_starts(o->key, S("[::1]:443 sni.test ")));
    origin_unref(o);
}

static void remembers(void **state)
{
    (void)state;
    struct named *n = named_new(2, ref, unref);
    assert_null(named_get(n, S("a")));
    struct origin *a = named_put(n, S("a"), make(S("a")));
    struct origin *again = named_put(n, S("a"), make(S("a"))); /* another thread was faster */
    assert_ptr_equal(a, again);
    origin_unref(again);
    origin_unref(named_put(n, S("b"), make(S("b"))));
    origin_unref(named_get(n, S("a")));
    origin_unref(named_put(n, S("c"), make(S("c")))); /* b was used longest ago */
    assert_null(named_get(n, S("b")));
    again = named_get(n, S("a"));
    assert_ptr_equal(a, again);
    origin_unref(again);
    for (int i = 0; i < 100; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "x%d", i);
        origin_unref(named_put(n, slice_str(text), make(S("x"))));
    }
    assert_null(named_get(n, S("a")));
    assert_true(slice_eq(a->host, S("a"))); /* it lives as long as somebody has it */
    named_free(n);
    origin_unref(a);
    named_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(paths),
        cmocka_unit_test(origins),
        cmocka_unit_test(remembers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
