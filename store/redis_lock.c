/* Locks of the Redis back end: a key with an expiry, renewed by a thread while it is held.
 *
 * A holder that dies is followed by the next one when the key has expired. A holder that was
 * stopped for longer than that may believe it still has the lock: its fence no longer matches, and
 * what it then wants to change is refused by the server (redis.c).
 * Whoever takes a lock changes things and releases it on the same thread. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/base/rand.h"
#include "store/redis.h"

#define RENEW_MS 3000
/* After a renewal that failed. */
#define RENEW_AGAIN_MS 1000
/* Believed to be held for this much less than it is, for the way to the server and back. */
#define MARGIN_MS 1000
#define CLOSE_WAIT_MS 2000
#define REPLY_MAX ((size_t)4096)

struct redis_lock {
    struct store_lock base;
    struct list node;
    char *key;                     /* owned */
    char token[REDIS_TOKEN_BYTES]; /* "<fence>:<who>" */
    pthread_t holder;
    int64_t good_until_ms;
    bool lost;
};

static const char acquire_script[] =
    "local v=redis.call('get',KEYS[1]) "
    "if v then if string.sub(v,-#ARGV[1])==ARGV[1] then return v end return 0 end "
    "v=string.format('%.0f',redis.call('incr',KEYS[2]))..':'..ARGV[1] "
    "redis.call('set',KEYS[1],v,'PX',ARGV[2]) return v";
static const char renew_script[] =
    "if redis.call('get',KEYS[1])~=ARGV[1] then return 0 end "
    "redis.call('pexpire',KEYS[1],ARGV[2]) return 1";
static const char release_script[] =
    "if redis.call('get',KEYS[1])==ARGV[1] then redis.call('del',KEYS[1]) end return 1";

static struct redis_reply *ask(struct redis_store *rs, const char *script, const char *key,
                               const char *token, bool with_time, struct err *err)
{
    char ms[16];
    (void)snprintf(ms, sizeof(ms), "%d", REDIS_LOCK_MS);
    struct slice args[] = {S("EVAL"),        slice_str(script), S("1"), slice_str(key),
                           slice_str(token), slice_str(ms)};
    return redis_link_call(rs->link, args, with_time ? 6 : 5, REPLY_MAX, NULL, err);
}

/* ---- renewing ---- */

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

/* With mutex. The lock with this token, if it is still held. */
static struct redis_lock *find(struct redis_locks *l, const char *token)
{
    LIST_EACH(it, &l->held)
    {
        struct redis_lock *lock = LIST_ENTRY(it, struct redis_lock, node);
        if (strcmp(lock->token, token) == 0) {
            return lock;
        }
    }
    return NULL;
}

struct renewal {
    char *key; /* owned */
    char token[REDIS_TOKEN_BYTES];
};

/* With mutex. What is held now, to be renewed without it. */
static struct renewal *snapshot(struct redis_locks *l, size_t *count)
{
    size_t n = 0;
    *count = 0;
    LIST_EACH(it, &l->held)
    {
        n++;
    }
    struct renewal *all = mem_zalloc((n + 1) * sizeof(*all));
    LIST_EACH(it, &l->held)
    {
        struct redis_lock *lock = LIST_ENTRY(it, struct redis_lock, node);
        if (!lock->lost) {
            all[*count].key = mem_dup(slice_str(lock->key));
            memcpy(all[*count].token, lock->token, sizeof(lock->token));
            (*count)++;
        }
    }
    return all;
}

/* Without mutex. False when the server could not be asked. */
static bool renew_one(struct redis_store *rs, const struct renewal *r)
{
    struct err err;
    int64_t asked_ms = clock_mono_ms();
    struct redis_reply *reply = ask(rs, renew_script, r->key, r->token, true, &err);
    if (!reply) {
        return false;
    }
    bool still = reply->kind == REDIS_NUMBER && reply->number == 1;
    redis_reply_free(reply);
    pthread_mutex_lock(&rs->locks.mutex);
    struct redis_lock *lock = find(&rs->locks, r->token);
    if (lock) {
        lock->lost = !still;
        lock->good_until_ms = asked_ms + REDIS_LOCK_MS - MARGIN_MS;
    }
    pthread_mutex_unlock(&rs->locks.mutex);
    if (lock && !still) {
        log_event(LOG_WARN, "store", "a lock in Redis was lost: it expired while Redis or this"
                  " machine was away", LOG_Z("lock", r->key));
    }
    return true;
}

