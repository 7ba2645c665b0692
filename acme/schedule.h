/* When to try: pure functions of dates, counts and a random number, and the record of them in the
 * store. Dates are wall-clock ms since 1970; the manager turns waits into monotonic deadlines, so
 * that a clock that jumps while the program runs neither hastens nor delays a retry.
 *
 * Sources: Let's Encrypt's integration guide (1, 10, 100 minutes, then daily, held across
 * restarts; a third of the lifetime left, half under ten days), RFC 9110 section 10.2.3
 * (Retry-After). */
#ifndef ACME_SCHEDULE_H
#define ACME_SCHEDULE_H

#include "proxy/base/dstr.h"
#include "proxy/base/slice.h"

#define SCHEDULE_SECOND_MS ((int64_t)1000)
#define SCHEDULE_MINUTE_MS (60 * SCHEDULE_SECOND_MS)
#define SCHEDULE_DAY_MS (24 * 60 * SCHEDULE_MINUTE_MS)
/* The longest Retry-After that is believed. */
#define RETRY_AFTER_MAX_MS (30 * SCHEDULE_DAY_MS)
/* Between two attempts near the end of a certificate: three an hour would be within Let's Encrypt's
 * limit of failed validations. */
#define SCHEDULE_EMERGENCY_WAIT_MS (30 * SCHEDULE_MINUTE_MS)
/* How often an attempt that was cut off by the end of the program is made again at once. */
#define SCHEDULE_INTERRUPTED_MAX 3

/* What is known about one name's attempts; all zero: nothing has failed. */
struct schedule {
    int64_t failures;     /* attempts in a row that did not give a certificate */
    int64_t interrupted;  /* of late, attempts that ended with the program */
    int64_t last_attempt_ms;
    int64_t next_attempt_ms; /* not before */
    bool in_progress;     /* an attempt began and its end was not recorded */
    bool told_by_ca;      /* next_attempt_ms comes from a Retry-After: held as it is */
    char last_error[1024];
};

/* The moment from which a certificate is renewed: when a part of ratio_ppm millionths of its
 * lifetime is left (0: a third, half under ten days), up to a fiftieth of the lifetime earlier by
 * `seed`, which should come from the certificate itself, so that restarts and other instances come
 * to the same moment. */
int64_t schedule_renew_at_ms(int64_t not_before_ms, int64_t not_after_ms, unsigned ratio_ppm,
                             uint64_t seed);
/* The moment from which nothing but a Retry-After of the CA holds up a renewal for longer than
 * SCHEDULE_EMERGENCY_WAIT_MS: a twentieth of the lifetime before the end. */
int64_t schedule_emergency_at_ms(int64_t not_before_ms, int64_t not_after_ms);

/* The wait after the failures'th failed order or validation: 1, 10, 100 minutes, then a day, and
 * up to a tenth more by `random` (any number). Never more than an eighth of lifetime_ms for
 * certificates of less than half a day (0: there is none). */
int64_t schedule_order_backoff_ms(int64_t failures, int64_t lifetime_ms, uint64_t random);
/* The wait after the failures'th failure before there was an order: 2 s doubling to 10 minutes. */
int64_t schedule_ca_backoff_ms(int64_t failures, uint64_t random);

/* An attempt begins: counted as failed until it is known better, so that one that is cut off
 * counts. Written to the store before anything is ordered. */
void schedule_begin(struct schedule *s, int64_t now_ms, int64_t lifetime_ms, uint64_t random);
/* The attempt that began has failed. retry_after_ms: from now, or negative when the CA named no
 * time; never undercut. */
void schedule_fail(struct schedule *s, int64_t now_ms, int64_t lifetime_ms, int64_t retry_after_ms,
                   struct slice reason, uint64_t random);
/* How long to wait from now_ms (0: not at all). has_order: the store holds an order under way,
 * which an interrupted attempt resumes at once. */
int64_t schedule_wait_ms(const struct schedule *s, int64_t now_ms, bool has_order);
/* An attempt was cut off without leaving an order to resume, or its order died meanwhile: takes
 * the count back and allows another at once, but only a few times. True: go on at once. */
bool schedule_forgive_interruption(struct schedule *s);
/* The certificate that is to be renewed is near its end: a wait of our own making is cut short.
 * True when something was changed. */
bool schedule_hurry(struct schedule *s, int64_t now_ms);
/* Dates that lie further in the future than any wait of ours were written under another clock:
 * they are moved. True when something was changed and should be written back. */
bool schedule_heal(struct schedule *s, int64_t now_ms);

/* JSON; reading damaged text gives false and an empty schedule. */
void schedule_write(const struct schedule *s, struct dstr *out);
NODISCARD bool schedule_read(struct slice text, struct schedule *out);

/* A Retry-After field: seconds or an HTTP-date, in ms from now_ms, clamped to
 * [0, RETRY_AFTER_MAX_MS]; -1 when it is neither. */
int64_t schedule_parse_retry_after(struct slice field, int64_t now_ms);

#endif
