/* Looking at the first bytes of a connection; see sniff.h. No HTTP/1 method begins with "PRI ", so
 * four bytes decide. */
#include "proxy/server/sniff.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/net/sock.h"

#define ENOUGH ((size_t)4)

struct sniff {
    struct watch watch;
    struct timer deadline;
    int fd; /* borrowed */
    sniffed *done;
    void *ctx;
};

void sniff_cancel(struct sniff *s)
{
    watch_fini(&s->watch);
    timer_fini(&s->deadline);
    sock_low_water(s->fd, 1);
    free(s);
}

static void finish(struct sniff *s, bool http2)
{
    sniffed *done = s->done;
    void *ctx = s->ctx;
    sniff_cancel(s);
    done(ctx, http2);
}

/* The socket is readable only with enough bytes or at its end; a kernel that does not keep to that
 * (Unix sockets) gives fewer, which are then taken for HTTP/1: a preface comes in one piece. */
static void on_ready(struct watch *w, unsigned events)
{
    struct sniff *s = container_of(w, struct sniff, watch);
    char bytes[ENOUGH];
    ssize_t n = sock_peek(s->fd, bytes, sizeof(bytes));
    if (n < 0 && errno == EAGAIN && !(events & WATCH_ERROR)) {
        return;
    }
    finish(s, n == (ssize_t)ENOUGH && slice_eq(slice_of(bytes, ENOUGH), S("PRI ")));
}

static void too_late(struct timer *t)
{
    finish(container_of(t, struct sniff, deadline), false);
}

struct sniff *sniff_start(struct loop *l, int fd, int64_t timeout_ms, sniffed *done, void *ctx)
{
    struct sniff *s = malloc(sizeof(*s));
    if (!s) {
        return NULL;
    }
    *s = (struct sniff){.fd = fd, .done = done, .ctx = ctx};
    watch_init(&s->watch, l, fd, on_ready);
    timer_init(&s->deadline, l, too_late);
    if (timeout_ms > 0 && !timer_set(&s->deadline, timeout_ms)) {
        watch_fini(&s->watch);
        timer_fini(&s->deadline);
        free(s);
        return NULL;
    }
    sock_low_water(fd, ENOUGH);
    watch_set(&s->watch, WATCH_READ);
    return s;
}
