/* A stream straight over a socket: every call is one system call, nothing is buffered. */
#include "proxy/net/tcp.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define ALIGNED(n) (((n) + _Alignof(struct addr) - 1) & ~(_Alignof(struct addr) - 1))

struct tcp_stream {
    struct stream stream;
    struct watch watch;
    int fd;      /* owned */
    bool broken; /* it cannot be watched any more: reads and writes fail */
    /* behind it: the peer's and the local address, addr_bytes of each */
};

static struct tcp_stream *tcp_of(const struct stream *s)
{
    return (struct tcp_stream *)(uintptr_t)s; /* stream is the first member */
}
_Static_assert(offsetof(struct tcp_stream, stream) == 0, "tcp_of");
_Static_assert((int)STREAM_READ == (int)WATCH_READ && (int)STREAM_WRITE == (int)WATCH_WRITE,
               "same bits");

static void on_ready(struct watch *w, unsigned events)
{
    struct tcp_stream *t = container_of(w, struct tcp_stream, watch);
    if (UNLIKELY(events & WATCH_ERROR)) {
        t->broken = true;
        events &= ~(unsigned)WATCH_ERROR;
    }
    t->stream.on_event(&t->stream, events); /* t may be gone now */
}

static ssize_t tcp_read(struct stream *s, void *buf, size_t n)
{
    struct tcp_stream *t = tcp_of(s);
    must(n > 0);
    if (UNLIKELY(t->broken)) {
        return STREAM_ERROR;
    }
    for (;;) {
        ssize_t got = recv(t->fd, buf, n, 0);
        if (LIKELY(got >= 0)) {
            return got;
        }
        if (errno != EINTR) {
            return errno == EAGAIN ? STREAM_AGAIN : STREAM_ERROR;
        }
    }
}

static ssize_t tcp_writev(struct stream *s, const struct iovec *iov, int iov_count, bool more)
{
    struct tcp_stream *t = tcp_of(s);
    int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    if (UNLIKELY(t->broken)) {
        return STREAM_ERROR;
    }
    if (iov_count <= 0) {
        return 0;
    }
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                         .msg_iovlen = (size_t)(iov_count > IOV_MAX ? IOV_MAX : iov_count)};
    for (;;) {
        ssize_t sent = iov_count == 1 ? send(t->fd, iov->iov_base, iov->iov_len, flags)
                                      : sendmsg(t->fd, &msg, flags);
        if (LIKELY(sent >= 0)) {
            return sent;
        }
        if (errno != EINTR) {
            return errno == EAGAIN ? STREAM_AGAIN : STREAM_ERROR;
        }
    }
}

static void tcp_want(struct stream *s, unsigned events)
{
    struct tcp_stream *t = tcp_of(s);
    watch_set(&t->watch, events);
}

static void tcp_shutdown_write(struct stream *s)
{
    (void)shutdown(tcp_of(s)->fd, SHUT_WR);
}

static void tcp_close(struct stream *s, bool abort)
{
    struct tcp_stream *t = tcp_of(s);
    watch_fini(&t->watch);
    if (abort) {
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    close(t->fd);
    free(t);
}

static size_t tcp_unsent(const struct stream *s UNUSED)
{
    return 0;
}

static int tcp_raw_fd(const struct stream *s)
{
    const struct tcp_stream *t = tcp_of(s);
    return t->broken ? -1 : t->fd;
}

static const struct stream_ops tcp_ops = {
    .read = tcp_read,
    .writev = tcp_writev,
    .want = tcp_want,
    .shutdown_write = tcp_shutdown_write,
    .close = tcp_close,
    .unsent = tcp_unsent,
    .raw_fd = tcp_raw_fd,
};

struct stream *tcp_stream_new(struct loop *l, int fd, const struct addr *peer,
                              const struct addr *local)
{
    static const struct addr none;
    size_t peer_bytes = addr_bytes(peer);
    size_t local_at = sizeof(struct tcp_stream) + ALIGNED(peer_bytes);
    size_t local_bytes = addr_bytes(local ? local : &none);
    char *block = calloc(1, local_at + local_bytes);
    if (!block) {
        close(fd);
        return NULL;
    }
    memcpy(block + sizeof(struct tcp_stream), peer, peer_bytes);
    memcpy(block + local_at, local ? local : &none, local_bytes);
    struct tcp_stream *t = (struct tcp_stream *)(void *)block;
    t->fd = fd;
    t->stream.ops = &tcp_ops;
    t->stream.loop = l;
    t->stream.peer = (const struct addr *)(void *)(block + sizeof(struct tcp_stream));
    t->stream.local = (const struct addr *)(void *)(block + local_at);
    watch_init(&t->watch, l, fd, on_ready);
    return &t->stream;
}
