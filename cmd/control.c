/* The control socket, both ends; see control.h. Requests are read as they come, so that who
 * connects and says nothing keeps nobody waiting; a whole one is handled and answered at once, one
 * after the other (two reloads at a time would make no sense), blocking with time limits: it is
 * used on the control thread and in tools only. */
#include "cmd/control.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/list.h"
#include "proxy/base/mem.h"
#include "proxy/net/sock.h"

#define LINE_MAX_BYTES ((size_t)8192)
#define ANSWER_MAX_BYTES ((size_t)16 << 20) /* caddis certs of tens of thousands of names */
/* How long a client may take to send its line, and to read its answer. For the latter the control
 * thread waits. */
#define CLIENT_TIMEOUT_MS 3000
#define PIECE_BYTES ((size_t)16384)

#define CLIENTS_MAX 16

/* Who has connected and not said everything yet. */
struct client {
    struct list node;
    struct control *control;
    struct watch watch;
    struct timer timer;
    struct dstr line;
    int fd;
};

struct control {
    struct loop *loop;
    struct watch watch;
    struct list clients;
    unsigned client_count;
    int fd;
    int last_client; /* kept open until the end; -1: none */
    struct control_events events;
};

static void set_timeout(int fd, int64_t ms)
{
    struct timeval t = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

/* Sends until deadline_ms (of the monotonic clock) is past; no single call takes longer than the
 * socket's own timeout. */
static void send_all(int fd, struct slice s, int64_t deadline_ms)
{
    while (s.n && clock_mono_ms() < deadline_ms) {
        ssize_t n = send(fd, s.p, s.n < PIECE_BYTES ? s.n : PIECE_BYTES, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return;
        }
        s = slice_from(s, (size_t)n);
    }
}

/* Takes what is there; *whole: a line is in out now (the newline cut off), or all there will ever
 * be. False: nothing usable will come. */
static bool receive_some(int fd, struct dstr *out, bool *whole)
{
    char *at = dstr_reserve(out, 1024);
    ssize_t n = at ? recv(fd, at, 1024, MSG_DONTWAIT) : -1;
    if (n < 0) {
        return at && (errno == EAGAIN || errno == EINTR);
    }
    size_t end = slice_find(slice_of(at, (size_t)n), '\n');
    out->n += end != SLICE_NPOS ? end : (size_t)n;
    *whole = end != SLICE_NPOS || n == 0;
    return end != SLICE_NPOS || out->n > 0;
}

/* Without closing the socket. */
static void client_free(struct client *k)
{
    list_remove(&k->node);
    k->control->client_count--;
    watch_fini(&k->watch);
    timer_fini(&k->timer);
    dstr_fini(&k->line);
    free(k);
}

static void client_drop(struct client *k)
{
    int fd = k->fd;
    client_free(k);
    close(fd);
}

static void answer(struct client *k)
{
    struct control *c = k->control;
    struct dstr text;
    dstr_init(&text, ANSWER_MAX_BYTES);
    bool ok = c->events.handle(c->events.ctx, dstr_slice(&k->line), &text);
    int64_t deadline_ms = clock_mono_ms() + CLIENT_TIMEOUT_MS;
    send_all(k->fd, ok ? S("ok\n") : S("error\n"), deadline_ms);
    send_all(k->fd, dstr_slice(&text), deadline_ms);
    dstr_fini(&text);
    int fd = k->fd;
    client_free(k);
    if (!c->events.after(c->events.ctx) || c->last_client >= 0) {
        close(fd);
    } else {
        c->last_client = fd;
    }
}

static void on_bytes(struct watch *w, unsigned events)
{
    (void)events;
    struct client *k = container_of(w, struct client, watch);
    bool whole = false;
    if (!receive_some(k->fd, &k->line, &whole)) {
        client_drop(k);
    } else if (whole) {
        answer(k);
    }
}

static void on_silence(struct timer *t)
{
    client_drop(container_of(t, struct client, timer));
}

static void on_client(struct watch *w, unsigned events)
{
    (void)events;
    struct control *c = container_of(w, struct control, watch);
    int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);
    struct client *k = fd >= 0 && c->client_count < CLIENTS_MAX ? calloc(1, sizeof(*k)) : NULL;
    if (!k) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    set_timeout(fd, CLIENT_TIMEOUT_MS);
    k->control = c;
    k->fd = fd;
    dstr_init(&k->line, LINE_MAX_BYTES);
    timer_init(&k->timer, c->loop, on_silence);
    watch_init(&k->watch, c->loop, fd, on_bytes);
    list_push_back(&c->clients, &k->node);
    c->client_count++;
    if (timer_set(&k->timer, CLIENT_TIMEOUT_MS)) {
        watch_set(&k->watch, WATCH_READ);
    } else {
        client_drop(k);
    }
}

struct control *control_new(struct loop *l, int listen_fd, const struct control_events *events)
{
    struct control *c = mem_zalloc(sizeof(*c));
    c->loop = l;
    list_init(&c->clients);
    c->fd = listen_fd;
    c->last_client = -1;
    c->events = *events;
    watch_init(&c->watch, l, listen_fd, on_client);
    watch_set(&c->watch, WATCH_READ);
    return c;
}

void control_free(struct control *c)
{
    if (!c) {
        return;
    }
    LIST_EACH_SAFE(node, &c->clients) {
        client_drop(LIST_ENTRY(node, struct client, node));
    }
    watch_fini(&c->watch);
    close(c->fd);
    if (c->last_client >= 0) {
        close(c->last_client);
    }
    free(c);
}

/* ---- the client ------------------------------------------------------------------------------ */

static int open_client(const char *path, struct err *err)
{
    struct addr a;
    if (!addr_unix(slice_str(path), &a)) {
        err_set(err, "%s is too long for a Unix socket", path);
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, &a.u.sa, a.len) == 0) {
        return fd;
    }
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (error == ENOENT || error == ECONNREFUSED) {
        err_set(err, "no caddis is running at %s (a Caddyfile with another `admin` socket? give it"
                     " with --config or --address)", path);
    } else {
        err_errno(err, error, "%s cannot be reached", path);
    }
    return -1;
}

static bool receive_all(int fd, struct dstr *out)
{
    for (;;) {
        char *at = dstr_reserve(out, 4096);
        ssize_t n = at ? recv(fd, at, 4096, 0) : -1;
        if (n < 0 && at && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0;
        }
        out->n += (size_t)n;
    }
}

bool control_ask(const char *path, struct slice line, int64_t timeout_ms, struct dstr *answer,
                 struct err *err)
{
    int fd = open_client(path, err);
    if (fd < 0) {
        return false;
    }
    set_timeout(fd, timeout_ms);
    send_all(fd, line, clock_mono_ms() + timeout_ms);
    send_all(fd, S("\n"), clock_mono_ms() + timeout_ms);
    struct dstr all;
    dstr_init(&all, ANSWER_MAX_BYTES);
    bool got = receive_all(fd, &all);
    close(fd);
    struct slice rest = dstr_slice(&all);
    struct slice verdict = S("");
    bool cut = rest.p && slice_cut(&rest, '\n', &verdict);
    dstr_append(answer, rest);
    bool ok = got && cut && slice_eq(verdict, S("ok"));
    if (!ok) {
        err_set(err, "%s%s", got && cut ? "refused by the caddis at " : "no answer came from ",
                path);
    }
    dstr_fini(&all);
    return ok;
}
