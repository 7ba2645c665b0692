/* Values of CAA records: whom they allow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "acme/caa.h"

static bool allows(const char *value, const char *account)
{
    const struct slice identities[] = {S("ca.example"), S("other.example")};
    return caa_allows(slice_str(value), identities, ARRAY_LEN(identities), slice_str(account));
}

static void domains(void **state UNUSED)
{
    assert_true(allows("ca.example", "") && allows(" CA.Example ", ""));
    assert_true(allows("other.example; validationmethods=http-01", ""));
    assert_false(allows("", "") || allows(";", "") || allows("a.example", ""));
    assert_false(allows("ca.example.org", "") || allows("example", ""));
}

static void accounts(void **state UNUSED)
{
    const char *value = "ca.example; accounturi=https://ca.example/1";
    assert_true(allows(value, "") && allows(value, "https://ca.example/1"));
    assert_false(allows(value, "https://ca.example/2"));
    assert_true(allows("ca.example;", "https://ca.example/2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(domains), cmocka_unit_test(accounts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
