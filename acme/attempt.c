/* In: a name, its issuer, the store. Out: a certificate, or what to wait for. The attempt owns the
 * pair; the session is the caller's to keep. */
#include "acme/attempt.h"

#include "acme/account.h"
#include "acme/ari.h"
#include "acme/authorise.h"
#include "acme/challenge_persist.h"
#include "acme/issuer.h"
#include "acme/key.h"
#include "acme/ledger.h"
#include "acme/local_ca.h"
#include "acme/order.h"
#include "acme/rehearse.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/rand.h"

#define STORE_HOLD_MS (10 * SCHEDULE_SECOND_MS)
/* Between two looks whether the owner has put the record that was asked for. */
#define OWNER_HOLD_MS (30 * SCHEDULE_SECOND_MS)
/* How many times one order may run out of time: with the first one's waits, over an hour. */
#define SLOW_LOOKS_MAX 3

void attempt_init(struct attempt *t)
{
    store_pair_init(&t->pair);
    t->saved = true;
    t->hold_ms = 0;
    t->failure = (struct failure){.retry_after_ms = -1};
}

void attempt_fini(struct attempt *t)
{
    store_pair_fini(&t->pair);
}

int64_t attempt_renew_at_ms(const struct cert_facts *facts, unsigned ratio_ppm)
{
    const struct ari none = {.end_ms = 0};
    return ari_renew_at_ms(&none, facts, ratio_ppm);
}

bool attempt_servable(const struct cert_facts *facts, int64_t now_ms)
{
    return facts->not_after_ms > now_ms;
}

static int64_t lifetime_ms(const struct attempt *t)
{
    return t->has_cert ? t->known.not_after_ms - t->known.not_before_ms : 0;
}

static enum attempt_result store_trouble(struct attempt *t, const char *what, const char *why)
{
    (void)failure_set(&t->failure, FAILURE_STORE, "%s: %s", what, why);
    t->hold_ms = STORE_HOLD_MS;
    return ATTEMPT_FAILED;
}

bool attempt_of_present_root(struct store *s, struct slice chain_pem)
{
    X509 *root = local_ca_root_of(s);
    struct cert_chain chain;
    int64_t now_ms = clock_wall_ms();
    bool ok = root && !local_ca_from_the_future(root, now_ms) &&
              cert_chain_ends_at(chain_pem, root) && cert_chain_parse(chain_pem, &chain, NULL);
    if (ok) {
        ok = !local_ca_from_the_future(chain.certs[0], now_ms);
        cert_chain_free(&chain);
    }
    X509_free(root);
    return ok;
}

/* Is there something in the store that is better than what is served? */
static bool look_again(struct attempt *t, int64_t now_ms)
{
    struct err err;
    bool local = t->issuer->kind == ACME_ISSUER_LOCAL;
    if (stored_pair(t->store, t->ca, t->name, &t->pair, &t->facts, &err) == STORED_OK &&
        attempt_servable(&t->facts, now_ms) &&
        (!local || attempt_of_present_root(t->store, dstr_slice(&t->pair.chain_pem)))) {
        bool same = t->has_cert &&
                    memcmp(t->facts.hash, t->known.hash, sizeof(t->facts.hash)) == 0;
        if (!same && attempt_renew_at_ms(&t->facts, t->ratio_ppm) > now_ms) {
            return true;
        }
    }
    store_pair_fini(&t->pair);
    store_pair_init(&t->pair);
    return false;
}

/* A store that forgot (a Redis that keeps nothing on disk, a folder that was removed) is no reason
 * to order: every name at once would meet the CA's limits. */
