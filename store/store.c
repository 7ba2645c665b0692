/* The store's front: checks keys, hands the work to the back end, waits for locks, and builds
 * set-aside and the write check out of the back end's operations.
 *
 * In: keys and values from acme, tls, cmd. Out: results and errors that name key and place.
 * A struct store is owned by who opened it; a lock by who took it. */
#include "store/store.h"

#include <stdlib.h>
#include <time.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "store/backend.h"
#include "store/names.h"

/* How many damaged values of one key are kept; the oldest goes first. */
#define DAMAGED_KEPT_MAX ((size_t)8)
/* Lock names longer than this are cut and get a hash, to fit a file name with its suffix. */
#define LOCK_NAME_MAX ((size_t)180)
/* The first pause of a waiter, and the longest. */
#define LOCK_PAUSE_MIN_MS 2
#define LOCK_PAUSE_MAX_MS 50

static bool part_valid(struct slice part)
{
    if (part.n == 0 || part.n > STORE_PART_MAX || slice_eq(part, S(".")) ||
        slice_eq(part, S("..")) || slice_starts(part, S(STORE_TEMP_PREFIX))) {
        return false;
    }
    for (size_t i = 0; i < part.n; i++) {
        unsigned char c = (unsigned char)part.p[i];
        if (c < 0x20 || c == 0x7f) {
            return false;
        }
    }
    return true;
}

bool store_key_valid(struct slice key, bool allow_empty)
{
    if (key.n == 0) {
        return allow_empty;
    }
    if (key.n > STORE_KEY_MAX) {
        return false;
    }
    struct slice part;
    int depth = 0;
    for (struct slice rest = key; slice_cut(&rest, '/', &part);) {
        if (!part_valid(part) || ++depth > STORE_DEPTH_MAX) {
            return false;
        }
    }
    return true;
}

bool store_name_is_temp(struct slice name)
{
    return slice_starts(name, S(STORE_TEMP_PREFIX)) ||
           slice_starts(name, S(STORE_FOREIGN_TEMP_PREFIX)) ||
           slice_starts(name, S(STORE_NFS_TEMP_PREFIX));
}

void store_wipe(struct dstr *value)
{
    if (value->p) {
        explicit_bzero(value->p, value->cap);
    }
    dstr_fini(value);
}

static enum store_result bad_key(struct store *s, struct slice key, struct err *err)
{
    /* The key itself may hold anything; only its length is safe to print. */
    err_set(err, "store %s: a key of %zu bytes is not a valid key", s->path, key.n);
    return STORE_FAILED;
}

void store_close(struct store *s)
{
    if (s) {
        s->ops->close(s);
    }
}

const char *store_path(const struct store *s)
{
    return s->path;
}

enum store_result store_get(struct store *s, struct slice key, struct dstr *out, struct err *err)
{
    return store_key_valid(key, false) ? s->ops->get(s, key, out, err) : bad_key(s, key, err);
}

enum store_result store_put(struct store *s, struct slice key, struct slice value, struct err *err)
{
    if (!store_key_valid(key, false)) {
        return bad_key(s, key, err);
    }
    if (value.n > STORE_VALUE_MAX) {
        err_set(err, "cannot store %s/%.*s: %zu bytes are more than the %zu allowed", s->path,
                SLICE_ARG(key), value.n, STORE_VALUE_MAX);
        return STORE_FAILED;
    }
    return s->ops->put(s, key, value, err);
}

enum store_result store_delete(struct store *s, struct slice key, struct err *err)
{
    return store_key_valid(key, false) ? s->ops->del(s, key, err) : bad_key(s, key, err);
}

enum store_result store_list(struct store *s, struct slice prefix,
                             void (*each)(void *ctx, struct slice name, bool is_folder), void *ctx,
                             struct err *err)
{
    return store_key_valid(prefix, true) ? s->ops->list(s, prefix, each, ctx, err)
                                         : bad_key(s, prefix, err);
}

