/* A stream in memory for the tests of the codecs. The test is the peer: it puts bytes in, looks at
 * what came out, ends or breaks the connection, and decides how many bytes one read or write may
 * move. Nothing happens by itself: lb_pump delivers events and runs tasks until all is quiet, and
 * fails if that never comes (a codec that asks for an event and does not use it).
 *
 * The struct is the test's; the codec's close only marks it. */
#ifndef TESTS_H1_LOOPBACK_H
#define TESTS_H1_LOOPBACK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/base/dstr.h"
#include "proxy/net/stream.h"

#define LB_MAX 64
#define LB_BYTES_MAX ((size_t)64 << 20)
#define LB_ROUNDS_MAX 2000000u

struct lb {
    struct stream stream; /* first */
    struct addr addr;
    struct dstr in;  /* for the codec to read */
    size_t in_pos;
    struct dstr out; /* what it has written */
    bool fin;        /* the peer's end, after in */
    bool cut;        /* the end is a TLS truncation */
    bool reset;      /* reads (after in) and writes fail */
    bool write_fails;
    size_t read_max;  /* bytes one read may give; 0: any */
    size_t write_max; /* bytes one write may take; 0: any */
    size_t out_room;  /* bytes that may still be written; SIZE_MAX: any */
    bool again_often; /* every other read and write says AGAIN */
    bool again;
    size_t hidden_unsent; /* as TLS: taken and not yet sent */
    bool shut; /* the codec has ended its side */
    bool closed;
    bool aborted;
    unsigned reads;
    unsigned writes;
    unsigned wants; /* changes of interest */
};

struct lb_net {
    struct loop *loop;
    struct lb *ends[LB_MAX];
    unsigned count;
};

static inline struct lb *lb_of(struct stream *s)
{
    return (struct lb *)(void *)s;
}

static inline bool lb_stutters(struct lb *l)
{
    l->again = !l->again;
    return l->again_often && l->again;
}

static ssize_t lb_read(struct stream *s, void *buf, size_t n)
{
    struct lb *l = lb_of(s);
    assert_false(l->closed);
    l->reads++;
    if (lb_stutters(l)) {
        return STREAM_AGAIN;
    }
    size_t have = l->in.n - l->in_pos;
    if (have == 0) {
        return l->reset ? STREAM_ERROR : l->cut ? STREAM_TRUNCATED : l->fin ? 0 : STREAM_AGAIN;
    }
    size_t k = have < n ? have : n;
    if (l->read_max && k > l->read_max) {
        k = l->read_max;
    }
    memcpy(buf, l->in.p + l->in_pos, k);
    l->in_pos += k;
    return (ssize_t)k;
}

static ssize_t lb_writev(struct stream *s, const struct iovec *iov, int count, bool more)
{
    (void)more;
    struct lb *l = lb_of(s);
    assert_false(l->closed);
    assert_false(l->shut);
    l->writes++;
    if (l->reset || l->write_fails) {
        return STREAM_ERROR;
    }
    if (lb_stutters(l)) {
        return STREAM_AGAIN;
    }
    size_t limit = l->out_room;
    if (l->write_max && limit > l->write_max) {
        limit = l->write_max;
    }
    size_t total = 0;
    for (int i = 0; i < count && total < limit; i++) {
        size_t k = iov[i].iov_len < limit - total ? iov[i].iov_len : limit - total;
        assert_true(iov[i].iov_len > 0);
        dstr_append(&l->out, slice_of(iov[i].iov_base, k));
        total += k;
    }
    if (l->out_room != SIZE_MAX) {
        l->out_room -= total;
    }
    assert_false(l->out.failed);
    return total > 0 ? (ssize_t)total : STREAM_AGAIN;
}

static void lb_want(struct stream *s, unsigned events)
{
    (void)events;
    assert_false(lb_of(s)->closed);
    lb_of(s)->wants++;
}

static void lb_shutdown_write(struct stream *s)
{
    assert_false(lb_of(s)->closed);
    assert_false(lb_of(s)->shut);
    lb_of(s)->shut = true;
}

static void lb_close(struct stream *s, bool abort)
{
    assert_false(lb_of(s)->closed);
    lb_of(s)->closed = true;
    lb_of(s)->aborted = abort;
}

static size_t lb_unsent(const struct stream *s)
{
    return ((const struct lb *)(const void *)s)->hidden_unsent;
}

static int lb_raw_fd(const struct stream *s)
{
    (void)s;
    return -1;
}

static const struct stream_ops lb_ops = {
    .read = lb_read,
    .writev = lb_writev,
    .want = lb_want,
    .shutdown_write = lb_shutdown_write,
    .close = lb_close,
    .unsent = lb_unsent,
    .raw_fd = lb_raw_fd,
};

