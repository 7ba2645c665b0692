/* Changing system calls behind a step hook (fs_sys.h). */
#include "store/fs_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int (*store_fs_step)(const char *call);

static bool step(const char *call)
{
    int e = store_fs_step ? store_fs_step(call) : 0;
    if (e) {
        errno = e;
    }
    return e == 0;
}

int fs_mkdir(int dir, const char *name)
{
    if (!step("mkdir") || mkdirat(dir, name, 0700) != 0) {
        return -1;
    }
    /* A umask with owner bits would leave a folder that its owner cannot enter. */
    if (fchmodat(dir, name, 0700, AT_SYMLINK_NOFOLLOW) != 0) {
        errno = 0; /* not possible without /proc; if it was needed, opening the folder fails */
    }
    return 0;
}

int fs_create(int dir, const char *name)
{
    if (!step("create")) {
        return -1;
    }
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -1;
    }
    if (!step("fchmod") || fchmod(fd, 0600) != 0) {
        int e = errno;
        close(fd);
        (void)unlinkat(dir, name, 0);
        errno = e;
        return -1;
    }
    return fd;
}

int fs_write_all(int fd, struct slice bytes)
{
    while (bytes.n) {
        if (!step("write")) {
            return -1;
        }
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        bytes = n > 0 ? slice_from(bytes, (size_t)n) : bytes;
    }
    return 0;
}

int fs_fsync(int fd)
{
    if (!step("fsync")) {
        return -1;
    }
    int r;
    do {
        r = fsync(fd);
    } while (r != 0 && errno == EINTR);
    return r;
}

int fs_fsync_folder(int dir)
{
    int r = fs_fsync(dir);
    return r != 0 && (errno == EINVAL || errno == EOPNOTSUPP) ? 0 : r;
}

int fs_rename(int from_dir, const char *from, int to_dir, const char *to)
{
    return step("rename") ? renameat(from_dir, from, to_dir, to) : -1;
}

int fs_link(int from_dir, const char *from, int to_dir, const char *to)
{
    return step("link") ? linkat(from_dir, from, to_dir, to, 0) : -1;
}

int fs_unlink(int dir, const char *name)
{
    return step("unlink") ? unlinkat(dir, name, 0) : -1;
}
