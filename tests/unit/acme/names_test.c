/* Which names can be certified, and by whom. */
#include "acme/acme.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void local_names(void **state)
{
    (void)state;
    const char *local[] = {
        "localhost", "LOCALHOST", "a.localhost", "printer.local", "db.internal", "nas.home.arpa",
        "home.arpa", "127.0.0.1", "10.1.2.3", "192.168.0.1", "::1", "fe80::1", "fd00::1",
        "203.0.113.5", "2001:db8::1", "::ffff:10.0.0.1", "172.31.0.1", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "myhost", "*.localhost", "*.com",
    };
    const char *public[] = {
        "example.com", "EXAMPLE.com", "www.example.com", "*.example.com", "localhost.example.com",
        "internal.example", "mylocal.org", "a.notlocal", "1.2.3.4.example.com",
        "8.8.8.8", "172.32.0.1", "2a00:1450::1", "::ffff:8.8.8.8", "xn--nxasmq6b.gr",
    };
    for (size_t i = 0; i < ARRAY_LEN(local); i++) {
        if (!acme_name_is_local(slice_str(local[i]))) {
            fail_msg("%s should be local", local[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(public); i++) {
        if (acme_name_is_local(slice_str(public[i]))) {
            fail_msg("%s should be public", public[i]);
        }
    }
}

static void names_that_qualify(void **state)
{
    (void)state;
    const char *good[] = {"example.com", "localhost", "*.example.com",
                          "127.0.0.1",   "::1",       "a_b.example.com"};
    const char *bad[] = {"", ".example.com", "example.com.", "a*.example.com", "www.*.com",
                         "exa mple.com", "a/b", "a;b", "{host}", "a\"b", "(x)", "*x.com", "a+b",
                         "a=b", "a|b", "a,b", "m\xc3\xbcller.de", "a\tb", "a@b", "a\\b"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!acme_name_qualifies(slice_str(good[i]))) {
            fail_msg("%s should qualify", good[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (acme_name_qualifies(slice_str(bad[i]))) {
            fail_msg("%s should not qualify", bad[i]);
        }
    }
    assert_false(acme_name_qualifies(slice_of("a\0b", 3)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(local_names),
        cmocka_unit_test(names_that_qualify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
