/* The parent process; see parent.h. It polls two descriptors: signals, and the link to the server
 * process. Owns the sockets (through binder.c), the pid file and the server process. */
#include "cmd/parent.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/link.h"
#include "cmd/notify.h"
#include "cmd/paths.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define RESTART_FIRST_MS 100
#define RESTART_MAX_MS 5000
/* A server that ran this long is not in a crash loop. */
#define RESTART_HEALTHY_MS (60 * 1000)

struct parent {
    struct parent_setup *setup;
    struct binder *binder;
    const struct passwd *user; /* NULL: none */
    int signal_fd;
    int link;
    pid_t server;
    bool was_ready; /* some server process has been ready */
    bool stopping;
    bool reload_sent; /* and the server has not begun it yet: one more would do nothing more */
    bool has_pidfile; /* ours, to be removed */
    bool failed;      /* stopping because something could not be done: the exit status says so */
    char *config;     /* what a reload put in the place of the setup's; owned */
    int64_t started_ms;
    int64_t restart_ms;    /* the delay */
    int64_t restart_at_ms; /* on the monotonic clock */
};

/* ---- starting the server ---- */

static bool make_user_store(const struct passwd *user)
{
    if (mkdir(PATHS_USER_STORE, 0700) != 0 && errno != EEXIST) {
        (void)fprintf(stderr, "caddis: %s cannot be made: %s\n", PATHS_USER_STORE, strerror(errno));
        return false;
    }
    /* Never through a link that someone else put there. */
    int fd = open(PATHS_USER_STORE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool ok = fd >= 0 && fchown(fd, user->pw_uid, user->pw_gid) == 0;
    if (!ok) {
        (void)fprintf(stderr, "caddis: %s cannot be given to %s: %s\n", PATHS_USER_STORE,
                      user->pw_name, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static bool become(const struct passwd *user)
{
    if (initgroups(user->pw_name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
        setuid(user->pw_uid) != 0 || (user->pw_uid != 0 && setuid(0) == 0)) {
        (void)fprintf(stderr, "caddis: cannot become the user %s: %s\n", user->pw_name,
                      strerror(errno));
        return false;
    }
    /* Nor by way of a program that has more rights than its user. */
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return true;
}

NORETURN static void run_server(struct parent *p, int link)
{
    close(p->signal_fd);
    /* A socket that the parent lets go of later must be gone then. */
    binder_leave(p->binder);
    if (p->user && !become(p->user)) {
        exit(1);
    }
    /* A dead parent also shows as the end of the link; this is for when the control thread is
     * busy. After the change of user, which clears it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (p->setup->ready_fd >= 0) {
        close(p->setup->ready_fd);
    }
    struct serve_setup serve = p->setup->serve;
    serve.link = link;
    serve.binder = NULL;
    serve.store_path = p->user ? PATHS_USER_STORE : NULL;
    /* Whoever started this as root looks for it there. */
    serve.control_path = p->user ? PATHS_ROOT_CONTROL : NULL;
    serve.config_path = p->config ? p->config : serve.config_path;
    exit(serve_main(&serve));
}

static bool start_server(struct parent *p)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        (void)fprintf(stderr, "caddis: socketpair: %s\n", strerror(errno));
        return false;
    }
    p->started_ms = clock_mono_ms();
    p->reload_sent = false;
    binder_begin(p->binder);
    p->server = fork();
    if (p->server < 0) {
        (void)fprintf(stderr, "caddis: fork: %s\n", strerror(errno));
        close(pair[0]);
        close(pair[1]);
        return false;
    }
    if (p->server == 0) {
        close(pair[0]);
        run_server(p, pair[1]);
    }
    close(pair[1]);
    p->link = pair[0];
    return true;
}

/* ---- what the server asks ---- */

static void answer_listen(struct parent *p, const struct link_packet *ask)
{
    struct link_packet answer = {.type = LINK_ANSWER};
    struct err err = {""};
    int fd = binder_listen(p->binder, &ask->addr, ask->mode, ask->worker, &err);
    if (fd < 0) {
        answer.error = errno ? errno : EIO;
        (void)snprintf(answer.text, sizeof(answer.text), "%.*s", (int)sizeof(answer.text) - 1,
                       err.text);
    }
    (void)link_send(p->link, &answer, fd);
    if (fd >= 0) {
        close(fd);
    }
}

static bool write_pidfile(const char *path)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    bool ok = fd >= 0 && write(fd, text, (size_t)n) == n;
    if (!ok) {
        (void)fprintf(stderr, "caddis: the pid file %s cannot be written: %s\n", path,
                      strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static void order(struct parent *p, enum link_type type)
{
    struct link_packet packet = {.type = type};
    if (p->link >= 0) {
        (void)link_send(p->link, &packet, -1);
    }
}

/* After a start and after each reload. */
static void server_is_ready(struct parent *p)
{
    if (!p->was_ready && p->setup->pidfile) {
        /* Not before: a start that fails must not touch the file of the one that runs. */
        p->has_pidfile = write_pidfile(p->setup->pidfile);
        p->failed = !p->has_pidfile;
    }
    p->was_ready = true;
    if (p->failed) {
        p->stopping = true;
        order(p, LINK_STOP);
        return;
    }
    binder_end(p->binder);
    notify_send("READY=1");
    if (p->setup->ready_fd >= 0) {
        (void)!write(p->setup->ready_fd, "r", 1);
        close(p->setup->ready_fd);
        p->setup->ready_fd = -1;
    }
}

static void on_request(struct parent *p)
{
    struct link_packet ask;
    int fd;
    if (!link_receive(p->link, &ask, &fd)) {
        close(p->link); /* it is ending; SIGCHLD follows */
        p->link = -1;
        return;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (ask.type == LINK_LISTEN) {
        answer_listen(p, &ask);
    } else if (ask.type == LINK_UNLISTEN) {
        binder_unlisten(p->binder, &ask.addr);
    } else if (ask.type == LINK_READY) {
        server_is_ready(p);
    } else if (ask.type == LINK_RELOADING) {
        p->reload_sent = false;
        notify_reloading();
    } else if (ask.type == LINK_CONFIG) {
        free(p->config);
        p->config = mem_dup(slice_str(ask.text));
    } else if (ask.type == LINK_STOPPING) {
        p->stopping = true;
        notify_send("STOPPING=1");
    }
}

/* ---- signals ---- */

/* A storm of signals is one order at a time, so that sending never waits for a busy server. */
static void order_reload(struct parent *p)
{
    if (!p->reload_sent) {
        p->reload_sent = p->link >= 0;
        order(p, LINK_RELOAD);
    }
}

/* True: the program is over, with *status. */
static bool on_stop_signal(struct parent *p, int *status)
{
    if (p->stopping || p->server <= 0) {
        if (p->server > 0) {
            kill(p->server, SIGKILL);
            waitpid(p->server, NULL, 0);
        }
        *status = p->stopping ? 2 : 0;
        return true;
    }
    p->stopping = true;
    order(p, LINK_STOP);
    return false;
}

/* True: the program is over, with *status. */
static bool on_child(struct parent *p, int *status)
{
    int how;
    if (p->server <= 0 || waitpid(p->server, &how, WNOHANG) != p->server) {
        return false;
    }
    p->server = 0;
    if (p->link >= 0) {
        close(p->link);
        p->link = -1;
    }
    if (p->stopping || !p->was_ready) {
        *status = p->failed || !WIFEXITED(how) ? 1 : WEXITSTATUS(how);
        return true;
    }
    bool healthy = clock_mono_ms() - p->started_ms > RESTART_HEALTHY_MS;
    p->restart_ms = healthy || p->restart_ms == 0 ? RESTART_FIRST_MS
                    : p->restart_ms * 2 > RESTART_MAX_MS ? RESTART_MAX_MS
                                                         : p->restart_ms * 2;
    p->restart_at_ms = clock_mono_ms() + p->restart_ms;
    log_event(LOG_ERROR, "caddis", "the server process died; starting it again",
              LOG_I("signal", WIFSIGNALED(how) ? WTERMSIG(how) : 0),
              LOG_I("status", WIFEXITED(how) ? WEXITSTATUS(how) : 0),
              LOG_I("delay_ms", p->restart_ms));
    return false;
}

/* True: the program is over, with *status. */
static bool on_signal(struct parent *p, int *status)
{
    struct signalfd_siginfo info;
    if (read(p->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info)) {
        return false;
    }
    switch (info.ssi_signo) {
    case SIGCHLD:
        return on_child(p, status);
    case SIGHUP:
    case SIGUSR1:
        order_reload(p);
        return false;
    default:
        return on_stop_signal(p, status);
    }
}

static int watch(struct parent *p)
{
    int status = 1;
    for (;;) {
        struct pollfd fds[2] = {{.fd = p->signal_fd, .events = POLLIN},
                                {.fd = p->link, .events = POLLIN}};
        int64_t left = p->restart_at_ms - clock_mono_ms();
        int n = poll(fds, p->link >= 0 ? 2 : 1, p->server > 0 ? -1 : left > 0 ? (int)left : 0);
        if (p->server <= 0 && clock_mono_ms() >= p->restart_at_ms && !start_server(p)) {
            p->restart_at_ms = clock_mono_ms() + RESTART_MAX_MS; /* fork failed: later */
        }
        if (n > 0 && p->link >= 0 && fds[1].revents) {
            on_request(p);
        }
        if (n > 0 && fds[0].revents && on_signal(p, &status)) {
            return status;
        }
    }
}

/* ---- the whole ---- */

static bool find_user(struct parent *p)
{
    if (!p->setup->user) {
        return true;
    }
    if (geteuid() != 0) {
        (void)fprintf(stderr, "caddis: --user needs root to begin with\n");
        return false;
    }
    p->user = getpwnam(p->setup->user);
    if (!p->user) {
        (void)fprintf(stderr, "caddis: there is no user \"%s\"\n", p->setup->user);
        return false;
    }
    binder_set_owner(p->binder, p->user->pw_uid, p->user->pw_gid);
    return make_user_store(p->user);
}

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* The parent has no thread that could wait for a reader of stderr, and must go on without one: a
 * line for which there is no room now is left out. (A pipe with any room takes a line's length.) */
static void say(void *ctx, struct slice line)
{
    struct pollfd err = {.fd = STDERR_FILENO, .events = POLLOUT};
    (void)ctx;
    if (poll(&err, 1, 0) == 1) {
        (void)!write(STDERR_FILENO, line.p, line.n);
    }
}

int parent_main(struct parent_setup *setup)
{
    struct parent p = {.setup = setup, .link = -1, .signal_fd = -1};
    int status = 1;
    p.binder = binder_new();
    if (setup->single) {
        if (setup->user) {
            (void)fprintf(stderr, "caddis: --single and --user do not go together\n");
            return 1;
        }
        setup->serve.link = -1;
        setup->serve.binder = p.binder;
        status = serve_main(&setup->serve);
        binder_free(p.binder);
        return status;
    }
    log_set_format(isatty(STDERR_FILENO) ? LOG_CONSOLE : LOG_JSON);
    log_set_sink(say, NULL);
    p.signal_fd = open_signals();
    if (p.signal_fd < 0) {
        (void)fprintf(stderr, "caddis: signals cannot be received: %s\n", strerror(errno));
    }
    if (p.signal_fd >= 0 && find_user(&p) && start_server(&p)) {
        status = watch(&p);
    }
    if (p.has_pidfile) {
        unlink(setup->pidfile);
    }
    binder_free(p.binder);
    free(p.config);
    if (p.signal_fd >= 0) {
        close(p.signal_fd);
    }
    return status;
}
