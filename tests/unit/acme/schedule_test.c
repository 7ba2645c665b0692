/* The table of waits, renewal times, records that survive, clocks that jump, Retry-After. */
#include "acme/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define MIN SCHEDULE_MINUTE_MS
#define DAY SCHEDULE_DAY_MS
#define NOW ((int64_t)1795000000000)

static void order_backoff_table(void **state)
{
    (void)state;
    const int64_t want[] = {MIN, MIN, 10 * MIN, 100 * MIN, DAY, DAY, DAY};
    for (int64_t n = 0; n < 7; n++) {
        assert_int_equal(schedule_order_backoff_ms(n, 0, 0), want[n]);
        for (uint64_t r = 1; r < 100000000; r = r * 7 + 1) {
            int64_t wait = schedule_order_backoff_ms(n, 0, r);
            assert_true(wait >= want[n] && wait <= want[n] + want[n] / 10);
        }
    }
    /* A 40-second certificate cannot wait a minute; a six-day one changes nothing. */
    assert_int_equal(schedule_order_backoff_ms(1, 40000, 0), 5000);
    assert_int_equal(schedule_order_backoff_ms(9, 40000, 0), 5000);
    assert_int_equal(schedule_order_backoff_ms(1, 4000, 0), 2000);
    assert_int_equal(schedule_order_backoff_ms(4, 6 * DAY, 0), DAY);
}

static void ca_backoff_table(void **state)
{
    (void)state;
    const int64_t want[] = {2000, 2000, 4000, 8000, 16000, 32000, 64000, 128000, 256000, 512000,
                            10 * MIN, 10 * MIN};
    for (int64_t n = 0; n < 12; n++) {
        assert_int_equal(schedule_ca_backoff_ms(n, 0), want[n]);
    }
    assert_int_equal(schedule_ca_backoff_ms(INT64_MAX, 0), 10 * MIN);
}

static void renewal_times(void **state)
{
    (void)state;
    assert_int_equal(schedule_renew_at_ms(NOW, NOW + 90 * DAY, 0, 0), NOW + 60 * DAY);
    assert_int_equal(schedule_renew_at_ms(NOW, NOW + 6 * DAY, 0, 0), NOW + 3 * DAY);
    assert_int_equal(schedule_renew_at_ms(NOW, NOW + 10 * DAY, 0, 0),
                     NOW + 10 * DAY - 10 * DAY / 3);
    assert_int_equal(schedule_renew_at_ms(NOW, NOW + 40000, 0, 0), NOW + 20000);
    int64_t jittered = schedule_renew_at_ms(NOW, NOW + 90 * DAY, 0, 0xfedcba9876543210u);
    assert_true(jittered <= NOW + 60 * DAY && jittered >= NOW + 60 * DAY - 90 * DAY / 50);
    assert_int_equal(jittered, schedule_renew_at_ms(NOW, NOW + 90 * DAY, 0, 0xfedcba9876543210u));
}

static void an_attempt_counts_before_it_is_made(void **state)
{
    (void)state;
    struct schedule s = {.failures = 0};
    schedule_begin(&s, NOW, 0, 0);
    assert_int_equal(s.failures, 1);
    assert_true(s.in_progress);
    /* Cut off with an order: resumed at once; the count stays. */
    assert_int_equal(schedule_wait_ms(&s, NOW, true), 0);
    schedule_fail(&s, NOW, 0, -1, S("why"), 0);
    assert_int_equal(s.failures, 1);
    assert_int_equal(schedule_wait_ms(&s, NOW, true), MIN);
    assert_int_equal(schedule_wait_ms(&s, NOW + MIN, true), 0);
    assert_string_equal(s.last_error, "why");
}

static void interruptions_are_forgiven_three_times(void **state)
{
    (void)state;
    struct schedule s = {.failures = 0};
    int begun = 0;
    for (int restart = 0; restart < 12; restart++) {
        if (schedule_wait_ms(&s, NOW, false) > 0 ||
            (s.in_progress && !schedule_forgive_interruption(&s) &&
             schedule_wait_ms(&s, NOW, false) > 0)) {
            continue;
        }
        schedule_begin(&s, NOW, 0, 0);
        begun++;
    }
    assert_int_equal(begun, 1 + SCHEDULE_INTERRUPTED_MAX);
    assert_true(begun <= 5);
}

