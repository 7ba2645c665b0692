/* When log files are rolled by the clock, and what the time in a rolled file's name looks like.
 * Pure but for the system's time zone. */
#ifndef LOOP_LOG_ROLL_TIME_H
#define LOOP_LOG_ROLL_TIME_H

#include <time.h>

#include "proxy/base/slice.h"

#define LOG_ROLL_AT_MAX 24u
#define LOG_STAMP_BYTES 48u
#define LOG_STAMP "2006-01-02T15-04-05.000"

struct log_roll_times {
    uint64_t minutes;             /* bit i: at minute i of every hour */
    uint16_t at[LOG_ROLL_AT_MAX]; /* minutes of the day */
    unsigned at_count;
};

/* The first such moment behind now_ms (wall clock); 0: there is none. */
int64_t log_roll_next_ms(const struct log_roll_times *t, bool local, int64_t now_ms);

/* A layout is Go's: 2006, 01, 02, 15, 04, 05 and, behind "." or ",", 000, in this order and each
 * once (000 may be left out), with "-", "_", ".", "," and "T" between them: such names are in order
 * when they are sorted. */
bool log_stamp_valid(struct slice layout);
/* Writes the time in it, with its NUL; cap > LOG_STAMP_BYTES. */
void log_stamp_write(const char *layout, const struct tm *t, unsigned ms, char *out, size_t cap);
/* Was s written in it? */
bool log_stamp_is(const char *layout, struct slice s);

#endif
