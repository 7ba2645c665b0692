/* The parts of the Redis back end among themselves. What is where in the database, <p> being
 * key_prefix:
 *   <p>:v:<key>     a value: 'p' and its bytes, or 's' and the sealed bytes (seal.h)
 *   <p>:d:<folder>  a set: the names directly below a folder; those of folders end in '/'
 *   <p>:l:<name>    a lock while it is held: "<fence>:<who>", gone after REDIS_LOCK_MS
 *   <p>:fence       counts the locks that were ever given
 *   <p>:mark        says whether the store is sealed, and with which key */
#ifndef STORE_REDIS_H
#define STORE_REDIS_H

#include <pthread.h>

#include "proxy/base/arena.h"
#include "proxy/base/list.h"
#include "store/backend.h"
#include "store/redis_link.h"
#include "store/seal.h"

/* A lock whose holder is dead ends by itself after this; a live holder renews it in time. */
#define REDIS_LOCK_MS 12000
/* The most locks that one thread may hold while it changes something. */
#define REDIS_LOCKS_MAX ((size_t)8)
#define REDIS_TOKEN_BYTES 64

struct redis_locks {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct list held;
    pthread_t thread; /* renews them; started with the first lock */
    bool thread_runs;
    bool thread_ended;
    bool stopping;
};

struct redis_store {
    struct store base;
    struct redis_link *link;
    char *prefix;
    bool sealed;
    unsigned char key[SEAL_KEY_BYTES]; /* zeroed when the store is closed */
    struct redis_locks locks;
};

static inline struct redis_store *redis_of(struct store *s)
{
    return container_of(s, struct redis_store, base);
}

/* What the calling thread holds, to be checked by the server in the same step as the change it
 * protects. */
struct redis_fence {
    struct slice keys[REDIS_LOCKS_MAX];
    struct slice tokens[REDIS_LOCKS_MAX];
    size_t count;
};

/* key: SEAL_KEY_BYTES, or NULL for values as they are. Texts are copied; setup->tls goes with it.
 * greet and ctx of the setup are set here. */
struct store *redis_open(const struct redis_link_setup *setup, struct slice prefix,
                         const unsigned char *key);

void redis_locks_init(struct redis_locks *l);
/* False: the renewing thread hangs in a call; nothing of the store may be freed. */
NODISCARD bool redis_locks_fini(struct redis_store *rs);
struct store_lock *redis_try_lock(struct store *s, const char *name, bool *busy, struct err *err);
void redis_unlock(struct store_lock *lock);
/* Texts in a. False with err when a lock of this thread has been lost. */
NODISCARD bool redis_fence_get(struct redis_store *rs, struct arena *a, struct redis_fence *fence,
                               struct err *err);

#endif