static bool put_back(struct attempt *t)
{
    struct err err;
    const struct acme_callbacks *c = t->callbacks;
    if (!t->lost || !c->served ||
        !c->served(c->ctx, t->name, &t->pair.chain_pem, &t->pair.key_pem) ||
        !cert_check(dstr_slice(&t->pair.chain_pem), NULL, &t->name, 1, CERT_NAMES_INCLUDE,
                    &t->facts, &err) ||
        memcmp(t->facts.hash, t->known.hash, sizeof(t->facts.hash)) != 0) {
        t->lost = false;
    } else {
        stored_meta(t->name, t->issuer->directory_url, (struct slice){NULL, 0},
                    &t->pair.meta_json);
        t->lost = stored_save(t->store, t->ca, t->name, &t->pair, &err);
    }
    if (t->lost) {
        log_event(LOG_WARN, "acme", "the store had lost the certificate that is served: it is put"
                  " back (for another one: caddis renew NAME)", LOG_S("name", t->name));
        return true;
    }
    store_pair_fini(&t->pair);
    store_pair_init(&t->pair);
    return false;
}

/* A certificate that is due the moment it comes (a CA with odd dates) must not be ordered again
 * and again: the record then holds the next order back for half of what is left. */
static void record_success(struct attempt *t, int64_t now_ms)
{
    struct err err;
    struct schedule none = {.failures = 0};
    if (attempt_renew_at_ms(&t->facts, t->ratio_ppm) > now_ms) {
        stored_schedule_clear(t->store, t->ca, t->name);
        return;
    }
    none.told_by_ca = true;
    none.next_attempt_ms = now_ms + (t->facts.not_after_ms - now_ms) / 2;
    t->hold_ms = none.next_attempt_ms - now_ms;
    if (!stored_schedule_save(t->store, t->ca, t->name, &none, &err)) {
        log_event(LOG_WARN, "acme", "the schedule could not be saved", LOG_Z("error", err.text));
    }
}

static enum attempt_result keep_result(struct attempt *t, struct order_run *run)
{
    struct err err;
    int64_t now_ms = clock_wall_ms();
    dstr_append(&t->pair.chain_pem, dstr_slice(&run->chain_pem));
    if (!key_to_pem(run->saved.key, &t->pair.key_pem, &err) || t->pair.chain_pem.failed ||
        !cert_check(dstr_slice(&t->pair.chain_pem), run->saved.key, &t->name, 1,
                    CERT_NAMES_EXACT, &t->facts, &err)) {
        return store_trouble(t, "keeping the certificate", err.text);
    }
    stored_meta(t->name, t->issuer->directory_url, run->certificate_url, &t->pair.meta_json);
    t->saved = stored_save(t->store, t->ca, t->name, &t->pair, &err);
    if (t->saved) {
        /* Only now: until the pair is safe a restart downloads it again by its order. */
        order_saved_delete(t->store, t->ca, t->name);
    } else {
        (void)failure_set(&t->failure, FAILURE_STORE,
                          "the new certificate is served but could not be saved: %s", err.text);
    }
    record_success(t, now_ms);
    log_event(LOG_INFO, "acme", "certificate obtained", LOG_S("name", t->name),
              LOG_S("ca", t->ca),
              LOG_I("lifetime_s", (t->facts.not_after_ms - t->facts.not_before_ms) / 1000),
              LOG_I("renewed_in_s",
                    (attempt_renew_at_ms(&t->facts, t->ratio_ppm) - now_ms) / 1000));
    return ATTEMPT_OBTAINED;
}

static bool connect_session(struct attempt *t, struct failure *f)
{
    struct err err;
    if (!*t->session) {
        struct transport_options options = {.root_files = t->issuer->root_files,
                                            .root_file_count = t->issuer->root_file_count,
                                            .timeout_ms = t->issuer->timeout_ms};
        *t->session = session_new(t->issuer->directory_url, &options, t->stop, &err);
    }
    if (!*t->session) {
        return failure_set(f, FAILURE_REFUSED, "the CA's own roots: %s", err.text);
    }
    return session_directory(*t->session, f) &&
           account_ready(*t->session, t->store, t->issuer, t->ca, (struct slice){NULL, 0}, f);
}

/* The CA has forgotten the account (RFC 8555 section 6.7): registered again with the same key, so
 * that CAA records and bindings that name it may go on. */
