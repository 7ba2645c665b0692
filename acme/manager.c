/* The public face: starting, stopping, the set of names, and the main ACME thread's loop. In: a
 * configuration. Out: work given to work.c when it is due. struct acme owns its names, CAs and
 * threads; store, challenge table and callbacks are borrowed. See manager.h for the rules. */
#include "acme/manager.h"

#include <signal.h>
#include <time.h>

#include "acme/glance.h"
#include "acme/issuer.h"
#include "acme/key.h"
#include "acme/local_ca.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

/* The main thread looks at the wall clock at least this often, so that a clock that jumps and a
 * machine that slept are noticed. */
#define LOOK_MS (10 * SCHEDULE_SECOND_MS)
#define RENEW_INTERVAL_MS (10 * SCHEDULE_MINUTE_MS)
#define ROOT_HOLD_MS (10 * SCHEDULE_SECOND_MS)

struct pending_config {
    struct arena arena;
    struct acme_config config; /* strings in arena */
};

static struct managed_ca *find_ca(struct acme *a, const struct acme_issuer *issuer)
{
    LIST_EACH (node, &a->cas) {
        struct managed_ca *ca = LIST_ENTRY(node, struct managed_ca, node);
        if (issuer_same(&ca->issuer, issuer)) {
            return ca;
        }
    }
    return NULL;
}

static struct managed_ca *new_ca(struct acme *a, const struct acme_issuer *issuer)
{
    struct managed_ca *ca = mem_zalloc(sizeof(*ca));
    arena_init(&ca->arena, ARENA_NO_MAX);
    ca->issuer = issuer_copy(&ca->arena, issuer);
    ca->store_name = issuer_store_name(&ca->arena, &ca->issuer);
    /* Another account, binding or root is another record: what was refused before the
     * configuration was mended does not hold up the mended one. */
    struct dstr all;
    char print[17];
    dstr_init(&all, 65536);
    dstr_printf(&all, "%.*s\n%.*s\n%.*s\n%.*s", SLICE_ARG(issuer->email),
                SLICE_ARG(issuer->zerossl_key), SLICE_ARG(issuer->eab_key_id),
                SLICE_ARG(issuer->eab_mac_key));
    for (size_t i = 0; i < issuer->root_file_count; i++) {
        dstr_printf(&all, "\n%.*s", SLICE_ARG(issuer->root_files[i]));
    }
    key_fingerprint(dstr_slice(&all), print);
    key_text_fini(&all);
    ca->record_name = arena_printf(&ca->arena, "_account_%s", print);
    must(!ca->arena.failed);
    if (issuer->kind == ACME_ISSUER_ACME) {
        managed_ca_load(a, ca);
    }
    return ca;
}

static void free_ca(struct managed_ca *ca)
{
    for (size_t i = 0; i < ca->idle_count; i++) {
        session_free(ca->idle[i]);
    }
    issuer_wipe(&ca->issuer);
    arena_fini(&ca->arena);
    free(ca);
}

/* With mutex. Names that are gone wait here until the attempt under way has let go of them. */
static void free_unused(struct acme *a)
{
    LIST_EACH_SAFE (node, &a->gone_names) {
        struct managed *m = LIST_ENTRY(node, struct managed, node);
        if (!m->busy) {
            list_remove(node);
            for (size_t i = 0; i < m->source_count; i++) {
                m->sources[i].ca->names--;
            }
            managed_free(m);
        }
    }
    LIST_EACH_SAFE (node, &a->cas) {
        struct managed_ca *ca = LIST_ENTRY(node, struct managed_ca, node);
        if (ca->names == 0 && ca->in_flight == 0) {
            list_remove(node);
            free_ca(ca);
        }
    }
}

/* With mutex; may let go of it. */
static struct managed_ca *ca_for(struct acme *a, const struct acme_issuer *issuer)
{
    struct managed_ca *ca = find_ca(a, issuer);
    if (!ca) {
        pthread_mutex_unlock(&a->mutex);
        ca = new_ca(a, issuer);
        pthread_mutex_lock(&a->mutex);
        list_push_back(&a->cas, &ca->node);
    }
    ca->names++;
    return ca;
}

