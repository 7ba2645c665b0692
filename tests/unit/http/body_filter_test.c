/* Body filters on loopback codecs: the same ends as without one, bounded memory, an orderly way
 * out from every state. The filter here doubles every byte: in and out cannot be confused. */
#include "loopback.h"

struct doubler {
    struct body_filter filter;
    unsigned drops;
    bool fails;
};

static struct doubler doubler, second;
static bool two; /* install both */

static enum filter_result double_step(struct body_filter *self)
{
    struct doubler *d = container_of(self, struct doubler, filter);
    struct body_slice s;
    if (d->fails && self->in->consumed_bytes > 0) {
        return FILTER_FAILED;
    }
    if (!body_take_upto(self->in, 1000, &s)) {
        return self->in->state == BODY_OPEN ? FILTER_WAIT : FILTER_LAST;
    }
    char text[2000];
    for (size_t i = 0; i < s.n; i++) {
        text[2 * i] = text[2 * i + 1] = s.p[i];
    }
    bool pushed = body_push_copy(&self->out, slice_of(text, 2 * s.n));
    chunk_unref(s.chunk);
    return pushed ? FILTER_MORE : FILTER_FAILED;
}

static void double_drop(struct body_filter *self)
{
    container_of(self, struct doubler, filter)->drops++;
}

static const struct body_filter_ops double_ops = {double_step, double_drop};

static void filtered_respond(struct exchange *ex)
{
    trace("respond");
    body_filter_install(&doubler.filter, &double_ops, ex, 0);
    if (two) {
        body_filter_install(&second.filter, &double_ops, ex, 0);
    }
    assert_true(exchange_start_response(ex));
}

static const struct http_service filtered_service = {chain_begin, filtered_respond, chain_end};

static struct world *begin(void **state)
{
    struct world *w = *state;
    doubler = second = (struct doubler){.drops = 0};
    two = false;
    w->ex->service = &filtered_service;
    body_end(&w->ex->req_body, NULL);
    exchange_begin(w->ex);
    run(w);
    return w;
}

static void test_clean(void **state)
{
    struct world *w = begin(state);
    w->origin_left = 12345;
    origin_respond(w, 200);
    run(w);
    expect_trace(w, "begin request-complete respond start complete end");
    assert_int_equal(w->received.n, 2 * 12345);
    assert_int_equal(doubler.drops, 1);
    assert_true(body_finished(&w->ex->res_body));
    assert_int_equal(w->ex->reason, END_NONE);
    origin_release(w);
}

/* They stack: the last one installed is next to the client. */
static void test_two(void **state)
{
    struct world *w = begin(state);
    two = true;
    w->origin_left = 5000;
    origin_respond(w, 200);
    run(w);
    assert_int_equal(w->received.n, 4 * 5000);
    assert_int_equal(doubler.drops + second.drops, 2);
    origin_release(w);
}

static void test_empty_with_trailers(void **state)
{
    struct world *w = begin(state);
    struct fields trailers = {0};
    assert_true(fields_add(&trailers, &w->ex->arena, S("x-sum"), S("1")));
    w->client_stalled = true;
    body_end(&w->ex->res_body, &trailers);
    origin_respond(w, 200);
    run(w);
    assert_int_equal(exchange_out(w->ex)->state, BODY_ENDED);
    assert_int_equal(exchange_out(w->ex)->trailers.count, 1);
    w->client_stalled = false;
    task_post(&w->queue, &w->client_out);
    run(w);
    expect_trace(w, "begin request-complete respond start complete end");
    origin_release(w);
}

/* Row: the origin breaks inside its body; what came goes out, then the cut, with its reason. */
static void test_origin_breaks(void **state)
{
    struct world *w = begin(state);
    w->client_stalled = true;
    origin_respond(w, 200);
    run(w);
    origin_push(w, 3000, 'o');
    body_abort(&w->ex->res_body, END_ORIGIN_SLOW);
    run(w);
    w->client_stalled = false;
    task_post(&w->queue, &w->client_out);
    run(w);
    expect_trace(w, "begin request-complete respond start cut end");
    assert_int_equal(w->received.n, 6000);
    assert_int_equal(w->ex->reason, END_ORIGIN_SLOW);
    assert_int_equal(doubler.drops, 1);
    origin_release(w);
}

/* Row: the client is gone; the origin learns of it through the filter, before the log does. */
static void test_client_gone(void **state)
{
    struct world *w = begin(state);
    w->client_stalled = true;
    w->origin_left = 1 << 20;
    w->ex->cancel = NULL;
    origin_respond(w, 200);
    run(w);
    assert_true(w->origin_left > 0);
    client_vanish(w);
    assert_int_equal(doubler.drops, 0); /* nobody is called inside the call */
    run(w);
    expect_trace(w, "begin request-complete respond start unwanted end");
    assert_int_equal(doubler.drops, 1);
}

/* Back-pressure goes all the way: each body holds its limit and no more. */
static void test_slow_client(void **state)
{
    struct world *w = begin(state);
    w->client_stalled = true;
    w->origin_left = 4 << 20;
    origin_respond(w, 200);
    run(w);
    assert_true(exchange_out(w->ex)->queued_bytes <= BODY_LIMIT_BYTES + CHUNK_BYTES);
    assert_true(w->ex->res_body.queued_bytes <= BODY_LIMIT_BYTES + CHUNK_BYTES);
    assert_true(w->origin_left >= (4 << 20) - 3 * BODY_LIMIT_BYTES);
    w->client_stalled = false;
    w->read_step = 70000;
    task_post(&w->queue, &w->client_out);
    run(w);
    assert_int_equal(w->received.n, 2 * (4 << 20));
    expect_trace(w, "begin request-complete respond start complete end");
    origin_release(w);
}

/* The filter itself cannot go on: the client sees a cut, the origin a stop. */
static void test_filter_fails(void **state)
{
    struct world *w = begin(state);
    doubler.fails = true;
    w->ex->cancel = NULL;
    w->origin_left = 1 << 20;
    origin_respond(w, 200);
    run(w);
    expect_trace(w, "begin request-complete respond start cut unwanted end");
    assert_int_equal(w->received.n, 2000);
    assert_int_equal(doubler.drops, 1);
}

/* Everybody lets go while the filter still waits for bytes. */
static void test_released_early(void **state)
{
    struct world *w = begin(state);
    w->chain_keeps = true;
    origin_respond(w, 200);
    run(w);
    origin_push(w, 100, 'o');
    client_vanish(w);
    run(w);
    assert_int_equal(doubler.drops, 1);
    origin_release(w);
    exchange_release(w->ex);
}

/* An answer that is thrown away before it started takes its filters along. */
static void test_cleared(void **state)
{
    struct world *w = begin(state);
    body_filter_install(&doubler.filter, &double_ops, w->ex, 0);
    origin_push(w, 100, 'o');
    exchange_clear_response(w->ex);
    assert_ptr_equal(exchange_out(w->ex), &w->ex->res_body);
    assert_int_equal(doubler.drops, 1);
    w->origin_left = 10;
    origin_respond(w, 200);
    run(w);
    assert_int_equal(w->received.n, 20);
    origin_release(w);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_clean),
        TEST(test_two),
        TEST(test_empty_with_trailers),
        TEST(test_origin_breaks),
        TEST(test_client_gone),
        TEST(test_slow_client),
        TEST(test_filter_fails),
        TEST(test_released_early),
        TEST(test_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
