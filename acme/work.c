/* What is done for one name: loading, looking again, an attempt, and what its outcome means for
 * the next. In: a managed name. Out: callbacks, and new deadlines. See manager.h for locking. */
#include "acme/manager.h"

#include <stdio.h>

#include "acme/local_ca.h"
#include "acme/order_saved.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/rand.h"

/* Between questions whether a name may be renewed, and after a no. */
#define PERMISSION_HOLD_MS 1000
#define REFUSED_HOLD_MS (60 * 1000)
#define ANOTHER_KEY_HOLD_MS 200
#define BUSY_HOLD_MS SCHEDULE_SECOND_MS
#define UNSAVED_HOLD_MS (10 * SCHEDULE_SECOND_MS)
/* Between two certificates of one name, whatever their dates say. */
#define OBTAINED_HOLD_MS (2 * SCHEDULE_SECOND_MS)

static bool is_local(const struct managed_ca *ca)
{
    return ca->issuer.kind == ACME_ISSUER_LOCAL;
}

static struct slice name_of(const struct managed *m)
{
    return slice_str(m->name);
}

/* Milliseconds until this issuer may be asked for m. With mutex. */
static int64_t source_wait_ms(const struct managed_source *s, int64_t now_mono_ms)
{
    int64_t wait = s->hold_until_mono_ms - now_mono_ms;
    int64_t ca_wait = s->ca->hold_until_mono_ms - now_mono_ms;
    wait = ca_wait > wait ? ca_wait : wait;
    return wait > 0 ? wait : 0;
}

/* The issuer to ask next: the first of those that may be asked soonest. With mutex. */
static struct managed_source *next_source(struct managed *m, int64_t now_mono_ms)
{
    struct managed_source *best = &m->sources[0];
    for (size_t i = 1; i < m->source_count; i++) {
        if (source_wait_ms(&m->sources[i], now_mono_ms) < source_wait_ms(best, now_mono_ms)) {
            best = &m->sources[i];
        }
    }
    return best;
}

int64_t managed_attempt_due_ms(const struct managed *m, int64_t now_mono_ms, int64_t now_wall_ms)
{
    int64_t wait = m->hold_until_mono_ms - now_mono_ms;
    wait = wait > 0 ? wait : 0;
    if (m->has_unsaved) {
        return wait;
    }
    int64_t source_wait = INT64_MAX;
    for (size_t i = 0; i < m->source_count; i++) {
        int64_t one = source_wait_ms(&m->sources[i], now_mono_ms);
        source_wait = one < source_wait ? one : source_wait;
    }
    wait = source_wait > wait ? source_wait : wait;
    if (m->ready && !m->by_hand && m->renew_at_ms - now_wall_ms > wait) {
        wait = m->renew_at_ms - now_wall_ms;
    }
    return wait;
}

/* Until the CA is to be asked again when to renew. */
static int64_t ask_due_ms(const struct managed *m, int64_t now_mono_ms)
{
    if (!m->ready || !m->cert_ca || is_local(m->cert_ca) || !m->facts.id[0] || m->has_unsaved) {
        return INT64_MAX;
    }
    int64_t until = m->cert_ca->hold_until_mono_ms > m->ask_mono_ms
                        ? m->cert_ca->hold_until_mono_ms
                        : m->ask_mono_ms;
    return until > now_mono_ms ? until - now_mono_ms : 0;
}

int64_t managed_due_ms(const struct managed *m, int64_t now_mono_ms, int64_t now_wall_ms)
{
    if (m->gone || m->busy || !m->loaded) {
        return INT64_MAX;
    }
    int64_t attempt = managed_attempt_due_ms(m, now_mono_ms, now_wall_ms);
    int64_t ask = ask_due_ms(m, now_mono_ms);
    return ask < attempt ? ask : attempt;
}

/* Whom the work that is due is with. */
static struct managed_ca *due_ca(struct managed *m, int64_t mono, int64_t wall)
{
    return managed_attempt_due_ms(m, mono, wall) <= 0 ? next_source(m, mono)->ca : m->cert_ca;
}

