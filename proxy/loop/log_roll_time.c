/* See log_roll_time.h. */
#include "proxy/loop/log_roll_time.h"

#include <stdio.h>

#define MINUTE_MS ((int64_t)60 * 1000)
#define DAY_MINUTES (24 * 60)

/* ---- when ------------------------------------------------------------------------------------ */

static bool is_due(const struct log_roll_times *t, const struct tm *now)
{
    if ((t->minutes >> now->tm_min) & 1) {
        return true;
    }
    for (unsigned i = 0; i < t->at_count; i++) {
        if (t->at[i] == now->tm_hour * 60 + now->tm_min) {
            return true;
        }
    }
    return false;
}

/* Minute by minute, so that whatever a time zone does with its clocks is right by itself; once a
 * file. A moment that a day leaves out comes the day after. */
int64_t log_roll_next_ms(const struct log_roll_times *t, bool local, int64_t now_ms)
{
    int64_t minute_ms = now_ms - now_ms % MINUTE_MS;
    for (int i = 1; (t->minutes || t->at_count) && i <= 2 * DAY_MINUTES; i++) {
        struct tm tm;
        time_t seconds = (time_t)((minute_ms + i * MINUTE_MS) / 1000);
        (void)(local ? localtime_r(&seconds, &tm) : gmtime_r(&seconds, &tm));
        if (is_due(t, &tm)) {
            return minute_ms + i * MINUTE_MS;
        }
    }
    return 0;
}

/* ---- in names -------------------------------------------------------------------------------- */

static const struct slice parts[] = {S_INIT("2006"), S_INIT("01"), S_INIT("02"), S_INIT("15"),
                                     S_INIT("04"),   S_INIT("05"), S_INIT("000")};

/* The part that the layout goes on with; ARRAY_LEN: none. */
static size_t part_at(struct slice rest, size_t from)
{
    for (size_t i = from; i < ARRAY_LEN(parts); i++) {
        if (slice_starts(rest, parts[i])) {
            return i;
        }
    }
    return ARRAY_LEN(parts);
}

bool log_stamp_valid(struct slice layout)
{
    size_t next = 0;
    for (size_t at = 0; at < layout.n;) {
        size_t part = part_at(slice_from(layout, at), 0);
        if (part == next && next < ARRAY_LEN(parts)) {
            bool fraction = part == ARRAY_LEN(parts) - 1;
            if (fraction && (at == 0 || !strchr(".,", layout.p[at - 1]))) {
                return false;
            }
            next++;
            at += parts[part].n;
        } else if (layout.p[at] && strchr("-_.,T", layout.p[at])) {
            at++;
        } else {
            return false;
        }
    }
    return next >= ARRAY_LEN(parts) - 1 && layout.n < LOG_STAMP_BYTES;
}

void log_stamp_write(const char *layout, const struct tm *t, unsigned ms, char *out, size_t cap)
{
    const int values[] = {t->tm_year + 1900, t->tm_mon + 1, t->tm_mday, t->tm_hour,
                          t->tm_min,         t->tm_sec,     (int)ms};
    struct slice rest = slice_str(layout);
    size_t n = 0;
    while (rest.n && n + 8 < cap) {
        size_t part = part_at(rest, 0);
        if (part == ARRAY_LEN(parts)) {
            out[n++] = rest.p[0];
            rest = slice_from(rest, 1);
            continue;
        }
        n += (size_t)snprintf(out + n, cap - n, "%0*d", (int)parts[part].n, values[part]);
        rest = slice_from(rest, parts[part].n);
    }
    out[n] = '\0';
}

bool log_stamp_is(const char *layout, struct slice s)
{
    struct slice form = slice_str(layout);
    if (s.n != form.n) {
        return false;
    }
    for (size_t i = 0; i < form.n;) {
        size_t part = part_at(slice_from(form, i), 0);
        size_t end = i + (part < ARRAY_LEN(parts) ? parts[part].n : 1);
        for (; i < end; i++) {
            if (part < ARRAY_LEN(parts) ? !ascii_is_digit(s.p[i]) : s.p[i] != form.p[i]) {
                return false;
            }
        }
    }
    return true;
}
