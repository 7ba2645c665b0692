/* The file-system back end: one file for each key below a root folder, folders 0700, files 0600.
 *
 * A value is replaced by writing a temp file in the same folder, fsync, rename, fsync of the
 * folder: at every instant the old value or the new one is there, whole. A temp file is locked
 * while its writer lives; the next writer in that folder removes those that nobody holds.
 * In: checked keys. Out: bytes, or errors that name the path and the errno. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/mem.h"
#include "proxy/base/rand.h"
#include "store/fs.h"
#include "store/fs_sys.h"
#include "store/kinds.h"

#define TEMP_NAME_BYTES 48
/* How often a temp file lost to another writer's clean-up is made again. */
#define TEMP_TRIES_MAX 20
/* An empty temp file younger than this is left alone. */
#define TEMP_YOUNG_S 60

/* ---- temp files ---- */

static bool temp_name(char out[TEMP_NAME_BYTES])
{
    uint64_t r[2];
    if (!rand_bytes(r, sizeof(r))) {
        errno = EIO;
        return false;
    }
    (void)snprintf(out, TEMP_NAME_BYTES, STORE_TEMP_PREFIX "%016llx%016llx",
                   (unsigned long long)r[0], (unsigned long long)r[1]);
    return true;
}

/* Makes and holds a new temp file; -1 with errno. */
static int temp_open(int dir, char name[TEMP_NAME_BYTES])
{
    for (int i = 0; i < TEMP_TRIES_MAX; i++) {
        int fd = temp_name(name) ? fs_create(dir, name) : -1;
        if (fd < 0) {
            return -1;
        }
        /* Had that taken a minute, another writer could have taken it for a dead one's. */
        struct stat st;
        bool lost = (fs_lock_file(fd) != 0 && (errno == EAGAIN || errno == EACCES)) ||
                    (fstat(fd, &st) == 0 ? st.st_nlink == 0 : errno == ESTALE);
        if (!lost) {
            return fd;
        }
        (void)fs_unlink(dir, name);
        close(fd);
    }
    errno = EAGAIN;
    return -1;
}

/* If nobody holds this temp file, is it a dead writer's? Bytes are written only while it is held,
 * so one with bytes is. An empty one may have been made a moment ago, its writer just about to hold
 * it. */
static bool temp_is_dead(int fd)
{
    struct stat st;
    int64_t now_s = clock_wall_ms() / 1000;
    return fstat(fd, &st) == 0 && (st.st_size > 0 || st.st_mtime < now_s - TEMP_YOUNG_S ||
                                   st.st_mtime > now_s + TEMP_YOUNG_S);
}

/* Removes temp files whose writers are dead. Best effort. */
static void sweep_temps(int dir)
{
    int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again >= 0 ? fdopendir(again) : NULL;
    if (!d) {
        if (again >= 0) {
            close(again);
        }
        return;
    }
    for (struct dirent *e; (e = readdir(d));) {
        if (!slice_starts(slice_str(e->d_name), S(STORE_TEMP_PREFIX))) {
            continue;
        }
        int fd = openat(dir, e->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0) {
            if (temp_is_dead(fd) && fs_lock_file(fd) == 0) {
                (void)fs_unlink(dir, e->d_name);
            }
            close(fd);
        }
    }
    closedir(d);
}

/* ---- get ---- */

/* Reads a file whose size fstat gave; a file that grows meanwhile is read to that size and
 * refused. */
static enum store_result read_file(struct fs_store *fs, int fd, struct slice key, struct dstr *out,
                                   struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return fs_fail(fs, "read", key, errno, err);
    }
    size_t size = (size_t)st.st_size;
    size_t room = out->max_bytes > out->n ? out->max_bytes - out->n : 0;
    size_t limit = room < STORE_VALUE_MAX ? room : STORE_VALUE_MAX;
    if (st.st_size < 0 || size > limit) {
        err_set(err, "%s/%.*s has %lld bytes, more than the %zu allowed: it is not used",
                fs->base.path, SLICE_ARG(key), (long long)st.st_size, limit);
        return STORE_UNUSABLE;
    }
    /* All at once, so that no outgrown copy of a secret stays behind in freed memory. */
    char *at = dstr_reserve(out, size);
    if (!at) {
        return fs_fail(fs, "read", key, ENOMEM, err);
    }
    size_t have = 0;
    for (;;) {
        char beyond;
        ssize_t n = have < size ? read(fd, at + have, size - have) : read(fd, &beyond, 1);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return fs_fail(fs, "read", key, errno, err);
        }
        if (n == 0) {
            break;
        }
        if (have == size) {
            err_set(err, "%s/%.*s grew while it was read", fs->base.path, SLICE_ARG(key));
            return STORE_FAILED;
        }
        have += (size_t)n;
    }
    out->n += have;
    out->p[out->n] = '\0';
    return STORE_OK;
}

