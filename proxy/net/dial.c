/* One attempt to reach a host: resolve, then connect to its addresses one after the other with a
 * head start for the earlier ones (RFC 8305 section 5). The dial owns its sockets until one of them
 * is connected; that one becomes a stream and the rest is closed. */
#include "proxy/net/dial.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/net/sock.h"
#include "proxy/net/tcp.h"

#define HEAD_START_MS 250 /* RFC 8305 section 8: Connection Attempt Delay */

struct attempt {
    struct watch watch;
    struct dial *dial;
    int fd; /* owned; -1: not under way */
    const struct addr *addr;
};

struct dial {
    struct loop *loop;
    struct resolver *resolver;
    dial_done *done;
    void *ctx;
    struct timer deadline;
    struct timer head_start;
    struct task begin; /* for Unix paths, which need no look-up */
    struct resolve_request rq;
    const struct addr *local; /* or NULL */
    int64_t head_start_ms; /* < 0: none */
    bool connecting;
    bool looked_again;
    unsigned next;   /* index into order */
    unsigned active; /* attempts under way */
    enum dial_result worst;
    int worst_errno; /* 0: nothing has failed yet */
    const struct addr *order[RESOLVE_ADDRS_MAX];
    struct attempt attempts[RESOLVE_ADDRS_MAX];
};

static enum dial_result result_of(int errnum)
{
    switch (errnum) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EADDRNOTAVAIL:
    case EADDRINUSE: return DIAL_LOCAL;
    case ETIMEDOUT: return DIAL_TIMEOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case ENOENT: /* no such Unix socket */
    case EAGAIN: /* a Unix listener's backlog is full */
        return DIAL_REFUSED;
    default: return DIAL_UNREACHABLE;
    }
}

static const char *text_of(int errnum)
{
    switch (errnum) {
    case ECONNREFUSED: return "connection refused";
    case ECONNRESET: return "connection reset while connecting";
    case ETIMEDOUT: return "connecting timed out";
    case ENETUNREACH: return "network unreachable";
    case EHOSTUNREACH: return "host unreachable";
    case EACCES:
    case EPERM: return "permission denied";
    case ENOENT: return "no such socket";
    case EAGAIN: return "the listener's queue is full";
    case EMFILE:
    case ENFILE: return "out of file descriptors";
    case EADDRNOTAVAIL: return "no local port is free, or local_address is not this machine's";
    case EAFNOSUPPORT: return "local_address is of another address family";
    case ENOMEM:
    case ENOBUFS: return "out of memory";
    default: {
        const char *text = strerrordesc_np(errnum);
        return text ? text : "connecting failed";
    }
    }
}

/* Of several failures the one that says most is reported: our own shortage, then silence, then a
 * refusal, then the lack of a route (which is only IPv6 missing, mostly). */
static int weight(enum dial_result result)
{
    switch (result) {
    case DIAL_LOCAL: return 4;
    case DIAL_TIMEOUT: return 3;
    case DIAL_REFUSED: return 2;
    default: return 1;
    }
}

static void note_failure(struct dial *d, int errnum)
{
    enum dial_result result = result_of(errnum);
    if (d->worst_errno == 0 || weight(result) > weight(d->worst)) {
        d->worst = result;
        d->worst_errno = errnum;
    }
}

static void attempt_end(struct attempt *a)
{
    if (a->fd >= 0) {
        watch_fini(&a->watch);
        close(a->fd);
        a->fd = -1;
        a->dial->active--;
    }
}

static void dial_free(struct dial *d)
{
    for (unsigned i = 0; i < RESOLVE_ADDRS_MAX; i++) {
        attempt_end(&d->attempts[i]);
    }
    resolve_cancel(&d->rq);
    task_cancel(&d->begin);
    timer_fini(&d->deadline);
    timer_fini(&d->head_start);
    free(d);
}

/* Only from callbacks of the loop. d is gone afterwards. */
static void finish(struct dial *d, enum dial_result result, struct stream *s, const char *detail)
{
    dial_done *done = d->done;
    void *ctx = d->ctx;
    dial_free(d);
    done(ctx, result, s, slice_str(detail));
}

static void fail(struct dial *d)
{
    if (d->worst != DIAL_LOCAL && d->rq.resolver) {
        (void)resolver_forget(d->resolver, d->rq.host, d->rq.servers);
    }
    finish(d, d->worst, NULL, text_of(d->worst_errno));
}

/* Every address has failed. A remembered answer may be out of date (a container that has moved): if
 * there is a newer one to be had, that is tried within the same deadline. d may be gone. */
static void all_failed(struct dial *d)
{
    bool look_again = !d->looked_again && d->rq.resolver && d->rq.cached &&
                      d->worst != DIAL_LOCAL &&
                      resolver_forget(d->resolver, d->rq.host, d->rq.servers);
    if (!look_again) {
        fail(d);
        return;
    }
    d->looked_again = true;
    d->connecting = false;
    d->next = 0;
    d->worst_errno = 0;
    resolve_start(d->resolver, d->loop, &d->rq);
}

/* fd is connected and no longer an attempt's. False if it is connected to itself, which happens on
 * loopback when nobody listens and the kernel chose the wanted port as the local one. */
static bool succeed(struct dial *d, int fd, const struct addr *peer)
{
    struct addr local;
    sock_local(fd, &local);
    if (!addr_is_unix(peer) && addr_eq(&local, peer)) {
        close(fd);
        note_failure(d, ECONNREFUSED);
        return false;
    }
    struct stream *s = tcp_stream_new(d->loop, fd, peer, &local);
    if (s) {
        finish(d, DIAL_OK, s, NULL);
    } else {
        finish(d, DIAL_LOCAL, NULL, text_of(ENOMEM));
    }
    return true;
}

