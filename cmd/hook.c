/* In: names with paths. Out: runs of the program, its output in the log. A program that takes
 * longer than a minute is killed, so that one that hangs does not keep the next from running. */
#include "cmd/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/dstr.h"
#include "proxy/base/list.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define RUN_MAX_MS (60 * 1000)
#define OUTPUT_MAX ((size_t)16384)
#define LOOK_MS 100

struct hook_job {
    struct list node;
    char *name, *certificate, *key;
};

struct hook {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    _Atomic bool stopping;
    char *program; /* owned; NULL: none */
    struct list jobs;
    size_t count;
};

static void free_job(struct hook_job *j)
{
    free(j->name);
    free(j->certificate);
    free(j->key);
    free(j);
}

/* "NAME=value" */
static char *setting(const char *name, const char *value)
{
    struct dstr d;
    dstr_init(&d, 8192);
    dstr_printf(&d, "%s=%s", name, value);
    char *copy = mem_dup(dstr_slice(&d));
    dstr_fini(&d);
    return copy;
}

#define SETTINGS 3

/* The environment with three more; the new ones are the caller's to free, the array too. */
static char **environment(const struct hook_job *j)
{
    size_t n = 0;
    while (environ[n]) {
        n++;
    }
    char **env = mem_zalloc((n + SETTINGS + 1) * sizeof(*env));
    env[0] = setting("CADDIS_NAME", j->name);
    env[1] = setting("CADDIS_CERTIFICATE", j->certificate);
    env[2] = setting("CADDIS_KEY", j->key);
    for (size_t i = 0; i < n; i++) {
        env[SETTINGS + i] = environ[i];
    }
    return env;
}

/* In a process group of its own, with stdout and stderr into out. 0 or errno. */
static int spawn(char *program, const struct hook_job *j, int out, pid_t *pid)
{
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t files;
    sigset_t none, all;
    char *argv[] = {program, j->name, j->certificate, j->key, NULL};
    char **env = environment(j);
    must(posix_spawnattr_init(&attr) == 0 && posix_spawn_file_actions_init(&files) == 0);
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    (void)posix_spawnattr_setsigmask(&attr, &none);
    (void)posix_spawnattr_setsigdefault(&attr, &all);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    (void)posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    (void)posix_spawn_file_actions_adddup2(&files, out, STDERR_FILENO);
    int rc = posix_spawn(pid, program, &files, &attr, argv, env);
    (void)posix_spawn_file_actions_destroy(&files);
    (void)posix_spawnattr_destroy(&attr);
    for (size_t i = 0; i < SETTINGS; i++) {
        free(env[i]);
    }
    free(env);
    return rc;
}

/* What the program writes, until it ends its output, takes too long, or we stop. */
static void read_output(const struct hook *h, int fd, struct dstr *out, int64_t end_ms)
{
    while (!h->stopping && clock_mono_ms() < end_ms) {
        char piece[4096];
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, LOOK_MS) <= 0) {
            continue;
        }
        ssize_t n = read(fd, piece, sizeof(piece));
        if (n <= 0) {
            return;
        }
        size_t room = OUTPUT_MAX - out->n;
        dstr_append(out, slice_of(piece, (size_t)n < room ? (size_t)n : room));
    }
}

/* True: it ended, with *status. */
static bool await_end(const struct hook *h, pid_t pid, int64_t end_ms, int *status)
{
    for (;;) {
        pid_t got = waitpid(pid, status, WNOHANG);
        if (got == pid || (got < 0 && errno != EINTR)) {
            return true;
        }
        if (h->stopping || clock_mono_ms() >= end_ms) {
            return false;
        }
        (void)poll(NULL, 0, 10);
    }
}

static void tell_output(const struct hook_job *j, struct slice output)
{
    struct slice line;
    while (slice_cut(&output, '\n', &line)) {
        if (line.n) {
            log_event(LOG_INFO, "hook", "on_certificate says", LOG_Z("name", j->name),
                      LOG_S("line", slice_upto(line, 500)));
        }
    }
}

