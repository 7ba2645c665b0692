/* See log_roll.h. */
#include "proxy/loop/log_roll.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "proxy/base/clock.h"
#include "proxy/base/mem.h"

#define PIECE_BYTES ((size_t)256 * 1024)
#define ROLLED_MAX 4096u /* looked at in one folder */
#define PATH_BYTES 4096u

/* "/var/log/access.log": the folder, "access" and ".log". */
struct parts {
    struct slice folder; /* with its slash; or empty */
    struct slice stem;
    struct slice extension;
};

static struct parts parts_of(const char *path)
{
    struct slice all = slice_str(path);
    size_t slash = slice_rfind(all, '/');
    struct slice name = slash == SLICE_NPOS ? all : slice_from(all, slash + 1);
    size_t dot = slice_rfind(name, '.');
    dot = dot == SLICE_NPOS || dot == 0 ? name.n : dot;
    return (struct parts){slice_upto(all, slash == SLICE_NPOS ? 0 : slash + 1),
                          slice_upto(name, dot), slice_from(name, dot)};
}

static const char *stamp_of(const struct log_file_options *o)
{
    return o->stamp[0] ? o->stamp : LOG_STAMP;
}

/* Is the name free, and that which it gets when it is compressed? */
static bool is_free(const char *name)
{
    char compressed[PATH_BYTES + 4];
    (void)snprintf(compressed, sizeof(compressed), "%s.gz", name);
    return access(name, F_OK) != 0 && access(compressed, F_OK) != 0;
}

bool log_roll_rename(const char *path, const struct log_file_options *o)
{
    struct parts p = parts_of(path);
    char to[PATH_BYTES];
    for (int64_t later = 0; later < 2000; later++) { /* a name of its own */
        int64_t now_ms = clock_wall_ms() + later;
        time_t seconds = (time_t)(now_ms / 1000);
        struct tm t;
        (void)(o->local_time ? localtime_r(&seconds, &t) : gmtime_r(&seconds, &t));
        char stamp[LOG_STAMP_BYTES + 16];
        log_stamp_write(stamp_of(o), &t, (unsigned)(now_ms % 1000), stamp, sizeof(stamp));
        int n = snprintf(to, sizeof(to), "%.*s%.*s-%s%.*s", SLICE_ARG(p.folder), SLICE_ARG(p.stem),
                         stamp, SLICE_ARG(p.extension));
        if (n < 0 || (size_t)n >= sizeof(to)) {
            errno = ENAMETOOLONG;
            return false;
        }
        if (is_free(to)) {
            return rename(path, to) == 0;
        }
    }
    errno = EEXIST;
    return false;
}

/* ---- what is there --------------------------------------------------------------------------- */

struct rolled {
    char *name; /* owned */
    bool compressed;
};

struct rolled_list {
    struct rolled items[ROLLED_MAX];
    size_t count;
};

/* "access-<stamp>.log" or that with ".gz" behind it. */
static bool is_rolled(const struct parts *p, const char *stamp, struct slice name,
                      bool *compressed)
{
    *compressed = slice_ends(name, S(".gz"));
    name = slice_upto(name, name.n - (*compressed ? 3 : 0));
    if (!slice_starts(name, p->stem) || !slice_ends(name, p->extension) ||
        name.n < p->stem.n + 1 + p->extension.n || name.p[p->stem.n] != '-') {
        return false;
    }
    name = slice_from(name, p->stem.n + 1);
    return log_stamp_is(stamp, slice_upto(name, name.n - p->extension.n));
}

/* The newest first. */
static int compare_rolled(const void *pa, const void *pb)
{
    const struct rolled *a = pa;
    const struct rolled *b = pb;
    return slice_cmp(slice_str(b->name), slice_str(a->name));
}

