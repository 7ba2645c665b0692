/* The body queue: bytes in order, room, states, and who is woken by what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxy/base/rand.h"
#include "proxy/http/body.h"

struct side {
    struct task task;
    unsigned runs;
};

struct fixture {
    struct run_queue queue;
    struct body body;
    struct side producer;
    struct side consumer;
    size_t chunks_before;
};

static void count_run(struct task *t)
{
    container_of(t, struct side, task)->runs++;
}

/* Runs the queue; how often each side ran. */
static void expect_runs(struct fixture *f, unsigned producer, unsigned consumer)
{
    f->producer.runs = 0;
    f->consumer.runs = 0;
    run_queue_run(&f->queue);
    assert_int_equal(f->producer.runs, producer);
    assert_int_equal(f->consumer.runs, consumer);
}

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.chunks_before = chunk_bytes_in_use()};
    run_queue_init(&f.queue);
    body_init(&f.body, &f.queue, 0);
    task_init(&f.producer.task, count_run);
    task_init(&f.consumer.task, count_run);
    body_set_producer(&f.body, &f.producer.task);
    body_set_consumer(&f.body, &f.consumer.task);
    run_queue_run(&f.queue);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    body_fini(&f->body);
    return chunk_bytes_in_use() == f->chunks_before ? 0 : -1;
}

static struct chunk *chunk_of(const char *text)
{
    struct chunk *c = chunk_new(CHUNK_BYTES);
    c->fill = (uint32_t)strlen(text);
    memcpy(c->data, text, c->fill);
    return c;
}

static void push(struct body *b, const char *text)
{
    struct chunk *c = chunk_of(text);
    body_push(b, c, c->data, c->fill);
    chunk_unref(c);
}

static void expect_front(struct body *b, const char *text)
{
    struct iovec iov[BODY_SLICES_MAX];
    char all[4096];
    size_t n = 0;
    int count = body_peek(b, iov, BODY_SLICES_MAX);
    for (int i = 0; i < count; i++) {
        memcpy(all + n, iov[i].iov_base, iov[i].iov_len);
        n += iov[i].iov_len;
    }
    assert_int_equal(n, strlen(text));
    assert_memory_equal(all, text, n);
    assert_int_equal(n, b->queued_bytes);
}

static void test_attach_wakes(void **state)
{
    struct fixture *f = *state;
    body_set_producer(&f->body, &f->producer.task);
    expect_runs(f, 1, 0);
    body_set_consumer(&f->body, &f->consumer.task);
    expect_runs(f, 0, 1);
    body_set_producer(&f->body, NULL);
    body_set_consumer(&f->body, NULL);
    push(&f->body, "a");
    body_consume(&f->body, 1);
    expect_runs(f, 0, 0);
}

static void test_push_and_consume(void **state)
{
    struct fixture *f = *state;
    push(&f->body, "hello");
    push(&f->body, " world");
    expect_runs(f, 0, 1); /* once for both */
    assert_int_equal(f->body.count, 2);
    expect_front(&f->body, "hello world");
    expect_runs(f, 1, 0); /* the first look says that somebody waits */
    assert_true(f->body.wanted);
    body_consume(&f->body, 3);
    expect_runs(f, 1, 0);
    expect_front(&f->body, "lo world");
    expect_runs(f, 0, 0); /* a second look says nothing new */
    body_consume(&f->body, 4); /* across the border of two slices */
    expect_front(&f->body, "orld");
    body_consume(&f->body, 4);
    assert_true(body_empty(&f->body));
    assert_false(body_finished(&f->body));
    assert_int_equal(f->body.pushed_bytes, 11);
    assert_int_equal(f->body.consumed_bytes, 11);
    assert_int_equal(chunk_bytes_in_use(), f->chunks_before);
}

static void test_peek_part(void **state)
{
    struct fixture *f = *state;
    struct iovec iov[2];
    push(&f->body, "a");
    push(&f->body, "b");
    push(&f->body, "c");
    assert_int_equal(body_peek(&f->body, iov, 2), 2);
    assert_memory_equal(iov[1].iov_base, "b", 1);
    assert_int_equal(body_peek(&f->body, iov, 0), 0);
}

