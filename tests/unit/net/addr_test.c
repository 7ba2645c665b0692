/* Addresses as text and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/net/addr.h"

static void check_text(struct slice ip, uint16_t port, const char *host, const char *full)
{
    struct addr a;
    char buf[ADDR_TEXT_BYTES];
    assert_true(addr_parse_ip(ip, port, &a));
    assert_int_equal(addr_port(&a), port);
    assert_true(slice_eq(addr_host_text(&a, buf), slice_str(host)));
    assert_true(slice_eq(addr_text(&a, buf), slice_str(full)));
}

static void literals(void **state UNUSED)
{
    check_text(S("0.10.99.100"), 1, "0.10.99.100", "0.10.99.100:1");
    check_text(S("255.200.109.9"), 1, "255.200.109.9", "255.200.109.9:1");
    check_text(S("1.2.3.4"), 80, "1.2.3.4", "1.2.3.4:80");
    check_text(S("::1"), 443, "::1", "[::1]:443");
    check_text(S("2001:DB8::A"), 1, "2001:db8::a", "[2001:db8::a]:1");
    check_text(S("::ffff:10.0.0.1"), 65535, "10.0.0.1", "10.0.0.1:65535");
}

static void refused(void **state UNUSED)
{
    static const struct slice bad[] = {
        S_INIT(""),         S_INIT("1.2.3"),    S_INIT("1.2.3.4.5"), S_INIT("01.2.3.4"),
        S_INIT("1.2.3.4 "), S_INIT("[::1]"),    S_INIT("fe80::1%1"), S_INIT("::1\0"),
        S_INIT("localhost"), S_INIT("1.2.3.256"), S_INIT("0x7f.0.0.1"),
        S_INIT("1111:2222:3333:4444:5555:6666:255.255.255.2555"),
    };
    struct addr a;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(addr_parse_ip(bad[i], 1, &a));
    }
}

static void unix_paths(void **state UNUSED)
{
    struct addr a;
    struct addr b;
    char buf[ADDR_TEXT_BYTES];
    char long_path[108];
    memset(long_path, 'p', sizeof(long_path));
    assert_true(addr_unix(S("/run/x.sock"), &a));
    assert_true(addr_is_unix(&a));
    assert_int_equal(addr_port(&a), 0);
    assert_true(slice_eq(addr_text(&a, buf), S("/run/x.sock")));
    assert_true(addr_unix(S("/run/x.sock"), &b) && addr_eq(&a, &b));
    assert_true(addr_unix(S("/run/y.sock"), &b) && !addr_eq(&a, &b));
    assert_true(addr_unix(slice_of(long_path, 107), &a));
    assert_int_equal(addr_text(&a, buf).n, 107);
    assert_false(addr_unix(slice_of(long_path, 108), &a));
    assert_false(addr_unix(S(""), &a));
    assert_false(addr_unix(S("/a\0b"), &a));
    a.len = sizeof(sa_family_t); /* the unnamed end of a connection */
    assert_true(slice_eq(addr_text(&a, buf), S("@")));
}

static void equality(void **state UNUSED)
{
    struct addr a;
    struct addr b;
    struct addr none = {.len = 0};
    assert_true(addr_parse_ip(S("1.2.3.4"), 80, &a) && addr_parse_ip(S("1.2.3.4"), 80, &b));
    assert_true(addr_eq(&a, &b));
    addr_set_port(&b, 81);
    assert_false(addr_eq(&a, &b));
    assert_true(addr_parse_ip(S("::1"), 80, &b));
    assert_false(addr_eq(&a, &b));
    assert_false(addr_eq(&a, &none));
    assert_true(addr_eq(&none, &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals),
        cmocka_unit_test(refused),
        cmocka_unit_test(unix_paths),
        cmocka_unit_test(equality),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
