/* In: dates, counts, a random number. Out: waits. No clock is read here and nothing is owned. */
#include "acme/schedule.h"

#include "acme/json.h"
#include "proxy/base/clock.h"

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* In [0, range]. */
static int64_t part_of(int64_t range, uint64_t random)
{
    return range <= 0 ? 0 : (int64_t)(random % ((uint64_t)range + 1));
}

int64_t schedule_renew_at_ms(int64_t not_before_ms, int64_t not_after_ms, unsigned ratio_ppm,
                             uint64_t seed)
{
    int64_t lifetime = max64(not_after_ms - not_before_ms, 0);
    int64_t left = ratio_ppm                        ? lifetime / 1000 * (int64_t)ratio_ppm / 1000
                   : lifetime < 10 * SCHEDULE_DAY_MS ? lifetime / 2
                                                     : lifetime / 3;
    return not_after_ms - left - part_of(lifetime / 50, seed);
}

int64_t schedule_emergency_at_ms(int64_t not_before_ms, int64_t not_after_ms)
{
    return not_after_ms - max64(not_after_ms - not_before_ms, 0) / 20;
}

bool schedule_hurry(struct schedule *s, int64_t now_ms)
{
    int64_t soon = max64(s->last_attempt_ms, now_ms - SCHEDULE_EMERGENCY_WAIT_MS) +
                   SCHEDULE_EMERGENCY_WAIT_MS;
    if (s->told_by_ca || s->next_attempt_ms <= soon) {
        return false;
    }
    s->next_attempt_ms = soon;
    return true;
}

int64_t schedule_order_backoff_ms(int64_t failures, int64_t lifetime_ms, uint64_t random)
{
    int64_t wait = failures <= 1   ? SCHEDULE_MINUTE_MS
                   : failures == 2 ? 10 * SCHEDULE_MINUTE_MS
                   : failures == 3 ? 100 * SCHEDULE_MINUTE_MS
                                   : SCHEDULE_DAY_MS;
    /* No CA with limits like Let's Encrypt's signs for less than days: such a lifetime means a
     * private CA or a test, and a minute would be longer than the certificate. */
    if (lifetime_ms > 0 && lifetime_ms < SCHEDULE_DAY_MS / 2) {
        wait = min64(wait, max64(lifetime_ms / 8, 2 * SCHEDULE_SECOND_MS));
    }
    return wait + part_of(wait / 10, random);
}

int64_t schedule_ca_backoff_ms(int64_t failures, uint64_t random)
{
    int64_t wait = 2 * SCHEDULE_SECOND_MS;
    for (int64_t i = 1; i < failures && wait < 10 * SCHEDULE_MINUTE_MS; i++) {
        wait *= 2;
    }
    wait = min64(wait, 10 * SCHEDULE_MINUTE_MS);
    return wait + part_of(wait / 10, random);
}

void schedule_begin(struct schedule *s, int64_t now_ms, int64_t lifetime_ms, uint64_t random)
{
    s->failures++;
    s->in_progress = true;
    s->told_by_ca = false;
    s->last_attempt_ms = now_ms;
    s->next_attempt_ms = now_ms + schedule_order_backoff_ms(s->failures, lifetime_ms, random);
}

void schedule_fail(struct schedule *s, int64_t now_ms, int64_t lifetime_ms, int64_t retry_after_ms,
                   struct slice reason, uint64_t random)
{
    int64_t wait = schedule_order_backoff_ms(s->failures, lifetime_ms, random);
    s->in_progress = false;
    s->interrupted = 0;
    s->told_by_ca = retry_after_ms > wait;
    s->next_attempt_ms = now_ms + max64(wait, min64(retry_after_ms, RETRY_AFTER_MAX_MS));
    reason = slice_upto(reason, sizeof(s->last_error) - 1);
    if (reason.n) {
        memcpy(s->last_error, reason.p, reason.n);
    }
    s->last_error[reason.n] = '\0';
}