static void test_merge(void **state)
{
    struct fixture *f = *state;
    struct chunk *c = chunk_of("abcdef");
    body_push(&f->body, c, c->data, 2);
    body_push(&f->body, c, c->data + 2, 2);
    assert_int_equal(f->body.count, 1);
    assert_int_equal(c->refs, 2);
    body_push(&f->body, c, c->data + 5, 1); /* a gap: no merging */
    assert_int_equal(f->body.count, 2);
    assert_int_equal(c->refs, 3);
    expect_front(&f->body, "abcdf");
    body_consume(&f->body, 1);
    body_push(&f->body, c, c->data + 4, 1);
    expect_front(&f->body, "bcdfe");
    body_consume(&f->body, 5);
    assert_int_equal(c->refs, 1);
    body_push(&f->body, c, c->data, 6); /* into an empty queue: nothing to merge with */
    expect_front(&f->body, "abcdef");
    /* Next to the last slice, but held by another chunk: each keeps its own reference. */
    struct chunk *other = chunk_of("");
    body_push(&f->body, other, c->data + 6, 1);
    assert_int_equal(f->body.count, 2);
    assert_int_equal(other->refs, 2);
    chunk_unref(other);
    chunk_unref(c);
}

static void test_take(void **state)
{
    struct fixture *f = *state;
    struct body_slice s;
    assert_false(body_take(&f->body, &s));
    expect_runs(f, 1, 0); /* wanted */
    push(&f->body, "abc");
    push(&f->body, "de");
    body_consume(&f->body, 1);
    run_queue_run(&f->queue);
    assert_true(body_take(&f->body, &s));
    expect_runs(f, 1, 0);
    assert_int_equal(s.n, 2);
    assert_memory_equal(s.p, "bc", 2);
    assert_int_equal(s.chunk->refs, 1);
    chunk_unref(s.chunk);
    assert_int_equal(f->body.queued_bytes, 2);
    assert_int_equal(f->body.consumed_bytes, 3);
}

/* Invariant: room is never above the limit, never below zero, and 0 unless the body is open. */
static void test_room(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(body_room(&f->body), BODY_LIMIT_BYTES);
    size_t pushed = 0;
    while (body_room(&f->body)) {
        struct chunk *one = chunk_new(CHUNK_BYTES);
        memset(one->data, 'x', CHUNK_BYTES);
        body_push(&f->body, one, one->data, CHUNK_BYTES - 1);
        chunk_unref(one);
        pushed += CHUNK_BYTES - 1;
        assert_true(body_room(&f->body) <= BODY_LIMIT_BYTES);
    }
    assert_true(pushed >= BODY_LIMIT_BYTES && pushed < BODY_LIMIT_BYTES + CHUNK_BYTES);
    assert_int_equal(body_room(&f->body), 0);
    body_consume(&f->body, pushed);
    assert_int_equal(body_room(&f->body), BODY_LIMIT_BYTES);
}

static void test_room_slices(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < BODY_SLICES_MAX; i++) {
        assert_true(body_room(&f->body) > 0);
        push(&f->body, "x");
    }
    assert_int_equal(body_room(&f->body), 0);
    body_consume(&f->body, 1);
    assert_true(body_room(&f->body) > 0);
}

static void test_limit_of_ones_own(void **state)
{
    struct fixture *f = *state;
    body_fini(&f->body);
    body_init(&f->body, &f->queue, 10);
    assert_int_equal(body_room(&f->body), 10);
    push(&f->body, "1234567");
    assert_int_equal(body_room(&f->body), 3);
    push(&f->body, "1234567");
    assert_int_equal(body_room(&f->body), 0);
}

/* Invariant: the consumer sees every byte that was pushed before the end. */
static void test_end(void **state)
{
    struct fixture *f = *state;
    struct field items[] = {{S_INIT("X-Sum"), S_INIT("1"), FIELD_OTHER, 0}};
    struct fields trailers = {items, 1, 1};
    push(&f->body, "abc");
    body_end(&f->body, &trailers);
    expect_runs(f, 0, 1);
    assert_int_equal(f->body.state, BODY_ENDED);
    assert_false(body_finished(&f->body));
    assert_int_equal(body_room(&f->body), 0);
    expect_front(&f->body, "abc");
    body_consume(&f->body, 3);
    assert_true(body_finished(&f->body));
    assert_int_equal(f->body.trailers.count, 1);
    run_queue_run(&f->queue);
    body_abort(&f->body, END_CLIENT_GONE); /* only the first counts */
    body_stop(&f->body, END_NOT_WANTED);
    expect_runs(f, 0, 0);
    assert_int_equal(f->body.state, BODY_ENDED);
    assert_int_equal(f->body.reason, END_NONE);
}