static struct managed *new_name(struct acme *a, const struct acme_name *from)
{
    struct managed *m = mem_zalloc(sizeof(*m));
    m->name = mem_dup(from->name);
    m->source_count = from->issuer_count;
    m->from = &m->sources[0];
    m->key_type = from->key_type;
    m->reuse_key = from->reuse_key;
    m->ask_first = from->ask_first;
    m->ratio_ppm = from->ratio_ppm;
    for (size_t i = 0; i < m->source_count; i++) {
        m->sources[i].ca = ca_for(a, &from->issuers[i]);
    }
    return m;
}

/* Is what is asked for the name the same as before? */
static bool same_name(const struct managed *m, const struct acme_name *from)
{
    bool same = m->source_count == from->issuer_count && m->key_type == from->key_type &&
                m->reuse_key == from->reuse_key &&
                m->ask_first == from->ask_first && m->ratio_ppm == from->ratio_ppm;
    for (size_t i = 0; same && i < m->source_count; i++) {
        same = issuer_same(&m->sources[i].ca->issuer, &from->issuers[i]);
    }
    return same;
}

/* With mutex, on the main thread: the names become those of the configuration. */
static void apply_config(struct acme *a, const struct acme_config *config)
{
    struct map old;
    map_init(&old);
    LIST_EACH (node, &a->names) {
        struct managed *m = LIST_ENTRY(node, struct managed, node);
        (void)map_put(&old, slice_str(m->name), m);
    }
    struct list next;
    list_init(&next);
    struct map seen;
    map_init(&seen);
    for (size_t i = 0; i < config->name_count; i++) {
        const struct acme_name *from = &config->names[i];
        if (map_get(&seen, from->name)) {
            continue;
        }
        struct managed *m = map_get(&old, from->name);
        if (m && same_name(m, from)) {
            list_remove(&m->node);
        } else {
            m = new_name(a, from);
            list_init(&m->node);
        }
        list_push_back(&next, &m->node);
        (void)map_put(&seen, slice_str(m->name), m);
    }
    LIST_EACH_SAFE (node, &a->names) {
        LIST_ENTRY(node, struct managed, node)->gone = true; /* the ones that were not taken */
        list_remove(node);
        list_push_back(&a->gone_names, node);
    }
    LIST_EACH_SAFE (node, &next) {
        list_remove(node);
        list_push_back(&a->names, node);
    }
    map_fini(&seen);
    map_fini(&old);
    a->renew_interval_ms =
        config->renew_interval_ms > 0 ? config->renew_interval_ms : RENEW_INTERVAL_MS;
    a->leaf_lifetime_ms =
        config->local_leaf_lifetime_ms > 0 ? config->local_leaf_lifetime_ms : LOCAL_LEAF_MS;
    a->root_wanted = config->local_root_wanted;
    a->root_hold_mono_ms = 0;
    a->recheck_mono_ms = clock_mono_ms() + a->renew_interval_ms;
    free_unused(a);
}

static void wipe_issuers(const struct acme_name *name)
{
    for (size_t i = 0; i < name->issuer_count; i++) {
        struct acme_issuer copy = name->issuers[i];
        issuer_wipe(&copy);
    }
}

static void free_config(struct pending_config *p)
{
    if (p) {
        for (size_t i = 0; i < p->config.name_count; i++) {
            wipe_issuers(&p->config.names[i]);
        }
        arena_fini(&p->arena);
        free(p);
    }
}

