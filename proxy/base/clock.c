/* Clocks and dates; see clock.h. Dates are parsed strictly: what does not exist is refused. */
#include "proxy/base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static void split(int64_t wall_ms, struct tm *tm)
{
    time_t secs = (time_t)(wall_ms / 1000);
    gmtime_r(&secs, tm);
    if (tm->tm_year < -1900 || tm->tm_year > 8099) {
        secs = 0;
        gmtime_r(&secs, tm);
    }
}

void clock_http_date(int64_t wall_ms, char out[CLOCK_HTTP_DATE_BYTES])
{
    struct tm tm;
    split(wall_ms, &tm);
    char buf[96];
    (void)snprintf(buf, sizeof(buf), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
                   tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                   tm.tm_sec);
    memcpy(out, buf, CLOCK_HTTP_DATE_BYTES - 1);
    out[CLOCK_HTTP_DATE_BYTES - 1] = '\0';
}

void clock_rfc3339(int64_t wall_ms, char out[CLOCK_RFC3339_BYTES])
{
    struct tm tm;
    split(wall_ms, &tm);
    char buf[96];
    (void)snprintf(buf, sizeof(buf), "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
                   tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(out, buf, CLOCK_RFC3339_BYTES - 1);
    out[CLOCK_RFC3339_BYTES - 1] = '\0';
}

static bool to_wall(struct tm *tm, int64_t *wall_ms)
{
    int mon = tm->tm_mon;
    int day = tm->tm_mday;
    if (tm->tm_hour > 23 || tm->tm_min > 59 || tm->tm_sec > 60) {
        return false;
    }
    time_t t = timegm(tm);
    if (t == (time_t)-1 || tm->tm_mon != mon || tm->tm_mday != day) {
        return tm->tm_sec == 60;
    }
    *wall_ms = (int64_t)t * 1000;
    return true;
}

bool clock_parse_http_date(struct slice s, int64_t *wall_ms)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %e %H:%M:%S %Y"};
    char buf[64];
    if (s.n == 0 || s.n >= sizeof(buf)) {
        return false;
    }
    memcpy(buf, s.p, s.n);
    buf[s.n] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct tm tm = {0};
        const char *end = strptime(buf, forms[i], &tm);
        if (end && *end == '\0') {
            return to_wall(&tm, wall_ms);
        }
    }
    return false;
}

/* "+hh:mm" or "Z" as minutes; false if it is neither. */
static bool parse_offset(struct slice s, int64_t *minutes)
{
    uint64_t h;
    uint64_t m;
    if (slice_eq_case(s, S("z"))) {
        *minutes = 0;
        return true;
    }
    if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-') || s.p[3] != ':' ||
        !slice_u64(slice_of(s.p + 1, 2), 23, &h) || !slice_u64(slice_of(s.p + 4, 2), 59, &m)) {
        return false;
    }
    *minutes = (int64_t)(h * 60 + m) * (s.p[0] == '-' ? -1 : 1);
    return true;
}

bool clock_parse_rfc3339(struct slice s, int64_t *wall_ms)
{
    static const struct {
        size_t at;
        size_t len;
        char after;
    } parts[6] = {{0, 4, '-'}, {5, 2, '-'}, {8, 2, 'T'}, {11, 2, ':'}, {14, 2, ':'}, {17, 2, 0}};
    uint64_t v[6];
    if (s.n < 20) {
        return false;
    }
    for (size_t i = 0; i < 6; i++) {
        char after = s.p[parts[i].at + parts[i].len];
        if (!slice_u64(slice_of(s.p + parts[i].at, parts[i].len), 9999, &v[i]) ||
            (parts[i].after && after != parts[i].after &&
             !(i == 2 && (after == 't' || after == ' ')))) {
            return false;
        }
    }
    size_t i = 19;
    if (s.p[i] == '.') {
        do {
            i++;
        } while (i < s.n && ascii_is_digit(s.p[i]));
    }
    int64_t minutes;
    if (v[1] < 1 || !parse_offset(slice_from(s, i), &minutes)) {
        return false;
    }
    struct tm tm = {.tm_year = (int)v[0] - 1900, .tm_mon = (int)v[1] - 1, .tm_mday = (int)v[2],
                    .tm_hour = (int)v[3], .tm_min = (int)v[4], .tm_sec = (int)v[5]};
    if (!to_wall(&tm, wall_ms)) {
        return false;
    }
    *wall_ms -= minutes * 60 * 1000;
    return true;
}