static void test_abort(void **state)
{
    struct fixture *f = *state;
    push(&f->body, "abc");
    body_abort(&f->body, END_ORIGIN_GONE);
    expect_runs(f, 0, 1);
    expect_front(&f->body, "abc"); /* what came before it can still be delivered */
    assert_int_equal(body_room(&f->body), 0);
    body_end(&f->body, NULL);
    body_stop(&f->body, END_CLIENT_GONE);
    assert_int_equal(f->body.state, BODY_ABORTED);
    assert_int_equal(f->body.reason, END_ORIGIN_GONE); /* preserved for the log */
    assert_true(body_empty(&f->body));                 /* but the queue is dropped */
    assert_false(body_finished(&f->body));
}

/* Invariant: stopping wakes the producer, once, and frees what is queued at once. */
static void test_stop(void **state)
{
    struct fixture *f = *state;
    push(&f->body, "abc");
    run_queue_run(&f->queue);
    body_stop(&f->body, END_NOT_WANTED);
    body_stop(&f->body, END_CLIENT_GONE);
    expect_runs(f, 1, 0);
    assert_int_equal(f->body.state, BODY_STOPPED);
    assert_int_equal(f->body.reason, END_NOT_WANTED);
    assert_int_equal(chunk_bytes_in_use(), f->chunks_before);
    assert_int_equal(body_room(&f->body), 0);
    push(&f->body, "late"); /* the producer has not run yet: not its mistake */
    assert_true(body_push_copy(&f->body, S("late")));
    assert_true(body_empty(&f->body));
    assert_int_equal(f->body.pushed_bytes, 3);
    body_end(&f->body, NULL);
    assert_int_equal(f->body.state, BODY_STOPPED);
    expect_runs(f, 0, 0);
}

static void test_stop_after_end(void **state)
{
    struct fixture *f = *state;
    push(&f->body, "abc");
    body_end(&f->body, NULL);
    body_stop(&f->body, END_CLIENT_GONE);
    assert_int_equal(f->body.state, BODY_STOPPED); /* not finished: bytes were dropped */
    assert_false(body_finished(&f->body));
    assert_int_equal(f->body.queued_bytes, 0);
}

static void test_push_copy(void **state)
{
    struct fixture *f = *state;
    static char big[(1 << 20) + 10];
    memset(big, 'b', sizeof(big));
    assert_true(body_push_copy(&f->body, S("")));
    assert_true(body_empty(&f->body));
    assert_true(body_push_copy(&f->body, S("copy")));
    expect_front(&f->body, "copy");
    body_consume(&f->body, 4);
    assert_true(body_push_copy(&f->body, slice_of(big, sizeof(big))));
    assert_int_equal(f->body.queued_bytes, sizeof(big));
    assert_int_equal(f->body.count, 2);
    while (f->body.count < BODY_SLICES_MAX - 1) {
        push(&f->body, "x");
    }
    size_t before = chunk_bytes_in_use();
    assert_false(body_push_copy(&f->body, slice_of(big, sizeof(big)))); /* two do not fit */
    assert_int_equal(f->body.count, BODY_SLICES_MAX - 1);
    assert_int_equal(chunk_bytes_in_use(), before);
}

/* The next number after *seq, below 251, so that a lost or doubled byte is noticed. */
static char next_byte(unsigned *seq)
{
    *seq = (*seq + 1) % 251;
    return (char)*seq;
}

/* Any order of pushing, peeking, taking and consuming: the bytes come out as they went in, and
 * what is in flight stays within the limit and one chunk. */
static void test_any_order(void **state)
{
    struct fixture *f = *state;
    unsigned in = 0;
    unsigned out = 0;
    for (int round = 0; round < 20000; round++) {
        if (rand_below(2) && body_room(&f->body)) {
            struct chunk *c = chunk_new(CHUNK_BYTES);
            size_t n = 1 + rand_below(CHUNK_BYTES - 1);
            for (size_t i = 0; i < n; i++) {
                c->data[i] = next_byte(&in);
            }
            size_t first = 1 + rand_below(n);
            body_push(&f->body, c, c->data, first);
            if (first < n) {
                body_push(&f->body, c, c->data + first, n - first);
            }
            chunk_unref(c);
        } else if (rand_below(2)) {
            struct body_slice s;
            if (body_take(&f->body, &s)) {
                for (size_t i = 0; i < s.n; i++) {
                    assert_int_equal(s.p[i], next_byte(&out));
                }
                chunk_unref(s.chunk);
            }
        } else {
            struct iovec iov[3];
            int count = body_peek(&f->body, iov, 3);
            size_t n = 0;
            for (int k = 0; k < count; k++) {
                size_t part = k == count - 1 ? rand_below(iov[k].iov_len + 1) : iov[k].iov_len;
                for (size_t i = 0; i < part; i++) {
                    assert_int_equal(((char *)iov[k].iov_base)[i], next_byte(&out));
                }
                n += part;
            }
            body_consume(&f->body, n);
        }
        assert_true(f->body.queued_bytes < BODY_LIMIT_BYTES + CHUNK_BYTES);
        assert_int_equal(f->body.pushed_bytes - f->body.consumed_bytes, f->body.queued_bytes);
    }
}