static enum store_result fs_get(struct store *s, struct slice key, struct dstr *out,
                                struct err *err)
{
    struct fs_store *fs = fs_of(s);
    struct fs_place place;
    int fd = -1;
    enum store_result r = fs_find(fs, key, false, &place, err);
    if (r != STORE_OK) {
        return r;
    }
    r = fs_open_file(fs, &place, key, false, &fd, err);
    if (r == STORE_OK) {
        r = read_file(fs, fd, key, out, err);
        close(fd);
    }
    close(place.dir);
    return r;
}

/* ---- put ---- */

/* "no folder in its place" for a target; anything else is simply replaced. */
static bool target_is_folder(const struct fs_place *place)
{
    struct stat st;
    return fstatat(place->dir, place->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static enum store_result write_value(struct fs_store *fs, const struct fs_place *place,
                                     struct slice key, struct slice value, struct err *err)
{
    char temp[TEMP_NAME_BYTES];
    if (target_is_folder(place)) {
        return fs_fail(fs, "write", key, EISDIR, err);
    }
    sweep_temps(place->dir);
    int fd = temp_open(place->dir, temp);
    if (fd < 0) {
        return fs_fail(fs, "write", key, errno, err);
    }
    enum store_result r = STORE_OK;
    if (fs_write_all(fd, value) != 0 || fs_fsync(fd) != 0 ||
        fs_rename(place->dir, temp, place->dir, place->name) != 0) {
        r = fs_fail(fs, "write", key, errno, err);
        (void)fs_unlink(place->dir, temp);
    } else if (fs_fsync_folder(place->dir) != 0) {
        r = fs_fail(fs, "make durable", key, errno, err);
    }
    close(fd);
    return r;
}

bool fs_clear_way(struct store *s, struct slice key)
{
    struct dstr there;
    struct err unread;
    dstr_init(&there, STORE_VALUE_MAX);
    bool ok = store_get(s, key, &there, &unread) == STORE_UNUSABLE &&
              store_set_aside(s, key, &unread) == STORE_OK;
    store_wipe(&there);
    return ok;
}

static enum store_result fs_put(struct store *s, struct slice key, struct slice value,
                                struct err *err)
{
    struct fs_place place;
    enum store_result r = fs_find(fs_of(s), key, true, &place, err);
    if (r == STORE_OK) {
        r = write_value(fs_of(s), &place, key, value, err);
        if (r == STORE_FAILED && fs_clear_way(s, key)) {
            r = write_value(fs_of(s), &place, key, value, err);
        }
        close(place.dir);
    }
    return r;
}

/* ---- delete, rename, copy ---- */

static enum store_result fs_del(struct store *s, struct slice key, struct err *err)
{
    struct fs_store *fs = fs_of(s);
    struct fs_place place;
    enum store_result r = fs_find(fs, key, false, &place, err);
    if (r != STORE_OK) {
        return r == STORE_MISSING ? STORE_OK : r;
    }
    if (fs_unlink(place.dir, place.name) != 0) {
        r = errno == ENOENT ? STORE_OK : fs_fail(fs, "delete", key, errno, err);
    } else if (fs_fsync_folder(place.dir) != 0) {
        r = fs_fail(fs, "make the deletion durable of", key, errno, err);
    }
    close(place.dir);
    return r;
}

/* Opens both places; on STORE_OK both folders are to be closed. */
static enum store_result find_two(struct fs_store *fs, struct slice from, struct slice to,
                                  struct fs_place *a, struct fs_place *b, struct err *err)
{
    enum store_result r = fs_find(fs, from, false, a, err);
    if (r != STORE_OK) {
        return r;
    }
    struct stat st;
    if (fstatat(a->dir, a->name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        r = errno == ENOENT ? STORE_MISSING : fs_fail(fs, "read", from, errno, err);
    } else {
        r = fs_find(fs, to, true, b, err);
    }
    if (r != STORE_OK) {
        close(a->dir);
    }
    return r;
}

static bool same_file(const struct fs_place *a, const struct fs_place *b)
{
    struct stat x, y;
    return fstatat(a->dir, a->name, &x, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(b->dir, b->name, &y, AT_SYMLINK_NOFOLLOW) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

static enum store_result fs_rename_key(struct store *s, struct slice from, struct slice to,
                                       struct err *err)
{
    struct fs_store *fs = fs_of(s);
    struct fs_place a, b;
    enum store_result r = find_two(fs, from, to, &a, &b, err);
    if (r != STORE_OK) {
        return r;
    }
    /* Two names of one file: rename would do nothing and leave the old name (POSIX). */
    int done = slice_eq(from, to)     ? 0
               : same_file(&a, &b)    ? fs_unlink(a.dir, a.name)
               : target_is_folder(&b) ? (errno = EISDIR, -1)
                                      : fs_rename(a.dir, a.name, b.dir, b.name);
    if (done != 0) {
        r = errno == ENOENT ? STORE_MISSING : fs_fail(fs, "rename", from, errno, err);
    } else if (fs_fsync_folder(b.dir) != 0 || fs_fsync_folder(a.dir) != 0) {
        r = fs_fail(fs, "make durable", to, errno, err);
    }
    close(a.dir);
    close(b.dir);
    return r;
}

/* A second name for the same file, by way of a temp name so that it can replace. */
static bool link_over(const struct fs_place *a, const struct fs_place *b)
{
    for (int i = 0; i < TEMP_TRIES_MAX; i++) {
        char temp[TEMP_NAME_BYTES];
        if (!temp_name(temp) || fs_link(a->dir, a->name, b->dir, temp) != 0) {
            return false;
        }
        bool done = fs_rename(b->dir, temp, b->dir, b->name) == 0;
        int e = errno;
        /* Left when it failed, and when both were one file already. */
        (void)fs_unlink(b->dir, temp);
        errno = e;
        if (done || e != ENOENT) {
            return done;
        }
        /* Another writer's clean-up took the temp name: nothing holds a link. */
    }
    return false;
}

static enum store_result copy_value(struct store *s, struct slice from, struct slice to,
                                    struct err *err)
{
    struct dstr value;
    dstr_init(&value, STORE_VALUE_MAX);
    enum store_result r = fs_get(s, from, &value, err);
    if (r == STORE_OK) {
        r = fs_put(s, to, dstr_slice(&value), err);
    }
    store_wipe(&value);
    return r;
}

static enum store_result fs_copy(struct store *s, struct slice from, struct slice to,
                                 struct err *err)
{
    struct fs_store *fs = fs_of(s);
    struct fs_place a, b;
    if (slice_eq(from, to)) {
        return STORE_OK;
    }
    enum store_result r = find_two(fs, from, to, &a, &b, err);
    if (r != STORE_OK) {
        return r;
    }
    bool linked = link_over(&a, &b);
    int e = errno;
    if (linked && fs_fsync_folder(b.dir) != 0) {
        r = fs_fail(fs, "make durable", to, errno, err);
    }
    close(a.dir);
    close(b.dir);
    if (linked) {
        return r;
    }
    /* Some file systems know no second names, and some kernels forbid them to others' files. */
    if (e == EPERM || e == EOPNOTSUPP || e == ENOSYS || e == EMLINK || e == EXDEV) {
        return copy_value(s, from, to, err);
    }
    return fs_fail(fs, "write", to, e, err);
}

/* ---- list ---- */

/* 1: a folder, 0: a regular file, -1: neither. */
static int entry_kind(int dir, const struct dirent *e)
{
    if (e->d_type == DT_DIR || e->d_type == DT_REG) {
        return e->d_type == DT_DIR;
    }
    struct stat st;
    if (e->d_type != DT_UNKNOWN || fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return -1;
    }
    return S_ISDIR(st.st_mode) ? 1 : S_ISREG(st.st_mode) ? 0 : -1;
}

static bool collect_names(DIR *d, struct store_names *names)
{
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(d);
        if (!e) {
            return errno == 0;
        }
        struct slice name = slice_str(e->d_name);
        int kind = store_key_valid(name, false) && !store_name_is_temp(name)
                       ? entry_kind(dirfd(d), e)
                       : -1;
        if (kind >= 0 && !store_names_add(names, name, kind == 1)) {
            errno = E2BIG;
            return false;
        }
    }
}

static enum store_result fs_list(struct store *s, struct slice prefix,
                                 void (*each)(void *ctx, struct slice name, bool is_folder),
                                 void *ctx, struct err *err)
{
    struct fs_store *fs = fs_of(s);
    int dir;
    enum store_result r = fs_open_folder(fs, prefix, false, &dir, err);
    if (r != STORE_OK) {
        return r;
    }
    /* Its own description: a duplicate of the root's would share its position in the folder with
     * other threads. */
    int own = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(dir);
    DIR *d = own >= 0 ? fdopendir(own) : NULL;
    if (!d) {
        r = fs_fail(fs, "list", prefix, errno, err);
        if (own >= 0) {
            close(own);
        }
        return r;
    }
    struct store_names names = {0};
    bool ok = collect_names(d, &names);
    int e = errno;
    closedir(d);
    if (!ok) {
        store_names_free(&names);
        return fs_fail(fs, "list", prefix, e, err);
    }
    store_names_deliver(&names, each, ctx);
    return STORE_OK;
}

/* ---- open and close ---- */

static void fs_close(struct store *s)
{
    struct fs_store *fs = fs_of(s);
    if (fs->root >= 0) {
        close(fs->root);
    }
    pthread_mutex_destroy(&fs->mutex);
    free(fs->base.path);
    free(fs);
}

static const struct store_ops fs_ops = {
    .close = fs_close,
    .get = fs_get,
    .put = fs_put,
    .del = fs_del,
    .list = fs_list,
    .rename = fs_rename_key,
    .copy = fs_copy,
    .try_lock = fs_try_lock,
    .unlock = fs_unlock,
};

/* The path without slashes at its end, absolute where the working folder is known: it is opened
 * again if the folder is deleted under us. */
static char *full_path(const char *path)
{
    struct slice p = slice_str(path);
    while (p.n > 1 && p.p[p.n - 1] == '/') {
        p.n--;
    }
    char *cwd = p.p[0] == '/' ? NULL : getcwd(NULL, 0);
    struct dstr d;
    dstr_init(&d, SIZE_MAX / 4);
    if (cwd) {
        dstr_printf(&d, "%s/", cwd);
    }
    dstr_append(&d, p);
    char *full = mem_dup(d.failed ? p : dstr_slice(&d));
    dstr_fini(&d);
    free(cwd);
    return full;
}

static struct store *open_store(const char *path, bool later, struct err *err)
{
    if (!path || !*path) {
        err_set(err, "the path of the store is empty");
        return NULL;
    }
    char *full = full_path(path);
    int root = fs_open_root(full);
    if (root < 0 && !later) {
        err_errno(err, errno, "cannot open the store %s", full);
        free(full);
        return NULL;
    }
    struct fs_store *fs = mem_zalloc(sizeof(*fs));
    fs->base.ops = &fs_ops;
    fs->base.path = full;
    fs->root = root;
    pthread_mutex_init(&fs->mutex, NULL);
    return &fs->base;
}

struct store *store_open_fs(const char *path, struct err *err)
{
    return open_store(path, false, err);
}

struct store *store_open_fs_later(const char *path, struct err *err)
{
    return open_store(path, true, err);
}

/* ---- what a configuration says ---- */

/* Behind the name, or `root FOLDER`. */
struct slice store_folder_of(const struct store_settings *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (slice_eq(s->items[i].name, S("root")) && s->items[i].count == 1) {
            return s->items[i].values[0];
        }
    }
    return s->arg_count ? s->args[0] : S("");
}

static void check_settings(const struct store_settings *s, store_complain *complain, void *ctx)
{
    for (size_t i = 0; i < s->count; i++) {
        if (!slice_eq(s->items[i].name, S("root")) || s->items[i].count != 1) {
            complain(ctx, &s->items[i], "storage file_system has only root <path>");
        }
    }
    if (store_folder_of(s).n == 0 || s->arg_count > 1) {
        complain(ctx, NULL, "storage file_system needs one folder");
    }
}

static struct store *open_settings(const struct store_settings *s, struct err *err)
{
    char *path = mem_dup(store_folder_of(s));
    struct store *store = store_open_fs_later(path, err);
    free(path);
    return store;
}

const struct store_kind store_kind_file_system = {
    .name = S_INIT("file_system"),
    .check = check_settings,
    .open = open_settings,
};
