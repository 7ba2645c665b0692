/* The peer's end of a connection as the HTTP/2 fuzz targets play it: a stream that gives the
 * fuzzer's bytes, read_max at a time, then nothing or (fin) the end; what is written to it is
 * looked at and forgotten. */
#ifndef TESTS_FUZZ_H2_END_H
#define TESTS_FUZZ_H2_END_H

#include "proxy/net/stream.h"

struct end {
    struct stream stream; /* first */
    struct addr addr;
    struct slice in;
    size_t read_max;
    bool fin;
    bool closed;
};

static ssize_t end_read(struct stream *s, void *buf, size_t n)
{
    struct end *e = (struct end *)(void *)s;
    if (e->in.n == 0) {
        return e->fin ? 0 : STREAM_AGAIN;
    }
    n = n < e->in.n ? n : e->in.n;
    n = n < e->read_max ? n : e->read_max;
    memcpy(buf, e->in.p, n);
    e->in = slice_from(e->in, n);
    return (ssize_t)n;
}

static ssize_t end_writev(struct stream *s, const struct iovec *iov, int count, bool more)
{
    (void)s;
    (void)more;
    ssize_t n = 0;
    volatile char sum = 0;
    for (int i = 0; i < count; i++) {
        const char *p = iov[i].iov_base;
        for (size_t k = 0; k < iov[i].iov_len; k++) {
            sum = (char)(sum + p[k]); /* every byte must be there */
        }
        n += (ssize_t)iov[i].iov_len;
    }
    return n;
}

static void end_want(struct stream *s, unsigned events)
{
    (void)s;
    (void)events;
}

static void end_shutdown(struct stream *s)
{
    (void)s;
}

static void end_close(struct stream *s, bool abort)
{
    (void)abort;
    ((struct end *)(void *)s)->closed = true;
}

static size_t end_unsent(const struct stream *s)
{
    (void)s;
    return 0;
}

static int end_fd(const struct stream *s)
{
    (void)s;
    return -1;
}

static const struct stream_ops end_ops = {end_read,  end_writev, end_want, end_shutdown,
                                          end_close, end_unsent, end_fd};

static void end_init(struct end *e, struct loop *loop, size_t read_max)
{
    *e = (struct end){.stream = {.ops = &end_ops, .loop = loop}, .read_max = read_max};
    e->stream.peer = e->stream.local = &e->addr;
}

#endif
