/* In: events. Out: waits. Each bucket is one small file; a damaged one begins empty. */
#include "acme/ledger.h"

#include "acme/csr.h"
#include "acme/json.h"
#include "acme/schedule.h"
#include "proxy/base/log.h"
#include "store/names.h"

#define LOCK_WAIT_MS (5 * SCHEDULE_SECOND_MS)
#define DATE_MAX_MS ((int64_t)253402300799000) /* year 9999 */

enum bucket_of { BUCKET_ACCOUNT, BUCKET_NAME, BUCKET_DOMAIN };

struct limit {
    enum ledger_event event;
    enum bucket_of of;
    const char *prefix; /* of the record's name */
    int64_t capacity, refill_ms;
    const char *text;
};

#define MINUTES(n) ((n) * SCHEDULE_MINUTE_MS)

/* As of August 2026. */
static const struct limit production[] = {
    {LEDGER_ORDER, BUCKET_ACCOUNT, "orders", 300, MINUTES(3 * 60) / 300,
     "300 orders in 3 hours for an account"},
    {LEDGER_FAILURE, BUCKET_NAME, "failures", 5, MINUTES(12),
     "5 failed validations an hour for a name"},
    {LEDGER_CERTIFICATE, BUCKET_NAME, "certificates", 5, MINUTES(34 * 60),
     "5 certificates in 7 days for the same name"},
    {LEDGER_CERTIFICATE, BUCKET_DOMAIN, "domain", 50, MINUTES(202),
     "50 certificates in 7 days for a domain"},
};
static const struct limit staging[] = {
    {LEDGER_ORDER, BUCKET_ACCOUNT, "orders", 1500, MINUTES(3 * 60) / 1500,
     "1500 orders in 3 hours for an account"},
    {LEDGER_FAILURE, BUCKET_NAME, "failures", 200, MINUTES(60) / 200,
     "200 failed validations an hour for a name"},
};

static const struct {
    struct slice url_start;
    const char *who;
    const struct limit *limits;
    size_t count;
} known[] = {
    {S_INIT("https://acme-v02.api.letsencrypt.org/"), "Let's Encrypt", production,
     ARRAY_LEN(production)},
    {S_INIT("https://acme-staging-v02.api.letsencrypt.org/"), "Let's Encrypt's staging", staging,
     ARRAY_LEN(staging)},
};

static int64_t level_at(const struct ledger_bucket *b, int64_t refill_ms, int64_t now_ms)
{
    /* A date ahead of ours comes from another clock: then nothing has flowed out yet. */
    int64_t passed = now_ms > b->at_ms ? now_ms - b->at_ms : 0;
    int64_t gone = passed / refill_ms >= 1000000 ? INT64_MAX / 2 : passed * 1000 / refill_ms;
    return b->level_milli > gone ? b->level_milli - gone : 0;
}

int64_t ledger_bucket_wait_ms(const struct ledger_bucket *b, int64_t capacity, int64_t refill_ms,
                              int64_t now_ms)
{
    int64_t over = level_at(b, refill_ms, now_ms) + 1000 - capacity * 1000;
    return over > 0 ? (over * refill_ms + 999) / 1000 : 0;
}

void ledger_bucket_add(struct ledger_bucket *b, int64_t capacity, int64_t refill_ms,
                       int64_t now_ms)
{
    int64_t level = level_at(b, refill_ms, now_ms) + 1000;
    /* What the CA let through although it was too much costs no more than a full bucket. */
    b->level_milli = level < capacity * 1000 ? level : capacity * 1000;
    b->at_ms = now_ms;
}

struct slice ledger_domain(struct slice name)
{
    unsigned char ip[16];
    if (csr_ip_bytes(name, ip)) {
        return name;
    }
    size_t dot = slice_rfind(name, '.');
    if (dot == SLICE_NPOS || dot == 0) {
        return name;
    }
    size_t top_length = name.n - dot - 1;
    size_t second = slice_rfind(slice_upto(name, dot), '.');
    if (second == SLICE_NPOS) {
        return name;
    }
    bool registry = top_length == 2 && dot - second - 1 <= 3;
    if (!registry) {
        return slice_from(name, second + 1);
    }
    size_t third = slice_rfind(slice_upto(name, second), '.');
    return third == SLICE_NPOS ? name : slice_from(name, third + 1);
}