struct managed *managed_pick(struct acme *a, bool local)
{
    int64_t mono = clock_mono_ms(), wall = clock_wall_ms();
    struct managed *best = NULL;
    LIST_EACH (node, &a->names) {
        struct managed *m = LIST_ENTRY(node, struct managed, node);
        if (managed_due_ms(m, mono, wall) > 0) {
            continue;
        }
        const struct managed_ca *ca = due_ca(m, mono, wall);
        unsigned limit = ca->proven ? MANAGER_PER_CA_MAX : 1;
        if (is_local(ca) != local || (!local && ca->in_flight >= limit)) {
            continue;
        }
        /* Names without a certificate first, then the one that has waited longest. */
        if (!best || (best->ready && !m->ready) ||
            (best->ready == m->ready && m->hold_until_mono_ms < best->hold_until_mono_ms)) {
            best = m;
        }
    }
    return best;
}

static void text_set(char *out, size_t cap, const char *text)
{
    struct slice s = slice_upto(slice_str(text), cap - 1);
    memcpy(out, s.p, s.n);
    out[s.n] = '\0';
}

static void wait_text(int64_t ms, char *out, size_t cap)
{
    int64_t s = (ms + 999) / 1000;
    if (s < 120) {
        (void)snprintf(out, cap, "%llds", (long long)s);
    } else if (s < 2 * 3600) {
        (void)snprintf(out, cap, "%lldm", (long long)((s + 59) / 60));
    } else if (s < 48 * 3600) {
        (void)snprintf(out, cap, "%lldh", (long long)((s + 3599) / 3600));
    } else {
        (void)snprintf(out, cap, "%lldd", (long long)((s + 86399) / 86400));
    }
}

void managed_report(struct acme *a, struct managed *m, const char *activity)
{
    char text[600], error[1024], when[32];
    pthread_mutex_lock(&a->mutex);
    int64_t now = clock_wall_ms();
    int64_t due = m->loaded ? managed_attempt_due_ms(m, clock_mono_ms(), now) : INT64_MAX;
    bool gone = m->gone;
    const struct managed_ca *ca = m->from->ca;
    bool of_ca = !m->last_error[0] && ca->failures > 0 && !m->ready;
    text_set(error, sizeof(error), of_ca ? ca->last_error : m->last_error);
    struct acme_status status = {.ready = m->ready, .last_error = slice_str(error)};
    pthread_mutex_unlock(&a->mutex);
    if (due != INT64_MAX) {
        status.next_attempt_wall_ms = now + due;
        wait_text(due, when, sizeof(when));
        (void)snprintf(text, sizeof(text), status.ready && !error[0] ? "renewal in %s"
                                           : due <= 0               ? "about to be tried"
                                                                    : "next attempt in %s", when);
    } else {
        text_set(text, sizeof(text), "looking at the store");
    }
    if (activity) {
        text_set(text, sizeof(text), activity);
    }
    status.activity = slice_str(text);
    if (gone || !a->callbacks.on_status) {
        return;
    }
    pthread_mutex_lock(&a->callback_mutex);
    a->callbacks.on_status(a->callbacks.ctx, name_of(m), &status);
    pthread_mutex_unlock(&a->callback_mutex);
}

static void announce(struct acme *a, struct managed *m, const struct store_pair *pair)
{
    pthread_mutex_lock(&a->mutex);
    bool gone = m->gone;
    pthread_mutex_unlock(&a->mutex);
    if (gone) {
        return;
    }
    pthread_mutex_lock(&a->callback_mutex);
    a->callbacks.on_certificate(a->callbacks.ctx, name_of(m), dstr_slice(&pair->chain_pem),
                                dstr_slice(&pair->key_pem));
    pthread_mutex_unlock(&a->callback_mutex);
}

static void announce_change(struct acme *a, struct managed *m, const struct managed_ca *ca)
{
    if (a->callbacks.on_change) {
        pthread_mutex_lock(&a->callback_mutex);
        a->callbacks.on_change(a->callbacks.ctx, name_of(m), ca->store_name);
        pthread_mutex_unlock(&a->callback_mutex);
    }
}