static void list_rolled(const struct parts *p, const char *stamp, struct rolled_list *list)
{
    char folder[PATH_BYTES] = ".";
    if (p->folder.n && p->folder.n < sizeof(folder)) {
        memcpy(folder, p->folder.p, p->folder.n);
        folder[p->folder.n] = '\0';
    }
    DIR *dir = opendir(folder);
    const struct dirent *e;
    while (dir && list->count < ROLLED_MAX && (e = readdir(dir)) != NULL) {
        bool compressed;
        if (is_rolled(p, stamp, slice_str(e->d_name), &compressed)) {
            list->items[list->count++] = (struct rolled){mem_dup(slice_str(e->d_name)), compressed};
        }
    }
    if (dir) {
        closedir(dir);
    }
    if (list->count) {
        qsort(list->items, list->count, sizeof(*list->items), compare_rolled);
    }
}

/* ---- compressing ----------------------------------------------------------------------------- */

static struct {
    bool active;
    int in;
    gzFile out;
    char from[PATH_BYTES];
    char temporary[PATH_BYTES + 8];
    char to[PATH_BYTES + 4];
} work; /* the log writer's thread */

static void compress_end(bool whole)
{
    close(work.in);
    whole = (gzclose(work.out) == Z_OK) && whole;
    if (whole && rename(work.temporary, work.to) == 0) {
        (void)unlink(work.from);
    } else {
        (void)unlink(work.temporary);
    }
    work.active = false;
}

static bool compress_begin(const char *from)
{
    struct stat st;
    (void)snprintf(work.from, sizeof(work.from), "%s", from);
    (void)snprintf(work.to, sizeof(work.to), "%s.gz", from);
    (void)snprintf(work.temporary, sizeof(work.temporary), "%s.gz.tmp", from);
    work.in = open(from, O_RDONLY | O_CLOEXEC);
    if (work.in < 0) {
        return false;
    }
    int out = fstat(work.in, &st) == 0 ? open(work.temporary, O_WRONLY | O_CREAT | O_TRUNC |
                                              O_CLOEXEC, st.st_mode & 0777)
                                       : -1;
    work.out = out >= 0 ? gzdopen(out, "wb6") : NULL;
    if (!work.out) {
        if (out >= 0) {
            close(out);
        }
        close(work.in);
        return false;
    }
    work.active = true;
    return true;
}

bool log_roll_step(void)
{
    static char piece[PIECE_BYTES];
    if (!work.active) {
        return false;
    }
    ssize_t n = read(work.in, piece, sizeof(piece));
    if (n > 0 && gzwrite(work.out, piece, (unsigned)n) == (int)n) {
        return true;
    }
    compress_end(n == 0);
    return true; /* and perhaps another file waits */
}

void log_roll_stop(void)
{
    if (work.active) {
        compress_end(false);
    }
}

/* ---- tidying --------------------------------------------------------------------------------- */

/* Done with this file: gone, or to stay as it is. False: it is to be compressed. */
static bool tidy_one(const struct parts *p, const struct rolled *r, size_t place,
                     const struct log_file_options *o, char path[PATH_BYTES])
{
    struct stat st;
    int n = snprintf(path, PATH_BYTES, "%.*s%s", SLICE_ARG(p->folder), r->name);
    if (n < 0 || (size_t)n >= PATH_BYTES || stat(path, &st) != 0) {
        return true;
    }
    int64_t age_ms = clock_wall_ms() - (int64_t)st.st_mtime * 1000;
    if ((o->keep && place >= o->keep) || (o->keep_ms && age_ms > o->keep_ms)) {
        (void)unlink(path);
        return true;
    }
    return r->compressed || !o->compress;
}

bool log_roll_tidy(const char *path, const struct log_file_options *o)
{
    struct parts p = parts_of(path);
    struct rolled_list *list = mem_zalloc(sizeof(*list));
    char name[PATH_BYTES];
    bool waiting = false;
    list_rolled(&p, stamp_of(o), list);
    for (size_t i = 0; i < list->count; i++) {
        if (!tidy_one(&p, &list->items[i], i, o, name)) {
            waiting = work.active || compress_begin(name) || waiting;
        }
        free(list->items[i].name);
    }
    free(list);
    return !waiting;
}