int64_t schedule_wait_ms(const struct schedule *s, int64_t now_ms, bool has_order)
{
    if (s->in_progress && (has_order || s->interrupted < SCHEDULE_INTERRUPTED_MAX)) {
        return 0;
    }
    return max64(s->next_attempt_ms - now_ms, 0);
}

bool schedule_forgive_interruption(struct schedule *s)
{
    if (!s->in_progress || s->interrupted >= SCHEDULE_INTERRUPTED_MAX) {
        s->in_progress = false;
        return false;
    }
    s->interrupted++;
    s->failures = max64(s->failures - 1, 0);
    s->in_progress = false;
    s->next_attempt_ms = 0;
    return true;
}

bool schedule_heal(struct schedule *s, int64_t now_ms)
{
    /* Half as much again as the longest wait of ours with its jitter, so that an honest one is
     * never touched. */
    int64_t longest = s->told_by_ca ? RETRY_AFTER_MAX_MS
                                    : schedule_order_backoff_ms(s->failures, 0, 0) * 3 / 2;
    bool changed = false;
    if (s->next_attempt_ms - now_ms > longest) {
        s->next_attempt_ms = now_ms + longest;
        changed = true;
    }
    if (s->last_attempt_ms > now_ms + SCHEDULE_MINUTE_MS) {
        s->last_attempt_ms = now_ms;
        changed = true;
    }
    return changed;
}

void schedule_write(const struct schedule *s, struct dstr *out)
{
    dstr_printf(out,
                "{\"failures\":%lld,\"interrupted\":%lld,\"last_attempt_ms\":%lld,"
                "\"next_attempt_ms\":%lld,\"in_progress\":%s,\"told_by_ca\":%s,\"last_error\":",
                (long long)s->failures, (long long)s->interrupted, (long long)s->last_attempt_ms,
                (long long)s->next_attempt_ms, s->in_progress ? "true" : "false",
                s->told_by_ca ? "true" : "false");
    dstr_json(out, slice_str(s->last_error));
    dstr_append(out, S("}\n"));
}

bool schedule_read(struct slice text, struct schedule *out)
{
    /* Year 9999: later dates are nonsense and would overflow sums. */
    const int64_t date_max = 253402300799000;
    *out = (struct schedule){.failures = 0};
    cJSON *obj = json_parse_object(text, NULL);
    if (!obj) {
        return false;
    }
    struct schedule s = {.failures = 0};
    bool ok = json_integer(obj, "failures", 1000000, &s.failures) &&
              json_integer(obj, "next_attempt_ms", date_max, &s.next_attempt_ms);
    (void)(json_integer(obj, "interrupted", 1000000, &s.interrupted) &&
           json_integer(obj, "last_attempt_ms", date_max, &s.last_attempt_ms));
    s.in_progress = json_true(obj, "in_progress");
    s.told_by_ca = json_true(obj, "told_by_ca");
    struct slice reason = slice_upto(json_string(obj, "last_error"), sizeof(s.last_error) - 1);
    if (reason.n) {
        memcpy(s.last_error, reason.p, reason.n);
    }
    if (ok) {
        *out = s;
    }
    cJSON_Delete(obj);
    return ok;
}

int64_t schedule_parse_retry_after(struct slice field, int64_t now_ms)
{
    field = slice_trim(field);
    uint64_t seconds;
    int64_t date;
    size_t digits = 0;
    while (digits < field.n && ascii_is_digit(field.p[digits])) {
        digits++;
    }
    if (digits > 0 && digits == field.n) {
        bool small = slice_u64(field, (uint64_t)(RETRY_AFTER_MAX_MS / 1000), &seconds);
        return small ? (int64_t)seconds * 1000 : RETRY_AFTER_MAX_MS;
    }
    if (!clock_parse_http_date(field, &date)) {
        return -1;
    }
    return min64(max64(date - now_ms, 0), RETRY_AFTER_MAX_MS);
}