/* Without mutex, m being busy. */
static bool best_of_store(struct acme *a, const struct managed *m, struct store_pair *pair,
                          struct stored_best *best)
{
    struct slice cas[ACME_ISSUERS_MAX];
    for (size_t i = 0; i < m->source_count; i++) {
        cas[i] = m->sources[i].ca->store_name;
    }
    return stored_best(a->store, cas, m->source_count, name_of(m), clock_wall_ms(), pair, best);
}

/* Is it no local certificate, or one under the root that is there now? */
static bool rooted(struct acme *a, const struct managed_ca *ca, const struct store_pair *pair)
{
    return !is_local(ca) || attempt_of_present_root(a->store, dstr_slice(&pair->chain_pem));
}

/* The back-off of each issuer, as the store has it. Without mutex, m being busy. Returns the
 * first issuer's last error in out. */
static void load_waits(struct acme *a, struct managed *m, int64_t waits[ACME_ISSUERS_MAX],
                       struct schedule *first)
{
    int64_t now = clock_wall_ms();
    *first = (struct schedule){.failures = 0};
    for (size_t i = 0; i < m->source_count; i++) {
        struct schedule s;
        struct slice ca = m->sources[i].ca->store_name;
        waits[i] = 0;
        if (!is_local(m->sources[i].ca)) {
            stored_schedule(a->store, ca, name_of(m), &s);
            waits[i] = schedule_wait_ms(&s, now, stored_has_order(a->store, ca, name_of(m)));
            if (i == 0) {
                *first = s;
            }
        }
    }
}

void managed_load(struct acme *a, struct managed *m)
{
    struct store_pair pair;
    struct stored_best best;
    struct schedule first;
    int64_t waits[ACME_ISSUERS_MAX];
    m->busy = true;
    pthread_mutex_unlock(&a->mutex);
    store_pair_init(&pair);
    bool good = best_of_store(a, m, &pair, &best);
    struct managed_ca *ca = m->sources[best.at].ca;
    bool of_root = !good || rooted(a, ca, &pair);
    struct ari ari;
    ari_load(a->store, ca->store_name, name_of(m), clock_wall_ms(), &ari);
    load_waits(a, m, waits, &first);
    if (good) {
        announce(a, m, &pair);
    }
    store_pair_fini(&pair);
    pthread_mutex_lock(&a->mutex);
    if (good) {
        managed_adopt(m, ca, &best.facts, &ari);
        m->renew_at_ms = of_root ? m->renew_at_ms : 0;
    }
    for (size_t i = 0; i < m->source_count; i++) {
        m->sources[i].hold_until_mono_ms = clock_mono_ms() + waits[i];
    }
    bool failed = !good && best.failed;
    text_set(m->last_error, sizeof(m->last_error), failed ? best.err.text : first.last_error);
    m->loaded = true;
    m->busy = false;
    pthread_mutex_unlock(&a->mutex);
    log_event(LOG_INFO, "acme",
              good     ? "certificate found in the store"
              : failed ? "the store cannot be read"
                       : "no usable certificate in the store",
              LOG_S("name", name_of(m)), LOG_S("ca", ca->store_name),
              LOG_I("next_attempt_in_s", waits[0] / 1000));
    managed_report(a, m, NULL);
    pthread_mutex_lock(&a->mutex);
}

struct look {
    bool fresh;   /* pair and best: another certificate than the one that is served */
    bool wanting; /* nothing usable is there, or it is under another root: obtain anew */
    struct store_pair pair;
    struct stored_best best;
};

/* Without mutex, m being busy. For public names the leaf's hash alone settles the usual case. */
static void look_at_store(struct acme *a, struct managed *m, struct look *out)
{
    unsigned char hash[CERT_HASH_BYTES];
    bool missing = false;
    if (m->has_cert && m->source_count == 1 && !is_local(m->cert_ca) &&
        stored_hash(a->store, m->cert_ca->store_name, name_of(m), hash, &missing) &&
        memcmp(hash, m->facts.hash, sizeof(hash)) == 0) {
        return;
    }
    bool good = best_of_store(a, m, &out->pair, &out->best);
    if (!good && out->best.failed) {
        return;
    }
    /* Also one that is older than ours by its dates: the store is what instances share. */
    out->fresh = good && (!m->has_cert || memcmp(out->best.facts.hash, m->facts.hash,
                                                 sizeof(m->facts.hash)) != 0);
    out->wanting = !good || !rooted(a, m->sources[out->best.at].ca, &out->pair);
}

