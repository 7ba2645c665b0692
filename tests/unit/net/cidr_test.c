/* Ranges of addresses: what is one, and what is in it. */
#include "proxy/net/cidr.h"
#include "tests/unit/net/helper.h"

static bool has(const char *range, const char *ip)
{
    struct cidr c;
    struct addr a;
    assert_true(cidr_parse(slice_str(range), &c));
    assert_true(addr_parse_ip(slice_str(ip), 80, &a));
    return cidr_has(&c, &a);
}

static void ranges(void **state UNUSED)
{
    assert_true(has("10.0.0.0/8", "10.255.0.1"));
    assert_false(has("10.0.0.0/8", "11.0.0.1"));
    assert_true(has("10.1.2.3/8", "10.9.9.9")); /* bits behind the prefix do not matter */
    assert_true(has("172.16.0.0/12", "172.31.255.255"));
    assert_false(has("172.16.0.0/12", "172.32.0.0"));
    assert_true(has("192.0.2.1", "192.0.2.1"));
    assert_false(has("192.0.2.1", "192.0.2.0"));
    assert_true(has("0.0.0.0/0", "203.0.113.9"));
    assert_false(has("0.0.0.0/0", "2001:db8::1"));
    assert_true(has("::/0", "2001:db8::1"));
    assert_false(has("::/0", "203.0.113.9"));
    assert_true(has("2001:db8::/33", "2001:db8:7fff::"));
    assert_false(has("2001:db8::/33", "2001:db8:8000::"));
    assert_true(has("::1", "::1"));
}

static void mapped(void **state UNUSED)
{
    assert_true(has("10.0.0.0/8", "::ffff:10.1.1.1"));
    assert_true(has("::ffff:10.0.0.0/104", "10.1.1.1"));
    assert_false(has("::ffff:10.0.0.0/104", "11.1.1.1"));
    assert_false(has("::/0", "::ffff:10.1.1.1"));
}

static void no_ranges(void **state UNUSED)
{
    static const char *const bad[] = {"",           "/8",         "10.0.0.0/", "10.0.0.0/33",
                                      "10.0.0/8",   "::/129",     "::/-1",     "10.0.0.0/8/8",
                                      "10.0.0.0/ 8", "10.0.0.0/+8", "a",        "10.0.0.0/0008",
                                      "::ffff:1.2.3.4/95"};
    struct cidr c;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (cidr_parse(slice_str(bad[i]), &c)) {
            fail_msg("taken: %s", bad[i]);
        }
    }
}

static void lists(void **state UNUSED)
{
    struct cidr list[CIDR_PRIVATE_COUNT];
    struct addr a;
    for (size_t i = 0; i < CIDR_PRIVATE_COUNT; i++) {
        assert_true(cidr_parse(cidr_private[i], &list[i]));
    }
    assert_true(addr_parse_ip(S("127.4.5.6"), 0, &a));
    assert_true(cidr_list_has(list, CIDR_PRIVATE_COUNT, &a));
    assert_true(addr_parse_ip(S("fd12::1"), 0, &a));
    assert_true(cidr_list_has(list, CIDR_PRIVATE_COUNT, &a));
    assert_true(addr_parse_ip(S("8.8.8.8"), 0, &a));
    assert_false(cidr_list_has(list, CIDR_PRIVATE_COUNT, &a));
    assert_true(addr_unix(S("/run/x"), &a));
    assert_false(cidr_list_has(list, CIDR_PRIVATE_COUNT, &a));
    a.len = 0;
    assert_false(cidr_list_has(list, CIDR_PRIVATE_COUNT, &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(mapped),
        cmocka_unit_test(no_ranges),
        cmocka_unit_test(lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
