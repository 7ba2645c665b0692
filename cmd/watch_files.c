/* Watching the files of a configuration; see watch_files.h. Folders are watched, not files, because
 * editors put a new file in the old one's place.
 *
 * In: inotify's events. Out: one call for a burst of them. */
#include "cmd/watch_files.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define FOLDERS_MAX 256
#define NAMES_MAX 1024
/* Editors write, rename and set rights one after the other. */
#define SETTLE_MS 200

struct folder {
    int id;
    bool all; /* every file in it counts: files were imported from it */
    char *path;
};

struct watch_files {
    struct loop *loop;
    struct watch watch;
    struct timer timer;
    int fd;
    char *names[NAMES_MAX]; /* of files, without their folders */
    size_t name_count;
    struct folder folders[FOLDERS_MAX];
    size_t count;
    void (*on_change)(void *ctx);
    void *ctx;
};

static bool is_ours(const struct watch_files *w, struct slice name)
{
    size_t i = 0;
    while (i < w->name_count && !slice_eq(name, slice_str(w->names[i]))) {
        i++;
    }
    return i < w->name_count;
}

static bool counts(const struct watch_files *w, const struct inotify_event *e)
{
    struct slice name = slice_str(e->len ? e->name : "");
    for (size_t i = 0; i < w->count; i++) {
        if (w->folders[i].id == e->wd) {
            return (w->folders[i].all && name.n && name.p[0] != '.') || is_ours(w, name);
        }
    }
    return (e->mask & IN_Q_OVERFLOW) != 0;
}

static void on_event(struct watch *watch, unsigned events)
{
    struct watch_files *w = container_of(watch, struct watch_files, watch);
    _Alignas(struct inotify_event) char buf[4096];
    ssize_t n = read(w->fd, buf, sizeof(buf));
    (void)events;
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *e = (const void *)(buf + at);
        if (counts(w, e) && !timer_set(&w->timer, SETTLE_MS)) {
            log_event(LOG_WARN, "caddis", "out of memory: a change of the Caddyfile was missed");
        }
        at += (ssize_t)(sizeof(*e) + e->len);
    }
}

static void on_settled(struct timer *t)
{
    struct watch_files *w = container_of(t, struct watch_files, timer);
    w->on_change(w->ctx);
}

struct watch_files *watch_files_new(struct loop *l, void (*on_change)(void *ctx), void *ctx)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0) {
        log_event(LOG_ERROR, "caddis", "--watch: files cannot be watched",
                  LOG_Z("reason", strerror(errno)));
        return NULL;
    }
    struct watch_files *w = mem_zalloc(sizeof(*w));
    *w = (struct watch_files){.loop = l, .fd = fd, .on_change = on_change, .ctx = ctx};
    watch_init(&w->watch, l, fd, on_event);
    watch_set(&w->watch, WATCH_READ);
    timer_init(&w->timer, l, on_settled);
    return w;
}

static void forget(struct watch_files *w)
{
    for (size_t i = 0; i < w->count; i++) {
        (void)inotify_rm_watch(w->fd, w->folders[i].id);
        free(w->folders[i].path);
    }
    w->count = 0;
    while (w->name_count) {
        free(w->names[--w->name_count]);
    }
}

static void add(struct watch_files *w, struct slice name, bool all)
{
    size_t slash = slice_rfind(name, '/');
    if (w->name_count < NAMES_MAX) {
        w->names[w->name_count++] =
            mem_dup(slash == SLICE_NPOS ? name : slice_from(name, slash + 1));
    }
    char *path = slash == SLICE_NPOS ? mem_dup(S(".")) : mem_dup(slice_upto(name, slash + 1));
    for (size_t i = 0; i < w->count; i++) {
        if (slice_eq(slice_str(w->folders[i].path), slice_str(path))) {
            w->folders[i].all = w->folders[i].all || (all && i > 0);
            free(path);
            return;
        }
    }
    int id = w->count < FOLDERS_MAX
                 ? inotify_add_watch(w->fd, path, IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE |
                                                      IN_MOVED_FROM)
                 : -1;
    if (id < 0) {
        log_event(LOG_WARN, "caddis", "a folder of the configuration cannot be watched",
                  LOG_Z("folder", path));
        free(path);
        return;
    }
    w->folders[w->count++] = (struct folder){.id = id, .all = all, .path = path};
}

void watch_files_set(struct watch_files *w, const struct cf_document *document)
{
    const struct cf_source *s = w ? document->sources : NULL;
    if (!s) {
        return;
    }
    forget(w);
    add(w, s->name, false);
    for (s = s->next; s; s = s->next) {
        add(w, s->name, true);
    }
}

void watch_files_free(struct watch_files *w)
{
    if (w) {
        forget(w);
        watch_fini(&w->watch);
        timer_fini(&w->timer);
        close(w->fd);
        free(w);
    }
}
