/* From keys to open descriptors: the root folder and its parents, folders on the way to a key, and
 * regular files. In: checked keys (store_key_valid). Out: descriptors that the caller closes.
 * Below the root every part is opened with O_NOFOLLOW relative to its folder's descriptor, so that
 * no link and no renaming on the way can lead outside. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "store/fs.h"
#include "store/fs_sys.h"

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

enum store_result fs_fail(struct fs_store *fs, const char *what, struct slice key, int errnum,
                          struct err *err)
{
    err_errno(err, errnum, "cannot %s %s%s%.*s", what, fs->base.path, key.n ? "/" : "",
              SLICE_ARG(key));
    return STORE_FAILED;
}

/* Makes the folder path[0..n) if it is not there and makes its entry last. */
static bool make_one_parent(char *path, size_t n)
{
    char keep = path[n];
    path[n] = '\0';
    bool ok = fs_mkdir(AT_FDCWD, path) == 0;
    if (ok) {
        /* ".." of the new folder is where its entry is, also behind a symbolic link. */
        int fd = open(path, FOLDER_FLAGS);
        int up = fd >= 0 ? openat(fd, "..", FOLDER_FLAGS) : -1;
        if (up >= 0) {
            (void)fs_fsync_folder(up);
            close(up);
        }
        if (fd >= 0) {
            close(fd);
        }
    } else if (errno == EEXIST) {
        ok = true; /* if it is no folder, opening the whole path says so */
    }
    path[n] = keep;
    return ok;
}

int fs_open_root(const char *path)
{
    /* A user's choice: symbolic links in it are followed. */
    int fd = open(path, FOLDER_FLAGS);
    if (fd >= 0 || errno != ENOENT) {
        return fd;
    }
    char *copy = mem_dup(slice_str(path));
    size_t n = strlen(copy);
    bool ok = true;
    int e = 0;
    for (size_t i = 1; ok && i <= n; i++) {
        if ((copy[i] == '/' || copy[i] == '\0') && copy[i - 1] != '/') {
            ok = make_one_parent(copy, i);
            e = errno;
        }
    }
    free(copy);
    errno = e;
    return ok ? open(path, FOLDER_FLAGS) : -1;
}

int fs_root(struct fs_store *fs)
{
    pthread_mutex_lock(&fs->mutex);
    struct stat st;
    if (fs->root < 0 || fstat(fs->root, &st) != 0 || st.st_nlink == 0) { /* NFS: ESTALE */
        int again = fs_open_root(fs->base.path);
        if (again >= 0) {
            if (fs->root >= 0) {
                close(fs->root);
            }
            fs->root = again;
        } else if (fs->root < 0) {
            int why = errno;
            pthread_mutex_unlock(&fs->mutex);
            errno = why;
            return -1;
        }
    }
    int fd = fcntl(fs->root, F_DUPFD_CLOEXEC, 0);
    int e = errno;
    pthread_mutex_unlock(&fs->mutex);
    errno = e;
    return fd;
}

/* Opens the folder `name` in dir; makes it first if create. */
static int enter(int dir, const char *name, bool create)
{
    int fd = openat(dir, name, FOLDER_FLAGS | O_NOFOLLOW);
    if (fd >= 0 || errno != ENOENT || !create) {
        return fd;
    }
    if (fs_mkdir(dir, name) == 0) {
        if (fs_fsync_folder(dir) != 0) {
            return -1;
        }
    } else if (errno != EEXIST) {
        return -1;
    }
    return openat(dir, name, FOLDER_FLAGS | O_NOFOLLOW);
}

/* Says what stands in the way when a part of a path is no folder. */
static enum store_result not_a_folder(struct fs_store *fs, int dir, const char *name,
                                      struct slice sofar, int errnum, struct err *err)
{
    struct stat st;
    if ((errnum == ENOTDIR || errnum == ELOOP) &&
        fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        err_set(err, "%s/%.*s is %s, not a folder: it is not used", fs->base.path, SLICE_ARG(sofar),
                S_ISLNK(st.st_mode) ? "a symbolic link" : "a file");
        return STORE_FAILED;
    }
    return fs_fail(fs, "open the folder", sofar, errnum, err);
}

