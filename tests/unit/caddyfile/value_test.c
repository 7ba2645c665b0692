/* Durations, sizes and addresses: what is accepted, what it means, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/caddyfile/caddyfile.h"

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"0", 0}, {"+0", 0}, {"0s", 0}, {"1s", 1000}, {"+1s", 1000}, {"250ms", 250},
        {"1.5s", 1500}, {".5s", 500}, {"1.s", 1000}, {"1h30m", 5400000}, {"7d", 604800000},
        {"1d12h", 129600000}, {"1m1m", 120000}, {"1us", 1}, {"1ns", 1}, {"1000000ns", 1},
        {"1000001ns", 2}, {"1\xc2\xb5s", 1}, {"2000\xce\xbcs", 2}, {"0.0001s", 1},
        {"0.25d", 21600000}, {"36500d", INT64_C(3153600000000)},
        {"0.1234567891234s", 124},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t ms = -1;
        if (!cf_parse_duration(slice_str(good[i].text), &ms) || ms != good[i].ms) {
            fail_msg("%s: %lld", good[i].text, (long long)ms);
        }
    }
    static const char *const bad[] = {
        "",        "+",    "1",     "s",     "-1s",  "1x", "1S",     "1 s",
        " 1s",     "1s ",  ".s",    "1..5s", "1h30", "00", "36526d", "99999999999999999999h",
        "876601h", "1e3s", "1s-1s", "0x1s",  "++1s", "5w", "1,5s"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ms = -1;
        if (cf_parse_duration(slice_str(bad[i]), &ms) || ms != -1) {
            fail_msg("%s: %lld", bad[i], (long long)ms);
        }
    }
    int64_t ms;
    assert_false(cf_parse_duration(slice_of("1s\0", 3), &ms));
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0}, {"1", 1}, {"42B", 42}, {"10MB", 10000000}, {"10MiB", 10485760}, {"64KiB", 65536},
        {"64kib", 65536}, {"1k", 1000}, {"1Ki", 1024}, {"1.5GB", 1500000000}, {"10 MB", 10000000},
        {"1TiB", UINT64_C(1) << 40}, {"1EiB", UINT64_C(1) << 60}, {"1PB", 1000000000000000},
        {"18446744073709551615", UINT64_MAX}, {"0.5KiB", 512}, {"1.9b", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        uint64_t bytes = 7;
        if (!cf_parse_size(slice_str(good[i].text), &bytes) || bytes != good[i].bytes) {
            fail_msg("%s: %llu", good[i].text, (unsigned long long)bytes);
        }
    }
    static const char *const bad[] = {
        "",      "MB", "-1",    "1XB", "1MBB", "16EiB", "18446744073709551616",
        "1.2.3", ".",  "1,5MB", "1e3", "0x10", " 1",    "99999999999EB"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint64_t bytes = 7;
        if (cf_parse_size(slice_str(bad[i]), &bytes) || bytes != 7) {
            fail_msg("%s: %llu", bad[i], (unsigned long long)bytes);
        }
    }
}

static void addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *scheme, *host, *port, *path;
    } good[] = {
        {"example.com", "", "example.com", "", ""},
        {"Example.COM:80", "", "example.com", "80", ""},
        {"HTTPS://x:8443/p/*", "https", "x", "8443", "/p/*"},
        {"http://", "http", "", "", ""},
        {"https://:8443", "https", "", "8443", ""},
        {":8080", "", "", "8080", ""},
        {":0", "", "", "0", ""},
        {"*", "", "*", "", ""},
        {"*.example.com", "", "*.example.com", "", ""},
        {"a.*.com", "", "a.*.com", "", ""},
        {"127.0.0.1:65535", "", "127.0.0.1", "65535", ""},
        {"[::1]:80", "", "::1", "80", ""},
        {"[FE80::1]", "", "fe80::1", "", ""},
        {"::1", "", "::1", "", ""},
        {"http://[::ffff:1.2.3.4]/x", "http", "::ffff:1.2.3.4", "", "/x"},
        {"localhost:8001-8010", "", "localhost", "8001-8010", ""},
        {"a_b.example", "", "a_b.example", "", ""},
        {"example.com.", "", "example.com.", "", ""},
        {"unix//run/app.sock", "", "unix", "", "//run/app.sock"},
        {"unix+h2c://x", "unix+h2c", "x", "", ""},
        {"x/http://y", "", "x", "", "/http://y"},
        {"1a.example", "", "1a.example", "", ""},
        {"xn--mnchen-3ya.de", "", "xn--mnchen-3ya.de", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct arena a;
        struct cf_address out;
        struct slice why;
        arena_init(&a, ARENA_NO_MAX);
        if (!cf_parse_address(&a, slice_str(good[i].text), &out, &why)) {
            fail_msg("%s: %.*s", good[i].text, SLICE_ARG(why));
        }
        if (!slice_eq(out.scheme, slice_str(good[i].scheme)) ||
            !slice_eq(out.host, slice_str(good[i].host)) ||
            !slice_eq(out.port, slice_str(good[i].port)) ||
            !slice_eq(out.path, slice_str(good[i].path))) {
            fail_msg("%s: %.*s | %.*s | %.*s | %.*s", good[i].text, SLICE_ARG(out.scheme),
                     SLICE_ARG(out.host), SLICE_ARG(out.port), SLICE_ARG(out.path));
        }
        arena_fini(&a);
    }
}

static void bad_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "empty"},
        {"://x", "no scheme"},
        {"1http://x", "no scheme"},
        {"ht_tp://x", "scheme"},
        {"/path", "no host"},
        {"a:", "no port"},
        {"a:b", "port must"},
        {"a:65536", "port must"},
        {"a:000080", "port must"},
        {"a:-1", "port must"},
        {"a:+80", "port must"},
        {"a:80-", "end of the port range"},
        {"a:80-70", "below its beginning"},
        {"a:1-2-3", "end of the port range"},
        {"a..b", "empty label"},
        {".a", "empty label"},
        {".", "empty label"},
        {"a b", "space"},
        {"a\tb", "space"},
        {"a?x=1", "query"},
        {"a#x", "fragment"},
        {"user@a", "user name"},
        {"a,b", "no host name may have"},
        {"{host}", "no host name may have"},
        {"a<b", "no host name may have"},
        {"a*.com", "whole label"},
        {"-a.com", "begins or ends"},
        {"a-.com", "begins or ends"},
        {"m\xc3\xbcnchen.de", "xn--"},
        {"256.1.1.1", "IPv4"},
        {"127.1", "IPv4"},
        {"010.0.0.1", "IPv4"},
        {"1", "IPv4"},
        {"[::1", "without"},
        {"[::1]80", "behind \"]\""},
        {"[::1]:", "no port"},
        {"[::1]:x", "port must"},
        {"[1.2.3.4]", "IPv6"},
        {"[]", "IPv6"},
        {"a:1:2", "more than one"},
        {"[fe80::1%eth0]", "IPv6"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a;
        struct cf_address out;
        struct slice why;
        arena_init(&a, ARENA_NO_MAX);
        if (cf_parse_address(&a, slice_str(rows[i].text), &out, &why) ||
            slice_find_slice(why, slice_str(rows[i].why)) == SLICE_NPOS) {
            fail_msg("%s: %.*s", rows[i].text, SLICE_ARG(why));
        }
        arena_fini(&a);
    }
}

static void long_addresses(void **state)
{
    (void)state;
    char text[4096];
    struct arena a;
    struct cf_address out;
    struct slice why;
    arena_init(&a, ARENA_NO_MAX);
    memset(text, 'a', sizeof(text));
    assert_true(cf_parse_address(&a, slice_of(text, 63), &out, &why));
    assert_false(cf_parse_address(&a, slice_of(text, 64), &out, &why));
    for (size_t i = 50; i < sizeof(text); i += 51) {
        text[i] = '.';
    }
    assert_true(cf_parse_address(&a, slice_of(text, 253), &out, &why));
    assert_false(cf_parse_address(&a, slice_of(text, 254), &out, &why));
    assert_false(cf_parse_address(&a, slice_of(text, sizeof(text)), &out, &why));
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),     cmocka_unit_test(sizes),
        cmocka_unit_test(addresses),     cmocka_unit_test(bad_addresses),
        cmocka_unit_test(long_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
