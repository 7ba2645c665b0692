/* The parts of the file-system back end among themselves: the root folder, walking to a key, and
 * locks. Every descriptor is O_CLOEXEC; below the root no symbolic link is followed. */
#ifndef STORE_FS_H
#define STORE_FS_H

#include <pthread.h>

#include "store/backend.h"

struct fs_store {
    struct store base;
    pthread_mutex_t mutex; /* over root */
    int root;              /* the root folder; -1: it could not be opened yet */
};

/* Where a key lives: its open folder (owned, -1 when closed) and its last part. */
struct fs_place {
    int dir;
    char name[STORE_PART_MAX + 1];
};

static inline struct fs_store *fs_of(struct store *s)
{
    return container_of(s, struct fs_store, base);
}

/* Opens the root folder, with its parents made (0700) where they are missing. -1 with errno. */
int fs_open_root(const char *path);
/* A descriptor of the root folder for one operation, to be closed by the caller; opens the path
 * anew if the folder was deleted meanwhile. -1 with errno. */
int fs_root(struct fs_store *fs);
/* Opens the folder that holds key, making folders on the way if create. STORE_MISSING when one is
 * not there. On STORE_OK close place->dir. */
enum store_result fs_find(struct fs_store *fs, struct slice key, bool create,
                          struct fs_place *place, struct err *err);
/* Opens the folder `key` itself (empty: the root). */
enum store_result fs_open_folder(struct fs_store *fs, struct slice key, bool create, int *dir,
                                 struct err *err);
/* Opens a regular file for reading (or, if for_lock, for reading and writing, made if missing) and
 * refuses everything else by its name. STORE_MISSING when it is not there. */
enum store_result fs_open_file(struct fs_store *fs, const struct fs_place *place, struct slice key,
                               bool for_lock, int *fd, struct err *err);
/* Sets err to "cannot <what> <root>/<key>: <errno>", returns STORE_FAILED. */
enum store_result fs_fail(struct fs_store *fs, const char *what, struct slice key, int errnum,
                          struct err *err);

struct store_lock *fs_try_lock(struct store *s, const char *safe_name, bool *busy, struct err *err);
void fs_unlock(struct store_lock *lock);
/* An exclusive lock on the open file description, which must be open for writing (NFS). Does not
 * wait. 0, or -1 with errno (EAGAIN, EACCES: somebody else has it). */
int fs_lock_file(int fd);

/* What can be no value (a folder, a link, a pipe) stands where a value or a lock's file is to be
 * written: true when it was so and it is set aside now. */
NODISCARD bool fs_clear_way(struct store *s, struct slice key);

#endif
