/* In: a configuration's policies with sources. Out: what they trust. See trust_keeper.h.
 *
 * One job at a time fetches; `known` (what each place has given) is shared with it under the lock,
 * so that a configuration that names the same places begins with what the last one had. */
#include "cmd/trust_keeper.h"

#include <pthread.h>
#include <stdlib.h>

#include "acme/fetch.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define LOOK_MS ((int64_t)60 * 1000)
#define RETRY_MS ((int64_t)1000)
#define FETCH_MS ((int64_t)10 * 1000)
#define TEXT_MAX ((size_t)4 << 20)

/* What a place has given. */
struct known {
    char *key; /* owned: place_key's */
    struct dstr text;
    bool had;    /* it has answered */
    bool failed; /* the last time */
    bool used;   /* in this look */
};

struct trust_keeper {
    struct loop *loop;
    struct jobs *jobs;
    struct store *store;
    struct timer timer;
    struct job job;
    struct config *config;  /* counted */
    struct config *looking; /* counted: the job's, while it is under way */
    bool missing;           /* the job's finding */
    bool again;             /* another configuration came meanwhile */
    int64_t wait_ms;
    bool stopped;
    struct stop stop;
    pthread_mutex_t lock;
    struct map known; /* under the lock */
};

static char *place_key(const struct tls_trust_source *s)
{
    struct dstr key;
    dstr_init(&key, TEXT_MAX);
    dstr_printf(&key, "%d %.*s %.*s", (int)s->kind, SLICE_ARG(s->root_file), SLICE_ARG(s->place));
    must(key.p && !key.failed);
    return key.p;
}

/* Under the lock. */
static struct known *known_of(struct trust_keeper *k, const struct tls_trust_source *s)
{
    char *key = place_key(s);
    struct known *n = map_get(&k->known, slice_str(key));
    if (n) {
        free(key);
        return n;
    }
    n = mem_zalloc(sizeof(*n));
    n->key = key;
    dstr_init(&n->text, STORE_VALUE_MAX);
    (void)map_put(&k->known, slice_str(key), n);
    return n;
}

static void known_free(struct known *n)
{
    dstr_fini(&n->text);
    free(n->key);
    free(n);
}

/* ---- giving what is known to the policies ---------------------------------------------------- */

static void give(struct trust_keeper *k, const struct trusting_policy *t)
{
    struct dstr roots, leafs;
    struct err err;
    dstr_init(&roots, TEXT_MAX);
    dstr_init(&leafs, TEXT_MAX);
    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < t->spec->source_count; i++) {
        const struct tls_trust_source *s = &t->spec->sources[i];
        struct dstr *to = s->leafs ? &leafs : &roots;
        struct slice text = dstr_slice(&known_of(k, s)->text);
        dstr_append(to, text);
        dstr_append(to, text.n ? S("\n") : S(""));
    }
    pthread_mutex_unlock(&k->lock);
    struct slice r = dstr_slice(&roots), l = dstr_slice(&leafs);
    if (roots.failed || leafs.failed) {
        log_event(LOG_ERROR, "tls", "more certificates to trust than can be kept; those from before"
                  " stay", LOG_I("limit_bytes", TEXT_MAX));
    } else if (!tls_policy_trust(t->policy, t->spec, r, l, &err)) {
        log_event(LOG_ERROR, "tls", "certificates to trust cannot be used; those from before stay",
                  LOG_Z("reason", err.text));
    }
    dstr_fini(&roots);
    dstr_fini(&leafs);
}

static void give_all(struct trust_keeper *k, const struct config *c)
{
    for (size_t i = 0; i < c->trusting_count; i++) {
        give(k, &c->trusting[i]);
    }
}

/* ---- the job --------------------------------------------------------------------------------- */

static bool fetch(struct trust_keeper *k, const struct tls_trust_source *s, struct dstr *text,
                  struct err *err)
{
    if (s->kind == TLS_TRUST_STORE) {
        enum store_result r = store_get(k->store, s->place, text, err);
        return r == STORE_OK ||
               (r == STORE_MISSING && err_set(err, "%s has no such key", store_path(k->store)));
    }
    struct fetch_request request = {s->place, s->root_file, FETCH_MS};
    long status = acme_fetch(&request, &k->stop, text, err);
    return status == 200 || (status && err_set(err, "it answered with status %ld", status));
}

/* True: it is another than before. */
static bool note(struct trust_keeper *k, const struct tls_trust_source *s, struct dstr *text,
                 bool ok, const struct err *err)
{
    pthread_mutex_lock(&k->lock);
    struct known *n = known_of(k, s);
    bool first_failure = !ok && !n->failed;
    bool recovered = ok && n->failed;
    bool had = n->had;
    bool other = ok && !slice_eq(dstr_slice(&n->text), dstr_slice(text));
    if (other) {
        struct dstr old = n->text;
        n->text = *text;
        *text = old;
    }
    n->had = n->had || ok;
    n->failed = !ok;
    n->used = true;
    k->missing = k->missing || !ok;
    pthread_mutex_unlock(&k->lock);
    if (first_failure && !stop_requested(&k->stop)) {
        log_event(LOG_WARN, "tls", had ? "certificates to trust cannot be fetched again; those from"
                                         " before stay"
                                       : "certificates to trust cannot be had yet: who shows one of"
                                         " theirs is not let in",
                  LOG_S("place", s->place), LOG_Z("reason", err->text));
    } else if (recovered) {
        log_event(LOG_INFO, "tls", "certificates to trust are there", LOG_S("place", s->place));
    }
    return other;
}

