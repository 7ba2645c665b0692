/* The back end in memory, for tests: the same promises as the file system's except lasting. One
 * mutex over everything; values are copied in and out. Owns all it holds until store_close. */
#include <pthread.h>

#include "proxy/base/list.h"
#include "proxy/base/mem.h"
#include "store/backend.h"

/* The most entries; tests that want more are wrong. */
#define ENTRIES_MAX ((size_t)100000)

struct entry {
    struct list node;
    char *key; /* owned */
    size_t key_len;
    char *value; /* owned, zeroed before it is freed */
    size_t value_len;
};

struct memory_lock {
    struct store_lock base;
    struct list node;
    char *name; /* owned */
};

struct memory_store {
    struct store base;
    pthread_mutex_t mutex;
    struct list entries;
    size_t entry_count;
    struct list locks; /* those held */
};

static struct memory_store *of(struct store *s)
{
    return container_of(s, struct memory_store, base);
}

static struct entry *find(struct memory_store *m, struct slice key)
{
    LIST_EACH(it, &m->entries)
    {
        struct entry *e = LIST_ENTRY(it, struct entry, node);
        if (slice_eq(slice_of(e->key, e->key_len), key)) {
            return e;
        }
    }
    return NULL;
}

static void set_value(struct entry *e, struct slice value)
{
    char *copy = mem_dup(value);
    if (e->value) {
        explicit_bzero(e->value, e->value_len);
        free(e->value);
    }
    e->value = copy;
    e->value_len = value.n;
}

static void drop(struct memory_store *m, struct entry *e)
{
    list_remove(&e->node);
    m->entry_count--;
    explicit_bzero(e->value, e->value_len);
    free(e->value);
    free(e->key);
    free(e);
}

static void memory_close(struct store *s)
{
    struct memory_store *m = of(s);
    must(list_empty(&m->locks));
    LIST_EACH_SAFE(it, &m->entries)
    {
        drop(m, LIST_ENTRY(it, struct entry, node));
    }
    pthread_mutex_destroy(&m->mutex);
    free(m->base.path);
    free(m);
}

static enum store_result memory_get(struct store *s, struct slice key, struct dstr *out,
                                    struct err *err)
{
    struct memory_store *m = of(s);
    pthread_mutex_lock(&m->mutex);
    struct entry *e = find(m, key);
    enum store_result r = e ? STORE_OK : STORE_MISSING;
    if (e) {
        dstr_append(out, slice_of(e->value, e->value_len));
        if (out->failed) {
            err_set(err, "memory/%.*s: too large for the reader", SLICE_ARG(key));
            r = STORE_UNUSABLE;
        }
    }
    pthread_mutex_unlock(&m->mutex);
    return r;
}

static bool put_locked(struct memory_store *m, struct slice key, struct slice value)
{
    struct entry *e = find(m, key);
    if (!e) {
        if (m->entry_count == ENTRIES_MAX) {
            return false;
        }
        e = mem_zalloc(sizeof(*e));
        e->key = mem_dup(key);
        e->key_len = key.n;
        list_push_back(&m->entries, &e->node);
        m->entry_count++;
    }
    set_value(e, value);
    return true;
}

static enum store_result memory_put(struct store *s, struct slice key, struct slice value,
                                    struct err *err)
{
    struct memory_store *m = of(s);
    pthread_mutex_lock(&m->mutex);
    bool ok = put_locked(m, key, value);
    pthread_mutex_unlock(&m->mutex);
    if (!ok) {
        err_set(err, "memory/%.*s: the store is full", SLICE_ARG(key));
    }
    return ok ? STORE_OK : STORE_FAILED;
}

static enum store_result memory_del(struct store *s, struct slice key, struct err *err UNUSED)
{
    struct memory_store *m = of(s);
    pthread_mutex_lock(&m->mutex);
    struct entry *e = find(m, key);
    if (e) {
        drop(m, e);
    }
    pthread_mutex_unlock(&m->mutex);
    return STORE_OK;
}

static bool names_has(const struct store_names *names, struct slice name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (slice_eq(slice_str(names->items[i].name), name)) {
            return true;
        }
    }
    return false;
}