/* With mutex; lets go of it. */
static void make_root_if_wanted(struct acme *a)
{
    if (!a->root_wanted || clock_mono_ms() < a->root_hold_mono_ms) {
        return;
    }
    struct local_ca ca;
    struct err err;
    int64_t leaf = a->leaf_lifetime_ms;
    pthread_mutex_unlock(&a->mutex);
    bool ok = local_ca_ready(&ca, a->store, leaf, clock_wall_ms(), &a->stop, &err);
    if (ok) {
        local_ca_fini(&ca);
    } else {
        log_event(LOG_ERROR, "acme", "the local CA is not available", LOG_Z("error", err.text));
    }
    pthread_mutex_lock(&a->mutex);
    a->root_wanted = a->root_wanted && !ok;
    a->root_hold_mono_ms = clock_mono_ms() + ROOT_HOLD_MS;
}

static struct managed *next_unloaded(struct acme *a)
{
    LIST_EACH (node, &a->names) {
        struct managed *m = LIST_ENTRY(node, struct managed, node);
        if (!m->loaded && !m->busy) {
            return m;
        }
    }
    return NULL;
}

static struct managed *next_to_tell(struct acme *a)
{
    LIST_EACH (node, &a->names) {
        struct managed *m = LIST_ENTRY(node, struct managed, node);
        if (m->tell && !m->busy) {
            m->tell = false;
            return m;
        }
    }
    return NULL;
}

/* The list is changed by this thread only, so walking it with the mutex released is safe. True when
 * it was time: a worker that was called meanwhile may have found every name busy. */
static bool recheck_all(struct acme *a)
{
    if (clock_mono_ms() < a->recheck_mono_ms) {
        return false;
    }
    LIST_EACH (node, &a->names) {
        struct managed *m = LIST_ENTRY(node, struct managed, node);
        if (m->loaded && !m->busy && !m->has_unsaved && !stop_requested(&a->stop)) {
            managed_recheck(a, m);
        }
    }
    a->recheck_mono_ms = clock_mono_ms() + a->renew_interval_ms;
    return true;
}

static void until(int64_t ms, struct timespec *out)
{
    (void)clock_gettime(CLOCK_MONOTONIC, out);
    out->tv_sec += (time_t)(ms / 1000);
    out->tv_nsec += (long)(ms % 1000) * 1000000L;
    if (out->tv_nsec >= 1000000000L) {
        out->tv_sec++;
        out->tv_nsec -= 1000000000L;
    }
}

/* With mutex. */
static int64_t next_due_ms(struct acme *a)
{
    int64_t mono = clock_mono_ms(), wall = clock_wall_ms();
    int64_t wait = LOOK_MS;
    LIST_EACH (node, &a->names) {
        struct managed *m = LIST_ENTRY(node, struct managed, node);
        int64_t due = managed_due_ms(m, mono, wall);
        /* What is due and cannot be given out waits for a worker, which will wake this thread. */
        if (due > 0 && due < wait) {
            wait = due;
        }
    }
    if (a->idle_workers > 0 && managed_pick(a, false)) {
        return 0; /* it became due just now */
    }
    int64_t recheck = a->recheck_mono_ms - mono;
    wait = recheck < wait ? recheck : wait;
    return wait > 0 ? wait : 0;
}

static void *worker_main(void *arg)
{
    struct acme *a = arg;
    pthread_mutex_lock(&a->mutex);
    while (!stop_requested(&a->stop)) {
        struct managed *m = managed_pick(a, false);
        if (m) {
            /* The main thread sees whether there is more, for another worker. */
            a->wake = true;
            pthread_cond_signal(&a->main_cond);
            managed_work(a, m);
            continue;
        }
        a->idle_workers++;
        pthread_cond_wait(&a->worker_cond, &a->mutex);
        a->idle_workers--;
    }
    a->live_threads--;
    pthread_cond_signal(&a->ended_cond);
    pthread_mutex_unlock(&a->mutex);
    return NULL;
}

/* Signals belong to the program's main thread. */
static bool start_thread(pthread_t *thread, void *(*run)(void *), struct acme *a)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = pthread_create(thread, NULL, run, a) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