static inline struct lb *lb_new(struct lb_net *net)
{
    struct lb *l = calloc(1, sizeof(*l));
    assert_non_null(l);
    assert_true(net->count < LB_MAX);
    dstr_init(&l->in, LB_BYTES_MAX);
    dstr_init(&l->out, LB_BYTES_MAX);
    l->out_room = SIZE_MAX;
    l->stream.ops = &lb_ops;
    l->stream.loop = net->loop;
    l->stream.peer = &l->addr;
    l->stream.local = &l->addr;
    net->ends[net->count++] = l;
    return l;
}

static inline void lb_put(struct lb *l, struct slice bytes)
{
    dstr_append(&l->in, bytes);
    assert_false(l->in.failed);
}

/* What the codec has written since the last lb_clear. */
static inline struct slice lb_written(const struct lb *l)
{
    return dstr_slice(&l->out);
}

static inline void lb_clear(struct lb *l)
{
    dstr_reset(&l->out);
}

static inline unsigned lb_ready(const struct lb *l)
{
    unsigned ready = 0;
    if (l->in_pos < l->in.n || l->fin || l->cut || l->reset) {
        ready |= STREAM_READ;
    }
    if ((l->out_room > 0 && l->hidden_unsent == 0) || l->reset || l->write_fails) {
        ready |= STREAM_WRITE;
    }
    return ready & l->stream.wanted;
}

/* Events and tasks until nothing moves. */
static inline void lb_pump(struct lb_net *net)
{
    struct run_queue *q = loop_queue(net->loop);
    run_queue_run(q);
    bool moved = true;
    for (unsigned rounds = 0; moved; rounds++) {
        assert_true(rounds < LB_ROUNDS_MAX);
        moved = false;
        for (unsigned i = 0; i < net->count; i++) {
            struct lb *l = net->ends[i];
            unsigned ready = l->closed ? 0 : lb_ready(l);
            if (ready) {
                l->stream.on_event(&l->stream, ready);
                run_queue_run(q);
                moved = true;
            }
        }
    }
}

static inline void lb_net_init(struct lb_net *net)
{
    *net = (struct lb_net){.loop = loop_new(NULL)};
    assert_non_null(net->loop);
}

static inline void lb_net_fini(struct lb_net *net)
{
    for (unsigned i = 0; i < net->count; i++) {
        dstr_fini(&net->ends[i]->in);
        dstr_fini(&net->ends[i]->out);
        free(net->ends[i]);
    }
    loop_free(net->loop);
}

/* Runs the real loop, pumping every millisecond, until *done or the time is up (false). */
struct lb_run {
    struct timer tick;
    struct lb_net *net;
    const bool *done;
    int64_t until_ms;
};

static inline void lb_tick(struct timer *t)
{
    struct lb_run *r = container_of(t, struct lb_run, tick);
    lb_pump(r->net);
    if (*r->done || clock_mono_ms() > r->until_ms) {
        loop_stop(r->net->loop);
        return;
    }
    (void)timer_set(t, 1);
}

static inline bool lb_run_until(struct lb_net *net, const bool *done, int64_t ms)
{
    struct lb_run r = {.net = net, .done = done, .until_ms = clock_mono_ms() + ms};
    timer_init(&r.tick, net->loop, lb_tick);
    assert_true(timer_set(&r.tick, 1));
    loop_run(net->loop);
    timer_fini(&r.tick);
    return *done;
}

/* ---- looking at bytes -------- */

static inline bool lb_has(const struct lb *l, const char *text)
{
    return slice_find_slice(lb_written(l), slice_str(text)) != SLICE_NPOS;
}

static inline unsigned lb_times(const struct lb *l, const char *text)
{
    struct slice rest = lb_written(l);
    unsigned n = 0;
    for (size_t at; (at = slice_find_slice(rest, slice_str(text))) != SLICE_NPOS; n++) {
        rest = slice_from(rest, at + 1);
    }
    return n;
}

#define assert_has(l, text)                                                                  \
    do {                                                                                     \
        if (!lb_has((l), (text))) {                                                          \
            fail_msg("not there: %s\nin: %.*s", (text), SLICE_ARG(lb_written(l)));           \
        }                                                                                    \
    } while (0)
#define assert_has_not(l, text)                                                              \
    do {                                                                                     \
        if (lb_has((l), (text))) {                                                           \
            fail_msg("there: %s\nin: %.*s", (text), SLICE_ARG(lb_written(l)));               \
        }                                                                                    \
    } while (0)
/* Ends with text? */
#define assert_tail(l, text)                                                                 \
    do {                                                                                     \
        if (!slice_ends(lb_written(l), slice_str(text))) {                                   \
            fail_msg("does not end with: %s\nin: %.*s", (text), SLICE_ARG(lb_written(l)));   \
        }                                                                                    \
    } while (0)

#endif
