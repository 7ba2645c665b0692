/* When log files are rolled by the clock, and the time in their names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/loop/log_roll.h"

#define MINUTE ((int64_t)60 * 1000)
#define HOUR (60 * MINUTE)
#define DAY ((int64_t)20000 * 24 * HOUR) /* a midnight, UTC */

static void moments(void **state)
{
    struct log_roll_times none = {0};
    struct log_roll_times minutes = {.minutes = (uint64_t)1 << 0 | (uint64_t)1 << 30};
    struct log_roll_times daily = {.at = {0, 12 * 60}, .at_count = 2};
    (void)state;
    assert_int_equal(log_roll_next_ms(&none, false, DAY), 0);
    assert_int_equal(log_roll_next_ms(&minutes, false, DAY), DAY + 30 * MINUTE);
    assert_int_equal(log_roll_next_ms(&minutes, false, DAY + 30 * MINUTE + 5), DAY + HOUR);
    assert_int_equal(log_roll_next_ms(&daily, false, DAY), DAY + 12 * HOUR);
    assert_int_equal(log_roll_next_ms(&daily, false, DAY + 13 * HOUR), DAY + 24 * HOUR);
    setenv("TZ", "Etc/GMT-2", 1); /* two hours ahead */
    tzset();
    assert_int_equal(log_roll_next_ms(&daily, true, DAY), DAY + 10 * HOUR);
}

static void layouts(void **state)
{
    static const char *const good[] = {LOG_STAMP, "20060102150405", "2006_01_02-15.04.05,000",
                                       "2006-01-02T15-04-05"};
    static const char *const bad[] = {"",
                                      "2006-01-02",
                                      "02-01-2006-15-04-05",
                                      "2006/01/02-15-04-05",
                                      "2006-01-02-15-04-05-000",
                                      "2006-01-02-15-04-05 MST",
                                      "2006-01-02-15-04-05-2006",
                                      "2006-01-02-15-04-05-------------------------------"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(log_stamp_valid(slice_str(good[i])));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (log_stamp_valid(slice_str(bad[i]))) {
            fail_msg("taken: %s", bad[i]);
        }
    }
}

static void stamps(void **state)
{
    const struct tm t = {.tm_year = 126, .tm_mon = 10, .tm_mday = 7, .tm_hour = 3, .tm_sec = 59};
    char out[64];
    (void)state;
    log_stamp_write(LOG_STAMP, &t, 5, out, sizeof(out));
    assert_string_equal(out, "2026-11-07T03-00-59.005");
    assert_true(log_stamp_is(LOG_STAMP, slice_str(out)));
    assert_false(log_stamp_is("20060102150405", slice_str(out)));
    log_stamp_write("20060102150405", &t, 5, out, sizeof(out));
    assert_string_equal(out, "20261107030059");
    assert_true(log_stamp_is("20060102150405", slice_str(out)));
    assert_false(log_stamp_is("20060102150405", S("2026110703005x")));
    assert_false(log_stamp_is("20060102150405", S("2026110703005")));
}

/* "a-TIME.log.gz" for each second from that one on: made, or taken away. */
static void compressed_files(const char *folder, const char *layout, time_t from, bool make)
{
    char name[128], stamp[LOG_STAMP_BYTES + 16];
    struct tm t;
    for (time_t at = from; at < from + 120; at++) {
        gmtime_r(&at, &t);
        log_stamp_write(layout, &t, 0, stamp, sizeof(stamp));
        (void)snprintf(name, sizeof(name), "%s/a-%s.log.gz", folder, stamp);
        FILE *f = make ? fopen(name, "w") : NULL;
        assert_true(make ? f && fclose(f) == 0 : unlink(name) == 0);
    }
}

/* Where a name has whole seconds, that of a file that was compressed meanwhile is not free. */
static void names_of_compressed_files(void **state)
{
    struct log_file_options o = {.stamp = "2006-01-02T15-04-05"};
    char folder[] = "/tmp/log_roll_XXXXXX", path[64];
    time_t now = time(NULL) - 1;
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/a.log", folder);
    compressed_files(folder, o.stamp, now, true);
    assert_int_equal(fclose(fopen(path, "w")), 0);
    assert_false(log_roll_rename(path, &o));
    assert_int_equal(unlink(path), 0);
    compressed_files(folder, o.stamp, now, false);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments),
        cmocka_unit_test(layouts),
        cmocka_unit_test(stamps),
        cmocka_unit_test(names_of_compressed_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
