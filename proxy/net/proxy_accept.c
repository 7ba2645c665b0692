/* Taking the PROXY header off a fresh connection; see proxy_accept.h.
 *
 * The bytes are peeked at, and read only once the header is complete: nothing has to be given back.
 * An epoll that watched a socket with an incomplete header would report it for ever, so the socket
 * is told to be readable only when as many bytes are there as are needed (SO_RCVLOWAT); where the
 * kernel does not keep to that (Unix sockets, memory pressure) a timer spaces the looks out. */
#include "proxy/net/proxy_accept.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/net/sock.h"

#define LOOK_AGAIN_MS 20

struct proxy_accept {
    struct watch watch;
    struct timer deadline;
    struct timer look_again;
    int fd; /* borrowed */
    enum proxy_trust trust;
    size_t seen; /* bytes that were there at the last look */
    bool low_water;
    proxy_accepted *done;
    void *ctx;
};

enum proxy_trust proxy_policy_trust(const struct proxy_policy *p, const struct addr *peer)
{
    if (addr_is_unix(peer)) {
        return PROXY_USE;
    }
    if (cidr_list_has(p->deny, p->deny_count, peer)) {
        return PROXY_REJECT;
    }
    return cidr_list_has(p->allow, p->allow_count, peer) ? PROXY_USE : p->fallback;
}

void proxy_accept_cancel(struct proxy_accept *a)
{
    watch_fini(&a->watch);
    timer_fini(&a->deadline);
    timer_fini(&a->look_again);
    if (a->low_water) {
        sock_low_water(a->fd, 1);
    }
    free(a);
}

static void finish(struct proxy_accept *a, const struct proxy_header *h, const char *why)
{
    static const struct addr unknown;
    proxy_accepted *done = a->done;
    void *ctx = a->ctx;
    proxy_accept_cancel(a);
    done(ctx, h ? &h->source : &unknown, h ? &h->destination : &unknown, why);
}

static void no_header(struct proxy_accept *a, const char *why)
{
    finish(a, NULL, a->trust == PROXY_REQUIRE ? why : NULL);
}

static void complete(struct proxy_accept *a, const struct proxy_header *h)
{
    if (a->trust == PROXY_REJECT) {
        finish(a, NULL, "a PROXY header from a peer that may not send one");
    } else if (!sock_skip(a->fd, h->bytes)) {
        finish(a, NULL, "reset before the PROXY header was read");
    } else {
        finish(a, a->trust == PROXY_IGNORE ? NULL : h, NULL);
    }
}

/* Too little is there: waits until `needed` bytes are. */
static void wait_for(struct proxy_accept *a, size_t seen, size_t needed)
{
    if (seen && seen == a->seen) {
        /* Woken without a new byte: the end, or a kernel that does not keep to the low water. */
        if (sock_peer_ended(a->fd)) {
            finish(a, NULL, "closed inside the PROXY header");
            return;
        }
        watch_set(&a->watch, 0);
        if (!timer_set(&a->look_again, LOOK_AGAIN_MS)) {
            finish(a, NULL, "out of memory");
        }
        return;
    }
    a->seen = seen;
    a->low_water = true;
    sock_low_water(a->fd, needed);
    watch_set(&a->watch, WATCH_READ);
}

static void look(struct proxy_accept *a)
{
    char bytes[PROXY_HEADER_MAX];
    struct proxy_header h;
    const char *why;
    ssize_t got = sock_peek(a->fd, bytes, sizeof(bytes));
    if (got < 0 && errno == EAGAIN) {
        watch_set(&a->watch, WATCH_READ);
        return;
    }
    if (got <= 0) {
        finish(a, NULL, got == 0 ? "closed before the PROXY header" : "reset");
        return;
    }
    switch (proxy_header_parse(slice_of(bytes, (size_t)got), &h, &why)) {
    case PROXY_HEADER_NONE: no_header(a, "there is no PROXY header"); return;
    case PROXY_HEADER_BAD: finish(a, NULL, why); return;
    case PROXY_HEADER_MORE: wait_for(a, (size_t)got, h.bytes); return;
    case PROXY_HEADER_OK: complete(a, &h); return;
    }
}

static void on_ready(struct watch *w, unsigned events)
{
    struct proxy_accept *a = container_of(w, struct proxy_accept, watch);
    if (events & WATCH_ERROR) {
        finish(a, NULL, "the socket cannot be watched");
        return;
    }
    look(a);
}

static void on_look_again(struct timer *t)
{
    look(container_of(t, struct proxy_accept, look_again));
}

static void on_deadline(struct timer *t)
{
    struct proxy_accept *a = container_of(t, struct proxy_accept, deadline);
    if (a->seen) {
        finish(a, NULL, "the PROXY header took too long");
    } else {
        no_header(a, "no PROXY header came in time");
    }
}

struct proxy_accept *proxy_accept_start(struct loop *l, int fd, enum proxy_trust trust,
                                        int64_t timeout_ms, proxy_accepted *done, void *ctx)
{
    struct proxy_accept *a = calloc(1, sizeof(*a));
    must(trust != PROXY_SKIP);
    if (!a) {
        return NULL;
    }
    a->fd = fd;
    a->trust = trust;
    a->done = done;
    a->ctx = ctx;
    watch_init(&a->watch, l, fd, on_ready);
    timer_init(&a->deadline, l, on_deadline);
    timer_init(&a->look_again, l, on_look_again);
    if (!timer_set(&a->deadline, timeout_ms)) {
        proxy_accept_cancel(a);
        return NULL;
    }
    watch_set(&a->watch, WATCH_READ);
    return a;
}
