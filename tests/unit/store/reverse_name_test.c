/* The in-addr.arpa and ip6.arpa names of addresses, both ways. */
#include "tests/unit/store/helper.h"

#include "store/reverse_name.h"

static void both_ways(const char *address, const char *reverse)
{
    char out[REVERSE_NAME_BYTES];
    assert_true(reverse_name_of(slice_str(address), out));
    assert_string_equal(out, reverse);
    assert_true(reverse_name_address(slice_str(reverse), out));
    assert_string_equal(out, address);
}

static void addresses(void **state UNUSED)
{
    both_ways("192.0.2.1", "1.2.0.192.in-addr.arpa");
    both_ways("255.255.255.255", "255.255.255.255.in-addr.arpa");
    both_ways("2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2."
                             "ip6.arpa");
    both_ways("fe80::abcd", "d.c.b.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f."
                            "ip6.arpa");
}

static void what_is_none(void **state UNUSED)
{
    static const char *const names[] = {
        "", "in-addr.arpa", ".in-addr.arpa", "1.2.3.in-addr.arpa", "1.2.3.4.5.in-addr.arpa",
        "1.2.3.256.in-addr.arpa", "1.2.3.04.in-addr.arpa", "1.2.3.x.in-addr.arpa", "example.com",
        "1.0.ip6.arpa", "1..2.3.in-addr.arpa", "A.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
        "8.b.d.0.1.0.0.2.ip6.arpa",
    };
    char out[REVERSE_NAME_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (reverse_name_address(slice_str(names[i]), out)) {
            fail_msg("%s gave %s", names[i], out);
        }
    }
    assert_false(reverse_name_of(S("example.com"), out));
    assert_false(reverse_name_of(S(""), out));
    assert_false(reverse_name_of(S("1.2.3"), out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(addresses), cmocka_unit_test(what_is_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
