/* The exchange on loopback codecs: the rows of the end-of-stream table (proxy/http/README.md) that
 * an exchange itself decides, the order of events, and who frees it. */
#include "loopback.h"

static void push_request(struct world *w, const char *text)
{
    assert_true(body_push_copy(&w->ex->req_body, slice_str(text)));
}

static void begin(struct world *w)
{
    exchange_begin(w->ex);
    expect_trace(w, ""); /* nothing is called back inside a call */
    run(w);
}

/* Row: clean end on both sides. */
static void test_clean(void **state)
{
    struct world *w = *state;
    push_request(w, "ping");
    body_end(&w->ex->req_body, NULL);
    begin(w);
    expect_trace(w, "begin request-complete");
    assert_int_equal(w->sent.n, 4);
    w->origin_left = 12345;
    origin_respond(w, 200);
    expect_trace(w, "begin request-complete");
    run(w);
    expect_trace(w, "begin request-complete respond start complete end");
    assert_int_equal(w->received.n, 12345);
    assert_false(exchange_freed(w)); /* the origin still holds it */
    assert_int_equal(w->ex->reason, END_NONE);
    assert_true(body_finished(&w->ex->res_body));
    origin_release(w);
}

/* An answer made by the chain itself. */
static void test_own_answer(void **state)
{
    struct world *w = *state;
    w->answers = true;
    body_end(&w->ex->req_body, NULL);
    begin(w);
    expect_trace(w, "begin respond start complete end");
    assert_int_equal(w->received.n, strlen("404 Not Found\n\nno such page\n"));
    assert_memory_equal(w->received.p, "404 Not Found\n\nno such page\n", w->received.n);
}

/* Row: early answer, the request body is still coming. */
static void test_early_answer(void **state)
{
    struct world *w = *state;
    push_request(w, "part");
    begin(w);
    w->origin_left = 10;
    body_stop(&w->ex->req_body, END_NOT_WANTED); /* the origin wants no more of it */
    origin_respond(w, 413);
    run(w);
    expect_trace(w, "begin stopped respond start complete end");
    assert_int_equal(w->ex->req_body.state, BODY_STOPPED);
    assert_int_equal(w->ex->reason, END_NONE); /* the answer was complete */
    origin_release(w);
}

/* The same, but the origin goes on reading: the codec's end is its end. */
static void test_early_answer_reading_on(void **state)
{
    struct world *w = *state;
    push_request(w, "part");
    begin(w);
    w->origin_left = 10;
    origin_respond(w, 413);
    run(w);
    expect_trace(w, "begin respond start complete request-cut end");
    assert_int_equal(w->ex->req_body.state, BODY_ABORTED);
    assert_int_equal(w->ex->req_body.reason, END_NOT_WANTED);
    origin_release(w);
}

/* Row: client gone while its answer is awaited. */
static void test_gone_while_waiting(void **state)
{
    struct world *w = *state;
    w->chain_keeps = true;
    push_request(w, "ping");
    begin(w);
    client_vanish(w);
    assert_true(w->ex->gone && w->ex->finished);
    assert_null(w->ex->codec);
    expect_trace(w, "begin");
    run(w);
    expect_trace(w, "begin cancel end"); /* the origin hears of it before the log does */
    assert_int_equal(w->ex->req_body.state, BODY_ABORTED);
    assert_int_equal(w->ex->res_body.state, BODY_STOPPED);
    assert_int_equal(w->ex->reason, END_CLIENT_GONE);
    /* Whatever comes too late does nothing. */
    exchange_respond(w->ex);
    exchange_error_page(w->ex, 502, S("late"));
    exchange_send_interim(w->ex, &w->ex->res);
    exchange_reset(w->ex, END_INTERNAL);
    assert_false(exchange_start_response(w->ex));
    run(w);
    expect_trace(w, "begin cancel end");
    exchange_release(w->ex);
}

/* Row: client gone while the response streams. */
static void test_gone_while_streaming(void **state)
{
    struct world *w = *state;
    body_end(&w->ex->req_body, NULL);
    begin(w);
    w->client_stalled = true;
    w->origin_left = 1 << 20;
    w->ex->cancel = NULL; /* nobody waits for the head any more */
    origin_respond(w, 200);
    run(w);
    assert_true(w->origin_left > 0);
    size_t before = chunk_bytes_in_use();
    client_vanish(w);
    assert_true(chunk_bytes_in_use() < before); /* at once, not when the origin gets round to it */
    run(w);
    expect_trace(w, "begin request-complete respond start unwanted end");
    assert_false(w->origin_holds);
}

/* Row: client gone before the chain has heard of it: it never does. */
static void test_gone_before_begin(void **state)
{
    struct world *w = *state;
    exchange_begin(w->ex);
    client_vanish(w);
    run(w);
    expect_trace(w, "");
    assert_true(exchange_freed(w));
}

