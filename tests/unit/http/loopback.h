/* A client codec, a chain and an origin codec without any network: what a real one does with an
 * exchange, in the fewest lines, and a trace of what happened in which order. */
#ifndef TEST_HTTP_LOOPBACK_H
#define TEST_HTTP_LOOPBACK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/base/dstr.h"
#include "proxy/http/exchange.h"

struct world {
    struct run_queue queue;
    struct exchange *ex;
    struct chunk *witness; /* pinned by ex: its count tells whether ex is still there */
    size_t chunks_before;
    char trace[512];
    struct client_info info;

    /* The client's codec. */
    struct task client_in;  /* producer of req_body */
    struct task client_out; /* consumer of res_body */
    struct dstr received;   /* what the client got of the body */
    size_t read_step;       /* bytes the client takes in one turn; 0: as many as there are */
    bool client_stalled;    /* reads nothing */
    unsigned interims;

    /* The chain. */
    bool chain_keeps; /* does not let go in end: the test does */
    bool answers;     /* answers by itself, 404 */

    /* The origin's codec. */
    struct task origin_in;     /* consumer of req_body */
    struct task origin_out;    /* producer of res_body */
    struct task origin_cancel;
    struct dstr sent;          /* what the origin got of the request body */
    bool origin_holds;
    bool origin_stalled;       /* does not read the request body */
    size_t origin_left;        /* bytes it still has to push */
    size_t most_queued;        /* the most that was in flight towards the client */
};

static struct world *world_now; /* one at a time: the service has no context of its own */

static inline void trace(const char *text)
{
    struct world *w = world_now;
    size_t n = strlen(w->trace);
    (void)snprintf(w->trace + n, sizeof(w->trace) - n, "%s%s", n ? " " : "", text);
}

static inline void expect_trace(const struct world *w, const char *text)
{
    assert_string_equal(w->trace, text);
}

/* ---- client codec -------- */

static inline void client_finish(struct world *w, enum end_reason reason)
{
    struct exchange *ex = w->ex;
    task_cancel(&w->client_in);
    task_cancel(&w->client_out);
    exchange_finish(ex, reason);
}

static inline void client_out_run(struct task *t)
{
    struct world *w = container_of(t, struct world, client_out);
    struct body *b = exchange_out(w->ex);
    struct iovec iov[BODY_SLICES_MAX];
    if (w->client_stalled) {
        return;
    }
    int count = body_peek(b, iov, BODY_SLICES_MAX);
    size_t budget = w->read_step ? w->read_step : SIZE_MAX;
    size_t n = 0;
    for (int i = 0; i < count && n < budget; i++) {
        size_t part = iov[i].iov_len < budget - n ? iov[i].iov_len : budget - n;
        dstr_append(&w->received, slice_of(iov[i].iov_base, part));
        n += part;
    }
    body_consume(b, n);
    if (!body_empty(b)) {
        task_post(&w->queue, t); /* the socket is writable again */
    } else if (b->state == BODY_ENDED) {
        trace("complete");
        client_finish(w, END_NONE);
    } else if (b->state == BODY_ABORTED) {
        trace("cut"); /* h1: reset the connection; h2: RST_STREAM */
        client_finish(w, b->reason);
    }
}

static inline void client_in_run(struct task *t)
{
    struct world *w = container_of(t, struct world, client_in);
    if (w->ex->req_body.state == BODY_STOPPED) {
        trace("stopped");
    }
}

static inline void start_response(struct exchange *ex)
{
    trace("start");
    if (ex->req.method == METHOD_HEAD) {
        trace("complete");
        client_finish(world_now, END_NONE);
        return;
    }
    body_set_consumer(exchange_out(ex), &world_now->client_out);
}

static inline void send_interim(struct exchange *ex, const struct response *interim)
{
    (void)ex;
    (void)interim;
    world_now->interims++;
    trace("interim");
}

static inline void reset(struct exchange *ex, enum end_reason reason)
{
    (void)ex;
    trace("reset");
    client_finish(world_now, reason);
}

static const struct exchange_codec loopback_codec = {start_response, send_interim, reset};

/* The connection breaks. */
static inline void client_vanish(struct world *w)
{
    task_cancel(&w->client_in);
    task_cancel(&w->client_out);
    exchange_client_gone(w->ex, END_CLIENT_GONE);
}

/* ---- origin codec -------- */

static inline void origin_release(struct world *w)
{
    if (w->origin_holds) {
        w->origin_holds = false;
        task_cancel(&w->origin_in);
        task_cancel(&w->origin_out);
        task_cancel(&w->origin_cancel);
        w->ex->cancel = NULL;
        body_set_consumer(&w->ex->req_body, NULL);
        body_set_producer(&w->ex->res_body, NULL);
        exchange_release(w->ex);
    }
}

