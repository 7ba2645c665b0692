/* rate_limit [matcher] {
 *     zone <name> {
 *         match { <matchers> }       (every request)
 *         key <text>                 (one count for all; {remote_host}, {http.auth.user.id}, ...)
 *         events <n>
 *         window <duration>
 *     }
 *     ...
 *     jitter <fraction>              (0; added at random to Retry-After)
 *     log_key                        (name the key in the log)
 *     sweep_interval <duration>      (accepted: the memory is fixed, nothing has to be swept)
 * }
 *
 * At most so many events of a key within any window of that length; past that 429 with Retry-After,
 * and {http.rate_limit.exceeded.name}. Counts hold over all workers and through reloads; zones of
 * one name and the same limits are one. A zone knows 65,536 keys, then it forgets the quietest. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/rand.h"
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/rate_zone.h"
#include "proxy/net/addr.h"
#include "proxy/route/vars.h"

#define ZONES_MAX 32u
#define WINDOW_MIN_MS 16
#define WINDOW_MAX_MS ((int64_t)366 * 24 * 3600 * 1000)
#define RETRY_AFTER_VAR "http.rate_limit.retry_after"

struct zone_use {
    struct slice name;
    struct matcher *matcher; /* with has_match */
    bool has_match;
    struct template *key; /* NULL: one count for all */
    struct rate_zone *zone; /* counted */
};

struct rate_limit {
    struct zone_use zones[ZONES_MAX];
    size_t count;
    unsigned jitter_percent;
    bool log_key;
};

/* ---- running --------------------------------------------------------------------------------- */

static void retry_after(const void *instance, struct exchange *ex)
{
    (void)instance;
    struct slice seconds = vars_value(ex, S(RETRY_AFTER_VAR));
    if (!fields_add_id(&ex->res.fields, &ex->arena, FIELD_RETRY_AFTER, S("Retry-After"),
                       seconds)) {
        return; /* memory: the answer goes out without */
    }
}

static const struct handler_ops retry_after_ops = {.name = "rate_limit",
                                                   .on_response_early = retry_after};

static enum handler_result exceeded(const struct rate_limit *r, const struct zone_use *use,
                                    struct slice key, int64_t wait_ms, struct exchange *ex)
{
    char buf[ADDR_TEXT_BYTES];
    wait_ms += (int64_t)rand_below((uint64_t)wait_ms * r->jitter_percent / 100 + 1);
    struct slice seconds = arena_printf(&ex->arena, "%lld", (long long)((wait_ms + 999) / 1000));
    if (!seconds.p || !vars_set(ex, S(RETRY_AFTER_VAR), seconds) ||
        !vars_set(ex, S("http.rate_limit.exceeded.name"), use->name)) {
        return chain_error(ex, 503, S("out of memory"));
    }
    log_event(LOG_INFO, "http.handlers.rate_limit", "rate limit exceeded",
              LOG_S("zone", use->name), LOG_I("wait_ms", wait_ms),
              LOG_S("remote_ip", addr_host_text(ex->client_addr, buf)),
              r->log_key ? LOG_S("key", key) : (struct log_field){.key = NULL});
    chain_add_hook(ex, &retry_after_ops, NULL);
    return chain_error(ex, 429, S("too many requests; try again later"));
}

static enum handler_result limit_request(const void *instance, struct exchange *ex)
{
    const struct rate_limit *r = instance;
    for (size_t i = 0; i < r->count; i++) {
        const struct zone_use *use = &r->zones[i];
        enum match_result applies = use->has_match ? matcher_matches(use->matcher, ex) : MATCH_YES;
        if (applies == MATCH_FAILED) {
            return chain_error(ex, 500, S("a matcher of rate_limit failed"));
        }
        if (applies != MATCH_YES) {
            continue;
        }
        struct slice key = use->key ? template_eval(use->key, ex) : S("");
        if (ex->arena.failed) {
            return chain_error(ex, 503, S("out of memory"));
        }
        int64_t wait = rate_zone_take(use->zone, key, clock_mono_ms());
        if (wait) {
            return exceeded(r, use, key, wait, ex);
        }
    }
    return HANDLER_NEXT;
}

static void limit_release(void *instance)
{
    struct rate_limit *r = instance;
    for (size_t i = 0; i < r->count; i++) {
        rate_zone_unref(r->zones[i].zone);
    }
}

static const struct handler_ops limit_ops = {
    .name = "rate_limit", .on_request = limit_request, .release = limit_release};

/* ---- reading --------------------------------------------------------------------------------- */

struct zone_reading {
    struct build *b;
    struct zone_use *use;
    uint64_t events;
    int64_t window_ms;
    bool events_set;
};

static bool read_match(struct zone_reading *z, const struct cf_directive *o)
{
    z->use->has_match = expect_args(z->b, o, o->arg_count, 0, 0) &&
                        matcher_from_lines(z->b->arena, o->children, &z->use->matcher,
                                           z->b->diags);
    if (z->use->has_match && matcher_may_wait(z->use->matcher)) {
        cf_error(z->b->diags, &o->name, "a matcher that looks at files cannot choose a zone");
        return false;
    }
    return z->use->has_match;
}