void managed_recheck(struct acme *a, struct managed *m)
{
    struct look look = {.fresh = false, .best = {.at = 0}};
    m->busy = true;
    pthread_mutex_unlock(&a->mutex);
    store_pair_init(&look.pair);
    look_at_store(a, m, &look);
    struct managed_ca *ca = m->sources[look.best.at].ca;
    struct ari ari = {.end_ms = 0};
    if (look.fresh) {
        ari_load(a->store, ca->store_name, name_of(m), clock_wall_ms(), &ari);
        announce(a, m, &look.pair);
        announce_change(a, m, ca);
        log_event(LOG_INFO, "acme", "another process renewed the certificate",
                  LOG_S("name", name_of(m)));
    }
    store_pair_fini(&look.pair);
    pthread_mutex_lock(&a->mutex);
    if (look.fresh) {
        managed_adopt(m, ca, &look.best.facts, &ari);
        m->last_error[0] = '\0';
    }
    if (look.wanting) {
        m->lost = m->ready && m->renew_at_ms > clock_wall_ms() && !is_local(m->cert_ca);
        m->renew_at_ms = 0;
    }
    m->busy = false;
    if (look.fresh) {
        pthread_mutex_unlock(&a->mutex);
        managed_report(a, m, NULL);
        pthread_mutex_lock(&a->mutex);
    }
}

struct say_ctx {
    struct acme *a;
    struct managed *m;
};

static void say(void *ctx, const char *activity)
{
    const struct say_ctx *s = ctx;
    managed_report(s->a, s->m, activity);
}

void managed_ca_load(struct acme *a, struct managed_ca *ca)
{
    struct schedule s;
    stored_schedule(a->store, ca->store_name, ca->record_name, &s);
    int64_t wait = schedule_wait_ms(&s, clock_wall_ms(), false);
    ca->failures = s.failures;
    ca->recorded = s.failures > 0;
    ca->hold_until_mono_ms = clock_mono_ms() + wait;
    text_set(ca->last_error, sizeof(ca->last_error), s.last_error);
}

/* The CA let the attempt through. With mutex; may let go of it. */
static void ca_works(struct acme *a, struct managed_ca *ca)
{
    bool clear = ca->recorded;
    ca->proven = true;
    ca->failures = 0;
    ca->recorded = false;
    ca->hold_until_mono_ms = 0;
    ca->last_error[0] = '\0';
    if (clear) {
        pthread_mutex_unlock(&a->mutex);
        stored_schedule_clear(a->store, ca->store_name, ca->record_name);
        pthread_mutex_lock(&a->mutex);
    }
}

/* The CA as a whole could not be used: every name there waits. Kept across restarts when the CA
 * itself answered; a CA that cannot be reached at all learns nothing from one more try. With
 * mutex; lets go of it. */
static void ca_fails(struct acme *a, struct managed_ca *ca, const struct failure *f)
{
    ca->proven = false;
    ca->failures++;
    uint64_t random = rand_below(UINT64_MAX);
    int64_t wait = f->kind == FAILURE_REFUSED ? schedule_order_backoff_ms(ca->failures, 0, random)
                                              : schedule_ca_backoff_ms(ca->failures, random);
    bool told = f->retry_after_ms > wait;
    wait = told ? f->retry_after_ms : wait;
    ca->hold_until_mono_ms = clock_mono_ms() + wait;
    text_set(ca->last_error, sizeof(ca->last_error), f->err.text);
    LIST_EACH (node, &a->names) {
        struct managed *other = LIST_ENTRY(node, struct managed, node);
        other->tell = other->tell || (other->from->ca == ca && other->loaded);
    }
    struct schedule s = {.failures = ca->failures,
                         .told_by_ca = told,
                         .next_attempt_ms = clock_wall_ms() + wait,
                         .last_attempt_ms = clock_wall_ms()};
    text_set(s.last_error, sizeof(s.last_error), f->err.text);
    ca->recorded = ca->recorded || f->status != 0;
    pthread_mutex_unlock(&a->mutex);
    struct err err;
    if (f->status != 0 &&
        !stored_schedule_save(a->store, ca->store_name, ca->record_name, &s, &err)) {
        log_event(LOG_WARN, "acme", "the CA's back-off could not be saved",
                  LOG_Z("error", err.text));
    }
    log_event(LOG_ERROR, "acme", "the CA cannot be used now", LOG_S("ca", ca->store_name),
              LOG_Z("error", f->err.text), LOG_I("next_attempt_in_s", wait / 1000));
    pthread_mutex_lock(&a->mutex);
}