/* A codec that gives an exchange up before its head was complete. */
static void test_never_begun(void **state)
{
    struct world *w = *state;
    task_cancel(&w->client_in);
    exchange_release(w->ex);
    assert_true(exchange_freed(w));
}

/* Row: the response is there, but the client went away before it was started. */
static void test_gone_between_respond_and_start(void **state)
{
    struct world *w = *state;
    body_end(&w->ex->req_body, NULL);
    begin(w);
    w->ex->cancel = NULL;
    origin_respond(w, 200);
    client_vanish(w);
    run(w);
    expect_trace(w, "begin request-complete unwanted end");
}

/* Row: the origin's connection breaks inside the body: what came is delivered, then the cut. */
static void test_origin_abort(void **state)
{
    struct world *w = *state;
    w->chain_keeps = true;
    body_end(&w->ex->req_body, NULL);
    begin(w);
    origin_respond(w, 200);
    origin_push(w, 100, 'x');
    body_abort(&w->ex->res_body, END_ORIGIN_GONE);
    origin_release(w);
    run(w);
    expect_trace(w, "begin request-complete respond start cut end");
    assert_int_equal(w->received.n, 100);
    assert_int_equal(w->ex->reason, END_ORIGIN_GONE); /* preserved for the log */
    exchange_release(w->ex);
}

/* Row: the client's body breaks off while the origin reads it: the origin learns why. */
static void test_request_abort(void **state)
{
    struct world *w = *state;
    push_request(w, "par");
    begin(w);
    body_abort(&w->ex->req_body, END_CLIENT_BAD);
    run(w);
    expect_trace(w, "begin request-cut");
    assert_int_equal(w->ex->req_body.reason, END_CLIENT_BAD);
    assert_int_equal(w->sent.n, 3);
    origin_release(w);
    exchange_error_page(w->ex, 400, S("a malformed body"));
    run(w);
    expect_trace(w, "begin request-cut respond start complete end");
}

/* Row: the origin fails before a head: a page of ours. */
static void test_origin_fails(void **state)
{
    struct world *w = *state;
    body_end(&w->ex->req_body, NULL);
    begin(w);
    origin_release(w);
    exchange_error_page(w->ex, 502, S("127.0.0.1:8000 closed the connection"));
    run(w);
    expect_trace(w, "begin request-complete respond start complete end");
    const char *page = "502 Bad Gateway\n\n127.0.0.1:8000 closed the connection\n";
    assert_int_equal(w->received.n, strlen(page));
    assert_memory_equal(w->received.p, page, w->received.n);
}

/* An error after the response has begun cannot become a page: the client must see a cut. */
static void test_error_after_start(void **state)
{
    struct world *w = *state;
    body_end(&w->ex->req_body, NULL);
    begin(w);
    origin_respond(w, 200);
    run(w);
    origin_release(w);
    exchange_error_page(w->ex, 500, S("late"));
    run(w);
    expect_trace(w, "begin request-complete respond start reset end");
}

/* Invariants: the response starts once, interim responses come before it. */
static void test_once(void **state)
{
    struct world *w = *state;
    struct response hints = {.status = 103};
    body_end(&w->ex->req_body, NULL);
    begin(w);
    exchange_send_interim(w->ex, &hints);
    exchange_send_interim(w->ex, &hints);
    origin_respond(w, 200);
    exchange_respond(w->ex);
    run(w);
    exchange_send_interim(w->ex, &hints);
    exchange_respond(w->ex);
    run(w);
    expect_trace(w, "begin request-complete interim interim respond start");
    body_end(&w->ex->res_body, NULL);
    run(w);
    expect_trace(w, "begin request-complete interim interim respond start complete end");
    origin_release(w);
}

/* Back-pressure, in one direction and the other, and no more in flight than there is room for. */
static void test_slow_client(void **state)
{
    struct world *w = *state;
    body_end(&w->ex->req_body, NULL);
    begin(w);
    w->read_step = 777;
    w->origin_left = 3 << 20;
    origin_respond(w, 200);
    run(w);
    expect_trace(w, "begin request-complete respond start complete end");
    assert_int_equal(w->received.n, 3 << 20);
    assert_true(w->most_queued < BODY_LIMIT_BYTES + CHUNK_BYTES);
    origin_release(w);
}

static void test_slow_origin(void **state)
{
    struct world *w = *state;
    w->origin_stalled = true;
    begin(w);
    size_t pushed = 0;
    while (body_room(&w->ex->req_body)) {
        push_request(w, "0123456789");
        pushed += 10;
        run(w);
    }
    assert_int_equal(w->ex->req_body.queued_bytes, pushed);
    w->origin_stalled = false;
    task_post(&w->queue, &w->origin_in);
    run(w);
    assert_int_equal(w->sent.n, pushed);
    assert_true(body_room(&w->ex->req_body) > 0);
    client_vanish(w);
    run(w);
}