static bool account_again(struct attempt *t, struct failure *f)
{
    struct session *s = *t->session;
    struct arena a;
    arena_init(&a, 8192);
    struct slice lost = arena_copy(&a, dstr_slice(&s->kid));
    log_event(LOG_WARN, "acme", "the CA does not know the account any more; registering it again",
              LOG_S("ca", t->ca), LOG_S("account", lost));
    bool ok = account_ready(s, t->store, t->issuer, t->ca, lost, f);
    arena_fini(&a);
    return ok;
}

static void drop_session(struct attempt *t)
{
    session_free(*t->session);
    *t->session = NULL;
}

/* What a failure means for the name's record. before: the record as it was before this attempt
 * counted itself. */
static enum attempt_result settle(struct attempt *t, struct schedule *s,
                                  const struct schedule *before, bool ordered)
{
    struct err err;
    struct failure *f = &t->failure;
    int64_t now_ms = clock_wall_ms();
    if (f->kind == FAILURE_STOPPED) {
        return ATTEMPT_FAILED; /* the record says "in progress": the next start goes on */
    }
    if (f->kind == FAILURE_OWNER) {
        *s = *before; /* looking again costs nothing */
        t->hold_ms = OWNER_HOLD_MS;
        if (!stored_schedule_save(t->store, t->ca, t->name, s, &err)) {
            return store_trouble(t, "saving the schedule", err.text);
        }
        return ATTEMPT_FAILED;
    }
    drop_session(t);
    if (problem_is(&f->problem, "accountDoesNotExist")) {
        f->kind = FAILURE_CA; /* the CA lost its memory: soon again, with a new registration */
    }
    if (f->kind == FAILURE_ORDER || f->kind == FAILURE_SLOW || f->kind == FAILURE_STORE) {
        schedule_fail(s, now_ms, lifetime_ms(t), f->retry_after_ms, slice_str(f->err.text),
                      rand_below(UINT64_MAX));
        if (f->kind == FAILURE_ORDER) {
            order_saved_delete(t->store, t->ca, t->name);
        }
    } else if (!ordered) {
        *s = *before; /* no order was made: the wait is the CA's */
    }
    if (!stored_schedule_save(t->store, t->ca, t->name, s, &err)) {
        log_event(LOG_ERROR, "acme", "the schedule could not be saved", LOG_S("name", t->name),
                  LOG_Z("error", err.text));
    }
    t->failures = s->failures;
    bool of_ca = f->kind == FAILURE_UNREACHABLE || f->kind == FAILURE_CA ||
                 f->kind == FAILURE_REFUSED;
    t->hold_ms = of_ca ? -1 : schedule_wait_ms(s, now_ms, false);
    if (f->kind == FAILURE_STORE && t->hold_ms < STORE_HOLD_MS) {
        t->hold_ms = STORE_HOLD_MS;
    }
    return ATTEMPT_FAILED;
}

static struct ledger ledger_of(const struct attempt *t, const struct order_run *run)
{
    return (struct ledger){.store = t->store,
                           .directory_url = t->issuer->directory_url,
                           .ca = t->ca,
                           .account = t->issuer->email.n ? t->issuer->email : S("default"),
                           .name = t->name,
                           .renewal = t->has_cert && t->known_is_ours,
                           .replaces = run->replaces.n > 0 && t->in_window};
}

/* How long the CA's limits hold up the next order. */
static int64_t limit_wait_ms(const struct attempt *t, const struct order_run *run, struct err *why)
{
    struct ledger l = ledger_of(t, run);
    return ledger_wait_ms(&l, clock_wall_ms(), why);
}

/* What counts at the CA is written down, whatever became of it. */
static void count(const struct attempt *t, const struct order_run *run, bool ok)
{
    struct ledger l = ledger_of(t, run);
    int64_t now_ms = clock_wall_ms();
    if (run->saved.url.n > 0 || run->perhaps_made) {
        ledger_count(&l, LEDGER_ORDER, now_ms);
    }
    if (ok) {
        ledger_count(&l, LEDGER_CERTIFICATE, now_ms);
    } else if (run->validation_failed) {
        l.replaces = false;
        ledger_count(&l, LEDGER_FAILURE, now_ms);
    }
}

/* From the second attempt on a set-up that does not work is found out where it costs nothing. A
 * test CA that has troubles of its own is no reason to wait, and near the end of what is served
 * nothing is. */