static enum store_result two_keys(struct store *s, struct slice from, struct slice to,
                                  enum store_result (*op)(struct store *, struct slice,
                                                          struct slice, struct err *),
                                  struct err *err)
{
    if (!store_key_valid(from, false)) {
        return bad_key(s, from, err);
    }
    return store_key_valid(to, false) ? op(s, from, to, err) : bad_key(s, to, err);
}

enum store_result store_rename(struct store *s, struct slice from, struct slice to, struct err *err)
{
    return two_keys(s, from, to, s->ops->rename, err);
}

enum store_result store_copy(struct store *s, struct slice from, struct slice to, struct err *err)
{
    return two_keys(s, from, to, s->ops->copy, err);
}

/* ---- names of a folder ---- */

bool store_names_add(struct store_names *names, struct slice name, bool is_folder)
{
    if (names->count == STORE_LIST_MAX) {
        return false;
    }
    if (names->count == names->cap) {
        names->cap = names->cap ? names->cap * 2 : 16;
        names->items = mem_realloc_array(names->items, names->cap, sizeof(*names->items));
    }
    names->items[names->count++] = (struct store_name){mem_dup(name), is_folder};
    return true;
}

static int compare_names(const void *a, const void *b)
{
    const struct store_name *x = a, *y = b;
    return slice_cmp(slice_str(x->name), slice_str(y->name));
}

void store_names_deliver(struct store_names *names,
                         void (*each)(void *ctx, struct slice name, bool is_folder), void *ctx)
{
    if (names->count) {
        qsort(names->items, names->count, sizeof(*names->items), compare_names);
    }
    for (size_t i = 0; i < names->count; i++) {
        each(ctx, slice_str(names->items[i].name), names->items[i].is_folder);
    }
    store_names_free(names);
}

void store_names_free(struct store_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->items[i].name);
    }
    free(names->items);
    *names = (struct store_names){0};
}

/* ---- setting aside ---- */

struct damaged_scan {
    struct slice stem; /* "<last part>.damaged-" */
    uint64_t lowest, highest;
    size_t count;
};

static void scan_damaged(void *ctx, struct slice name, bool is_folder)
{
    struct damaged_scan *scan = ctx;
    uint64_t n;
    if (!slice_starts(name, scan->stem) ||
        !slice_u64(slice_from(name, scan->stem.n), UINT32_MAX, &n)) {
        return;
    }
    scan->highest = n > scan->highest ? n : scan->highest;
    if (!is_folder) { /* a folder that stood in a value's place stays */
        scan->lowest = scan->count == 0 || n < scan->lowest ? n : scan->lowest;
        scan->count++;
    }
}

enum store_result store_set_aside(struct store *s, struct slice key, struct err *err)
{
    if (!store_key_valid(key, false)) {
        return bad_key(s, key, err);
    }
    struct arena a;
    arena_init(&a, ARENA_NO_MAX);
    size_t slash = slice_rfind(key, '/');
    struct slice folder = slash == SLICE_NPOS ? S("") : slice_upto(key, slash);
    struct slice last = slash == SLICE_NPOS ? key : slice_from(key, slash + 1);
    struct damaged_scan scan = {.stem = arena_printf(&a, "%.*s.damaged-", SLICE_ARG(last))};
    enum store_result r = store_list(s, folder, scan_damaged, &scan, err);
    if (r == STORE_OK) {
        struct slice to = arena_printf(&a, "%.*s.damaged-%llu", SLICE_ARG(key),
                                       (unsigned long long)scan.highest + 1);
        r = store_rename(s, key, to, err);
        if (r == STORE_OK) {
            log_event(LOG_WARN, "store", "a damaged value was set aside", LOG_S("key", key),
                      LOG_S("kept_as", to), LOG_Z("store", s->path));
        }
    }
    if (r == STORE_OK && scan.count >= DAMAGED_KEPT_MAX) {
        struct slice oldest =
            arena_printf(&a, "%.*s.damaged-%llu", SLICE_ARG(key), (unsigned long long)scan.lowest);
        struct err ignored;
        store_ignore(store_delete(s, oldest, &ignored)); /* one too many does no harm */
    }
    arena_fini(&a);
    return r;
}

/* ---- locks ---- */