/* With mutex: somebody must be there for what is due at public CAs. */
static void give_out_work(struct acme *a)
{
    if (!managed_pick(a, false)) {
        return;
    }
    if (a->idle_workers > 0) {
        pthread_cond_signal(&a->worker_cond);
    } else if (a->worker_count < MANAGER_WORKERS_MAX) {
        if (start_thread(&a->workers[a->worker_count], worker_main, a)) {
            a->worker_count++;
            a->live_threads++;
        } else {
            log_event(LOG_ERROR, "acme", "no thread can be started for a certificate");
        }
    }
}

static void take_config(struct acme *a)
{
    while (a->pending) {
        struct pending_config *p = a->pending;
        a->pending = NULL;
        apply_config(a, &p->config);
        free_config(p);
    }
}

static void *main_main(void *arg)
{
    struct acme *a = arg;
    pthread_mutex_lock(&a->mutex);
    while (!stop_requested(&a->stop)) {
        struct managed *m;
        a->wake = false;
        take_config(a);
        free_unused(a);
        if ((m = next_unloaded(a)) != NULL) {
            managed_load(a, m);
            continue;
        }
        if ((m = next_to_tell(a)) != NULL) {
            pthread_mutex_unlock(&a->mutex);
            managed_report(a, m, NULL);
            pthread_mutex_lock(&a->mutex);
            continue;
        }
        give_out_work(a);
        make_root_if_wanted(a);
        if ((m = managed_pick(a, true)) != NULL) {
            managed_work(a, m);
            continue;
        }
        if (recheck_all(a) || a->wake || a->pending || stop_requested(&a->stop)) {
            continue;
        }
        struct timespec deadline;
        int64_t wait = next_due_ms(a);
        until(wait > 5 ? wait : 5, &deadline);
        (void)pthread_cond_timedwait(&a->main_cond, &a->mutex, &deadline);
    }
    a->live_threads--;
    pthread_cond_signal(&a->ended_cond);
    pthread_mutex_unlock(&a->mutex);
    return NULL;
}