static bool rehearsal_allows(struct attempt *t, const struct schedule *before, struct failure *f)
{
    /* The record of dns-persist-01 names the account, and the test CA's is another one. */
    struct slice test_url = issuer_test_url(t->issuer);
    bool possible = test_url.n > 0 && !slice_eq(test_url, t->issuer->directory_url) &&
                    !challenge_persist_used(&t->issuer->solvers, t->name);
    if (before->failures == 0 || t->emergency || !possible || rehearse(t, f)) {
        return true;
    }
    if (f->kind == FAILURE_ORDER || f->kind == FAILURE_STOPPED) {
        return false;
    }
    log_event(LOG_WARN, "acme", "the test CA cannot be used; ordering without a rehearsal",
              LOG_S("name", t->name), LOG_Z("error", f->err.text));
    *f = (struct failure){.retry_after_ms = -1};
    return true;
}

/* The key of the certificate that is served, if it is to be used again and is of the right kind. */
static void reuse_key(const struct attempt *t, struct order_run *run)
{
    struct store_pair pair;
    struct cert_facts facts;
    struct err err;
    if (!t->reuse_key || run->old_key) {
        return;
    }
    store_pair_init(&pair);
    if (stored_pair(t->store, t->ca, t->name, &pair, &facts, &err) == STORED_OK) {
        run->old_key = key_from_pem(dstr_slice(&pair.key_pem), &err);
    }
    store_pair_fini(&pair);
    if (run->old_key && !key_is(run->old_key, (enum key_type)t->key_type)) {
        EVP_PKEY_free(run->old_key);
        run->old_key = NULL;
    }
}

/* A no to what was signed with a key that the account has no more (caddis account rollover): the
 * order lives, and goes on with the new key. True: so it is. */
static bool of_old_key(struct attempt *t, struct failure *f)
{
    bool refused = f->kind == FAILURE_REFUSED || f->kind == FAILURE_ORDER;
    if (!refused || f->status == 0 ||
        !account_key_changed(*t->session, t->store, t->issuer, t->ca)) {
        return false;
    }
    f->kind = FAILURE_CA;
    t->another_key = true;
    return true;
}

/* A new order, counted before it is made. */
static enum attempt_result order_afresh(struct attempt *t, struct order_run *run,
                                        struct schedule *s)
{
    struct err err;
    struct failure *f = &t->failure;
    struct schedule before = *s;
    /* One that was cut off may have failed at the CA all the same. */
    run->failures = before.failures + before.interrupted;
    t->failures = run->failures;
    schedule_begin(s, clock_wall_ms(), lifetime_ms(t), rand_below(UINT64_MAX));
    if (!stored_schedule_save(t->store, t->ca, t->name, s, &err)) {
        return store_trouble(t, "nothing is ordered, because the attempt cannot be recorded",
                             err.text);
    }
    if (!rehearsal_allows(t, &before, f)) {
        return settle(t, s, &before, true);
    }
    reuse_key(t, run);
    bool ok = order_new(run, f);
    if (!ok && problem_is(&f->problem, "accountDoesNotExist") && run->saved.url.n == 0) {
        reuse_key(t, run);
        ok = account_again(t, f) && order_new(run, f);
    }
    count(t, run, ok);
    (void)(!ok && of_old_key(t, f));
    while (!ok && limit_wait_ms(t, run, &err) == 0 && authorise_other_way(run, f)) {
        *f = (struct failure){.retry_after_ms = -1};
        reuse_key(t, run);
        ok = order_new(run, f);
        count(t, run, ok);
    }
    if (ok) {
        return keep_result(t, run);
    }
    return settle(t, s, &before, run->saved.url.n > 0 || run->perhaps_made);
}

/* An order that never gets on is left in the end, or its name would wait for ever. */
static void give_up_slow(struct attempt *t, struct schedule *s)
{
    if (t->failure.kind != FAILURE_SLOW) {
        return;
    }
    s->failures++;
    if (s->failures >= SLOW_LOOKS_MAX) {
        log_event(LOG_WARN, "acme", "the CA's order does not get on; it is given up",
                  LOG_S("name", t->name));
        order_saved_delete(t->store, t->ca, t->name);
    }
}