static void watch_run(const struct hook *h, const struct hook_job *j, pid_t pid, int fd)
{
    struct dstr output;
    int status = 0;
    int64_t end_ms = clock_mono_ms() + RUN_MAX_MS;
    dstr_init(&output, OUTPUT_MAX);
    read_output(h, fd, &output, end_ms);
    bool ended = await_end(h, pid, end_ms, &status);
    if (!ended && !h->stopping) {
        (void)kill(-pid, SIGKILL);
        (void)waitpid(pid, &status, 0);
    }
    tell_output(j, dstr_slice(&output));
    if (!ended && !h->stopping) {
        log_event(LOG_ERROR, "hook", "on_certificate took longer than a minute and was killed",
                  LOG_Z("name", j->name));
    } else if (ended && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        log_event(LOG_ERROR, "hook", "on_certificate failed", LOG_Z("name", j->name),
                  LOG_I("status", WIFEXITED(status) ? WEXITSTATUS(status) : 128));
    }
    dstr_fini(&output);
}

static void run(const struct hook *h, char *program, const struct hook_job *j)
{
    int ends[2];
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        log_event(LOG_ERROR, "hook", "on_certificate cannot be run: no pipe",
                  LOG_Z("name", j->name));
        return;
    }
    log_event(LOG_INFO, "hook", "running on_certificate", LOG_Z("program", program),
              LOG_Z("name", j->name));
    int rc = spawn(program, j, ends[1], &pid);
    close(ends[1]);
    if (rc == 0) {
        watch_run(h, j, pid, ends[0]);
    } else {
        log_event(LOG_ERROR, "hook", "on_certificate cannot be run", LOG_Z("program", program),
                  LOG_Z("reason", strerror(rc)));
    }
    close(ends[0]);
}

static void *hook_main(void *arg)
{
    struct hook *h = arg;
    pthread_mutex_lock(&h->mutex);
    while (!h->stopping) {
        if (list_empty(&h->jobs)) {
            pthread_cond_wait(&h->cond, &h->mutex);
            continue;
        }
        struct hook_job *j = LIST_ENTRY(h->jobs.next, struct hook_job, node);
        list_remove(&j->node);
        h->count--;
        char *program = h->program ? mem_dup(slice_str(h->program)) : NULL;
        pthread_mutex_unlock(&h->mutex);
        if (program) {
            run(h, program, j);
        }
        free(program);
        free_job(j);
        pthread_mutex_lock(&h->mutex);
    }
    pthread_mutex_unlock(&h->mutex);
    return NULL;
}

struct hook *hook_start(struct err *err)
{
    struct hook *h = mem_zalloc(sizeof(*h));
    sigset_t all, before;
    must(pthread_mutex_init(&h->mutex, NULL) == 0 && pthread_cond_init(&h->cond, NULL) == 0);
    list_init(&h->jobs);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = pthread_create(&h->thread, NULL, hook_main, h) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!ok) {
        free(h);
        (void)err_set(err, "the thread for on_certificate cannot be started");
        return NULL;
    }
    return h;
}

void hook_program(struct hook *h, struct slice program)
{
    pthread_mutex_lock(&h->mutex);
    free(h->program);
    h->program = program.n ? mem_dup(program) : NULL;
    pthread_mutex_unlock(&h->mutex);
}

static bool waits(const struct hook *h, struct slice name)
{
    LIST_EACH (node, &h->jobs) {
        if (slice_eq(slice_str(LIST_ENTRY(node, struct hook_job, node)->name), name)) {
            return true;
        }
    }
    return false;
}

void hook_run(struct hook *h, struct slice name, struct slice certificate, struct slice key)
{
    bool full = false;
    pthread_mutex_lock(&h->mutex);
    if (h->program && !waits(h, name)) {
        full = h->count >= HOOK_QUEUE_MAX;
        if (!full) {
            struct hook_job *j = mem_zalloc(sizeof(*j));
            j->name = mem_dup(name);
            j->certificate = mem_dup(certificate);
            j->key = mem_dup(key);
            list_init(&j->node);
            list_push_back(&h->jobs, &j->node);
            h->count++;
            pthread_cond_signal(&h->cond);
        }
    }
    pthread_mutex_unlock(&h->mutex);
    if (full) {
        log_event(LOG_ERROR, "hook", "too many certificates wait for on_certificate; left out",
                  LOG_S("name", name));
    }
}

void hook_stop(struct hook *h)
{
    if (!h) {
        return;
    }
    pthread_mutex_lock(&h->mutex);
    h->stopping = true;
    pthread_cond_signal(&h->cond);
    pthread_mutex_unlock(&h->mutex);
    (void)pthread_join(h->thread, NULL);
    LIST_EACH_SAFE (node, &h->jobs) {
        list_remove(node);
        free_job(LIST_ENTRY(node, struct hook_job, node));
    }
    free(h->program);
    (void)pthread_cond_destroy(&h->cond);
    (void)pthread_mutex_destroy(&h->mutex);
    free(h);
}
