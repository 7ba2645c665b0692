/* The background writer of log files. Callers append to a sink's buffer under its lock; the thread
 * swaps that buffer for an empty one and writes it out. Several lines go into one write: the thread
 * waits a few milliseconds after it has been woken, and until it looks again nobody needs to wake
 * it, so that a line costs its caller a copy and no system call.
 *
 * Locks, in this order: registry (the list and the counts), a sink's io (its descriptor and what is
 * being written), a sink's lock (its buffer). Before log_writer_start and after log_writer_stop
 * lines are written at once, as far as that is possible without waiting. */
#include "proxy/loop/log_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/list.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/loop/log_net.h"

#define SINK_BYTES_MAX ((size_t)4 * 1024 * 1024)
#define BUFFER_FIRST_BYTES ((size_t)16 * 1024)
#define BUFFER_KEEP_BYTES ((size_t)256 * 1024) /* larger ones go back to the system */
#define NOTICE_BYTES ((size_t)512)
#define PIECE_BYTES ((size_t)4096) /* what a pipe that polls writable takes without blocking */
#define GATHER_MS 10
#define RETRY_MS 100  /* a pipe was full */
#define IDLE_MS 1000  /* nothing to do */
#define DIAL_MS 1000  /* between attempts to reach another machine */
#define ROLL_STEP_MS 1 /* between two pieces that are compressed */
#define CHECK_MS 1000 /* how often the file at the path is looked at */

struct buffer {
    char *p; /* owned */
    size_t n;
    size_t cap;
};

struct log_sink {
    struct list node; /* in registry */
    unsigned refs;    /* under registry_lock; 0: goes once it is written out */
    char *target;     /* owned */
    bool is_file;
    struct log_file_options file;
    struct log_net *net; /* owned; NULL: a file or a stream of ours */

    pthread_mutex_t io;
    int fd; /* under io, as the rest of this part; owned if is_file or net; -1: is not open */
    bool regular;      /* a regular file: writing does not wait for a reader */
    dev_t dev;         /* what fd is */
    ino_t ino;
    unsigned generation;
    int64_t checked_ms;
    int64_t opened_ms;
    int64_t roll_at_ms; /* wall clock; 0: at no moment */
    uint64_t file_bytes;
    bool untidy;       /* something was rolled since its folder was last in order */
    struct buffer out; /* being written; out_at bytes of it are done */
    size_t out_at;

