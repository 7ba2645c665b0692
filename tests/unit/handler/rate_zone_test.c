/* Counting in windows: never more than the events in any window, whatever the order of times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "proxy/base/rand.h"
#include "proxy/handler/rate_zone.h"

static void test_window(void **state)
{
    (void)state;
    struct rate_zone *z = rate_zone_get(S("a"), 3, 1600);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rate_zone_take(z, S("k"), 5000 + i), 0);
    }
    int64_t wait = rate_zone_take(z, S("k"), 5010);
    assert_true(wait > 1500 && wait <= 1700);
    assert_int_equal(rate_zone_take(z, S("other"), 5010), 0);
    assert_true(rate_zone_take(z, S("k"), 5010 + wait - 1) > 0);
    assert_int_equal(rate_zone_take(z, S("k"), 5010 + wait), 0);
    assert_int_equal(rate_zone_take(z, S("k"), 1000000), 0);
    assert_int_equal(rate_zone_take(z, S("k"), 999000), 0); /* a clock that was read late */
    rate_zone_unref(z);
}

static void test_never_more(void **state)
{
    (void)state;
    enum { EVENTS = 7, WINDOW = 333, TAKEN_MAX = 20000 };
    static int64_t taken[TAKEN_MAX];
    struct rate_zone *z = rate_zone_get(S("b"), EVENTS, WINDOW);
    size_t count = 0;
    int64_t now = 100;
    for (int i = 0; i < TAKEN_MAX; i++) {
        now += (int64_t)rand_below(30);
        if (rate_zone_take(z, S("k"), now) == 0) {
            taken[count++] = now;
        }
        assert_true(count <= EVENTS || taken[count - 1] - taken[count - 1 - EVENTS] >= WINDOW);
    }
    assert_true(count > TAKEN_MAX * 15 / WINDOW * EVENTS * 8 / 10); /* and not far fewer */
    rate_zone_unref(z);
}

static void test_shared_by_name_and_limits(void **state)
{
    (void)state;
    struct rate_zone *a = rate_zone_get(S("same"), 1, 1000);
    struct rate_zone *b = rate_zone_get(S("same"), 1, 1000);
    struct rate_zone *c = rate_zone_get(S("same"), 2, 1000);
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    assert_int_equal(rate_zone_take(a, S("k"), 1), 0);
    rate_zone_unref(a);
    assert_true(rate_zone_take(b, S("k"), 2) > 0);
    rate_zone_unref(b);
    rate_zone_unref(c);
    struct rate_zone *none = rate_zone_get(S("same"), 0, 1000);
    assert_true(rate_zone_take(none, S("k"), 2) > 0);
    rate_zone_unref(none);
}

/* More keys than places: memory stays, and a key that is used keeps its count. */
static void test_many_keys(void **state)
{
    (void)state;
    struct rate_zone *z = rate_zone_get(S("many"), 1, 60000);
    char name[32];
    size_t allowed = 0;
    for (unsigned i = 0; i < 4 * RATE_ZONE_KEYS_MAX; i++) {
        int n = snprintf(name, sizeof(name), "key %u", i);
        allowed += rate_zone_take(z, slice_of(name, (size_t)n), 1 + i / 10) == 0;
    }
    assert_int_equal(allowed, 4 * RATE_ZONE_KEYS_MAX);
    assert_true(rate_zone_take(z, slice_str(name), 30000) > 0);
    rate_zone_unref(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_never_more),
        cmocka_unit_test(test_shared_by_name_and_limits),
        cmocka_unit_test(test_many_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