static void keep_unsaved(struct managed *m, struct store_pair *pair)
{
    if (m->has_unsaved) {
        store_pair_fini(&m->unsaved);
    }
    m->unsaved = *pair; /* moved */
    m->unsaved_ca = m->from->ca;
    m->has_unsaved = true;
    store_pair_init(pair);
}

/* What is known about when to renew the certificate that came. Without mutex. */
static struct ari next_ari(struct acme *a, const struct managed *m, const struct attempt *t,
                           bool obtained)
{
    struct ari ari;
    int64_t now = clock_wall_ms();
    const struct managed_ca *ca = m->from->ca;
    ari_load(a->store, ca->store_name, name_of(m), now, &ari);
    if (obtained && !is_local(ca)) {
        bool hurried = t->known_is_ours && !t->by_hand &&
                       ari_hurries(&m->ari, &m->facts, m->ratio_ppm, now);
        ari_replaced(&ari, hurried, now);
        ari_save(a->store, ca->store_name, name_of(m), &ari);
    }
    return ari;
}

/* A certificate came. Without mutex. */
static void take_certificate(struct acme *a, struct managed *m, struct attempt *t, bool obtained)
{
    announce(a, m, &t->pair);
    struct ari ari = next_ari(a, m, t, obtained);
    pthread_mutex_lock(&a->mutex);
    managed_adopt(m, m->from->ca, &t->facts, &ari);
    int64_t hold = t->hold_ms > OBTAINED_HOLD_MS ? t->hold_ms : OBTAINED_HOLD_MS;
    m->last_error[0] = '\0';
    if (!t->saved) {
        keep_unsaved(m, &t->pair);
        text_set(m->last_error, sizeof(m->last_error), t->failure.err.text);
        hold = UNSAVED_HOLD_MS;
    }
    m->hold_until_mono_ms = clock_mono_ms() + hold;
    pthread_mutex_unlock(&a->mutex);
    if (t->saved) {
        announce_change(a, m, m->from->ca);
    } else {
        log_event(LOG_ERROR, "acme", "a new certificate could not be saved",
                  LOG_S("name", name_of(m)), LOG_Z("error", t->failure.err.text));
    }
}

/* The issuer that was asked is left alone for this name. A store that takes nothing is no
 * issuer's: there is no use in asking another. With mutex. */
static void hold_source(struct managed *m, int64_t ms, bool told)
{
    if (m->ready && !told) {
        /* Near the end of what is served there is another rule: see schedule_hurry. */
        int64_t end = schedule_emergency_at_ms(m->facts.not_before_ms, m->facts.not_after_ms) -
                      clock_wall_ms();
        int64_t most = end > SCHEDULE_EMERGENCY_WAIT_MS ? end : SCHEDULE_EMERGENCY_WAIT_MS;
        ms = ms < most ? ms : most;
    }
    m->from->hold_until_mono_ms = clock_mono_ms() + ms;
}