    pthread_mutex_t lock;
    struct buffer in;     /* under lock, as all below */
    size_t writing_bytes; /* size of out: counts against the maximum */
    uint64_t dropped;     /* lines since the last notice */
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list registry = {&registry, &registry}; /* under registry_lock */

static pthread_t writer;
static sem_t wake_up;
static sem_t ended; /* posted by the thread as the last thing it does */
static atomic_bool running;
static atomic_bool stopping;
static atomic_bool woken; /* a post of wake_up is under way or not needed */
static _Atomic int64_t stop_by_ms;
static _Atomic unsigned reopen_generation;

/* A plain look first keeps the flag's cache line shared. It cannot miss a wake-up: the writer
 * clears the flag before it takes the sink's lock, so whoever appended after that sees it cleared.
 */
static void wake_writer(void)
{
    if (atomic_load(&running) && !atomic_load_explicit(&woken, memory_order_relaxed) &&
        !atomic_exchange(&woken, true)) {
        (void)sem_post(&wake_up);
    }
}

/* ---- buffers ---- */

static bool buffer_append(struct buffer *b, struct slice s)
{
    if (b->cap - b->n < s.n) {
        size_t cap = b->cap ? b->cap : BUFFER_FIRST_BYTES;
        while (cap - b->n < s.n) {
            cap *= 2;
        }
        char *grown = realloc(b->p, cap);
        if (!grown) {
            return false;
        }
        b->p = grown;
        b->cap = cap;
    }
    memcpy(b->p + b->n, s.p, s.n);
    b->n += s.n;
    return true;
}

static void buffer_empty(struct buffer *b)
{
    b->n = 0;
    if (b->cap > BUFFER_KEEP_BYTES) {
        free(b->p);
        *b = (struct buffer){0};
    }
}

static uint64_t count_lines(struct slice s)
{
    uint64_t lines = 0;
    for (size_t i = 0; i < s.n; i++) {
        lines += s.p[i] == '\n';
    }
    return lines;
}

/* ---- files; under the sink's io lock ---- */

static int open_target(const char *path, unsigned mode, struct stat *st)
{
    /* Non-blocking, so that a FIFO without a reader cannot hold up anyone. */
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                  mode ? mode : 0600);
    if (fd >= 0 && mode) {
        (void)fchmod(fd, mode); /* whatever the umask: it was asked for */
    }
    if (fd >= 0 && fstat(fd, st) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static void adopt(struct log_sink *s, int fd, const struct stat *st)
{
    if (s->is_file && s->fd >= 0) {
        close(s->fd);
    }
    s->fd = fd;
    s->regular = S_ISREG(st->st_mode);
    s->dev = st->st_dev;
    s->ino = st->st_ino;
    s->file_bytes = (uint64_t)st->st_size;
    s->opened_ms = clock_mono_ms();
    s->roll_at_ms = log_roll_next_ms(&s->file.times, s->file.local_time, clock_wall_ms());
}

/* Opens the file again if it is asked for, or if the one at the path is another one now. A file
 * that cannot be opened again is written on under its old name. */
static void follow_path(struct log_sink *s)
{
    unsigned generation = atomic_load(&reopen_generation);
    int64_t now_ms = clock_mono_ms();
    struct stat st;
    if (!s->is_file || (generation == s->generation && now_ms - s->checked_ms < CHECK_MS)) {
        return;
    }
    s->checked_ms = now_ms;
    if (generation == s->generation && s->fd >= 0 && stat(s->target, &st) == 0 &&
        st.st_dev == s->dev && st.st_ino == s->ino) {
        return;
    }
    s->generation = generation;
    int fd = open_target(s->target, s->file.mode, &st);
    if (fd >= 0) {
        adopt(s, fd, &st);
    }
}

/* Puts the file aside when `more` bytes would make it too large, or when its time is over. One that
 * cannot be renamed is written on. */
static void roll_file(struct log_sink *s, size_t more)
{
    const struct log_file_options *o = &s->file;
    bool full = o->roll_bytes && s->file_bytes && s->file_bytes + more > o->roll_bytes;
    bool old = o->roll_ms && s->file_bytes && clock_mono_ms() - s->opened_ms >= o->roll_ms;
    bool due = s->roll_at_ms && clock_wall_ms() >= s->roll_at_ms;
    struct stat st;
    if (due && !s->file_bytes) {
        s->roll_at_ms = log_roll_next_ms(&o->times, o->local_time, clock_wall_ms());
        due = false;
    }
    if (!s->is_file || !s->regular || (!full && !old && !due) || !log_roll_rename(s->target, o)) {
        return;
    }
    s->untidy = true;
    int fd = open_target(s->target, o->mode, &st);
    if (fd >= 0) {
        adopt(s, fd, &st);
    }
}

/* ---- other machines; under the sink's io lock ---- */

static void dial(struct log_sink *s)
{
    int64_t now_ms = clock_mono_ms();
    if (s->net && s->fd < 0 && (!s->checked_ms || now_ms - s->checked_ms >= DIAL_MS)) {
        s->checked_ms = now_ms;
        s->fd = log_net_dial(s->net);
    }
}

/* The connection is gone: another one begins with the line that was under way. */
static void hang_up(struct log_sink *s)
{
    if (s->fd >= 0) {
        close(s->fd);
    }
    s->fd = -1;
    while (s->out_at > 0 && s->out.p[s->out_at - 1] != '\n') {
        s->out_at--;
    }
}

/* What one write may take. */
static size_t piece_of(const struct log_sink *s, struct slice rest)
{
    if (s->net && log_net_datagrams(s->net)) { /* a line, a message */
        size_t end = slice_find(rest, '\n');
        return end == SLICE_NPOS ? rest.n : end + 1;
    }
    return rest.n < PIECE_BYTES ? rest.n : PIECE_BYTES;
}

/* Writes what can be written without waiting for a reader. How much; -1 on an error. */
static ssize_t write_some(const struct log_sink *s, struct slice bytes)
{
    size_t done = 0;
    while (done < bytes.n) {
        size_t n = bytes.n - done;
        if (!s->regular) {
            struct pollfd p = {.fd = s->fd, .events = POLLOUT};
            if (poll(&p, 1, 0) <= 0) {
                break;
            }
            n = piece_of(s, slice_from(bytes, done));
        }
        ssize_t written = s->net ? send(s->fd, bytes.p + done, n, MSG_NOSIGNAL)
                                 : write(s->fd, bytes.p + done, n);
        if (written > 0) {
            done += (size_t)written;
        } else if (written < 0 && errno == EAGAIN) {
            break;
        } else if (written == 0 || errno != EINTR) {
            return -1;
        }
    }
    return (ssize_t)done;
}

/* ---- writing out ---- */

static void append_notice(struct log_sink *s, uint64_t dropped)
{
    struct dstr line;
    const struct log_field field = LOG_I("count", dropped);
    dstr_init(&line, NOTICE_BYTES);
    log_line(&line, s->is_file ? LOG_JSON : LOG_CONSOLE, LOG_WARN, "log", "lines dropped", &field,
             1);
    if (line.failed || !buffer_append(&s->out, dstr_slice(&line))) {
        pthread_mutex_lock(&s->lock);
        s->dropped += dropped;
        pthread_mutex_unlock(&s->lock);
    }
    dstr_fini(&line);
}

/* Takes what has been gathered. False if there is nothing. */
static bool take_lines(struct log_sink *s)
{
    pthread_mutex_lock(&s->lock);
    struct buffer empty = s->out;
    s->out = s->in;
    s->in = empty;
    s->writing_bytes = s->out.n;
    uint64_t dropped = s->dropped;
    s->dropped = 0;
    pthread_mutex_unlock(&s->lock);
    s->out_at = 0;
    if (dropped) {
        append_notice(s, dropped);
    }
    return s->out.n > 0;
}

static void finish_out(struct log_sink *s, uint64_t lost)
{
    buffer_empty(&s->out);
    s->out_at = 0;
    pthread_mutex_lock(&s->lock);
    s->writing_bytes = 0;
    s->dropped += lost;
    pthread_mutex_unlock(&s->lock);
}

/* False when something is left because its reader does not read. */
static bool flush_sink(struct log_sink *s)
{
    bool done = true;
    pthread_mutex_lock(&s->io);
    follow_path(s);
    dial(s);
    while (done && !(s->net && s->fd < 0) && (s->out_at < s->out.n || take_lines(s))) {
        struct slice rest = slice_from(slice_of(s->out.p, s->out.n), s->out_at);
        if (s->out_at == 0) {
            roll_file(s, rest.n);
        }
        ssize_t n = s->fd >= 0 ? write_some(s, rest) : -1;
        if (n < 0 && s->net) {
            hang_up(s);
            break;
        }
        if (n < 0) {
            /* A full disk, a reader that is gone: these lines are lost, and said to be. */
            finish_out(s, count_lines(rest));
            break;
        }
        s->out_at += (size_t)n;
        s->file_bytes += (uint64_t)n;
        if (s->out_at == s->out.n) {
            finish_out(s, 0);
        } else {
            done = false;
        }
    }
    pthread_mutex_unlock(&s->io);
    return done;
}

/* Under registry_lock. */
static void sink_free(struct log_sink *s)
{
    list_remove(&s->node);
    if ((s->is_file || s->net) && s->fd >= 0) {
        close(s->fd);
    }
    log_net_free(s->net);
    free(s->in.p);
    free(s->out.p);
    free(s->target);
    pthread_mutex_destroy(&s->io);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Sinks are only taken out of the list here (or while no thread runs), so the walk may let go of
 * the lock. False when a sink has something left. */
static bool flush_all(void)
{
    bool done = true;
    pthread_mutex_lock(&registry_lock);
    for (struct list *it = registry.next, *next; it != &registry; it = next) {
        struct log_sink *s = LIST_ENTRY(it, struct log_sink, node);
        pthread_mutex_unlock(&registry_lock);
        bool flushed = flush_sink(s);
        done = done && flushed;
        if (s->untidy) { /* only here: the thread's own */
            s->untidy = !log_roll_tidy(s->target, &s->file);
        }
        pthread_mutex_lock(&registry_lock);
        next = it->next;
        if (s->refs == 0 && flushed) {
            sink_free(s);
        }
    }
    pthread_mutex_unlock(&registry_lock);
    return done;
}

static void sleep_ms(int64_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
    (void)nanosleep(&t, NULL);
}

static struct timespec mono_in(int64_t ms)
{
    int64_t at_us = clock_mono_us() + ms * 1000;
    return (struct timespec){.tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000};
}

static void *run_writer(void *arg UNUSED)
{
    bool done = true;
    while (!atomic_load(&stopping)) {
        bool rolling = log_roll_step();
        struct timespec until = mono_in(rolling ? ROLL_STEP_MS : done ? IDLE_MS : RETRY_MS);
        int rc = sem_clockwait(&wake_up, CLOCK_MONOTONIC, &until);
        if (rc == 0 && !atomic_load(&stopping)) {
            sleep_ms(GATHER_MS);
        }
        atomic_store(&woken, false);
        done = flush_all();
    }
    log_roll_stop();
    while (!flush_all() && clock_mono_ms() < atomic_load(&stop_by_ms)) {
        sleep_ms(GATHER_MS);
    }
    (void)sem_post(&ended);
    return NULL;
}

bool log_writer_start(struct err *err)
{
    sigset_t all;
    sigset_t before;
    (void)sem_init(&wake_up, 0, 0);
    (void)sem_init(&ended, 0, 0);
    atomic_store(&woken, false);
    atomic_store(&stopping, false);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int errnum = pthread_create(&writer, NULL, run_writer, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (errnum) {
        return err_errno(err, errnum, "starting the log writer");
    }
    atomic_store(&running, true);
    wake_writer();
    return true;
}

void log_writer_stop(int64_t timeout_ms)
{
    if (!atomic_load(&running)) {
        return;
    }
    atomic_store(&stop_by_ms, clock_mono_ms() + timeout_ms);
    atomic_store(&stopping, true);
    (void)sem_post(&wake_up);
    struct timespec until = mono_in(timeout_ms + RETRY_MS);
    int rc;
    do {
        rc = sem_clockwait(&ended, CLOCK_MONOTONIC, &until);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        pthread_detach(writer); /* stuck in a write; it may keep its sinks */
        return;
    }
    pthread_join(writer, NULL);
    atomic_store(&running, false);
    (void)flush_all(); /* what came in between */
}

/* ---- sinks ---- */

static struct log_sink *sink_new(const char *target)
{
    struct log_sink *s = mem_zalloc(sizeof(*s));
    s->fd = -1;
    s->refs = 1;
    s->target = mem_dup(slice_str(target));
    s->generation = atomic_load(&reopen_generation);
    pthread_mutex_init(&s->io, NULL);
    pthread_mutex_init(&s->lock, NULL);
    list_init(&s->node);
    return s;
}

static struct log_sink *file_new(const char *target, const struct log_file_options *o,
                                 struct err *err)
{
    struct stat st = {0};
    bool is_file = strcmp(target, "stderr") != 0 && strcmp(target, "stdout") != 0;
    int fd = !is_file ? (target[3] == 'e' ? STDERR_FILENO : STDOUT_FILENO)
                      : open_target(target, o->mode, &st);
    if (fd < 0) {
        err_errno(err, errno, "opening the log file %s", target);
        return NULL;
    }
    if (!is_file) {
        (void)fstat(fd, &st);
    }
    struct log_sink *s = sink_new(target);
    s->is_file = is_file;
    s->file = *o;
    s->checked_ms = clock_mono_ms();
    adopt(s, fd, &st);
    return s;
}

/* One more reference to the sink of that target; NULL: there is none. Under registry_lock. */
static struct log_sink *find_sink(const char *target)
{
    LIST_EACH(it, &registry) {
        struct log_sink *s = LIST_ENTRY(it, struct log_sink, node);
        if (slice_eq(slice_str(s->target), slice_str(target))) {
            s->refs++;
            return s;
        }
    }
    return NULL;
}

struct log_sink *log_sink_open_file(const char *path, const struct log_file_options *o,
                                    struct err *err)
{
    pthread_mutex_lock(&registry_lock);
    struct log_sink *s = find_sink(path);
    if (!s) {
        s = file_new(path, o, err);
        if (s) {
            list_push_back(&registry, &s->node);
        }
    }
    pthread_mutex_unlock(&registry_lock);
    return s;
}

struct log_sink *log_sink_open(const char *target, struct err *err)
{
    const struct log_file_options none = {0};
    return log_sink_open_file(target, &none, err);
}

struct log_sink *log_sink_open_net(struct slice address, int64_t dial_timeout_ms, struct err *err)
{
    struct log_net *net = log_net_new(address, err);
    if (!net || (dial_timeout_ms && !log_net_try(net, dial_timeout_ms, err))) {
        log_net_free(net);
        return NULL;
    }
    char *target = mem_dup(address);
    pthread_mutex_lock(&registry_lock);
    struct log_sink *s = find_sink(target);
    if (!s) {
        s = sink_new(target);
        s->net = net;
        net = NULL;
        list_push_back(&registry, &s->node);
    }
    pthread_mutex_unlock(&registry_lock);
    log_net_free(net);
    free(target);
    return s;
}

struct log_sink *log_sink_ref(struct log_sink *s)
{
    pthread_mutex_lock(&registry_lock);
    s->refs++;
    pthread_mutex_unlock(&registry_lock);
    return s;
}

void log_sink_unref(struct log_sink *s)
{
    if (!s) {
        return;
    }
    pthread_mutex_lock(&registry_lock);
    bool last = --s->refs == 0;
    if (last && !atomic_load(&running)) {
        sink_free(s);
        last = false;
    }
    pthread_mutex_unlock(&registry_lock);
    if (last) {
        wake_writer(); /* it writes out what is left and frees */
    }
}

void log_sink_write(void *sink, struct slice lines)
{
    struct log_sink *s = sink;
    if (!lines.n) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    bool fits = s->in.n + s->writing_bytes + lines.n <= SINK_BYTES_MAX &&
                buffer_append(&s->in, lines);
    if (!fits) {
        s->dropped += count_lines(lines);
    }
    pthread_mutex_unlock(&s->lock);
    if (LIKELY(atomic_load_explicit(&running, memory_order_relaxed))) {
        wake_writer();
    } else {
        (void)flush_sink(s);
    }
}

void log_sinks_reopen(void)
{
    atomic_fetch_add(&reopen_generation, 1);
    wake_writer();
}
