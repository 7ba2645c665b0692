/* The chunked coding: data, ends and trailers, however the input is cut; and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/h1/h1_chunked.h"

struct decoded {
    struct arena arena;
    struct dstr data;
    struct fields trailers;
    enum h1_chunked_result result;
    size_t used;
    const char *why;
};

/* In pieces of step bytes. */
static void decode(struct decoded *d, struct slice in, size_t step)
{
    *d = (struct decoded){.result = H1_CHUNKED_MORE};
    arena_init(&d->arena, (size_t)1 << 20);
    dstr_init(&d->data, (size_t)1 << 20);
    struct h1_chunked c;
    h1_chunked_init(&c);
    while (in.n && d->result == H1_CHUNKED_MORE) {
        struct slice piece = slice_upto(in, step);
        do {
            size_t used;
            struct slice data;
            d->result =
                h1_chunked_step(&c, piece, &used, &data, &d->arena, &d->trailers, &d->why);
            if (d->result == H1_CHUNKED_DATA) {
                assert_true(data.p >= piece.p && data.p + data.n == piece.p + used);
                dstr_append(&d->data, data);
            }
            d->used += used;
            piece = slice_from(piece, used);
        } while (d->result == H1_CHUNKED_DATA);
        in = slice_from(in, step);
    }
    h1_chunked_fini(&c);
}

static void done(struct decoded *d)
{
    arena_fini(&d->arena);
    dstr_fini(&d->data);
}

static void good(struct slice in, const char *data, size_t used, unsigned trailers)
{
    for (size_t step = 1; step <= in.n; step++) {
        struct decoded d;
        decode(&d, in, step);
        assert_int_equal(d.result, H1_CHUNKED_END);
        assert_int_equal(d.used, used);
        assert_int_equal(d.data.n, strlen(data));
        assert_memory_equal(d.data.p ? d.data.p : "", data, d.data.n);
        assert_int_equal(d.trailers.count, trailers);
        done(&d);
    }
}

static void bad(struct slice in)
{
    for (size_t step = 1; step <= in.n; step++) {
        struct decoded d;
        decode(&d, in, step);
        if (d.result != H1_CHUNKED_BAD) {
            fail_msg("%d for %.*s", d.result, SLICE_ARG(in));
        }
        assert_non_null(d.why);
        done(&d);
    }
}

#define ALL(text, data, trailers) good(S(text), data, sizeof(text) - 1, trailers)

static void test_good(void **state)
{
    (void)state;
    ALL("0\r\n\r\n", "", 0);
    ALL("5\r\nhello\r\n0\r\n\r\n", "hello", 0);
    ALL("5\r\nhello\r\n6\r\n world\r\n000\r\n\r\n", "hello world", 0);
    ALL("a\r\n0123456789\r\nA\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n",
        "0123456789\r\n\r\n\r\n\r\n\r\n", 0);
    ALL("0000000000000001\r\nx\r\n0\r\n\r\n", "x", 0);
    ALL("1;name=value;q=\"a b\xe9\"\r\nx\r\n0;last\r\n\r\n", "x", 0);
    ALL("1\r\nx\r\n0\r\nX-Sum: 1\r\nGrpc-Status:0\r\n\r\n", "x", 2);
    good(S("1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n"), "x", 11, 0); /* the rest is not ours */
}

static void test_trailers(void **state)
{
    (void)state;
    struct decoded d;
    decode(&d, S("0\r\nX-Sum:  a b\t\r\nContent-Length: 5\r\nHost: x\r\nset-cookie: y\r\n\r\n"), 7);
    assert_int_equal(d.result, H1_CHUNKED_END);
    assert_int_equal(d.trailers.count, 1); /* framing, routing and authentication are dropped */
    assert_true(slice_eq(d.trailers.items[0].name, S("X-Sum")));
    assert_true(slice_eq(d.trailers.items[0].value, S("a b")));
    done(&d);
}