enum store_result fs_open_folder(struct fs_store *fs, struct slice key, bool create, int *out,
                                 struct err *err)
{
    int dir = fs_root(fs);
    if (dir < 0) {
        return fs_fail(fs, "open the folder", slice_of(NULL, 0), errno, err);
    }
    struct slice rest = key, part;
    while (key.n && slice_cut(&rest, '/', &part)) {
        char name[STORE_PART_MAX + 1];
        must(part.n < sizeof(name));
        memcpy(name, part.p, part.n);
        name[part.n] = '\0';
        int next = enter(dir, name, create);
        if (next < 0) {
            int e = errno;
            struct slice sofar = slice_upto(key, (size_t)(part.p + part.n - key.p));
            enum store_result r =
                e == ENOENT && !create ? STORE_MISSING : not_a_folder(fs, dir, name, sofar, e, err);
            close(dir);
            return r;
        }
        close(dir);
        dir = next;
    }
    *out = dir;
    return STORE_OK;
}

enum store_result fs_find(struct fs_store *fs, struct slice key, bool create,
                          struct fs_place *place, struct err *err)
{
    size_t slash = slice_rfind(key, '/');
    struct slice folder = slash == SLICE_NPOS ? slice_of(NULL, 0) : slice_upto(key, slash);
    struct slice last = slash == SLICE_NPOS ? key : slice_from(key, slash + 1);
    must(last.n < sizeof(place->name));
    memcpy(place->name, last.p, last.n);
    place->name[last.n] = '\0';
    place->dir = -1;
    return fs_open_folder(fs, folder, create, &place->dir, err);
}

static const char *kind_of(mode_t mode)
{
    return S_ISLNK(mode)                    ? "a symbolic link"
           : S_ISDIR(mode)                  ? "a folder"
           : S_ISFIFO(mode)                 ? "a named pipe"
           : S_ISSOCK(mode)                 ? "a socket"
           : S_ISCHR(mode) || S_ISBLK(mode) ? "a device"
                                            : "no regular file";
}

static enum store_result refuse_kind(struct fs_store *fs, struct slice key, mode_t mode,
                                     struct err *err)
{
    err_set(err, "%s/%.*s is %s, not a regular file: it is not used", fs->base.path, SLICE_ARG(key),
            kind_of(mode));
    return STORE_UNUSABLE;
}

/* A pipe or device that was swapped in does not block the open. */
static int open_existing(const struct fs_place *place, bool for_lock)
{
    int flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (for_lock ? O_RDWR : O_RDONLY);
    return openat(place->dir, place->name, flags);
}

enum store_result fs_open_file(struct fs_store *fs, const struct fs_place *place, struct slice key,
                               bool for_lock, int *out, struct err *err)
{
    /* Looked at before it is opened: opening a device or a pipe can already do something. */
    struct stat st;
    if (fstatat(place->dir, place->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!S_ISREG(st.st_mode)) {
            return refuse_kind(fs, key, st.st_mode, err);
        }
    } else if (errno != ENOENT) {
        return fs_fail(fs, "read", key, errno, err);
    } else if (!for_lock) {
        return STORE_MISSING;
    }
    int fd = open_existing(place, for_lock);
    if (fd < 0 && errno == ENOENT && for_lock) {
        int made = fs_create(place->dir, place->name);
        if (made < 0 && errno != EEXIST) {
            return fs_fail(fs, "create", key, errno, err);
        }
        if (made >= 0) {
            close(made);
        }
        fd = open_existing(place, true);
    }
    if (fd < 0) {
        return errno == ENOENT && !for_lock ? STORE_MISSING : fs_fail(fs, "open", key, errno, err);
    }
    if (fstat(fd, &st) != 0) {
        int e = errno;
        close(fd);
        return fs_fail(fs, "read", key, e, err);
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return refuse_kind(fs, key, st.st_mode, err);
    }
    *out = fd;
    return STORE_OK;
}
