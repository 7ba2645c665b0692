/* What the three codec tests share: a client's end, an h1_server on it, and a service that answers
 * by itself, echoes, or proxies through an h1_client to an origin's end. The service follows the
 * rules of exchange.h as the real chain does. */
#ifndef TESTS_H1_FIXTURE_H
#define TESTS_H1_FIXTURE_H

#include "proxy/h1/h1_client.h"
#include "proxy/h1/h1_server.h"
#include "tests/unit/h1/loopback.h"

enum stub {
    STUB_TEXT,    /* 200 with text, at once; the request body is left alone */
    STUB_ECHO,    /* 200 with the request's body, length unknown, trailers too */
    STUB_HOLD,    /* nothing: the test acts on fx->ex */
    STUB_PROXY,   /* an h1_client */
    STUB_SINK,    /* reads the whole body, then 200 with its size */
};

struct fixture {
    struct lb_net net;
    struct lb *client; /* the client's end */
    struct lb *origin; /* the origin's end of the connection in use */
    struct h1_server *server;
    struct h1_server_limits limits;
    struct h1_client_limits client_limits;
    enum stub stub;
    struct slice text;
    int status;

    struct exchange *ex; /* the one under way; NULL after its end */
    struct task body_task; /* the stub's: consumer of req_body, producer of res_body */
    struct task cancel_task;
    struct request out;
    struct h1_client *oc; /* NULL: none */
    unsigned origins; /* connections made */
    unsigned idles;
    unsigned oc_closes;
    unsigned heads;
    unsigned failures;
    struct h1_client_failure failure;
    uint64_t sunk;

    unsigned begins;
    unsigned ends;
    enum end_reason reason; /* of the last exchange */
    uint64_t sent_bytes;
    uint64_t received_bytes;
    bool gone;
    bool closed; /* the server's connection */
};

static struct fixture *fx; /* the services have no context of their own */

static void stub_answer(struct exchange *ex)
{
    assert_true(exchange_simple(ex, fx->status, S("text/plain"), fx->text));
    exchange_respond(ex);
}

/* ---- echo and sink -------- */

static void stub_echo(struct exchange *ex)
{
    struct body *in = &ex->req_body;
    struct body *out = &ex->res_body;
    struct iovec iov[1];
    while (body_peek(in, iov, 1) == 1 && body_room(out) > 0) {
        struct body_slice s;
        assert_true(body_take(in, &s));
        body_push(out, s.chunk, s.p, s.n);
        chunk_unref(s.chunk);
    }
    if (body_finished(in)) {
        body_end(out, &in->trailers);
    } else if (in->state == BODY_ABORTED && body_empty(in)) {
        body_abort(out, in->reason);
    }
}

static void stub_sink(struct exchange *ex)
{
    struct iovec iov[BODY_SLICES_MAX];
    int n;
    while ((n = body_peek(&ex->req_body, iov, BODY_SLICES_MAX)) > 0) {
        for (int i = 0; i < n; i++) {
            fx->sunk += iov[i].iov_len;
            body_consume(&ex->req_body, iov[i].iov_len);
        }
    }
    if (body_finished(&ex->req_body)) {
        fx->text = arena_printf(&ex->arena, "%llu", (unsigned long long)fx->sunk);
        stub_answer(ex);
    }
}

static void stub_body_task(struct task *t)
{
    (void)t;
    if (!fx->ex || fx->ex->finished) {
        return;
    }
    if (fx->stub == STUB_ECHO) {
        stub_echo(fx->ex);
    } else {
        stub_sink(fx->ex);
    }
}

static void stub_start_echo(struct exchange *ex)
{
    ex->res.status = 200;
    ex->res.reason = S("OK");
    ex->res.content_length = LENGTH_UNKNOWN;
    body_set_consumer(&ex->req_body, &fx->body_task);
    body_set_producer(&ex->res_body, &fx->body_task);
    exchange_respond(ex);
}

/* ---- proxy -------- */

static void stub_outcome(void *ctx, struct h1_client *c, enum h1_client_outcome outcome,
                         const struct h1_client_failure *failure)
{
    (void)ctx;
    assert_ptr_equal(c, fx->oc);
    if (fx->ex) {
        fx->ex->cancel = NULL;
    }
    if (outcome == H1_CLIENT_HEAD) {
        fx->heads++;
        if (fx->ex) {
            exchange_respond(fx->ex);
        }
        return;
    }
    fx->oc = NULL;
    fx->failures++;
    fx->failure = *failure;
    if (fx->ex) {
        exchange_error_page(fx->ex, failure->reason == END_ORIGIN_SLOW ? 504 : 502,
                            slice_str(failure->detail));
    }
}

static void stub_idle(void *ctx, struct h1_client *c)
{
    (void)ctx;
    assert_ptr_equal(c, fx->oc);
    fx->idles++;
}

static void stub_closed(void *ctx, struct h1_client *c)
{
    (void)ctx;
    assert_ptr_equal(c, fx->oc);
    fx->oc_closes++;
    fx->oc = NULL;
}

static const struct h1_client_owner stub_owner = {stub_outcome, stub_idle, stub_closed, NULL};

static void stub_cancel(struct task *t)
{
    (void)t;
    if (fx->oc) {
        h1_client_cancel(fx->oc);
        fx->oc = NULL;
    }
}