static void *renew_main(void *arg)
{
    struct redis_store *rs = arg;
    struct redis_locks *l = &rs->locks;
    int64_t pause_ms = RENEW_MS;
    pthread_mutex_lock(&l->mutex);
    while (!l->stopping) {
        struct timespec deadline;
        until(pause_ms, &deadline);
        pause_ms = RENEW_MS;
        if (list_empty(&l->held)) {
            (void)pthread_cond_wait(&l->cond, &l->mutex);
            continue;
        }
        while (!l->stopping &&
               pthread_cond_timedwait(&l->cond, &l->mutex, &deadline) != ETIMEDOUT) {
        }
        size_t count;
        struct renewal *all = snapshot(l, &count);
        for (size_t i = 0; i < count; i++) {
            if (!l->stopping) {
                pthread_mutex_unlock(&l->mutex);
                pause_ms = renew_one(rs, &all[i]) ? pause_ms : RENEW_AGAIN_MS;
                pthread_mutex_lock(&l->mutex);
            }
            free(all[i].key);
        }
        free(all);
    }
    l->thread_ended = true;
    pthread_cond_broadcast(&l->cond);
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

/* With mutex. Signals belong to the program's main thread. */
static bool start_thread(struct redis_store *rs)
{
    sigset_t all, before;
    if (!rs->locks.thread_runs) {
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        rs->locks.thread_runs = pthread_create(&rs->locks.thread, NULL, renew_main, rs) == 0;
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return rs->locks.thread_runs;
}

void redis_locks_init(struct redis_locks *l)
{
    pthread_condattr_t monotonic;
    must(pthread_condattr_init(&monotonic) == 0);
    must(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    must(pthread_mutex_init(&l->mutex, NULL) == 0);
    must(pthread_cond_init(&l->cond, &monotonic) == 0);
    (void)pthread_condattr_destroy(&monotonic);
    list_init(&l->held);
}

bool redis_locks_fini(struct redis_store *rs)
{
    struct redis_locks *l = &rs->locks;
    pthread_mutex_lock(&l->mutex);
    must(list_empty(&l->held));
    l->stopping = true;
    pthread_cond_broadcast(&l->cond);
    struct timespec deadline;
    until(CLOSE_WAIT_MS, &deadline);
    while (l->thread_runs && !l->thread_ended &&
           pthread_cond_timedwait(&l->cond, &l->mutex, &deadline) != ETIMEDOUT) {
    }
    bool ended = !l->thread_runs || l->thread_ended;
    pthread_mutex_unlock(&l->mutex);
    if (!ended) {
        (void)pthread_detach(l->thread);
        return false;
    }
    if (l->thread_runs) {
        (void)pthread_join(l->thread, NULL);
    }
    pthread_cond_destroy(&l->cond);
    pthread_mutex_destroy(&l->mutex);
    return true;
}

/* ---- taking and releasing ---- */

static bool draw_name(char out[33], struct err *err)
{
    uint64_t r[2];
    if (!rand_bytes(r, sizeof(r))) {
        return err_set(err, "no randomness is to be had for a lock");
    }
    (void)snprintf(out, 33, "%016llx%016llx", (unsigned long long)r[0], (unsigned long long)r[1]);
    return true;
}

static struct redis_reply *acquire(struct redis_store *rs, const char *key, const char *who,
                                   struct err *err)
{
    struct arena a;
    char ms[16];
    arena_init(&a, ARENA_NO_MAX);
    (void)snprintf(ms, sizeof(ms), "%d", REDIS_LOCK_MS);
    struct slice args[] = {S("EVAL"),      slice_str(acquire_script),
                           S("2"),         slice_str(key),
                           arena_printf(&a, "%s:fence", rs->prefix),
                           slice_str(who), slice_str(ms)};
    struct redis_reply *r =
        redis_link_call(rs->link, args, ARRAY_LEN(args), REPLY_MAX, NULL, err);
    arena_fini(&a);
    return r;
}

/* Takes over the key. */
static struct store_lock *hold(struct redis_store *rs, char *key, const struct redis_reply *token,
                               int64_t asked_ms)
{
    struct redis_lock *lock = mem_zalloc(sizeof(*lock));
    lock->base.store = &rs->base;
    lock->key = key;
    memcpy(lock->token, token->text, token->n);
    lock->holder = pthread_self();
    lock->good_until_ms = asked_ms + REDIS_LOCK_MS - MARGIN_MS;
    pthread_mutex_lock(&rs->locks.mutex);
    list_push_back(&rs->locks.held, &lock->node);
    bool renewed = start_thread(rs);
    pthread_cond_signal(&rs->locks.cond);
    pthread_mutex_unlock(&rs->locks.mutex);
    if (!renewed) {
        log_event(LOG_WARN, "store", "no thread can be started to renew a lock in Redis",
                  LOG_Z("lock", key));
    }
    return &lock->base;
}

struct store_lock *redis_try_lock(struct store *s, const char *name, bool *busy, struct err *err)
{
    struct redis_store *rs = redis_of(s);
    char who[33];
    *busy = false;
    if (!draw_name(who, err)) {
        return NULL;
    }
    struct dstr key;
    dstr_init(&key, STORE_KEY_MAX);
    dstr_printf(&key, "%s:l:%s", rs->prefix, name);
    int64_t asked_ms = clock_mono_ms();
    struct redis_reply *r = key.failed ? NULL : acquire(rs, key.p, who, err);
    struct store_lock *lock = NULL;
    if (key.failed) {
        err_set(err, "%s: a lock's name is too long", s->path);
    } else if (r && r->kind == REDIS_TEXT && r->n < REDIS_TOKEN_BYTES) {
        lock = hold(rs, key.p, r, asked_ms);
        key.p = NULL;
    } else if (r && r->kind == REDIS_NUMBER && r->number == 0) {
        *busy = true;
    } else if (r) {
        err_set(err, "%s: an answer about a lock that makes no sense", s->path);
    } else {
        err_prefix(err, "cannot lock %s in the store: ", name);
    }
    redis_reply_free(r);
    dstr_fini(&key);
    return lock;
}

void redis_unlock(struct store_lock *base)
{
    struct redis_lock *lock = container_of(base, struct redis_lock, base);
    struct redis_store *rs = redis_of(base->store);
    struct err ignored; /* what cannot be released now ends by itself */
    pthread_mutex_lock(&rs->locks.mutex);
    list_remove(&lock->node);
    pthread_mutex_unlock(&rs->locks.mutex);
    redis_reply_free(ask(rs, release_script, lock->key, lock->token, false, &ignored));
    free(lock->key);
    free(lock);
}

bool redis_fence_get(struct redis_store *rs, struct arena *a, struct redis_fence *fence,
                     struct err *err)
{
    bool ok = true;
    int64_t now_ms = clock_mono_ms();
    fence->count = 0;
    pthread_mutex_lock(&rs->locks.mutex);
    LIST_EACH(it, &rs->locks.held)
    {
        struct redis_lock *lock = LIST_ENTRY(it, struct redis_lock, node);
        if (!ok || !pthread_equal(lock->holder, pthread_self())) {
            continue;
        }
        if (lock->lost || now_ms > lock->good_until_ms) {
            ok = err_set(err, "%s: the lock %s was lost meanwhile, so that nothing is changed under"
                         " it", rs->base.path, lock->key);
        } else if (fence->count == REDIS_LOCKS_MAX) {
            ok = err_set(err, "%s: too many locks are held at once", rs->base.path);
        } else {
            fence->keys[fence->count] = arena_copy(a, slice_str(lock->key));
            fence->tokens[fence->count++] = arena_copy(a, slice_str(lock->token));
        }
    }
    pthread_mutex_unlock(&rs->locks.mutex);
    return ok;
}
