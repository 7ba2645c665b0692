/* In: a certificate's id, a session. Out: when to renew. Nothing here is trusted further than a
 * date: the worst a CA can do is to have its certificate renewed early, and ever more slowly. */
#include "acme/ari.h"

#include "acme/json.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "store/names.h"

/* Bounds of the CA's Retry-After (RFC 9773 section 4.3.2), and what is taken without one. */
#define ASK_MIN_MS SCHEDULE_MINUTE_MS
#define ASK_MAX_MS SCHEDULE_DAY_MS
#define ASK_DEFAULT_MS (6 * 60 * SCHEDULE_MINUTE_MS)
/* So long after a hurried renewal the count begins anew. */
#define HURRIED_MEMORY_MS (7 * SCHEDULE_DAY_MS)
#define DATE_MAX_MS ((int64_t)253402300799000) /* year 9999 */

static int64_t clamp(int64_t v, int64_t min, int64_t max)
{
    return v < min ? min : v > max ? max : v;
}

/* No answer: asked again after 1, 2, 4 minutes and so on when it may be the network or the CA's
 * bad day, after hours when the CA means it. */
static void no_answer(struct ari *a, bool passing, int64_t now_ms)
{
    int64_t wait = ASK_DEFAULT_MS;
    if (passing) {
        int64_t shift = a->failures < 9 ? a->failures : 9;
        wait = clamp(SCHEDULE_MINUTE_MS << shift, ASK_MIN_MS, ASK_DEFAULT_MS);
    }
    a->failures++;
    a->ask_at_ms = now_ms + wait;
}

/* People will see it on their terminals; cut short it would lead nowhere. */
static void keep_explanation(struct ari *a, struct slice url)
{
    url = url.n <= ARI_EXPLANATION_MAX && message_url_ok(url) ? url : S("");
    if (url.n) {
        memcpy(a->explanation, url.p, url.n);
    }
    a->explanation[url.n] = '\0';
}

static void take_window(struct ari *a, const struct renewal_message *window, int64_t now_ms,
                        uint64_t random, int64_t retry_after_ms)
{
    if (window->start_ms != a->start_ms || window->end_ms != a->end_ms) {
        a->start_ms = window->start_ms;
        a->end_ms = window->end_ms;
        a->at_ms = window->start_ms +
                   (int64_t)(random % (uint64_t)(window->end_ms - window->start_ms));
    }
    keep_explanation(a, window->explanation_url);
    a->failures = 0;
    a->ask_at_ms = now_ms + (retry_after_ms < 0 ? ASK_DEFAULT_MS
                                                : clamp(retry_after_ms, ASK_MIN_MS, ASK_MAX_MS));
}

static void about(struct ari *a, const char *cert_id)
{
    if (strcmp(a->cert_id, cert_id) != 0) {
        *a = (struct ari){.hurried = a->hurried, .hurried_ms = a->hurried_ms};
        struct slice id = slice_upto(slice_str(cert_id), sizeof(a->cert_id) - 1);
        memcpy(a->cert_id, id.p, id.n);
    }
}

bool ari_ask(struct session *s, const char *cert_id, int64_t now_ms, uint64_t random,
             struct ari *a)
{
    struct failure f;
    struct err err;
    struct reply reply;
    struct arena arena;
    about(a, cert_id);
    if (!session_directory(s, &f)) {
        no_answer(a, true, now_ms);
        return f.kind != FAILURE_STOPPED;
    }
    if (!s->directory.renewal_info.n) {
        a->ask_at_ms = now_ms + ASK_MAX_MS;
        return true;
    }
    arena_init(&arena, 65536);
    reply_init(&reply);
    struct slice base = s->directory.renewal_info;
    bool slash = base.p[base.n - 1] == '/';
    struct slice url = arena_printf(&arena, "%.*s%s%s", SLICE_ARG(base), slash ? "" : "/", cert_id);
    bool stopped = false;
    if (!session_get(s, url, &reply, &f)) {
        stopped = f.kind == FAILURE_STOPPED;
        no_answer(a, f.kind == FAILURE_UNREACHABLE || f.kind == FAILURE_CA, now_ms);
        log_event(LOG_DEBUG, "acme", "no renewal information", LOG_Z("error", f.err.text));
    } else {
        struct renewal_message window;
        if (message_renewal(&arena, dstr_slice(&reply.body), &window, &err)) {
            int64_t told =
                schedule_parse_retry_after(dstr_slice(&reply.retry_after), reply_now_ms(&reply));
            take_window(a, &window, now_ms, random, told);
        } else {
            no_answer(a, false, now_ms);
            log_event(LOG_WARN, "acme", "the CA's renewal information is not used",
                      LOG_S("url", url), LOG_Z("error", err.text));
        }
    }
    reply_fini(&reply);
    arena_fini(&arena);
    return !stopped;
}

/* 0 for the first, then 10 and 100 minutes, then a day. */
static int64_t restraint_ms(const struct ari *a)
{
    return a->hurried == 0 ? 0 : schedule_order_backoff_ms(a->hurried + 1, 0, 0);
}

