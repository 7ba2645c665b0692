/* Interest in a descriptor, as one libev watcher.
 *
 * libev gathers changes and calls epoll_ctl before it waits, once a descriptor whose events differ
 * from the turn before; so stopping and starting within a turn is free. Two things are added: an
 * ev_io is changed with ev_io_modify (ev_io_set would force an epoll_ctl), and READ is given up
 * lazily. A connection that pauses reading while its request is answered and then reads again
 * causes no system call; only when something does arrive meanwhile, the watcher is really stopped.
 */
#include "proxy/loop/loop_internal.h"

_Static_assert(sizeof(struct ev_io) <= sizeof(((struct watch *)0)->ev_storage), "ev_io fits");
_Static_assert(offsetof(struct watch, ev_storage) == 0, "a watch is found from its ev_io");
_Static_assert((int)EV_READ == (int)WATCH_READ && (int)EV_WRITE == (int)WATCH_WRITE, "same bits");

static struct ev_io *io_of(struct watch *w)
{
    return (struct ev_io *)(void *)w->ev_storage;
}

static unsigned armed_events(struct watch *w)
{
    struct ev_io *io = io_of(w);
    return ev_is_active(io) ? (unsigned)io->events & (WATCH_READ | WATCH_WRITE) : 0;
}

static void arm(struct watch *w, unsigned events)
{
    struct ev_io *io = io_of(w);
    ev_io_stop(w->loop->ev, io);
    if (events) {
        ev_io_modify(io, (int)events);
        ev_io_start(w->loop->ev, io);
    }
}

static void on_io(struct ev_loop *ev UNUSED, struct ev_io *io, int revents)
{
    struct watch *w = (struct watch *)(void *)io;
    unsigned ready = (unsigned)revents & w->events;
    if (UNLIKELY(revents & EV_ERROR)) {
        /* libev could not add it to epoll and has stopped it, but remembers its events as if it
         * had: ev_io_set makes the next start an epoll_ctl in any case. */
        ev_io_set(io, io->fd, 0);
        if (w->events) {
            w->on_ready(w, w->events | WATCH_ERROR);
        }
        return;
    }
    if (ready) {
        w->on_ready(w, ready); /* w may be gone now */
    } else {
        arm(w, w->events); /* an interest given up lazily */
    }
}

void watch_init(struct watch *w, struct loop *l, int fd,
                void (*on_ready)(struct watch *self, unsigned events))
{
    struct ev_io *io = io_of(w);
    w->loop = l;
    w->on_ready = on_ready;
    w->events = 0;
    ev_io_init(io, on_io, fd, 0);
}

void watch_set(struct watch *w, unsigned events)
{
    w->events = events;
    unsigned armed = armed_events(w);
    unsigned added = events & ~armed;
    unsigned dropped = armed & ~events;
    /* A socket is writable most of the time, so WRITE left armed would only wake the loop. */
    if (added || (dropped & WATCH_WRITE)) {
        arm(w, events);
    }
}

void watch_fini(struct watch *w)
{
    w->events = 0;
    ev_io_stop(w->loop->ev, io_of(w));
}