static struct slice key_of(struct arena *a, const struct ledger *l, const struct limit *limit)
{
    struct slice what = limit->of == BUCKET_ACCOUNT ? l->account
                        : limit->of == BUCKET_NAME  ? l->name
                                                    : ledger_domain(l->name);
    return store_ledger_key(a, l->ca, arena_printf(a, "%s_%.*s", limit->prefix, SLICE_ARG(what)));
}

static void load(struct store *s, struct slice key, struct ledger_bucket *out)
{
    struct dstr text;
    struct err err;
    dstr_init(&text, 4096);
    *out = (struct ledger_bucket){.level_milli = 0};
    enum store_result got = store_get(s, key, &text, &err);
    if (got == STORE_OK) {
        struct ledger_bucket b = {.level_milli = 0};
        cJSON *obj = json_parse_object(dstr_slice(&text), NULL);
        if (json_integer(obj, "level_milli", 1000000000, &b.level_milli) &&
            json_integer(obj, "at_ms", DATE_MAX_MS, &b.at_ms)) {
            *out = b;
        }
        cJSON_Delete(obj);
    } else if (got == STORE_UNUSABLE && store_set_aside(s, key, &err) == STORE_FAILED) {
        log_event(LOG_WARN, "acme", "a record of what was ordered cannot be set aside",
                  LOG_S("key", key), LOG_Z("error", err.text));
    }
    dstr_fini(&text);
}

static void save(struct store *s, struct slice key, const struct ledger_bucket *b)
{
    struct dstr text;
    struct err err;
    dstr_init(&text, 4096);
    dstr_printf(&text, "{\"level_milli\":%lld,\"at_ms\":%lld}\n", (long long)b->level_milli,
                (long long)b->at_ms);
    if (store_put(s, key, dstr_slice(&text), &err) != STORE_OK) {
        log_event(LOG_WARN, "acme", "what was ordered could not be written down",
                  LOG_S("key", key), LOG_Z("error", err.text));
    }
    dstr_fini(&text);
}

static size_t limits_of(const struct ledger *l, const struct limit **out, const char **who)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (slice_starts(l->directory_url, known[i].url_start)) {
            *out = known[i].limits;
            *who = known[i].who;
            return known[i].count;
        }
    }
    return 0;
}

static bool exempt(const struct ledger *l, const struct limit *limit)
{
    return l->replaces || (l->renewal && limit->of != BUCKET_NAME);
}

int64_t ledger_wait_ms(const struct ledger *l, int64_t now_ms, struct err *why)
{
    const struct limit *limits = NULL;
    const char *who = "";
    int64_t longest = 0;
    size_t count = limits_of(l, &limits, &who);
    for (size_t i = 0; i < count; i++) {
        struct arena a;
        struct ledger_bucket b;
        if (exempt(l, &limits[i])) {
            continue;
        }
        arena_init(&a, 8192);
        load(l->store, key_of(&a, l, &limits[i]), &b);
        arena_fini(&a);
        int64_t wait =
            ledger_bucket_wait_ms(&b, limits[i].capacity, limits[i].refill_ms, now_ms);
        if (wait > longest) {
            longest = wait;
            (void)err_set(why, "%s allows %s, and that many there were: nothing is ordered until"
                          " one more is within the limit", who, limits[i].text);
        }
    }
    return longest;
}

void ledger_count(const struct ledger *l, enum ledger_event event, int64_t now_ms)
{
    const struct limit *limits = NULL;
    const char *who = "";
    struct err err;
    struct arena a;
    size_t count = limits_of(l, &limits, &who);
    if (count == 0) {
        return;
    }
    arena_init(&a, 16384);
    struct store_lock *lock =
        store_lock(l->store, arena_printf(&a, "ledger_%.*s", SLICE_ARG(l->ca)), LOCK_WAIT_MS,
                   NULL, NULL, &err);
    for (size_t i = 0; i < count; i++) {
        if (limits[i].event == event && !exempt(l, &limits[i])) {
            struct ledger_bucket b;
            struct slice key = key_of(&a, l, &limits[i]);
            load(l->store, key, &b);
            ledger_bucket_add(&b, limits[i].capacity, limits[i].refill_ms, now_ms);
            save(l->store, key, &b);
        }
    }
    if (lock) {
        store_unlock(lock);
    }
    arena_fini(&a);
}