static void stub_proxy(struct exchange *ex)
{
    struct request *out = &fx->out;
    *out = ex->req;
    out->fields = (struct fields){0};
    for (unsigned i = 0; i < ex->req.fields.count; i++) {
        const struct field *f = &ex->req.fields.items[i];
        assert_true(fields_add_id(&out->fields, &ex->arena, f->id, f->name, f->value));
    }
    const struct field *upgrade =
        ex->req.upgrade ? fields_find_id(&ex->req.fields, FIELD_UPGRADE) : NULL;
    struct slice protocol = upgrade ? upgrade->value : slice_of(NULL, 0);
    fields_strip_hop_by_hop(&out->fields);
    fields_remove_id(&out->fields, FIELD_EXPECT);
    if (!fx->oc || !h1_client_usable(fx->oc)) {
        if (fx->oc) {
            h1_client_cancel(fx->oc);
        }
        fx->origin = lb_new(&fx->net);
        fx->origins++;
        fx->oc = h1_client_new(&fx->origin->stream, &stub_owner);
        assert_non_null(fx->oc);
    }
    ex->cancel = &fx->cancel_task;
    h1_client_send(fx->oc, ex, out, protocol, &fx->client_limits);
}

/* ---- the service -------- */

static void stub_begin(struct exchange *ex)
{
    assert_null(fx->ex);
    fx->ex = ex;
    fx->begins++;
    switch (fx->stub) {
    case STUB_TEXT: stub_answer(ex); return;
    case STUB_ECHO: stub_start_echo(ex); return;
    case STUB_SINK: body_set_consumer(&ex->req_body, &fx->body_task); return;
    case STUB_PROXY: stub_proxy(ex); return;
    case STUB_HOLD: return;
    }
}

static void stub_respond(struct exchange *ex)
{
    fields_strip_hop_by_hop(&ex->res.fields);
    (void)exchange_start_response(ex);
}

static void stub_end(struct exchange *ex)
{
    assert_ptr_equal(fx->ex, ex);
    fx->ends++;
    fx->reason = ex->reason;
    fx->sent_bytes = ex->sent_bytes;
    fx->received_bytes = ex->received_bytes;
    fx->gone = ex->gone;
    if (ex->req_body.consumer == &fx->body_task) {
        body_set_consumer(&ex->req_body, NULL);
    }
    if (ex->res_body.producer == &fx->body_task) {
        body_set_producer(&ex->res_body, NULL);
    }
    task_cancel(&fx->body_task);
    ex->cancel = NULL;
    fx->ex = NULL;
    exchange_release(ex);
}

static const struct http_service stub_service = {stub_begin, stub_respond, stub_end};

static void stub_server_closed(void *ctx, struct h1_server *c)
{
    (void)ctx;
    assert_ptr_equal(c, fx->server);
    fx->server = NULL;
    fx->closed = true;
}

/* ---- set-up -------- */

static inline void fx_open(void)
{
    static const struct h1_server_owner owner = {stub_server_closed, NULL};
    assert_null(fx->server);
    fx->closed = false;
    fx->client = lb_new(&fx->net);
    fx->server = h1_server_new(&fx->client->stream, &fx->limits, &stub_service, S("http"), NULL,
                               &owner);
    assert_non_null(fx->server);
}

static inline int fx_setup(void **state)
{
    (void)state;
    fx = calloc(1, sizeof(*fx));
    assert_non_null(fx);
    lb_net_init(&fx->net);
    task_init(&fx->body_task, stub_body_task);
    task_init(&fx->cancel_task, stub_cancel);
    fx->limits.head = (struct h1_limits){65536, FIELDS_FROM_PEER_MAX};
    fx->client_limits.head = fx->limits.head;
    fx->text = S("hello");
    fx->status = 200;
    fx_open();
    return 0;
}

/* Whatever the test did: everything ends, once, and no memory stays. */
static inline int fx_teardown(void **state)
{
    (void)state;
    if (fx->server) {
        h1_server_abort(fx->server, END_SHUTDOWN);
    }
    lb_pump(&fx->net);
    if (fx->oc) {
        h1_client_cancel(fx->oc);
        fx->oc = NULL;
    }
    lb_pump(&fx->net);
    assert_null(fx->ex);
    assert_int_equal(fx->begins, fx->ends);
    assert_true(fx->client->closed);
    assert_true(chunk_bytes_in_use() == 0);
    lb_net_fini(&fx->net);
    exchange_pool_drain();
    chunk_pool_drain();
    free(fx);
    return 0;
}

static inline void fx_client_says(const char *text)
{
    lb_put(fx->client, slice_str(text));
    lb_pump(&fx->net);
}

static inline void fx_origin_says(const char *text)
{
    lb_put(fx->origin, slice_str(text));
    lb_pump(&fx->net);
}

static inline void fx_many(struct lb *l, char c, size_t n)
{
    char block[4096];
    memset(block, c, sizeof(block));
    for (size_t k; n > 0; n -= k) {
        k = n < sizeof(block) ? n : sizeof(block);
        lb_put(l, slice_of(block, k));
    }
}

/* Decodes a chunked body in text (no trailers expected unless it ends with them); its length. */
static inline size_t fx_chunked_bytes(struct slice text)
{
    size_t total = 0;
    for (;;) {
        size_t at = slice_find_slice(text, S("\r\n"));
        assert_true(at != SLICE_NPOS);
        uint64_t n = 0;
        for (size_t i = 0; i < at; i++) {
            int v = ascii_hex_value(text.p[i]);
            assert_true(v >= 0);
            n = n * 16 + (uint64_t)v;
        }
        text = slice_from(text, at + 2);
        if (n == 0) {
            assert_true(slice_eq(text, S("\r\n")));
            return total;
        }
        assert_true(text.n >= n + 2);
        text = slice_from(text, n);
        assert_true(slice_starts(text, S("\r\n")));
        text = slice_from(text, 2);
        total += n;
    }
}

static inline struct slice fx_body(const struct lb *l)
{
    struct slice all = lb_written(l);
    size_t at = slice_find_slice(all, S("\r\n\r\n"));
    assert_true(at != SLICE_NPOS);
    return slice_from(all, at + 4);
}

#endif
