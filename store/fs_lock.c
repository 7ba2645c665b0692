/* Locks of the file-system back end: kernel locks on locks/<name>.caddis.lock. The kernel drops
 * them with their holder, so a file left behind blocks nobody; CertMagic's own locks/<name>.lock
 * files are not looked at. Open file description locks exclude threads and processes alike,
 * because every attempt opens the file anew; NFS carries them to the server, so that they exclude
 * other machines as well (flock is only emulated there). The files are never deleted: that would
 * let two hold "the" lock, one of them on a file without a name. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "store/fs.h"

/* How often a file that was deleted or replaced while we locked it is opened again. */
#define REPLACED_TRIES_MAX 10

struct fs_lock {
    struct store_lock base;
    int fd;
};

int fs_lock_file(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &whole) == 0) {
        return 0;
    }
    /* A file system without these has flock or nothing. */
    if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP) {
        return flock(fd, LOCK_EX | LOCK_NB);
    }
    return -1;
}

/* Is what we hold still what the name means? */
static bool still_there(const struct fs_place *place, int fd)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 &&
           fstatat(place->dir, place->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

/* STORE_MISSING: someone else holds it. */
static enum store_result lock_place(struct fs_store *fs, const struct fs_place *place,
                                    struct slice key, int *out, struct err *err)
{
    for (int i = 0; i < REPLACED_TRIES_MAX; i++) {
        int fd;
        enum store_result r = fs_open_file(fs, place, key, true, &fd, err);
        if (r != STORE_OK) {
            return STORE_FAILED;
        }
        if (fs_lock_file(fd) != 0) {
            int e = errno;
            close(fd);
            return e == EAGAIN || e == EACCES || e == EINTR ? STORE_MISSING
                                                            : fs_fail(fs, "lock", key, e, err);
        }
        if (still_there(place, fd)) {
            *out = fd;
            return STORE_OK;
        }
        close(fd);
    }
    return STORE_MISSING;
}

struct store_lock *fs_try_lock(struct store *s, const char *safe_name, bool *busy, struct err *err)
{
    struct fs_store *fs = fs_of(s);
    char key[STORE_KEY_MAX];
    *busy = false;
    int n = snprintf(key, sizeof(key), "locks/%s.caddis.lock", safe_name);
    if (n < 0 || (size_t)n >= sizeof(key) || !store_key_valid(slice_str(key), false)) {
        err_set(err, "%s: a lock's name is too long", s->path);
        return NULL;
    }
    struct fs_place place;
    if (fs_find(fs, slice_str(key), true, &place, err) != STORE_OK) {
        return NULL;
    }
    int fd = -1;
    enum store_result r = lock_place(fs, &place, slice_str(key), &fd, err);
    if (r == STORE_FAILED && fs_clear_way(s, slice_str(key))) {
        r = lock_place(fs, &place, slice_str(key), &fd, err);
    }
    close(place.dir);
    *busy = r == STORE_MISSING;
    if (r != STORE_OK) {
        return NULL;
    }
    struct fs_lock *lock = mem_zalloc(sizeof(*lock));
    lock->base.store = s;
    lock->fd = fd;
    return &lock->base;
}

void fs_unlock(struct store_lock *base)
{
    struct fs_lock *lock = container_of(base, struct fs_lock, base);
    /* Said explicitly: a child forked meanwhile may still have the descriptor open. */
    struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    (void)fcntl(lock->fd, F_OFD_SETLK, &whole);
    (void)flock(lock->fd, LOCK_UN);
    close(lock->fd);
    free(lock);
}