static void connect_next(struct dial *d);

static void on_connected(struct watch *w, unsigned events)
{
    struct attempt *a = container_of(w, struct attempt, watch);
    struct dial *d = a->dial;
    int errnum = events & WATCH_ERROR ? ENOMEM : sock_connect_result(a->fd);
    if (errnum == 0) {
        int fd = a->fd;
        watch_fini(&a->watch);
        a->fd = -1;
        d->active--;
        if (succeed(d, fd, a->addr)) {
            return; /* d is gone */
        }
    } else {
        note_failure(d, errnum);
        attempt_end(a);
    }
    connect_next(d);
}

/* Begins with the next address that can be begun with; fails the dial if there is nothing left to
 * wait for. d may be gone afterwards. */
static void connect_next(struct dial *d)
{
    timer_clear(&d->head_start);
    while (d->next < d->rq.count) {
        struct attempt *a = &d->attempts[d->next];
        a->addr = d->order[d->next++];
        bool pending;
        int fd = sock_connect(a->addr, d->local, &pending);
        if (fd < 0) {
            note_failure(d, errno);
            continue;
        }
        if (!pending) {
            if (succeed(d, fd, a->addr)) {
                return;
            }
            continue;
        }
        a->fd = fd;
        d->active++;
        watch_init(&a->watch, d->loop, fd, on_connected);
        watch_set(&a->watch, WATCH_WRITE);
        if (d->next < d->rq.count && d->head_start_ms >= 0) {
            /* Without memory for it the next address simply waits for this one to fail. */
            (void)timer_set(&d->head_start, d->head_start_ms);
        }
        return;
    }
    if (d->active == 0) {
        all_failed(d);
    }
}

static void on_head_start_over(struct timer *t)
{
    connect_next(container_of(t, struct dial, head_start));
}

static void on_deadline(struct timer *t)
{
    struct dial *d = container_of(t, struct dial, deadline);
    if (d->connecting) {
        d->worst = DIAL_TIMEOUT;
        d->worst_errno = ETIMEDOUT;
        fail(d);
    } else {
        finish(d, DIAL_TIMEOUT, NULL, "resolving the name timed out");
    }
}

/* The addresses in turn from the two families, beginning with that of the first (RFC 8305
 * section 4). */
static void interleave(struct dial *d)
{
    const struct addr *addrs = d->rq.addrs;
    unsigned count = d->rq.count;
    unsigned at[2] = {0, 0}; /* of the first address's family, of the other */
    unsigned turn = 0;
    for (unsigned n = 0; n < count;) {
        unsigned i = at[turn];
        while (i < count && (addrs[i].u.sa.sa_family != addrs[0].u.sa.sa_family) != (turn == 1)) {
            i++;
        }
        if (i < count) {
            d->order[n++] = &addrs[i++];
        }
        at[turn] = i;
        turn = !turn;
    }
}

static enum dial_result result_of_lookup(struct slice error)
{
    if (slice_eq(error, S("timed out"))) {
        return DIAL_TIMEOUT;
    }
    bool ours = slice_eq(error, S("too many look-ups")) || slice_eq(error, S("out of memory"));
    return ours ? DIAL_LOCAL : DIAL_NO_SUCH_HOST;
}

static void on_resolved(struct resolve_request *rq)
{
    struct dial *d = container_of(rq, struct dial, rq);
    if (rq->count == 0) {
        enum dial_result result = result_of_lookup(slice_str(rq->error));
        finish(d, result, NULL,
               result == DIAL_TIMEOUT ? "resolving the name timed out" : rq->error);
        return;
    }
    d->connecting = true;
    interleave(d);
    connect_next(d);
}

static void on_begin(struct task *t)
{
    on_resolved(&container_of(t, struct dial, begin)->rq);
}

struct dial *dial_start(struct loop *l, struct resolver *r, struct slice host, uint16_t port,
                        struct slice unix_path, int64_t timeout_ms, dial_done *done, void *ctx)
{
    struct dial_target t = {.host = host, .port = port, .unix_path = unix_path};
    return dial_start_to(l, r, &t, timeout_ms, done, ctx);
}

struct dial *dial_start_to(struct loop *l, struct resolver *r, const struct dial_target *t,
                           int64_t timeout_ms, dial_done *done, void *ctx)
{
    struct dial *d = calloc(1, sizeof(*d));
    if (!d) {
        return NULL;
    }
    d->loop = l;
    d->resolver = r;
    d->done = done;
    d->ctx = ctx;
    for (unsigned i = 0; i < RESOLVE_ADDRS_MAX; i++) {
        d->attempts[i].dial = d;
        d->attempts[i].fd = -1;
    }
    timer_init(&d->deadline, l, on_deadline);
    timer_init(&d->head_start, l, on_head_start_over);
    task_init(&d->begin, on_begin);
    if (!timer_set(&d->deadline, timeout_ms)) {
        free(d);
        return NULL;
    }
    d->head_start_ms = t->fallback_delay_ms ? t->fallback_delay_ms : HEAD_START_MS;
    d->local = t->local && t->local->len ? t->local : NULL;
    d->rq.host = t->host;
    d->rq.port = t->port;
    d->rq.servers = t->servers;
    d->rq.done = on_resolved;
    if (t->unix_path.n) {
        d->rq.count = addr_unix(t->unix_path, &d->rq.addrs[0]) ? 1 : 0;
        d->rq.error = "the socket's path is too long";
        loop_post(l, &d->begin);
    } else {
        resolve_start(r, l, &d->rq);
    }
    return d;
}

void dial_cancel(struct dial *d)
{
    dial_free(d);
}
