/* Any other DNS: dns exec PROGRAM [ARGUMENT...]. It is run as
 *     PROGRAM [ARGUMENT...] present|cleanup NAME. VALUE
 * (NAME with its dot, as lego's exec provider gives it), without a shell, with caddis's own
 * environment and user; exit status 0 is success. What it prints is logged; it has two minutes. */
#include "acme/dns_provider.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"

#define TIMEOUT_MS INT64_C(120000)
#define OUTPUT_MAX ((size_t)4096)
#define LOOK_MS 100
#define ARGUMENTS_MAX (ACME_DNS_OPTIONS_MAX + 4)

static const struct dns_option options[] = {
    {S_INIT("program"), DNS_REQUIRED},
    {S_INIT("argument"), DNS_OPTIONAL},
    {S_INIT(""), DNS_OPTIONAL},
};

struct run {
    pid_t pid;
    int out; /* our end of its output */
    struct dstr said;
};

/* A process group of its own, so that all of it can be ended, and no blocked signals. */
static bool start(struct run *run, char *const argv[], struct err *err)
{
    int pipes[2];
    sigset_t none, defaults;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t files;
    if (pipe2(pipes, O_CLOEXEC) != 0) {
        return err_errno(err, errno, "starting %s", argv[0]);
    }
    (void)sigemptyset(&none);
    (void)sigfillset(&defaults);
    int rc = posix_spawnattr_init(&attr);
    must(rc == 0 && posix_spawn_file_actions_init(&files) == 0);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    (void)posix_spawnattr_setsigmask(&attr, &none);
    (void)posix_spawnattr_setsigdefault(&attr, &defaults);
    rc = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    rc = rc ? rc : posix_spawn_file_actions_adddup2(&files, pipes[1], 1);
    rc = rc ? rc : posix_spawn_file_actions_adddup2(&files, pipes[1], 2);
    rc = rc ? rc : posix_spawnp(&run->pid, argv[0], &files, &attr, argv, environ);
    (void)posix_spawn_file_actions_destroy(&files);
    (void)posix_spawnattr_destroy(&attr);
    close(pipes[1]);
    run->out = pipes[0];
    if (rc != 0) {
        close(pipes[0]);
        return err_errno(err, rc, "starting %s", argv[0]);
    }
    (void)fcntl(run->out, F_SETFL, O_NONBLOCK);
    return true;
}

/* False at the end of its output. What does not fit is read and dropped. */
static bool listen_to(struct run *run)
{
    char buf[1024];
    struct pollfd p = {.fd = run->out, .events = POLLIN};
    if (poll(&p, 1, LOOK_MS) <= 0) {
        return true;
    }
    ssize_t n = read(run->out, buf, sizeof(buf));
    if (n > 0) {
        dstr_append(&run->said, slice_upto(slice_of(buf, (size_t)n), OUTPUT_MAX - run->said.n));
    }
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Until it has ended by itself, its time is over or the program stops: then it is killed. */
static bool wait_for(struct dns_call *c, struct run *run, int *status)
{
    int64_t end_ms = clock_mono_ms() + TIMEOUT_MS;
    bool open = true;
    for (;;) {
        if (waitpid(run->pid, status, WNOHANG) == run->pid) {
            while (open && run->said.n < OUTPUT_MAX && poll(&(struct pollfd){run->out, POLLIN, 0},
                                                            1, 0) > 0) {
                open = listen_to(run);
            }
            return true;
        }
        if (clock_mono_ms() >= end_ms || stop_requested(c->stop)) {
            (void)kill(-run->pid, SIGKILL);
            (void)waitpid(run->pid, status, 0);
            return false;
        }
        if (open) {
            open = listen_to(run);
        } else {
            (void)stop_wait(c->stop, LOOK_MS);
        }
    }
}

static bool judge(struct dns_call *c, const char *program, struct run *run, bool ended, int status,
                  struct err *err)
{
    struct slice said = slice_trim(dstr_slice(&run->said));
    while (said.n && (said.p[said.n - 1] == '\n' || said.p[said.n - 1] == '\r')) {
        said.n--;
    }
    if (said.n) {
        log_event(LOG_INFO, "acme", "dns exec says", LOG_S("program", slice_str(program)),
                  LOG_S("name", c->name), LOG_S("output", said));
    }
    if (!ended) {
        return err_set(err, "%s was ended: it took longer than %lld s", program,
                       (long long)(TIMEOUT_MS / 1000));
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return true;
    }
    said = slice_upto(said, 500);
    return err_set(err, "%s ended with %s %d%s%.*s", program,
                   WIFEXITED(status) ? "status" : "signal",
                   WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
                   said.n ? ": " : "", SLICE_ARG(said));
}

static bool run_program(struct dns_call *c, const char *action, struct err *err)
{
    char *argv[ARGUMENTS_MAX + 1];
    size_t n = 0;
    for (size_t i = 0; i < c->dns->option_count; i++) {
        argv[n++] = arena_cstr(&c->arena, c->dns->options[i].value);
    }
    argv[n++] = arena_cstr(&c->arena, slice_str(action));
    argv[n++] = arena_cstr(&c->arena, arena_printf(&c->arena, "%.*s.", SLICE_ARG(c->name)));
    argv[n++] = arena_cstr(&c->arena, c->value);
    argv[n] = NULL;
    struct run run;
    int status = 0;
    if (c->arena.failed || !start(&run, argv, err)) {
        return !c->arena.failed ? false : err_set(err, "the arguments are too long");
    }
    dstr_init(&run.said, OUTPUT_MAX + 1);
    bool ended = wait_for(c, &run, &status);
    bool ok = judge(c, argv[0], &run, ended, status, err);
    close(run.out);
    dstr_fini(&run.said);
    return ok;
}

static bool put(struct dns_call *c, struct err *err)
{
    return run_program(c, "present", err);
}

static bool take(struct dns_call *c, struct err *err)
{
    return run_program(c, "cleanup", err);
}

/* As execvp looks for it. */
static bool is_there(const char *program)
{
    const char *path = getenv("PATH");
    struct slice rest = slice_str(path ? path : "/bin:/usr/bin");
    if (strchr(program, '/')) {
        return access(program, X_OK) == 0;
    }
    for (bool more = true; more;) {
        char file[PATH_MAX];
        size_t n = slice_find(rest, ':');
        struct slice folder = slice_upto(rest, n);
        more = n != SLICE_NPOS;
        rest = more ? slice_from(rest, n + 1) : rest;
        folder = folder.n ? folder : S(".");
        int len = snprintf(file, sizeof(file), "%.*s/%s", SLICE_ARG(folder), program);
        if (len > 0 && (size_t)len < sizeof(file) && access(file, X_OK) == 0) {
            return true;
        }
    }
    errno = ENOENT;
    return false;
}

/* Before an order is made that can only fail. */
static bool check(const struct acme_dns *dns, struct err *err)
{
    char program[PATH_MAX];
    struct slice name = dns_value(dns, "program");
    if (name.n >= sizeof(program)) {
        return err_set(err, "the program's name is too long");
    }
    (void)snprintf(program, sizeof(program), "%.*s", SLICE_ARG(name));
    return is_there(program) || err_errno(err, errno, "dns exec cannot run %s", program);
}

const struct dns_provider dns_exec = {.name = S_INIT("exec"),
                                      .options = options,
                                      .argument_count = 2,
                                      .many_arguments = true,
                                      .put = put,
                                      .take = take,
                                      .check = check};
