/* Text files; see text_file.h. In: paths. Out: their bytes, or an error that names the path. */
#include "cmd/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP ((size_t)65536)

static bool read_all(int fd, struct dstr *out)
{
    for (;;) {
        char *p = dstr_reserve(out, STEP);
        ssize_t n = p ? read(fd, p, STEP) : 0;
        if (n == 0) {
            return p != NULL;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
        out->n += n > 0 ? (size_t)n : 0;
    }
}

bool text_file_read(const char *path, struct dstr *out, struct err *err)
{
    bool is_stdin = slice_eq(slice_str(path), S("-"));
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && read_all(fd, out);
    if (!ok && out->failed) {
        err_set(err, "%s is larger than %zu MB", path, out->max_bytes >> 20);
    } else if (!ok) {
        err_errno(err, errno, "%s cannot be read", path);
    }
    if (fd >= 0 && !is_stdin) {
        close(fd);
    }
    return ok;
}

static bool write_all(int fd, struct slice text)
{
    while (text.n) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        text = slice_from(text, n > 0 ? (size_t)n : 0);
    }
    return true;
}

/* The new file beside the old one, with its rights. */
static bool write_beside(const char *path, const char *beside, struct slice text)
{
    struct stat st;
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    bool ok = stat(path, &st) == 0 && write_all(fd, text) &&
              (fchown(fd, st.st_uid, st.st_gid) == 0 || geteuid() != 0) &&
              fchmod(fd, st.st_mode & 07777) == 0 && fsync(fd) == 0;
    int why = errno;
    ok = close(fd) == 0 && ok;
    ok = ok && rename(beside, path) == 0;
    if (!ok) {
        why = why ? why : errno;
        (void)unlink(beside);
        errno = why;
    }
    return ok;
}

bool text_file_replace(const char *path, struct slice text, struct err *err)
{
    char full[PATH_MAX];
    char beside[PATH_MAX + 32];
    if (!realpath(path, full)) {
        return err_errno(err, errno, "%s cannot be written", path);
    }
    (void)snprintf(beside, sizeof(beside), "%s.%d.new", full, (int)getpid());
    return write_beside(full, beside, text) ||
           err_errno(err, errno, "%s cannot be written", path);
}