static inline void origin_in_run(struct task *t)
{
    struct world *w = container_of(t, struct world, origin_in);
    struct body *b = &w->ex->req_body;
    struct body_slice s;
    while (!w->origin_stalled && body_take(b, &s)) {
        dstr_append(&w->sent, slice_of(s.p, s.n));
        chunk_unref(s.chunk);
    }
    if (b->state == BODY_ABORTED) {
        trace("request-cut"); /* the origin's connection is closed: it cannot be reused */
    } else if (body_finished(b)) {
        trace("request-complete");
    }
}

static inline void origin_push(struct world *w, size_t n, char fill)
{
    while (n > 0) {
        struct chunk *c = chunk_new(CHUNK_BYTES);
        size_t part = n < CHUNK_BYTES ? n : CHUNK_BYTES;
        memset(c->data, fill, part);
        body_push(&w->ex->res_body, c, c->data, part);
        chunk_unref(c);
        n -= part;
    }
}

static inline void origin_out_run(struct task *t)
{
    struct world *w = container_of(t, struct world, origin_out);
    struct body *b = &w->ex->res_body;
    if (b->state == BODY_STOPPED) {
        trace("unwanted");
        origin_release(w);
        return;
    }
    while (w->origin_left > 0 && body_room(b) > 0) {
        size_t n = w->origin_left < 5000 ? w->origin_left : 5000;
        origin_push(w, n, 'o');
        w->origin_left -= n;
        if (b->queued_bytes > w->most_queued) {
            w->most_queued = b->queued_bytes;
        }
        if (w->origin_left == 0) {
            body_end(b, NULL);
        }
    }
}

static inline void origin_cancel_run(struct task *t)
{
    struct world *w = container_of(t, struct world, origin_cancel);
    trace("cancel");
    origin_release(w);
}

/* Takes the request, as h1_client_send does. */
static inline void origin_start(struct world *w)
{
    exchange_hold(w->ex);
    w->origin_holds = true;
    w->ex->cancel = &w->origin_cancel;
    body_set_consumer(&w->ex->req_body, &w->origin_in);
}

/* The head of its response has come. */
static inline void origin_respond(struct world *w, int status)
{
    w->ex->res.status = status;
    w->ex->res.content_length = LENGTH_UNKNOWN;
    body_set_producer(&w->ex->res_body, &w->origin_out);
    exchange_respond(w->ex);
}

/* ---- chain -------- */

static inline void chain_begin(struct exchange *ex)
{
    trace("begin");
    assert_true(ex->begun);
    if (world_now->answers) {
        exchange_error_page(ex, 404, S("no such page"));
    } else {
        origin_start(world_now);
    }
}

static inline void chain_respond(struct exchange *ex)
{
    trace("respond");
    assert_true(exchange_start_response(ex));
}

static inline void chain_end(struct exchange *ex)
{
    trace("end");
    assert_true(ex->finished);
    if (!world_now->chain_keeps) {
        exchange_release(ex);
    }
}

static const struct http_service loopback_service = {chain_begin, chain_respond, chain_end};

/* ---- the world -------- */

static inline bool exchange_freed(const struct world *w)
{
    return w->witness->refs == 1;
}

static inline int world_setup(void **state)
{
    static struct world w;
    w = (struct world){.chunks_before = chunk_bytes_in_use()};
    world_now = &w;
    run_queue_init(&w.queue);
    dstr_init(&w.received, (size_t)16 << 20);
    dstr_init(&w.sent, (size_t)16 << 20);
    task_init(&w.client_in, client_in_run);
    task_init(&w.client_out, client_out_run);
    task_init(&w.origin_in, origin_in_run);
    task_init(&w.origin_out, origin_out_run);
    task_init(&w.origin_cancel, origin_cancel_run);
    w.ex = exchange_new(NULL, &w.queue, &loopback_codec, &loopback_service, &w.info);
    w.ex->req.method = METHOD_GET;
    w.witness = chunk_new(16);
    assert_true(exchange_pin(w.ex, w.witness));
    body_set_producer(&w.ex->req_body, &w.client_in);
    run_queue_run(&w.queue);
    *state = &w;
    return 0;
}

/* Every test ends with the exchange freed and no chunk left. */
static inline int world_teardown(void **state)
{
    struct world *w = *state;
    bool freed = exchange_freed(w) && list_empty(&w->queue.tasks);
    dstr_fini(&w->received);
    dstr_fini(&w->sent);
    chunk_unref(w->witness);
    exchange_pool_drain();
    return freed && chunk_bytes_in_use() == w->chunks_before ? 0 : -1;
}

/* Turns of the loop until nothing is left to do. */
static inline void run(struct world *w)
{
    run_queue_run(&w->queue);
}

#endif
