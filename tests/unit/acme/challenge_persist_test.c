/* Which records at _validation-persist let an account have a certificate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "acme/challenge_persist.h"

#define ACCOUNT "https://ca.example/acct/1"

static bool fits(const char *text, bool wildcard)
{
    return challenge_persist_fits(slice_str(text), S("ca.example"), S(ACCOUNT), wildcard);
}

static void records(void **state UNUSED)
{
    assert_true(fits("ca.example; accounturi=" ACCOUNT, false));
    assert_true(fits("CA.example;accounturi=" ACCOUNT ";policy=wildcard", true));
    assert_true(fits("ca.example; policy=wildcard; persistUntil=4102444800; accounturi=" ACCOUNT,
                     true));
    assert_false(fits("ca.example; accounturi=" ACCOUNT, true));
    assert_false(fits("other.example; accounturi=" ACCOUNT, false));
    assert_false(fits("ca.example; accounturi=" ACCOUNT "2", false));
    assert_false(fits("ca.example", false) || fits("", false));
    assert_false(fits("ca.example; accounturi", false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(records)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