static void count_resumed(const struct attempt *t, const struct order_run *run, bool ok)
{
    struct ledger l = ledger_of(t, run);
    if (ok || run->validation_failed) {
        ledger_count(&l, ok ? LEDGER_CERTIFICATE : LEDGER_FAILURE, clock_wall_ms());
    }
}

/* True when there was an order and the attempt is over with *result; false: make a new one. */
static bool resume(struct attempt *t, struct order_run *run, struct schedule *s,
                   enum attempt_result *result)
{
    struct err err;
    if (order_saved_load(t->store, t->ca, t->name, &run->saved, &err) != STORE_OK) {
        dstr_reset(&run->saved.url);
        return false;
    }
    run->session = *t->session;
    bool ok = order_resume(run, &t->failure);
    count_resumed(t, run, ok);
    if (ok) {
        *result = keep_result(t, run);
        return true;
    }
    if (!run->order_dead || of_old_key(t, &t->failure)) {
        give_up_slow(t, s);
        *result = settle(t, s, s, true);
        return true;
    }
    log_event(LOG_INFO, "acme", "the order cannot be resumed", LOG_S("name", t->name),
              LOG_Z("reason", t->failure.err.text));
    order_saved_delete(t->store, t->ca, t->name);
    dstr_reset(&run->saved.url);
    return false;
}

static enum attempt_result obtain(struct attempt *t, struct order_run *run, struct schedule *s)
{
    enum attempt_result result;
    if (!connect_session(t, &t->failure)) {
        if (t->failure.kind != FAILURE_STOPPED) {
            drop_session(t);
        }
        bool own = t->failure.kind == FAILURE_STORE;
        t->hold_ms = own ? STORE_HOLD_MS : -1;
        return ATTEMPT_FAILED;
    }
    if (resume(t, run, s, &result)) {
        return result;
    }
    /* An attempt that was cut off: allowed again at once a few times, then waited for. */
    if (s->in_progress && !schedule_forgive_interruption(s)) {
        struct err err;
        t->hold_ms = schedule_wait_ms(s, clock_wall_ms(), false);
        if (!stored_schedule_save(t->store, t->ca, t->name, s, &err)) {
            return store_trouble(t, "saving the schedule", err.text);
        }
        if (t->hold_ms > 0) {
            return ATTEMPT_WAIT;
        }
    }
    run->session = *t->session;
    if (t->has_cert && t->known_is_ours && (*t->session)->directory.renewal_info.n) {
        run->replaces = slice_str(t->known.id);
    }
    struct err why;
    int64_t wait = limit_wait_ms(t, run, &why);
    if (wait > 0) {
        (void)failure_set(&t->failure, FAILURE_ORDER, "%s", why.text);
        t->hold_ms = wait;
        return ATTEMPT_WAIT;
    }
    return order_afresh(t, run, s);
}

static enum attempt_result attempt_locked(struct attempt *t)
{
    struct err err;
    struct schedule s;
    int64_t now_ms = clock_wall_ms();
    if (!t->by_hand && (look_again(t, now_ms) || put_back(t))) {
        return ATTEMPT_FOUND;
    }
    stored_schedule(t->store, t->ca, t->name, &s);
    if (t->emergency) {
        (void)schedule_hurry(&s, now_ms);
    }
    if (t->by_hand && !s.told_by_ca) {
        s.next_attempt_ms = 0;
    }
    t->failures = s.failures;
    t->hold_ms = schedule_wait_ms(&s, now_ms, stored_has_order(t->store, t->ca, t->name));
    if (t->hold_ms > 0) {
        (void)failure_set(&t->failure, FAILURE_ORDER, "%s", s.last_error);
        return ATTEMPT_WAIT;
    }
    if (!store_check_writable(t->store, &err)) {
        return store_trouble(t, "nothing is ordered, because the store cannot be written",
                             err.text);
    }
    struct order_run run = {.store = t->store,
                            .issuer = t->issuer,
                            .key_type = (enum key_type)t->key_type,
                            .challenges = t->challenges,
                            .ca = t->ca,
                            .name = t->name,
                            .say = t->say,
                            .say_ctx = t->say_ctx};
    order_run_init(&run);
    enum attempt_result result = obtain(t, &run, &s);
    order_run_fini(&run);
    return result;
}