static void test_bad(void **state)
{
    (void)state;
    bad(S("\r\n"));
    bad(S(";a\r\n"));
    bad(S("g\r\n"));
    bad(S("-1\r\n"));
    bad(S("+1\r\n"));
    bad(S("0x1\r\n"));
    bad(S(" 1\r\n"));
    bad(S("1 \r\nx\r\n"));
    bad(S("1\t;a\r\n"));
    bad(S("1\nx\n"));
    bad(S("1\r\r\n"));
    bad(S("1\r\nxy\r\n"));
    bad(S("1\r\nx\n"));
    bad(S("1\r\nx\r\r"));
    bad(S("1\r\nx\r\n\r\n"));
    bad(S("00000000000000001\r\n"));
    bad(S("8000000000000000\r\n"));
    bad(S("ffffffffffffffff\r\n"));
    bad(S("1;a\x01\r\n"));
    bad(S("1;a\x7f\r\n"));
    bad(S("1;a\tb\r\n"));
    bad(S("1;a\nb\r\n"));
    bad(S("1;a\rb\r\n"));
    bad(S("1\0\r\n"));
    bad(S("0\r\n\rX"));
    bad(S("0\r\n\n"));
    bad(S("0\r\nX: a\n\r\n"));
    bad(S("0\r\nX : a\r\n\r\n"));
    bad(S("0\r\nX: a\r\n b\r\n\r\n"));
    bad(S("0\r\nX: a\0\r\n\r\n"));
    bad(S("0\r\nnonsense\r\n\r\n"));
}

static void test_incomplete(void **state)
{
    (void)state;
    struct slice in = S("5;x\r\nhello\r\n0\r\nX: y\r\n\r\n");
    for (size_t n = 1; n < in.n; n++) {
        struct decoded d;
        decode(&d, slice_upto(in, n), 3);
        assert_int_equal(d.result, H1_CHUNKED_MORE);
        assert_int_equal(d.used, n);
        done(&d);
    }
}

/* A malformed body stays malformed. */
static void test_bad_stays_bad(void **state)
{
    (void)state;
    struct h1_chunked c;
    struct arena a;
    struct fields trailers;
    struct slice data;
    size_t used;
    const char *why = NULL;
    arena_init(&a, 4096);
    h1_chunked_init(&c);
    assert_int_equal(h1_chunked_step(&c, S("x"), &used, &data, &a, &trailers, &why),
                     H1_CHUNKED_BAD);
    assert_int_equal(h1_chunked_step(&c, S("0\r\n\r\n"), &used, &data, &a, &trailers, &why),
                     H1_CHUNKED_BAD);
    h1_chunked_fini(&c);
    arena_fini(&a);
}

static void fill(struct dstr *d, struct slice s, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        dstr_append(d, s);
    }
}

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        unsigned extension; /* bytes in each */
        unsigned chunks;
        unsigned trailers;
        unsigned trailer_bytes;
        bool good;
    } rows[] = {
        {256, 1, 0, 0, true},   {257, 1, 0, 0, false},    {256, 64, 0, 0, true},
        {256, 65, 0, 0, false}, {0, 1, 128, 10, true},    {0, 1, 129, 10, false},
        {0, 1, 1, 65000, true}, {0, 1, 1, 65600, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct dstr text;
        dstr_init(&text, (size_t)1 << 20);
        for (unsigned k = 0; k < rows[i].chunks; k++) {
            dstr_append(&text, S("1;"));
            fill(&text, S("e"), rows[i].extension);
            dstr_append(&text, S("\r\nx\r\n"));
        }
        dstr_append(&text, S("0\r\n"));
        for (unsigned k = 0; k < rows[i].trailers; k++) {
            dstr_append(&text, S("X: "));
            fill(&text, S("t"), rows[i].trailer_bytes);
            dstr_append(&text, S("\r\n"));
        }
        dstr_append(&text, S("\r\n"));
        for (size_t step = 1; step <= 16384; step *= 16) {
            struct decoded d;
            decode(&d, dstr_slice(&text), step);
            assert_int_equal(d.result, rows[i].good ? H1_CHUNKED_END : H1_CHUNKED_BAD);
            done(&d);
        }
        dstr_fini(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),       cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_bad),        cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_bad_stays_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
