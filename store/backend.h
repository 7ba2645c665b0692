/* What a back end of the store implements, and what the folder shares inside itself. Not for other
 * folders: they include store/store.h.
 *
 * store.c checks every key before a back end sees it (store_key_valid), waits for locks and builds
 * set-aside and the write check out of these operations, so that a back end is one file. */
#ifndef STORE_BACKEND_H
#define STORE_BACKEND_H

#include <stdatomic.h>

#include "store/store.h"

/* The longest key, the longest part of one and the deepest nesting. */
#define STORE_KEY_MAX   ((size_t)1024)
#define STORE_PART_MAX  ((size_t)255)
#define STORE_DEPTH_MAX 8
/* The most names that one folder lists. */
#define STORE_LIST_MAX ((size_t)100000)

/* Our temp files: no key may have a part that starts like this, and no list shows one. */
#define STORE_TEMP_PREFIX ".caddis-tmp-"
/* CertMagic's temp files: never listed, never touched. */
#define STORE_FOREIGN_TEMP_PREFIX ".tmp-"
/* What an NFS client makes of a file that is deleted while it is open. */
#define STORE_NFS_TEMP_PREFIX ".nfs"

struct store_ops {
    void (*close)(struct store *s);
    enum store_result (*get)(struct store *s, struct slice key, struct dstr *out, struct err *err);
    enum store_result (*put)(struct store *s, struct slice key, struct slice value,
                             struct err *err);
    enum store_result (*del)(struct store *s, struct slice key, struct err *err);
    enum store_result (*list)(struct store *s, struct slice prefix,
                              void (*each)(void *ctx, struct slice name, bool is_folder), void *ctx,
                              struct err *err);
    enum store_result (*rename)(struct store *s, struct slice from, struct slice to,
                                struct err *err);
    /* Makes `to` hold what `from` holds, replacing; durable. */
    enum store_result (*copy)(struct store *s, struct slice from, struct slice to, struct err *err);
    /* Tries once. NULL: *busy says that someone else holds it, otherwise err is set. */
    struct store_lock *(*try_lock)(struct store *s, const char *safe_name, bool *busy,
                                   struct err *err);
    void (*unlock)(struct store_lock *lock);
};

/* The head of every back end's own struct. */
struct store {
    const struct store_ops *ops;
    char *path; /* owned by the back end; for messages */
    /* Kernel locks order memory between threads in fact, but not in C's model: unlocking releases
     * here and locking acquires. */
    atomic_uint lock_order;
};

/* The head of every back end's lock. */
struct store_lock {
    struct store *store;
};

/* Parts of 1 to STORE_PART_MAX bytes between single slashes; no ".", "..", control bytes or temp
 * names. allow_empty: the empty key (the root folder) is fine too. */
bool store_key_valid(struct slice key, bool allow_empty);
/* Is this name a temp file, ours or CertMagic's? */
bool store_name_is_temp(struct slice name);

/* As store_ops.copy, with the keys checked. */
NODISCARD enum store_result store_copy(struct store *s, struct slice from, struct slice to,
                                       struct err *err);

/* Says that a failure is meant not to matter here; the comment at the call says why. */
static inline void store_ignore(enum store_result unused UNUSED)
{
}

/* Frees the memory of a value that may be secret, zeroed first. */
void store_wipe(struct dstr *value);

/* Names collected by a back end's list(), to be sorted and handed on without anything held. */
struct store_names {
    struct store_name {
        char *name; /* owned */
        bool is_folder;
    } * items; /* owned */
    size_t count;
    size_t cap;
};

/* False past STORE_LIST_MAX. */
NODISCARD bool store_names_add(struct store_names *names, struct slice name, bool is_folder);
/* Sorts, calls each() for all of them, frees all. */
void store_names_deliver(struct store_names *names,
                         void (*each)(void *ctx, struct slice name, bool is_folder), void *ctx);
void store_names_free(struct store_names *names);

#endif
