/* Durable state: keys, certificates, accounts, challenge answers, schedules, locks.
 *
 * Keys are slash-separated relative paths ("certificates/<ca>/<name>/<name>.crt"), in Caddy's own
 * layout (names.h), so that a folder that Caddy wrote works as it is. Values are bytes.
 * Every call may block on disk: call from the ACME thread, a job or a tool, never from an event
 * loop. All functions are thread-safe; two processes may use one folder at a time.
 *
 * Never follows a symbolic link inside the store, never reads more than asked, creates folders
 * 0700 and files 0600 whatever the umask. A failing disk gives an error, never a half-written
 * value: a value is replaced by temp file, fsync, rename, fsync of the folder. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "proxy/base/dstr.h"
#include "proxy/base/err.h"

enum store_result {
    STORE_OK,
    STORE_MISSING,
    STORE_FAILED,  /* err is set: the disk, permissions, memory; later it may work */
    STORE_UNUSABLE /* err is set; store_get only: what is there can be no value (too large, a
                    * symbolic link, a folder, a pipe) until it is set aside */
};

#define STORE_VALUE_MAX ((size_t)1 << 20)

struct store;
struct store_lock;

/* The file-system back end. path is made (0700) if it is not there. NULL and err on failure.
 * A folder that cannot be written is opened all the same for reading. */
struct store *store_open_fs(const char *path, struct err *err);
/* The same, but a folder that cannot be opened or made now is no error: every operation tries again
 * and fails as long as that lasts. NULL only for an empty path. */
struct store *store_open_fs_later(const char *path, struct err *err);
/* A back end in memory, for tests. */
struct store *store_open_memory(void);
void store_close(struct store *s);

/* Appends the value to out (whose own maximum applies as well as STORE_VALUE_MAX). */
NODISCARD enum store_result store_get(struct store *s, struct slice key, struct dstr *out,
                                      struct err *err);
/* Creates or replaces, durably when it returns STORE_OK. What can be no value and is in the way (a
 * folder) is set aside. */
NODISCARD enum store_result store_put(struct store *s, struct slice key, struct slice value,
                                      struct err *err);
/* STORE_OK also when there was nothing. */
NODISCARD enum store_result store_delete(struct store *s, struct slice key, struct err *err);
/* Calls each() with the last part of every key (and folder) directly below the folder `prefix`,
 * sorted; temp files are left out. STORE_MISSING when there is no such folder. */
NODISCARD enum store_result store_list(struct store *s, struct slice prefix,
                                       void (*each)(void *ctx, struct slice name, bool is_folder),
                                       void *ctx, struct err *err);
/* Renames within the store, replacing; durable when it returns STORE_OK. */
NODISCARD enum store_result store_rename(struct store *s, struct slice from, struct slice to,
                                         struct err *err);
/* Puts a damaged value (or what else stands in its place) aside as "<key>.damaged-<n>" (at most a
 * few are kept) so that it is neither used nor lost. */
NODISCARD enum store_result store_set_aside(struct store *s, struct slice key, struct err *err);

/* An exclusive lock between threads and processes on this store; vanishes with its holder (kernel
 * locks; a file left behind blocks nobody). Waits up to timeout_ms (0: only tries, -1: for ever),
 * polling `cancelled(ctx)` at least each 100 ms if it is given. NULL: not got, err says why
 * (and err->text is empty when merely someone else holds it). */
struct store_lock *store_lock(struct store *s, struct slice name, int64_t timeout_ms,
                              bool (*cancelled)(void *ctx), void *ctx, struct err *err);
void store_unlock(struct store_lock *lock);

/* Can a value be written, read back and removed now? False with the reason and the path. */
NODISCARD bool store_check_writable(struct store *s, struct err *err);
/* Where the store is, for messages. Lives as long as the store. */
const char *store_path(const struct store *s);

#endif