static enum store_result memory_list(struct store *s, struct slice prefix,
                                     void (*each)(void *ctx, struct slice name, bool is_folder),
                                     void *ctx, struct err *err UNUSED)
{
    struct memory_store *m = of(s);
    struct store_names names = {0};
    pthread_mutex_lock(&m->mutex);
    LIST_EACH(it, &m->entries)
    {
        struct entry *e = LIST_ENTRY(it, struct entry, node);
        struct slice key = slice_of(e->key, e->key_len);
        if (prefix.n) {
            if (!slice_starts(key, prefix) || key.n == prefix.n || key.p[prefix.n] != '/') {
                continue;
            }
            key = slice_from(key, prefix.n + 1);
        }
        size_t slash = slice_find(key, '/');
        struct slice name = slice_upto(key, slash);
        if (!names_has(&names, name)) {
            must(store_names_add(&names, name, slash != SLICE_NPOS)); /* ENTRIES_MAX bounds it */
        }
    }
    pthread_mutex_unlock(&m->mutex);
    /* Here a folder exists only while something is in it; the root always does. */
    enum store_result r = names.count || prefix.n == 0 ? STORE_OK : STORE_MISSING;
    store_names_deliver(&names, each, ctx);
    return r;
}

static enum store_result transfer(struct store *s, struct slice from, struct slice to, bool keep,
                                  struct err *err)
{
    struct memory_store *m = of(s);
    enum store_result r = STORE_MISSING;
    pthread_mutex_lock(&m->mutex);
    struct entry *e = find(m, from);
    if (e) {
        r = STORE_OK;
        if (!slice_eq(from, to)) {
            if (!put_locked(m, to, slice_of(e->value, e->value_len))) {
                err_set(err, "memory/%.*s: the store is full", SLICE_ARG(to));
                r = STORE_FAILED;
            } else if (!keep) {
                drop(m, e);
            }
        }
    }
    pthread_mutex_unlock(&m->mutex);
    return r;
}

static enum store_result memory_rename(struct store *s, struct slice from, struct slice to,
                                       struct err *err)
{
    return transfer(s, from, to, false, err);
}

static enum store_result memory_copy(struct store *s, struct slice from, struct slice to,
                                     struct err *err)
{
    return transfer(s, from, to, true, err);
}

static struct store_lock *memory_try_lock(struct store *s, const char *name, bool *busy,
                                          struct err *err UNUSED)
{
    struct memory_store *m = of(s);
    struct memory_lock *lock = NULL;
    pthread_mutex_lock(&m->mutex);
    *busy = false;
    LIST_EACH(it, &m->locks)
    {
        struct memory_lock *held = LIST_ENTRY(it, struct memory_lock, node);
        *busy = *busy || slice_eq(slice_str(held->name), slice_str(name));
    }
    if (!*busy) {
        lock = mem_zalloc(sizeof(*lock));
        lock->base.store = s;
        lock->name = mem_dup(slice_str(name));
        list_push_back(&m->locks, &lock->node);
    }
    pthread_mutex_unlock(&m->mutex);
    return lock ? &lock->base : NULL;
}

static void memory_unlock(struct store_lock *base)
{
    struct memory_lock *lock = container_of(base, struct memory_lock, base);
    struct memory_store *m = of(base->store);
    pthread_mutex_lock(&m->mutex);
    list_remove(&lock->node);
    pthread_mutex_unlock(&m->mutex);
    free(lock->name);
    free(lock);
}

static const struct store_ops memory_ops = {
    .close = memory_close,
    .get = memory_get,
    .put = memory_put,
    .del = memory_del,
    .list = memory_list,
    .rename = memory_rename,
    .copy = memory_copy,
    .try_lock = memory_try_lock,
    .unlock = memory_unlock,
};

struct store *store_open_memory(void)
{
    struct memory_store *m = mem_zalloc(sizeof(*m));
    m->base.ops = &memory_ops;
    m->base.path = mem_dup(S("memory"));
    pthread_mutex_init(&m->mutex, NULL);
    list_init(&m->entries);
    list_init(&m->locks);
    return &m->base;
}
