/* Accepting on one listening socket. What accept4 may say is of three kinds: a connection that
 * failed before it was taken (go on with the next), something that ran out (shed one connection so
 * that its client learns at once, rest, go on), and what should never happen (rest, go on). */
#include "proxy/net/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/net/sock.h"

#define ACCEPTS_AN_EVENT_MAX 64
#define ACCEPTS_A_DRAIN_MAX 65536
#define REST_FIRST_MS 100
#define REST_MAX_MS 1000
#define COMPLAINT_EVERY_MS 10000

struct listener {
    struct loop *loop;
    int fd; /* borrowed */
    struct listener_events events;
    struct watch watch;
    struct timer rest;
    int spare_fd; /* given up for a moment when descriptors have run out; -1: none */
    int64_t rest_ms; /* the last rest; 0 after a success */
    int64_t complained_ms;
    bool paused;
    bool resting;
    bool drained;
    bool *gone; /* set by listener_free while on_accept is being called */
};

/* Not /dev/null: nothing is opened by path once the process is in its sandbox. */
static int new_spare(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static void update_watch(struct listener *ls)
{
    watch_set(&ls->watch, ls->paused || ls->resting || ls->drained ? 0 : WATCH_READ);
}

static void shed_one(struct listener *ls)
{
    if (ls->spare_fd >= 0) {
        struct addr peer;
        close(ls->spare_fd);
        int fd = sock_accept(ls->fd, &peer);
        if (fd >= 0) {
            close(fd);
        }
    }
    ls->spare_fd = new_spare();
}

static void complain(struct listener *ls, int errnum)
{
    int64_t now_ms = loop_now_ms(ls->loop);
    if (ls->complained_ms && now_ms - ls->complained_ms < COMPLAINT_EVERY_MS) {
        return;
    }
    ls->complained_ms = now_ms;
    log_event(LOG_ERROR, "listener", "accepting connections failed, going on shortly",
              LOG_Z("error", strerrordesc_np(errnum)), LOG_I("errno", errnum));
}

static void take_rest(struct listener *ls, int errnum)
{
    complain(ls, errnum);
    ls->rest_ms = ls->rest_ms == 0              ? REST_FIRST_MS
                  : ls->rest_ms >= REST_MAX_MS / 2 ? REST_MAX_MS
                                                   : ls->rest_ms * 2;
    /* Without memory for the timer: better to spin slowly through accept than to stop for good. */
    ls->resting = timer_set(&ls->rest, ls->rest_ms);
    update_watch(ls);
}

static void on_rested(struct timer *t)
{
    struct listener *ls = container_of(t, struct listener, rest);
    ls->resting = false;
    update_watch(ls);
}

static bool ran_out(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOBUFS || errnum == ENOMEM;
}

/* accept(2): errors pending on the new connection, and what a firewall forbids. */
static bool concerns_one_connection(int errnum)
{
    switch (errnum) {
    case ECONNABORTED:
    case ECONNRESET:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ETIMEDOUT: return true;
    default: return false;
    }
}

/* Accepts up to max connections. False once there is no more, or the listener is gone. */
static bool accept_some(struct listener *ls, int max)
{
    bool gone = false;
    ls->gone = &gone;
    for (int i = 0; i < max; i++) {
        struct addr peer;
        int fd = sock_accept(ls->fd, &peer);
        if (LIKELY(fd >= 0)) {
            ls->rest_ms = 0;
            ls->events.on_accept(ls->events.ctx, fd, &peer);
            if (gone) {
                return false;
            }
            if (ls->paused && !ls->drained) {
                break;
            }
            continue;
        }
        int errnum = errno;
        if (concerns_one_connection(errnum)) {
            continue;
        }
        ls->gone = NULL;
        if (errnum == EAGAIN) {
            return false;
        }
        if (ran_out(errnum)) {
            if (ls->events.on_shortage) {
                ls->events.on_shortage(ls->events.ctx);
            }
            shed_one(ls);
        }
        take_rest(ls, errnum);
        return false;
    }
    ls->gone = NULL;
    return true;
}

static void on_ready(struct watch *w, unsigned events)
{
    struct listener *ls = container_of(w, struct listener, watch);
    if (events & WATCH_ERROR) {
        take_rest(ls, ENOMEM);
        return;
    }
    (void)accept_some(ls, ACCEPTS_AN_EVENT_MAX);
}

struct listener *listener_new(struct loop *l, int fd, const struct listener_events *events)
{
    struct listener *ls = mem_zalloc(sizeof(*ls));
    ls->spare_fd = new_spare(); /* -1 when there is none to be had: shed_one asks again */
    ls->loop = l;
    ls->fd = fd;
    ls->events = *events;
    timer_init(&ls->rest, l, on_rested);
    watch_init(&ls->watch, l, fd, on_ready);
    update_watch(ls);
    return ls;
}

void listener_drain(struct listener *ls)
{
    ls->drained = true;
    (void)accept_some(ls, ACCEPTS_A_DRAIN_MAX);
    timer_clear(&ls->rest);
    update_watch(ls);
}

void listener_pause(struct listener *ls, bool paused)
{
    ls->paused = paused;
    update_watch(ls);
}

void listener_free(struct listener *ls)
{
    if (!ls) {
        return;
    }
    if (ls->gone) {
        *ls->gone = true;
    }
    watch_fini(&ls->watch);
    timer_fini(&ls->rest);
    if (ls->spare_fd >= 0) {
        close(ls->spare_fd);
    }
    free(ls);
}