/* 100-continue: the producer is woken by the first look of a consumer, not before. */
static void test_continue(void **state)
{
    struct world *w = *state;
    w->origin_stalled = true;
    begin(w);
    assert_false(w->ex->req_body.wanted);
    w->origin_stalled = false;
    task_post(&w->queue, &w->origin_in);
    struct body_slice s;
    assert_false(body_take(&w->ex->req_body, &s));
    assert_true(w->ex->req_body.wanted);
    assert_true(task_posted(&w->client_in));
    client_vanish(w);
    run(w);
}

/* Row: a tunnel. One direction ends, the other goes on; complete when both have ended. */
static void test_tunnel(void **state)
{
    struct world *w = *state;
    begin(w);
    w->ex->res.tunnel = true;
    origin_respond(w, 101);
    run(w);
    push_request(w, "to the origin");
    body_end(&w->ex->req_body, NULL); /* half-close by the client */
    run(w);
    assert_int_equal(w->sent.n, 13);
    origin_push(w, 50, 't');
    run(w);
    expect_trace(w, "begin respond start request-complete");
    assert_int_equal(w->received.n, 50);
    body_end(&w->ex->res_body, NULL);
    origin_release(w);
    run(w);
    expect_trace(w, "begin respond start request-complete complete end");
}

/* Three parties, six orders: freed by the last, never before, and end is seen once. */
static void let_go(struct world *w, int party)
{
    switch (party) {
    case 0:
        client_finish(w, END_SHUTDOWN);
        run(w);
        break;
    case 1: exchange_release(w->ex); break; /* the chain */
    default: origin_release(w); break;
    }
}

static void test_release_orders(void **state)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        if (i > 0) {
            assert_int_equal(world_setup(state), 0);
        }
        struct world *w = *state;
        w->chain_keeps = true;
        begin(w);
        for (int k = 0; k < 3; k++) {
            assert_false(exchange_freed(w));
            let_go(w, orders[i][k]);
        }
        assert_true(exchange_freed(w));
        assert_non_null(strstr(w->trace, "end"));
        assert_null(strstr(strstr(w->trace, "end") + 1, "end"));
        if (i + 1 < ARRAY_LEN(orders)) {
            assert_int_equal(world_teardown(state), 0);
        }
    }
}

/* Invariant: what was posted does not run once the codec has finished, nor after the release. */
static void test_no_task_after_finish(void **state)
{
    struct world *w = *state;
    body_end(&w->ex->req_body, NULL);
    begin(w);
    w->ex->cancel = NULL;
    origin_respond(w, 200);
    client_finish(w, END_SHUTDOWN);
    assert_false(task_posted(&w->ex->respond_task));
    assert_null(w->ex->res_body.consumer);
    assert_null(w->ex->req_body.producer);
    run(w);
    expect_trace(w, "begin request-complete unwanted end");
}

/* A retry elsewhere: the abandoned response leaves nothing behind. */
static void test_clear_response(void **state)
{
    struct world *w = *state;
    begin(w);
    struct chunk *head = chunk_new(16);
    assert_true(exchange_pin(w->ex, head));
    assert_true(exchange_pin(w->ex, head)); /* once is enough */
    assert_int_equal(head->refs, 2);
    w->ex->res.status = 503;
    assert_true(fields_add(&w->ex->res.fields, &w->ex->arena, S("A"), S("b")));
    assert_true(body_push_copy(&w->ex->res_body, S("busy")));
    body_abort(&w->ex->res_body, END_ORIGIN_GONE);
    exchange_clear_response(w->ex);
    assert_int_equal(head->refs, 1);
    assert_int_equal(w->witness->refs, 2); /* the request's stays */
    assert_int_equal(w->ex->res.status, 0);
    assert_int_equal(w->ex->res.fields.count, 0);
    assert_int_equal(w->ex->res_body.state, BODY_OPEN);
    assert_true(body_empty(&w->ex->res_body));
    chunk_unref(head);
    client_vanish(w);
    run(w);
}

static void test_pins(void **state)
{
    struct world *w = *state;
    struct chunk *c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = chunk_new(16);
        assert_int_equal(exchange_pin(w->ex, c[i]), i < 3); /* the witness has one place */
        assert_int_equal(c[i]->refs, i < 3 ? 2 : 1);
    }
    task_cancel(&w->client_in);
    exchange_release(w->ex);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(c[i]->refs, 1);
        chunk_unref(c[i]);
    }
}