struct acme *acme_start(struct store *s, struct challenge_table *challenges,
                        const struct acme_callbacks *callbacks, struct err *err)
{
    struct acme *a = mem_zalloc(sizeof(*a));
    pthread_condattr_t monotonic;
    must(pthread_condattr_init(&monotonic) == 0);
    must(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    a->store = s;
    a->challenges = challenges;
    a->callbacks = *callbacks;
    must(pthread_mutex_init(&a->mutex, NULL) == 0);
    must(pthread_mutex_init(&a->callback_mutex, NULL) == 0);
    must(pthread_cond_init(&a->main_cond, &monotonic) == 0);
    must(pthread_cond_init(&a->worker_cond, NULL) == 0);
    must(pthread_cond_init(&a->ended_cond, &monotonic) == 0);
    (void)pthread_condattr_destroy(&monotonic);
    stop_init(&a->stop);
    list_init(&a->names);
    list_init(&a->gone_names);
    list_init(&a->cas);
    a->renew_interval_ms = RENEW_INTERVAL_MS;
    a->leaf_lifetime_ms = LOCAL_LEAF_MS;
    a->recheck_mono_ms = clock_mono_ms() + RENEW_INTERVAL_MS;
    a->live_threads = 1;
    if (!start_thread(&a->main_thread, main_main, a)) {
        free(a);
        (void)err_set(err, "the thread for certificates cannot be started");
        return NULL;
    }
    return a;
}

/* Names that share their issuers in the configuration share the copy, as long as they stand
 * together. */
static void copy_name(struct arena *a, const struct acme_name *from, const struct acme_name *before,
                      struct acme_name *to, const struct acme_name *to_before)
{
    *to = *from;
    to->name = arena_lower(a, from->name);
    must(from->issuer_count > 0 && from->issuer_count <= ACME_ISSUERS_MAX);
    if (before && before->issuers == from->issuers && before->issuer_count == from->issuer_count) {
        to->issuers = to_before->issuers;
        return;
    }
    struct acme_issuer *issuers = ARENA_ARRAY(a, struct acme_issuer, from->issuer_count);
    must(issuers);
    for (size_t i = 0; i < from->issuer_count; i++) {
        issuers[i] = issuer_copy(a, &from->issuers[i]);
    }
    to->issuers = issuers;
}

void acme_configure(struct acme *a, const struct acme_config *config)
{
    struct pending_config *p = mem_zalloc(sizeof(*p));
    arena_init(&p->arena, ARENA_NO_MAX);
    p->config = *config;
    struct acme_name *names = ARENA_ARRAY(&p->arena, struct acme_name, config->name_count + 1);
    for (size_t i = 0; names && i < config->name_count; i++) {
        copy_name(&p->arena, &config->names[i], i ? &config->names[i - 1] : NULL, &names[i],
                  i ? &names[i - 1] : NULL);
    }
    must(names && !p->arena.failed);
    p->config.names = names;
    pthread_mutex_lock(&a->mutex);
    struct pending_config *before = a->pending;
    a->pending = p;
    a->wake = true;
    pthread_cond_signal(&a->main_cond);
    pthread_mutex_unlock(&a->mutex);
    free_config(before);
}

static void preload_one(struct acme *a, const struct acme_name *name)
{
    struct arena arena;
    struct store_pair pair;
    struct slice cas[ACME_ISSUERS_MAX];
    arena_init(&arena, 65536);
    store_pair_init(&pair);
    struct slice lower = arena_lower(&arena, name->name);
    for (size_t i = 0; i < name->issuer_count; i++) {
        cas[i] = issuer_store_name(&arena, &name->issuers[i]);
    }
    if (glance(a->store, cas, name->issuer_count, lower, clock_wall_ms(), &pair)) {
        pthread_mutex_lock(&a->callback_mutex);
        a->callbacks.on_certificate(a->callbacks.ctx, lower, dstr_slice(&pair.chain_pem),
                                    dstr_slice(&pair.key_pem));
        pthread_mutex_unlock(&a->callback_mutex);
    }
    store_pair_fini(&pair);
    arena_fini(&arena);
}

void acme_preload(struct acme *a, const struct acme_config *config)
{
    for (size_t i = 0; i < config->name_count; i++) {
        preload_one(a, &config->names[i]);
    }
}

static void free_all(struct acme *a)
{
    LIST_EACH_SAFE (node, &a->names) {
        list_remove(node);
        list_push_back(&a->gone_names, node);
    }
    free_unused(a);
    must(list_empty(&a->gone_names) && list_empty(&a->cas));
    free_config(a->pending);
    (void)pthread_cond_destroy(&a->main_cond);
    (void)pthread_cond_destroy(&a->worker_cond);
    (void)pthread_cond_destroy(&a->ended_cond);
    (void)pthread_mutex_destroy(&a->mutex);
    (void)pthread_mutex_destroy(&a->callback_mutex);
    stop_fini(&a->stop);
    free(a);
}

bool acme_stop(struct acme *a, int64_t timeout_ms)
{
    struct timespec deadline;
    until(timeout_ms > 0 ? timeout_ms : 0, &deadline);
    stop_request(&a->stop);
    pthread_mutex_lock(&a->mutex);
    pthread_cond_broadcast(&a->main_cond);
    pthread_cond_broadcast(&a->worker_cond);
    int rc = 0;
    while (a->live_threads > 0 && rc == 0) {
        rc = pthread_cond_timedwait(&a->ended_cond, &a->mutex, &deadline);
    }
    bool ended = a->live_threads == 0;
    pthread_mutex_unlock(&a->mutex);
    if (!ended) {
        return false;
    }
    (void)pthread_join(a->main_thread, NULL);
    for (unsigned i = 0; i < a->worker_count; i++) {
        (void)pthread_join(a->workers[i], NULL);
    }
    free_all(a);
    return true;
}