int64_t ari_renew_at_ms(const struct ari *a, const struct cert_facts *facts, unsigned ratio_ppm)
{
    uint64_t seed;
    memcpy(&seed, facts->hash, sizeof(seed));
    int64_t own =
        schedule_renew_at_ms(facts->not_before_ms, facts->not_after_ms, ratio_ppm, seed);
    int64_t last = schedule_emergency_at_ms(facts->not_before_ms, facts->not_after_ms);
    int64_t at = own;
    if (a->end_ms > 0 && strcmp(a->cert_id, facts->id) == 0) {
        int64_t held = a->hurried_ms + restraint_ms(a);
        at = a->at_ms < own && a->at_ms < held ? (held < own ? held : own) : a->at_ms;
        /* A CA with limits signs for days; shorter lives leave no room for a late moment. */
        bool brief = facts->not_after_ms - facts->not_before_ms < SCHEDULE_DAY_MS;
        at = brief && own < at ? own : at;
    }
    return at < last ? at : last;
}

bool ari_in_window(const struct ari *a, const struct cert_facts *facts, int64_t now_ms)
{
    return strcmp(a->cert_id, facts->id) == 0 && a->start_ms <= now_ms && now_ms < a->end_ms;
}

bool ari_hurries(const struct ari *a, const struct cert_facts *facts, unsigned ratio_ppm,
                 int64_t now_ms)
{
    struct ari none = {.end_ms = 0};
    return a->end_ms > 0 && strcmp(a->cert_id, facts->id) == 0 && a->at_ms <= now_ms &&
           ari_renew_at_ms(&none, facts, ratio_ppm) > now_ms;
}

void ari_replaced(struct ari *a, bool hurried, int64_t now_ms)
{
    bool recent = now_ms - a->hurried_ms < HURRIED_MEMORY_MS;
    struct ari next = {.hurried = recent ? a->hurried : 0, .hurried_ms = a->hurried_ms};
    if (hurried) {
        next.hurried++;
        next.hurried_ms = now_ms;
    }
    *a = next;
}

static void read_ari(struct slice text, int64_t now_ms, struct ari *out)
{
    cJSON *obj = json_parse_object(text, NULL);
    struct ari a = {.end_ms = 0};
    struct slice id = json_string(obj, "cert_id");
    bool ok = id.n < sizeof(a.cert_id) && json_integer(obj, "start_ms", DATE_MAX_MS, &a.start_ms) &&
              json_integer(obj, "end_ms", DATE_MAX_MS, &a.end_ms) &&
              json_integer(obj, "at_ms", DATE_MAX_MS, &a.at_ms) &&
              json_integer(obj, "ask_at_ms", DATE_MAX_MS, &a.ask_at_ms) &&
              json_integer(obj, "hurried", 1000000, &a.hurried) &&
              json_integer(obj, "hurried_ms", DATE_MAX_MS, &a.hurried_ms);
    if (ok) {
        if (id.n) {
            memcpy(a.cert_id, id.p, id.n);
        }
        keep_explanation(&a, json_string(obj, "explanation")); /* older files have none */
        /* Dates from a clock that was ahead. */
        a.ask_at_ms = a.ask_at_ms > now_ms + ASK_MAX_MS ? now_ms : a.ask_at_ms;
        a.hurried_ms = a.hurried_ms > now_ms ? now_ms : a.hurried_ms;
        *out = a;
    }
    cJSON_Delete(obj);
}

void ari_load(struct store *s, struct slice ca, struct slice name, int64_t now_ms, struct ari *out)
{
    struct arena arena;
    struct dstr text;
    struct err err;
    *out = (struct ari){.end_ms = 0};
    arena_init(&arena, 16384);
    dstr_init(&text, 16384);
    struct slice key = store_ari_key(&arena, ca, name);
    enum store_result got = store_get(s, key, &text, &err);
    if (got == STORE_OK) {
        read_ari(dstr_slice(&text), now_ms, out);
    } else if (got == STORE_UNUSABLE && store_set_aside(s, key, &err) == STORE_FAILED) {
        log_event(LOG_WARN, "acme", "renewal information in the store cannot be set aside",
                  LOG_S("name", name), LOG_Z("error", err.text));
    }
    dstr_fini(&text);
    arena_fini(&arena);
}

void ari_save(struct store *s, struct slice ca, struct slice name, const struct ari *a)
{
    struct arena arena;
    struct dstr text;
    struct err err;
    arena_init(&arena, 16384);
    dstr_init(&text, 16384);
    dstr_append(&text, S("{\"cert_id\":"));
    dstr_json(&text, slice_str(a->cert_id));
    dstr_printf(&text,
                ",\"start_ms\":%lld,\"end_ms\":%lld,\"at_ms\":%lld,\"ask_at_ms\":%lld,"
                "\"hurried\":%lld,\"hurried_ms\":%lld,\"explanation\":",
                (long long)a->start_ms, (long long)a->end_ms, (long long)a->at_ms,
                (long long)a->ask_at_ms, (long long)a->hurried, (long long)a->hurried_ms);
    dstr_json(&text, slice_str(a->explanation));
    dstr_append(&text, S("}\n"));
    if (text.failed ||
        store_put(s, store_ari_key(&arena, ca, name), dstr_slice(&text), &err) != STORE_OK) {
        log_event(LOG_WARN, "acme", "renewal information could not be saved", LOG_S("name", name),
                  LOG_Z("error", text.failed ? "too large" : err.text));
    }
    dstr_fini(&text);
    arena_fini(&arena);
}