static void take_failure(struct acme *a, struct managed *m, struct attempt *t)
{
    pthread_mutex_lock(&a->mutex);
    if (t->failure.kind == FAILURE_STOPPED) {
        pthread_mutex_unlock(&a->mutex);
        return;
    }
    bool of_ca = t->hold_ms < 0;
    if (t->failure.kind == FAILURE_STORE) {
        m->hold_until_mono_ms = clock_mono_ms() + t->hold_ms;
    } else {
        hold_source(m, of_ca ? 0 : t->hold_ms, t->failure.retry_after_ms > 0);
    }
    /* What the owner is asked for is said once. */
    bool said = t->failure.kind == FAILURE_OWNER &&
                slice_eq(slice_str(m->last_error),
                         slice_upto(slice_str(t->failure.err.text), sizeof(m->last_error) - 1));
    text_set(m->last_error, sizeof(m->last_error), t->failure.err.text);
    if (of_ca) {
        ca_fails(a, m->from->ca, &t->failure);
    } else if (!is_local(m->from->ca) && t->failure.kind != FAILURE_STORE) {
        ca_works(a, m->from->ca);
    }
    pthread_mutex_unlock(&a->mutex);
    if (!of_ca && !said) {
        log_event(LOG_ERROR, "acme", "no certificate", LOG_S("name", name_of(m)),
                  LOG_S("ca", m->from->ca->store_name), LOG_Z("error", t->failure.err.text),
                  LOG_I("failures", t->failures), LOG_I("next_attempt_in_s", t->hold_ms / 1000),
                  LOG_Z("see", "caddis doctor"));
    }
}

/* caddis account rollover came in the middle: no failure of anybody's, the order goes on. */
static void go_on_with_another_key(struct acme *a, struct managed *m)
{
    pthread_mutex_lock(&a->mutex);
    m->hold_until_mono_ms = clock_mono_ms() + ANOTHER_KEY_HOLD_MS;
    pthread_mutex_unlock(&a->mutex);
    log_event(LOG_INFO, "acme", "the account has another key meanwhile; going on with that one",
              LOG_S("name", name_of(m)), LOG_S("ca", m->from->ca->store_name));
}

static void take_result(struct acme *a, struct managed *m, struct attempt *t,
                        enum attempt_result result)
{
    switch (result) {
    case ATTEMPT_OBTAINED:
    case ATTEMPT_FOUND:
        take_certificate(a, m, t, result == ATTEMPT_OBTAINED);
        if (result == ATTEMPT_OBTAINED && !is_local(m->from->ca)) {
            pthread_mutex_lock(&a->mutex);
            ca_works(a, m->from->ca);
            pthread_mutex_unlock(&a->mutex);
        }
        if (result == ATTEMPT_FOUND && !t->lost) {
            log_event(LOG_INFO, "acme", "another process obtained the certificate",
                      LOG_S("name", name_of(m)));
        }
        break;
    case ATTEMPT_BUSY:
        pthread_mutex_lock(&a->mutex);
        m->hold_until_mono_ms = clock_mono_ms() + BUSY_HOLD_MS;
        m->renew_at_ms = t->by_hand ? 0 : m->renew_at_ms; /* what the other one gets will do */
        pthread_mutex_unlock(&a->mutex);
        break;
    case ATTEMPT_WAIT:
        pthread_mutex_lock(&a->mutex);
        hold_source(m, t->hold_ms, true);
        if (t->failure.err.text[0]) {
            text_set(m->last_error, sizeof(m->last_error), t->failure.err.text);
        }
        pthread_mutex_unlock(&a->mutex);
        break;
    case ATTEMPT_FAILED:
        if (t->another_key) {
            go_on_with_another_key(a, m);
        } else {
            take_failure(a, m, t);
        }
        break;
    }
}

static void attempt(struct acme *a, struct managed *m, struct session **session, bool by_hand)
{
    struct say_ctx ctx = {a, m};
    int64_t end = schedule_emergency_at_ms(m->facts.not_before_ms, m->facts.not_after_ms);
    const struct managed_ca *ca = m->from->ca;
    struct attempt t = {.store = a->store,
                        .challenges = a->challenges,
                        .stop = &a->stop,
                        .name = name_of(m),
                        .ca = ca->store_name,
                        .issuer = &ca->issuer,
                        .session = session,
                        .leaf_lifetime_ms = ca->issuer.leaf_lifetime_ms > 0
                                                ? ca->issuer.leaf_lifetime_ms
                                                : a->leaf_lifetime_ms,
                        .has_cert = m->has_cert,
                        .known = m->facts,
                        .key_type = m->key_type,
                        .reuse_key = m->reuse_key,
                        .ratio_ppm = m->ratio_ppm,
                        .in_window = ari_in_window(&m->ari, &m->facts, clock_wall_ms()),
                        .emergency = m->has_cert && clock_wall_ms() >= end,
                        .by_hand = by_hand,
                        .known_is_ours = m->has_cert && m->cert_ca == ca,
                        .lost = m->lost && m->has_cert && m->cert_ca == ca,
                        .callbacks = &a->callbacks,
                        .say = say,
                        .say_ctx = &ctx};
    attempt_init(&t);
    enum attempt_result result = is_local(ca) ? attempt_local(&t) : attempt_acme(&t);
    take_result(a, m, &t, result);
    m->lost = m->lost && result != ATTEMPT_OBTAINED && result != ATTEMPT_FOUND;
    attempt_fini(&t);
    managed_report(a, m, result == ATTEMPT_BUSY ? "another process is obtaining the certificate"
                                                : NULL);
}