/* FNV-1a: the same in every process, unlike map_hash. A collision only makes two names share a
 * lock. */
static uint64_t stable_hash(struct slice s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < s.n; i++) {
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
    }
    return h;
}

static const char *lock_file_stem(struct arena *a, struct slice name)
{
    struct slice safe = store_safe_name(a, name);
    if (safe.n > LOCK_NAME_MAX) {
        uint64_t h = stable_hash(safe);
        safe = arena_printf(a, "%.*s-%016llx", SLICE_ARG(slice_upto(safe, LOCK_NAME_MAX)),
                            (unsigned long long)h);
    }
    return safe.p;
}

/* Sleeps a little, longer each time, never past the deadline. */
static void pause_for_lock(int64_t *pause_ms, int64_t deadline_ms)
{
    int64_t ms = *pause_ms;
    *pause_ms = ms * 2 > LOCK_PAUSE_MAX_MS ? LOCK_PAUSE_MAX_MS : ms * 2;
    int64_t left_ms = deadline_ms - clock_mono_ms();
    ms = left_ms < ms ? left_ms : ms;
    if (ms > 0) {
        struct timespec t = {.tv_nsec = (long)ms * 1000 * 1000};
        nanosleep(&t, NULL);
    }
}

struct store_lock *store_lock(struct store *s, struct slice name, int64_t timeout_ms,
                              bool (*cancelled)(void *ctx), void *ctx, struct err *err)
{
    struct err unused;
    err = err ? err : &unused;
    err->text[0] = '\0';
    struct arena a;
    arena_init(&a, ARENA_NO_MAX);
    const char *stem = lock_file_stem(&a, name);
    int64_t deadline_ms = INT64_MAX;
    if (timeout_ms >= 0 && __builtin_add_overflow(clock_mono_ms(), timeout_ms, &deadline_ms)) {
        deadline_ms = INT64_MAX;
    }
    int64_t pause_ms = LOCK_PAUSE_MIN_MS;
    struct store_lock *lock = NULL;
    for (;;) {
        if (cancelled && cancelled(ctx)) {
            err_set(err, "waiting for the lock %s in %s was cancelled", stem, s->path);
            break;
        }
        bool busy = false;
        lock = s->ops->try_lock(s, stem, &busy, err);
        if (lock || !busy || clock_mono_ms() >= deadline_ms) {
            break;
        }
        pause_for_lock(&pause_ms, deadline_ms);
    }
    arena_fini(&a);
    if (lock) {
        (void)atomic_load_explicit(&s->lock_order, memory_order_acquire);
    }
    return lock;
}

void store_unlock(struct store_lock *lock)
{
    if (lock) {
        atomic_fetch_add_explicit(&lock->store->lock_order, 1, memory_order_release);
        lock->store->ops->unlock(lock);
    }
}

/* ---- the write check ---- */

static bool write_and_read_back(struct store *s, struct slice key, struct err *err)
{
    struct dstr back;
    dstr_init(&back, 64);
    bool ok = store_put(s, key, S("caddis"), err) == STORE_OK;
    if (ok) {
        enum store_result r = store_get(s, key, &back, err);
        ok = r == STORE_OK && slice_eq(dstr_slice(&back), S("caddis"));
        if (!ok && r != STORE_FAILED) {
            err_set(err, "%s/%.*s: what was written could not be read back", s->path,
                    SLICE_ARG(key));
        }
        struct err ignored;
        ok = store_delete(s, key, ok ? err : &ignored) == STORE_OK && ok;
    }
    dstr_fini(&back);
    return ok;
}

bool store_check_writable(struct store *s, struct err *err)
{
    struct err local;
    err = err ? err : &local;
    /* One fixed name, under a lock, so that a killed check leaves at most one file. */
    struct store_lock *lock = store_lock(s, S("write_check"), 10000, NULL, NULL, err);
    if (!lock) {
        return err->text[0]
                   ? false
                   : err_set(err, "%s: another process holds locks/write_check.caddis.lock",
                             s->path);
    }
    bool ok = write_and_read_back(s, S("caddis/write-check"), err);
    store_unlock(lock);
    return ok;
}