static bool read_zone_option(struct zone_reading *z, const struct cf_directive *o)
{
    static const struct slice names[] = {S_INIT("match"), S_INIT("key"), S_INIT("events"),
                                         S_INIT("window")};
    struct build *b = z->b;
    if (slice_eq(o->name.text, names[0])) {
        return read_match(z, o);
    }
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        known = known || slice_eq(o->name.text, names[i]);
    }
    if (!known) {
        struct cf_diag *d = cf_error(b->diags, &o->name, "a zone of rate_limit has no option"
                                     " \"%.*s\" (match, key, events, window)",
                                     SLICE_ARG(o->name.text));
        cf_did_you_mean(b->diags, d, o->name.text, names, ARRAY_LEN(names));
        return false;
    }
    if (!expect_args(b, o, o->arg_count, 1, 1) || !expect_no_block(b, o)) {
        return false;
    }
    const struct cf_token *value = &o->args[0];
    if (slice_eq(o->name.text, names[1])) {
        z->use->key = template_compile(b->arena, value, b->diags);
        return z->use->key != NULL;
    }
    if (slice_eq(o->name.text, names[2])) {
        z->events_set = slice_u64(value->text, RATE_EVENTS_MAX, &z->events);
        if (!z->events_set) {
            cf_error(b->diags, value, "\"%.*s\" is no number of events up to %u",
                     SLICE_ARG(value->text), RATE_EVENTS_MAX);
        }
        return z->events_set;
    }
    if (!cf_parse_duration(value->text, &z->window_ms) || z->window_ms < WINDOW_MIN_MS ||
        z->window_ms > WINDOW_MAX_MS) {
        cf_error(b->diags, value, "\"%.*s\" is no window such as 10s or 1h",
                 SLICE_ARG(value->text));
        return false;
    }
    return true;
}

static bool read_zone(struct build *b, struct rate_limit *r, const struct cf_directive *d)
{
    if (!expect_args(b, d, d->arg_count, 1, 1)) {
        return false;
    }
    if (r->count == ZONES_MAX) {
        cf_error(b->diags, &d->name, "more than %u zones", ZONES_MAX);
        return false;
    }
    struct zone_reading z = {.b = b, .use = &r->zones[r->count]};
    z.use->name = d->args[0].text;
    bool ok = true;
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        ok = read_zone_option(&z, o) && ok;
    }
    if (ok && (!z.events_set || !z.window_ms)) {
        cf_error(b->diags, &d->name, "the zone \"%.*s\" needs events and window: zone %.*s { key"
                 " {remote_host} ; events 10 ; window 1m }", SLICE_ARG(z.use->name),
                 SLICE_ARG(z.use->name));
        return false;
    }
    if (ok) {
        z.use->zone = rate_zone_get(z.use->name, (unsigned)z.events, z.window_ms);
        r->count++;
    }
    return ok;
}

/* "0.2" of the wait. */
static bool read_jitter(struct build *b, struct rate_limit *r, const struct cf_directive *o)
{
    if (!expect_args(b, o, o->arg_count, 1, 1)) {
        return false;
    }
    struct slice rest = o->args[0].text;
    struct slice whole;
    uint64_t ones = 0;
    uint64_t hundredths = 0;
    (void)slice_cut(&rest, '.', &whole);
    bool ok = slice_u64(whole, 10, &ones) &&
              (!rest.p || (rest.n <= 2 && slice_u64(rest, 99, &hundredths)));
    if (!ok) {
        cf_error(b->diags, &o->args[0], "\"%.*s\" is no fraction such as 0.2",
                 SLICE_ARG(o->args[0].text));
    }
    hundredths *= rest.n == 1 ? 10 : 1;
    r->jitter_percent = (unsigned)(ones * 100 + hundredths);
    return ok;
}

static bool read_option(struct build *b, struct rate_limit *r, const struct cf_directive *o)
{
    int64_t unused;
    if (slice_eq(o->name.text, S("zone"))) {
        return read_zone(b, r, o);
    }
    if (slice_eq(o->name.text, S("jitter"))) {
        return read_jitter(b, r, o);
    }
    if (slice_eq(o->name.text, S("log_key"))) {
        r->log_key = true;
        return expect_args(b, o, o->arg_count, 0, 0);
    }
    if (slice_eq(o->name.text, S("sweep_interval"))) {
        bool ok = expect_args(b, o, o->arg_count, 1, 1);
        if (ok && !cf_parse_duration(o->args[0].text, &unused)) {
            cf_error(b->diags, &o->args[0], "\"%.*s\" is no duration such as 1m",
                     SLICE_ARG(o->args[0].text));
            ok = false;
        }
        return ok;
    }
    cf_error(b->diags, &o->name, "\"rate_limit\" has no option \"%.*s\" in caddis (it has zone,"
             " jitter, log_key, sweep_interval)", SLICE_ARG(o->name.text));
    return false;
}

bool rate_limit_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                      size_t count, struct handler *out)
{
    struct rate_limit *r = ARENA_NEW(b->arena, struct rate_limit);
    must(r);
    (void)args;
    bool ok = expect_args(b, d, count, 0, 0);
    for (const struct cf_directive *o = d->children; ok && o; o = o->next) {
        ok = read_option(b, r, o);
    }
    if (ok && !r->count) {
        cf_error(b->diags, &d->name, "\"rate_limit\" needs a zone: rate_limit { zone NAME { key"
                 " {remote_host} ; events 10 ; window 1m } }");
        ok = false;
    }
    if (!ok) {
        limit_release(r);
        return false;
    }
    out->ops = &limit_ops;
    out->instance = r;
    return true;
}