/* ---- pipes ----------------------------------------------------------------------------------- */

struct fake_pipe {
    struct body_pipe pipe;
    unsigned released;
};

static void fake_release(struct body_pipe *p)
{
    container_of(p, struct fake_pipe, pipe)->released++;
}

static struct fake_pipe fake(size_t bytes)
{
    return (struct fake_pipe){.pipe = {.bytes = bytes, .release = fake_release}};
}

/* A body whose consumer takes pipes and has consumed a byte, with one slice queued. */
static void until_pipe(struct body *b)
{
    assert_false(body_pipe_room(b));
    b->takes_pipe = true;
    assert_false(body_pipe_room(b)); /* it could still be rewound */
    assert_true(body_push_copy(b, S("abc")));
    body_consume(b, 1);
    assert_true(body_pipe_room(b));
}

static void test_pipe_behind_slices(void **state)
{
    struct fixture *f = *state;
    struct body *b = &f->body;
    struct fake_pipe p = fake(100);
    struct iovec iov[2];
    until_pipe(b);
    run_queue_run(&f->queue);
    body_push_pipe(b, &p.pipe);
    expect_runs(f, 0, 1);
    assert_false(body_pipe_room(b));
    assert_int_equal(body_room(b), 0); /* nothing may overtake it */
    assert_null(body_next_pipe(b));
    assert_int_equal(body_peek(b, iov, 2), 1);
    assert_int_equal(b->queued_bytes, 102);
    body_consume(b, 2);
    assert_ptr_equal(body_next_pipe(b), &p.pipe);
    assert_false(body_empty(b));
    run_queue_run(&f->queue);
    body_consume_pipe(b, 40);
    expect_runs(f, 0, 0); /* still no room */
    assert_int_equal(p.released, 0);
    body_end(b, NULL);
    assert_false(body_finished(b));
    body_consume_pipe(b, 60);
    assert_int_equal(p.released, 1);
    assert_true(body_finished(b) && body_empty(b));
    assert_int_equal(b->pushed_bytes, 103);
    assert_int_equal(b->consumed_bytes, 103);
    expect_runs(f, 1, 1);
}

static void test_pipe_dropped(void **state)
{
    struct fixture *f = *state;
    struct body *b = &f->body;
    struct fake_pipe p = fake(100);
    struct fake_pipe late = fake(5);
    until_pipe(b);
    body_push_pipe(b, &p.pipe);
    body_end(b, NULL);
    body_stop(b, END_CLIENT_GONE); /* unread: STOPPED, although it had ended */
    assert_int_equal(b->state, BODY_STOPPED);
    assert_int_equal(p.released, 1);
    body_push_pipe(b, &late.pipe);
    assert_int_equal(late.released, 1);
    assert_true(body_empty(b));
}

static void test_pipe_not_allowed(void **state)
{
    struct fixture *f = *state;
    struct body *b = &f->body;
    until_pipe(b);
    b->total_max_bytes = 1000; /* has to be watched */
    assert_false(body_pipe_room(b));
    b->total_max_bytes = 0;
    body_set_consumer(b, &f->producer.task); /* another one, who has not said that it takes them */
    assert_false(body_pipe_room(b));
    b->takes_pipe = true;
    body_abort(b, END_ORIGIN_GONE);
    assert_false(body_pipe_room(b));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_attach_wakes),      TEST(test_push_and_consume), TEST(test_peek_part),
        TEST(test_merge),             TEST(test_take),             TEST(test_room),
        TEST(test_room_slices),       TEST(test_limit_of_ones_own), TEST(test_end),
        TEST(test_abort),             TEST(test_stop),             TEST(test_stop_after_end),
        TEST(test_push_copy),         TEST(test_any_order),        TEST(test_pipe_behind_slices),
        TEST(test_pipe_dropped),      TEST(test_pipe_not_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
