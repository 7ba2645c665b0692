/* Ranges of addresses, and the client behind trusted proxies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/route/ip_ranges.h"

static struct arena arena;
static struct cf_diags diags;

static bool add(struct ip_ranges *r, const char *text)
{
    struct cf_token t = {.text = slice_str(text)};
    return ip_ranges_add(&arena, r, &t, &diags);
}

static bool have(const struct ip_ranges *r, const char *ip)
{
    struct addr a;
    assert_true(addr_parse_ip(slice_str(ip), 1, &a));
    return ip_ranges_have(r, &a);
}

static void test_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *range, *ip;
        bool hit;
    } cases[] = {
        {"10.0.0.0/8", "10.255.1.2", true},      {"10.0.0.0/8", "11.0.0.0", false},
        {"192.0.2.7", "192.0.2.7", true},        {"192.0.2.7", "192.0.2.6", false},
        {"192.0.2.128/25", "192.0.2.127", false}, {"192.0.2.128/25", "192.0.2.129", true},
        {"0.0.0.0/0", "8.8.8.8", true},          {"0.0.0.0/0", "2001:db8::1", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true}, {"2001:db8::/33", "2001:db8:8000::", false},
        {"::/0", "8.8.8.8", false},              {"10.0.0.0/8", "::ffff:10.1.1.1", true},
        {"private_ranges", "172.31.0.1", true},  {"private_ranges", "172.32.0.1", false},
        {"private_ranges", "::1", true},         {"private_ranges", "fd12::1", true},
        {"private_ranges", "fe80::1", false},    {"private_ranges", "127.1.2.3", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ip_ranges r = {0};
        assert_true(add(&r, cases[i].range));
        if (have(&r, cases[i].ip) != cases[i].hit) {
            fail_msg("%s in %s", cases[i].ip, cases[i].range);
        }
    }
    static const char *const bad[] = {"10.0.0.0/33", "10.0.0/8", "::1/129", "x", "10.0.0.1/", "/8",
                                      "1.2.3.4/-1", "1.2.3.4:80"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct ip_ranges r = {0};
        assert_false(add(&r, bad[i]));
    }
    struct ip_ranges r = {0};
    struct addr u;
    assert_true(add(&r, "::/0") && addr_unix(S("/x"), &u));
    assert_false(ip_ranges_have(&r, &u));
    assert_false(add(&r, "privat_ranges"));
}

static void test_client(void **state)
{
    (void)state;
    static const struct {
        const char *one, *two; /* two X-Forwarded-For lines */
        const char *loose, *strict;
    } cases[] = {
        {"203.0.113.1", NULL, "203.0.113.1", "203.0.113.1"},
        {"203.0.113.9, 198.51.100.2, 10.0.0.2", NULL, "203.0.113.9", "198.51.100.2"},
        {"203.0.113.9", "198.51.100.2,10.0.0.2", "203.0.113.9", "198.51.100.2"},
        {"unknown, 203.0.113.1:4711", NULL, "203.0.113.1", "203.0.113.1"},
        {"[2001:db8::7]:443", NULL, "2001:db8::7", "2001:db8::7"},
        {"2001:db8::7%eth0", NULL, "2001:db8::7", "2001:db8::7"},
        {"10.0.0.3", "10.0.0.2", "10.0.0.3", NULL},
        {"", ",, ,", NULL, NULL},
        {"rubbish", NULL, NULL, NULL},
    };
    struct slice names[] = {S("X-Forwarded-For")};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fields f = {0};
        assert_true(fields_add(&f, &arena, S("x-forwarded-for"), slice_str(cases[i].one)));
        assert_true(fields_add(&f, &arena, S("Other"), S("192.0.2.200")));
        if (cases[i].two) {
            assert_true(fields_add(&f, &arena, S("X-FORWARDED-FOR"), slice_str(cases[i].two)));
        }
        for (int strict = 0; strict < 2; strict++) {
            struct client_ip_policy p = {.strict = strict, .field_names = names, .field_count = 1};
            assert_true(add(&p.trusted, "10.0.0.0/8"));
            const char *want = strict ? cases[i].strict : cases[i].loose;
            struct addr got;
            char buf[ADDR_TEXT_BYTES];
            bool found = client_ip_find(&p, &f, &got);
            if (found != (want != NULL) ||
                (found && !slice_eq(addr_host_text(&got, buf), slice_str(want)))) {
                fail_msg("case %zu strict %d", i, strict);
            }
        }
    }
}

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_NO_MAX);
    cf_diags_init(&diags);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cf_diags_fini(&diags);
    arena_fini(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_client),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