struct store_lock *attempt_lock(const struct attempt *t, struct err *err)
{
    struct arena a;
    arena_init(&a, 4096);
    err->text[0] = '\0';
    /* With the CA: an attempt that still hangs at another one, which the configuration has left
     * meanwhile, holds nobody up. */
    struct slice name =
        arena_printf(&a, "issue_cert_%.*s_%.*s", SLICE_ARG(t->ca), SLICE_ARG(t->name));
    struct store_lock *lock = store_lock(t->store, name, 0, stop_cancelled, t->stop, err);
    arena_fini(&a);
    return lock;
}

enum attempt_result attempt_acme(struct attempt *t)
{
    struct err err;
    struct store_lock *lock = attempt_lock(t, &err);
    if (!lock) {
        return err.text[0]
                   ? store_trouble(t, "nothing is ordered, because the store cannot be locked",
                                   err.text)
                   : ATTEMPT_BUSY;
    }
    enum attempt_result result = attempt_locked(t);
    store_unlock(lock);
    return result;
}

/* unlocked: why the name could not be locked; NULL: it is. */
static enum attempt_result issue_local(struct attempt *t, const struct err *unlocked)
{
    struct err err = {.text = ""};
    struct local_ca ca;
    int64_t now_ms = clock_wall_ms();
    if (!local_ca_ready(&ca, t->store, t->leaf_lifetime_ms, now_ms, t->stop, &err)) {
        return store_trouble(t, "no local certificate", err.text);
    }
    struct local_leaf leaf = {.name = t->name,
                              .lifetime_ms = t->leaf_lifetime_ms,
                              .key_type = (enum key_type)t->key_type,
                              .root_of = t->issuer->sign_with_root ? t->store : NULL};
    bool ok = local_ca_issue(&ca, &leaf, now_ms, &t->pair, &err) &&
              cert_check(dstr_slice(&t->pair.chain_pem), NULL, &t->name, 1, CERT_NAMES_EXACT,
                         &t->facts, &err);
    local_ca_fini(&ca);
    if (!ok) {
        (void)failure_set(&t->failure, FAILURE_ORDER, "the local CA: %s", err.text);
        t->hold_ms = STORE_HOLD_MS;
        return ATTEMPT_FAILED;
    }
    stored_meta(t->name, (struct slice){NULL, 0}, (struct slice){NULL, 0}, &t->pair.meta_json);
    t->saved = !unlocked && stored_save(t->store, t->ca, t->name, &t->pair, &err);
    if (!t->saved) {
        (void)failure_set(&t->failure, FAILURE_STORE,
                          "the new certificate is served but could not be saved: %s",
                          unlocked ? unlocked->text : err.text);
    }
    log_event(LOG_INFO, "acme", "local certificate issued", LOG_S("name", t->name),
              LOG_I("lifetime_s", (t->facts.not_after_ms - t->facts.not_before_ms) / 1000),
              LOG_I("renewed_in_s",
                    (attempt_renew_at_ms(&t->facts, t->ratio_ppm) - now_ms) / 1000));
    return ATTEMPT_OBTAINED;
}

enum attempt_result attempt_local(struct attempt *t)
{
    struct err err;
    struct store_lock *lock = attempt_lock(t, &err);
    if (!lock && !err.text[0]) {
        return ATTEMPT_BUSY;
    }
    /* A store that cannot be written (no lock) keeps no leaf, but one can be signed all the same
     * as long as the CA itself can be read. */
    enum attempt_result result = ATTEMPT_FOUND;
    if (t->by_hand || !look_again(t, clock_wall_ms())) {
        result = issue_local(t, lock ? NULL : &err);
    }
    if (lock) {
        store_unlock(lock);
    }
    return result;
}
