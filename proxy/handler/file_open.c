/* In: a root and a path. Out: a descriptor of a file (or folder) below it, or an errno. */
#include "proxy/handler/file_open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* O_NONBLOCK: opening a pipe must not wait for its other end. */
#define FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

static int open2(int root, const char *path, uint64_t resolve)
{
    struct open_how how = {.flags = FLAGS, .resolve = resolve};
    long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
    return (int)fd;
}

/* A link that leaves the root by its text may still end inside: an absolute one does. Looks where
 * it ends, and opens that without links. */
static int open_resolved(int root_fd, const struct file_wanted *w, const char *path)
{
    char whole[PATH_MAX], root[PATH_MAX], real[PATH_MAX];
    int n = snprintf(whole, sizeof(whole), "%s/%s", w->root, path);
    if (n < 0 || (size_t)n >= sizeof(whole)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (!realpath(w->root, root) || !realpath(whole, real)) {
        return -1;
    }
    size_t length = strlen(root);
    length -= length == 1; /* "/" */
    if (strncmp(real, root, length) != 0 || (real[length] != '/' && real[length] != '\0')) {
        errno = EXDEV;
        return -1;
    }
    const char *inside = real[length] ? real + length + 1 : ".";
    return open2(root_fd, *inside ? inside : ".", RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

static int open_below(int root, const struct file_wanted *w, const char *path)
{
    while (*path == '/') {
        path++;
    }
    path = *path ? path : ".";
    if (w->follow_outside) {
        return openat(root, path, FLAGS);
    }
    int fd = open2(root, path, RESOLVE_BENEATH);
    if (fd < 0 && (errno == EXDEV || errno == ENOSYS || errno == EPERM)) {
        fd = open_resolved(root, w, path);
    }
    return fd;
}

/* Opens path and looks what it is. */
static bool open_one(int root, const struct file_wanted *w, const char *path,
                     struct file_found *found)
{
    found->fd = -1;
    if (w->hidden && w->hidden(w->ctx, path)) {
        found->error = ENOENT;
        return false;
    }
    int fd = open_below(root, w, path);
    if (fd < 0) {
        found->error = errno;
        return false;
    }
    if (fstat(fd, &found->st) != 0 ||
        (!S_ISREG(found->st.st_mode) && !S_ISDIR(found->st.st_mode))) {
        (void)close(fd);
        found->error = ENOENT;
        return false;
    }
    found->folder = S_ISDIR(found->st.st_mode);
    found->fd = fd;
    found->error = 0;
    return true;
}

/* False where the name does not fit. */
static bool join(char out[PATH_MAX], const char *folder, const char *name)
{
    size_t n = strlen(folder);
    const char *slash = n && folder[n - 1] == '/' ? "" : "/";
    int length = snprintf(out, PATH_MAX, "%s%s%s", folder, slash, name);
    return length >= 0 && length < PATH_MAX;
}

/* An index file of the folder takes its place. */
static void try_indexes(int root, const struct file_wanted *w, char path[PATH_MAX],
                        struct file_found *found)
{
    for (unsigned i = 0; i < w->index_count; i++) {
        char name[PATH_MAX];
        struct file_found f = {.fd = -1};
        if (!join(name, w->path, w->indexes[i]) || !open_one(root, w, name, &f)) {
            continue;
        }
        if (f.folder) {
            (void)close(f.fd);
            continue;
        }
        (void)close(found->fd);
        *found = f;
        found->index = (int)i;
        memcpy(path, name, sizeof(name));
        return;
    }
    found->index = -1;
}

/* A compressed neighbour takes the file's place. */
static void try_suffixes(int root, const struct file_wanted *w, const char *path,
                         struct file_found *found)
{
    for (unsigned i = 0; i < w->suffix_count; i++) {
        char name[PATH_MAX];
        struct file_found f = {.fd = -1};
        int n = snprintf(name, sizeof(name), "%s%s", path, w->suffixes[i]);
        if (n < 0 || (size_t)n >= sizeof(name) || !open_one(root, w, name, &f)) {
            continue;
        }
        if (f.folder) {
            (void)close(f.fd);
            continue;
        }
        f.index = found->index;
        (void)close(found->fd);
        *found = f;
        found->suffix = (int)i;
        return;
    }
}

void file_open(const struct file_wanted *w, struct file_found *found)
{
    char path[PATH_MAX];
    *found = (struct file_found){.fd = -1, .index = -1, .suffix = -1};
    int root = open(w->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    size_t n = strlen(w->path);
    if (root < 0 || n >= sizeof(path)) {
        found->error = root < 0 ? errno : ENAMETOOLONG;
    } else {
        memcpy(path, w->path, n + 1);
        if (open_one(root, w, path, found) && found->folder) {
            try_indexes(root, w, path, found);
        }
        found->suffix = -1;
        if (found->fd >= 0 && !found->folder) {
            try_suffixes(root, w, path, found);
        } else if (found->fd >= 0 && !w->want_folder) {
            (void)close(found->fd);
            found->fd = -1;
            found->error = ENOENT;
        }
    }
    if (root >= 0) {
        (void)close(root);
    }
}