/* failed: the places that gave nothing the last time, else the others. */
static void look_at(struct trust_keeper *k, const struct tls_policy_spec *spec, bool failed)
{
    for (size_t i = 0; i < spec->source_count; i++) {
        struct err err = {""};
        struct dstr text;
        pthread_mutex_lock(&k->lock);
        const struct known *n = known_of(k, &spec->sources[i]);
        bool skip = n->used || n->failed != failed; /* used: by another policy of this look */
        pthread_mutex_unlock(&k->lock);
        if (skip) {
            continue;
        }
        dstr_init(&text, STORE_VALUE_MAX);
        /* What is no certificate is not kept: it would take the last good one's place, and stand
         * in the way of what other places give. */
        bool ok = fetch(k, &spec->sources[i], &text, &err) &&
                  tls_trust_text_check(dstr_slice(&text), &err);
        if (note(k, &spec->sources[i], &text, ok, &err)) {
            give_all(k, k->looking); /* at once: the next place may be a slow one */
        }
        dstr_fini(&text);
    }
}

/* Forgets places that nobody names any more. */
static void tidy(struct trust_keeper *k)
{
    struct map kept;
    size_t at = 0;
    map_init(&kept);
    pthread_mutex_lock(&k->lock);
    for (struct map_entry *e; (e = map_next(&k->known, &at));) {
        struct known *n = e->value;
        if (n->used) {
            (void)map_put(&kept, e->key, n);
        } else {
            known_free(n);
        }
    }
    map_fini(&k->known);
    k->known = kept;
    pthread_mutex_unlock(&k->lock);
}

static void begin_look(struct trust_keeper *k)
{
    size_t at = 0;
    pthread_mutex_lock(&k->lock);
    for (struct map_entry *e; (e = map_next(&k->known, &at));) {
        ((struct known *)e->value)->used = false;
    }
    pthread_mutex_unlock(&k->lock);
}

static void on_job(struct job *j)
{
    struct trust_keeper *k = container_of(j, struct trust_keeper, job);
    k->missing = false;
    begin_look(k);
    /* Those that hang, perhaps, come last. */
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < k->looking->trusting_count; i++) {
            look_at(k, k->looking->trusting[i].spec, round == 1);
        }
    }
    tidy(k);
    give_all(k, k->looking);
}

/* ---- the loop's thread ----------------------------------------------------------------------- */

static void look(struct trust_keeper *k)
{
    if (k->looking || k->stopped || !k->config || !k->config->trusting_count) {
        k->again = k->looking != NULL;
        return;
    }
    k->looking = config_ref(k->config);
    if (!job_submit(k->jobs, k->loop, &k->job)) {
        config_unref(k->looking);
        k->looking = NULL;
        (void)timer_set(&k->timer, RETRY_MS);
    }
}

static void on_done(struct job *j)
{
    struct trust_keeper *k = container_of(j, struct trust_keeper, job);
    config_unref(k->looking);
    k->looking = NULL;
    if (k->stopped) {
        return;
    }
    k->wait_ms = !k->missing               ? LOOK_MS
                 : k->wait_ms * 2 < LOOK_MS ? k->wait_ms * 2
                                            : LOOK_MS;
    (void)timer_set(&k->timer, k->again ? 1 : k->wait_ms);
    k->again = false;
}

static void on_dropped(struct job *j)
{
    struct trust_keeper *k = container_of(j, struct trust_keeper, job);
    config_unref(k->looking);
    k->looking = NULL;
}

static void on_timer(struct timer *t)
{
    look(container_of(t, struct trust_keeper, timer));
}

struct trust_keeper *trust_keeper_new(struct loop *l, struct jobs *jobs, struct store *s)
{
    struct trust_keeper *k = mem_zalloc(sizeof(*k));
    k->loop = l;
    k->jobs = jobs;
    k->store = s;
    k->job.work = on_job;
    k->job.done = on_done;
    k->job.dropped = on_dropped;
    timer_init(&k->timer, l, on_timer);
    stop_init(&k->stop);
    pthread_mutex_init(&k->lock, NULL);
    map_init(&k->known);
    return k;
}

void trust_keeper_configure(struct trust_keeper *k, struct config *c)
{
    struct config *old = k->config;
    k->config = config_ref(c);
    config_unref(old);
    give_all(k, c);
    k->wait_ms = RETRY_MS / 2;
    look(k);
}

void trust_keeper_stop(struct trust_keeper *k)
{
    if (k && !k->stopped) {
        k->stopped = true;
        stop_request(&k->stop);
        timer_fini(&k->timer);
    }
}

void trust_keeper_free(struct trust_keeper *k)
{
    if (!k) {
        return;
    }
    trust_keeper_stop(k);
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&k->known, &at));) {
        known_free(e->value);
    }
    map_fini(&k->known);
    config_unref(k->config);
    config_unref(k->looking);
    stop_fini(&k->stop);
    pthread_mutex_destroy(&k->lock);
    free(k);
}