static void expect_field(const struct exchange *ex, enum field_id id, const char *value)
{
    const struct field *f = fields_find_id(&ex->res.fields, id);
    assert_non_null(f);
    assert_true(slice_eq(f->value, slice_str(value)));
}

static void test_simple(void **state)
{
    struct world *w = *state;
    struct exchange *ex = w->ex;
    assert_true(exchange_simple(ex, 200, S("text/html"), S("<p>")));
    assert_int_equal(ex->res.content_length, 3);
    assert_true(slice_eq(ex->res.reason, S("OK")));
    assert_int_equal(ex->res_body.queued_bytes, 3);
    assert_int_equal(ex->res_body.state, BODY_ENDED);
    expect_field(ex, FIELD_CONTENT_TYPE, "text/html");
    assert_true(exchange_simple(ex, 204, S("text/html"), S("dropped")));
    assert_int_equal(ex->res_body.queued_bytes, 0);
    assert_int_equal(ex->res.fields.count, 0);
    ex->req.method = METHOD_HEAD;
    assert_true(exchange_simple(ex, 404, S("text/html"), S("four")));
    assert_int_equal(ex->res.content_length, 4); /* what GET would get */
    assert_int_equal(ex->res_body.queued_bytes, 0);
    ex->req.method = METHOD_GET;
    assert_true(exchange_simple(ex, 200, S(""), S("")));
    assert_int_equal(ex->res.content_length, 0);
    assert_int_equal(ex->res_body.state, BODY_ENDED);
    task_cancel(&w->client_in);
    exchange_release(ex);
}

static void test_error_page(void **state)
{
    struct world *w = *state;
    w->chain_keeps = true;
    body_end(&w->ex->req_body, NULL);
    begin(w);
    origin_release(w);
    exchange_error_page(w->ex, 503, S(""));
    run(w);
    assert_memory_equal(w->received.p, "503 Service Unavailable\n", w->received.n);
    expect_field(w->ex, FIELD_CACHE_CONTROL, "no-store");
    expect_field(w->ex, FIELD_CONTENT_TYPE, "text/plain; charset=utf-8");
    exchange_release(w->ex);
}

static void test_error_page_without_memory(void **state)
{
    struct world *w = *state;
    w->chain_keeps = true;
    begin(w);
    origin_release(w);
    arena_fini(&w->ex->arena);
    w->ex->arena.max_bytes = 0;
    exchange_error_page(w->ex, 503, S("x"));
    run(w);
    expect_trace(w, "begin reset end");
    assert_int_equal(w->ex->reason, END_NO_MEMORY);
    w->ex->arena.max_bytes = EXCHANGE_ARENA_MAX;
    exchange_release(w->ex);
}

static void test_reason_texts(void **state)
{
    struct world *w = *state;
    for (int r = END_NONE; r <= END_INTERNAL; r++) {
        assert_string_not_equal(end_reason_text((enum end_reason)r), "unknown");
    }
    task_cancel(&w->client_in);
    exchange_release(w->ex);
}

/* One taken from the free list is as good as new. */
static void test_reuse(void **state)
{
    struct world *w = *state;
    task_cancel(&w->client_in);
    w->ex->chain = w;
    w->ex->reason = END_INTERNAL;
    assert_non_null(arena_alloc(&w->ex->arena, 100000));
    exchange_release(w->ex);
    struct exchange *ex = exchange_new(NULL, &w->queue, &loopback_codec, &loopback_service,
                                       &w->info);
    assert_null(ex->chain);
    assert_int_equal(ex->reason, END_NONE);
    assert_int_equal(ex->holds, 1);
    assert_null(ex->pinned[0]);
    assert_int_equal(ex->arena.max_bytes, EXCHANGE_ARENA_MAX);
    assert_true(ex->arena.used_bytes < 20000);
    exchange_release(ex);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_clean),
        TEST(test_own_answer),
        TEST(test_early_answer),
        TEST(test_early_answer_reading_on),
        TEST(test_gone_while_waiting),
        TEST(test_gone_while_streaming),
        TEST(test_gone_before_begin),
        TEST(test_never_begun),
        TEST(test_gone_between_respond_and_start),
        TEST(test_origin_abort),
        TEST(test_request_abort),
        TEST(test_origin_fails),
        TEST(test_error_after_start),
        TEST(test_once),
        TEST(test_slow_client),
        TEST(test_slow_origin),
        TEST(test_continue),
        TEST(test_tunnel),
        TEST(test_release_orders),
        TEST(test_no_task_after_finish),
        TEST(test_clear_response),
        TEST(test_pins),
        TEST(test_simple),
        TEST(test_error_page),
        TEST(test_error_page_without_memory),
        TEST(test_reason_texts),
        TEST(test_reuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
