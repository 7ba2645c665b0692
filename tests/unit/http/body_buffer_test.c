/* Bodies that are collected first, put back, and rewound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/http/body_buffer.h"

struct fixture {
    struct run_queue queue;
    struct body body;
    struct body_buffer buffer;
    unsigned done;
    size_t chunks_before;
};

static struct fixture f;

static void on_done(struct body_buffer *b)
{
    assert_ptr_equal(b, &f.buffer);
    assert_null(f.body.consumer);
    f.done++;
}

static int setup(void **state)
{
    (void)state;
    f = (struct fixture){.chunks_before = chunk_bytes_in_use()};
    run_queue_init(&f.queue);
    body_init(&f.body, &f.queue, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    body_fini(&f.body);
    return chunk_bytes_in_use() == f.chunks_before ? 0 : -1;
}

/* Pushes n bytes that count upwards, as a codec would: while there is room, in pieces. */
static void push(size_t n, size_t piece)
{
    static unsigned char next;
    if (f.body.pushed_bytes == 0) {
        next = 0;
    }
    while (n) {
        size_t k = n < piece ? n : piece;
        assert_true(body_room(&f.body) > 0);
        struct chunk *c = chunk_new(CHUNK_BYTES);
        for (size_t i = 0; i < k; i++) {
            c->data[i] = (char)next++;
        }
        body_push(&f.body, c, c->data, k);
        chunk_unref(c);
        n -= k;
        run_queue_run(&f.queue);
    }
}

static void expect_all(size_t n)
{
    unsigned char next = 0;
    struct body_slice s;
    while (body_take(&f.body, &s)) {
        for (size_t i = 0; i < s.n; i++) {
            assert_int_equal((unsigned char)s.p[i], next++);
        }
        assert_true(s.n <= n);
        n -= s.n;
        chunk_unref(s.chunk);
    }
    assert_int_equal(n, 0);
}

static void start(size_t max)
{
    body_buffer_start(&f.buffer, &f.body, max, on_done);
    run_queue_run(&f.queue);
}

static void test_whole(void **state)
{
    (void)state;
    start(1000000);
    push(500000, 5000);
    assert_int_equal(f.done, 0);
    body_end(&f.body, NULL);
    run_queue_run(&f.queue);
    assert_int_equal(f.done, 1);
    assert_true(body_buffer_whole(&f.buffer));
    assert_int_equal(f.body.queued_bytes, 500000);
    assert_int_equal(f.body.consumed_bytes, 0);
    expect_all(500000);
    assert_true(body_finished(&f.body));
    for (int i = 0; i < 3; i++) { /* as often as one likes, in whatever state it was left */
        assert_true(body_rewind(&f.body));
        if (i == 1) {
            body_stop(&f.body, END_ORIGIN_GONE);
        } else {
            expect_all(500000);
        }
    }
}

static void test_empty(void **state)
{
    (void)state;
    start(1000);
    body_end(&f.body, NULL);
    run_queue_run(&f.queue);
    assert_int_equal(f.done, 1);
    assert_true(body_rewind(&f.body));
    assert_true(body_finished(&f.body));
}

static void test_too_large(void **state)
{
    (void)state;
    start(10000);
    push(9999, 9999);
    assert_int_equal(f.done, 0);
    push(1, 1);
    assert_int_equal(f.done, 1);
    assert_false(body_buffer_whole(&f.buffer));
    assert_int_equal(f.body.consumed_bytes, 0);
    push(5000, 5000); /* behind it */
    expect_all(15000);
    assert_false(body_rewind(&f.body));
}

static void test_the_largest(void **state)
{
    (void)state;
    start(BODY_BUFFER_MAX_BYTES);
    push(BODY_BUFFER_MAX_BYTES - 1, CHUNK_BYTES);
    assert_int_equal(f.done, 0);
    /* As much behind it as the queue takes. */
    struct chunk *c = chunk_new(CHUNK_BYTES);
    unsigned char next = (unsigned char)(BODY_BUFFER_MAX_BYTES - 1);
    for (size_t i = 0; i < CHUNK_BYTES; i++) {
        c->data[i] = (char)next++;
    }
    size_t more = 0;
    while (body_room(&f.body)) {
        body_push(&f.body, c, c->data, CHUNK_BYTES);
        more += CHUNK_BYTES;
    }
    chunk_unref(c);
    run_queue_run(&f.queue);
    assert_int_equal(f.done, 1);
    assert_false(f.buffer.no_memory);
    assert_int_equal(f.body.queued_bytes, BODY_BUFFER_MAX_BYTES - 1 + more);
    body_stop(&f.body, END_NOT_WANTED);
}

static void test_broken(void **state)
{
    (void)state;
    start(10000);
    push(5000, 500);
    body_abort(&f.body, END_ORIGIN_GONE);
    run_queue_run(&f.queue);
    assert_int_equal(f.done, 1);
    assert_false(body_buffer_whole(&f.buffer));
    assert_false(body_rewind(&f.body));
    expect_all(5000); /* what came is there, for who wants it */
}

static void test_cancel(void **state)
{
    (void)state;
    start(10000);
    push(5000, 500);
    body_buffer_cancel(&f.buffer);
    run_queue_run(&f.queue);
    assert_int_equal(f.done, 0);
    assert_null(f.body.consumer);
    assert_false(body_rewind(&f.body)); /* its beginning is lost */
}

static void test_rewind_without(void **state)
{
    (void)state;
    assert_true(body_rewind(&f.body));
    push(10, 10);
    assert_true(body_rewind(&f.body));
    body_consume(&f.body, 1);
    assert_false(body_rewind(&f.body));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_whole),  TEST(test_empty),  TEST(test_too_large),      TEST(test_the_largest),
        TEST(test_broken), TEST(test_cancel), TEST(test_rewind_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