/* Gives a certificate that is served already to the store, once it takes it again. */
static void save_unsaved(struct acme *a, struct managed *m)
{
    struct err err;
    bool saved = stored_save(a->store, m->unsaved_ca->store_name, name_of(m), &m->unsaved, &err);
    if (saved) {
        order_saved_delete(a->store, m->unsaved_ca->store_name, name_of(m));
        log_event(LOG_INFO, "acme", "the certificate is saved now", LOG_S("name", name_of(m)));
        announce_change(a, m, m->unsaved_ca);
    }
    pthread_mutex_lock(&a->mutex);
    if (saved) {
        store_pair_fini(&m->unsaved);
        m->has_unsaved = false;
        m->last_error[0] = '\0';
    } else if (m->ready && (m->by_hand || m->renew_at_ms <= clock_wall_ms())) {
        /* The next certificate matters more than keeping this one. */
        store_pair_fini(&m->unsaved);
        m->has_unsaved = false;
    }
    m->hold_until_mono_ms = clock_mono_ms() + UNSAVED_HOLD_MS;
    pthread_mutex_unlock(&a->mutex);
    managed_report(a, m, NULL);
}

/* Names on demand are renewed as long as somebody permits them. Without mutex, m being busy. */
static bool may_attempt(struct acme *a, struct managed *m)
{
    if (!m->ask_first || !m->has_cert || !a->callbacks.may_renew) {
        return true;
    }
    enum acme_permission p = a->callbacks.may_renew(a->callbacks.ctx, name_of(m));
    if (p == ACME_PERMITTED) {
        return true;
    }
    pthread_mutex_lock(&a->mutex);
    m->hold_until_mono_ms =
        clock_mono_ms() + (p == ACME_PERMISSION_LATER ? PERMISSION_HOLD_MS : REFUSED_HOLD_MS);
    pthread_mutex_unlock(&a->mutex);
    return false;
}

void managed_work(struct acme *a, struct managed *m)
{
    int64_t mono = clock_mono_ms(), wall = clock_wall_ms();
    bool ask = managed_attempt_due_ms(m, mono, wall) > 0;
    struct managed_ca *ca = due_ca(m, mono, wall);
    if (!ask) {
        m->from = next_source(m, mono);
    }
    struct session *session = ca->idle_count ? ca->idle[--ca->idle_count] : NULL;
    bool save = m->has_unsaved, by_hand = m->by_hand, later = false;
    m->busy = true;
    ca->in_flight++;
    pthread_mutex_unlock(&a->mutex);
    if (ask) {
        managed_ask(a, m, &session);
    } else if (save) {
        save_unsaved(a, m);
    } else {
        later = !may_attempt(a, m);
        if (!later) {
            attempt(a, m, &session, by_hand);
        }
    }
    pthread_mutex_lock(&a->mutex);
    if (session && ca->idle_count < MANAGER_PER_CA_MAX) {
        ca->idle[ca->idle_count++] = session;
        session = NULL;
    }
    ca->in_flight--;
    m->busy = false;
    m->by_hand = m->by_hand && (ask || save || later); /* one attempt, whatever came of it */
    a->wake = true;
    pthread_cond_signal(&a->main_cond);
    if (session) {
        pthread_mutex_unlock(&a->mutex);
        session_free(session);
        pthread_mutex_lock(&a->mutex);
    }
}

void managed_free(struct managed *m)
{
    if (m->has_unsaved) {
        store_pair_fini(&m->unsaved);
    }
    free(m->name);
    free(m);
}