static void retry_after_is_never_undercut(void **state)
{
    (void)state;
    struct schedule s = {.failures = 0};
    schedule_begin(&s, NOW, 0, 0);
    schedule_fail(&s, NOW, 0, 34 * 60 * MIN, S(""), 0);
    assert_int_equal(schedule_wait_ms(&s, NOW, false), 34 * 60 * MIN);
    assert_false(schedule_heal(&s, NOW));
    /* A shorter one does not shorten our own wait. */
    schedule_begin(&s, NOW, 0, 0);
    schedule_fail(&s, NOW, 0, 1000, S(""), 0);
    assert_int_equal(schedule_wait_ms(&s, NOW, false), 10 * MIN);
}

static void a_clock_that_jumped(void **state)
{
    (void)state;
    struct schedule s = {.failures = 0};
    /* Written in the year 2126; now it is today. */
    int64_t far = NOW + 36500 * DAY;
    schedule_begin(&s, far, 0, 0);
    schedule_fail(&s, far, 0, -1, S(""), 0);
    assert_true(schedule_heal(&s, NOW));
    assert_true(schedule_wait_ms(&s, NOW, false) <= 2 * MIN);
    assert_int_equal(s.last_attempt_ms, NOW);
    assert_false(schedule_heal(&s, NOW));
}

static void records_survive(void **state)
{
    (void)state;
    struct schedule s = {.failures = 3,
                         .interrupted = 1,
                         .last_attempt_ms = NOW,
                         .next_attempt_ms = NOW + 5,
                         .in_progress = true,
                         .told_by_ca = true,
                         .last_error = "a \"quoted\" reason\n"};
    struct schedule back;
    struct dstr out;
    dstr_init(&out, 65536);
    schedule_write(&s, &out);
    assert_true(schedule_read(dstr_slice(&out), &back));
    assert_memory_equal(&s.failures, &back.failures, offsetof(struct schedule, in_progress));
    assert_true(back.in_progress && back.told_by_ca);
    assert_string_equal(back.last_error, s.last_error);
    dstr_fini(&out);
    const struct slice damaged[] = {
        S_INIT(""), S_INIT("\0\0\0"), S_INIT("{\"failures\":1"), S_INIT("[]"),
        S_INIT("{\"failures\":-1,\"next_attempt_ms\":1}"),
        S_INIT("{\"failures\":1,\"next_attempt_ms\":1e300}"),
        S_INIT("{\"failures\":\"1\",\"next_attempt_ms\":1}"),
    };
    for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
        assert_false(schedule_read(damaged[i], &back));
        assert_int_equal(back.failures, 0);
    }
}

static void retry_after_forms(void **state)
{
    (void)state;
    assert_int_equal(schedule_parse_retry_after(S("120"), NOW), 120000);
    assert_int_equal(schedule_parse_retry_after(S("0"), NOW), 0);
    assert_int_equal(schedule_parse_retry_after(S(" 7 "), NOW), 7000);
    assert_int_equal(schedule_parse_retry_after(S("99999999999999999999999999"), NOW),
                     RETRY_AFTER_MAX_MS);
    assert_int_equal(schedule_parse_retry_after(S("-5"), NOW), -1);
    assert_int_equal(schedule_parse_retry_after(S(""), NOW), -1);
    assert_int_equal(schedule_parse_retry_after(S("soon"), NOW), -1);
    assert_int_equal(schedule_parse_retry_after(S("1.5"), NOW), -1);
    /* 1994-11-06T08:49:37Z is 784111777. */
    assert_int_equal(schedule_parse_retry_after(S("Sun, 06 Nov 1994 08:49:37 GMT"),
                                                (int64_t)784111770 * 1000),
                     7000);
    assert_int_equal(schedule_parse_retry_after(S("Sun, 06 Nov 1994 08:49:37 GMT"), NOW), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_backoff_table),
        cmocka_unit_test(ca_backoff_table),
        cmocka_unit_test(renewal_times),
        cmocka_unit_test(an_attempt_counts_before_it_is_made),
        cmocka_unit_test(interruptions_are_forgiven_three_times),
        cmocka_unit_test(retry_after_is_never_undercut),
        cmocka_unit_test(a_clock_that_jumped),
        cmocka_unit_test(records_survive),
        cmocka_unit_test(retry_after_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
