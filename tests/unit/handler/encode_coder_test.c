/* Compressors: what comes out can be read back, in whatever pieces it went in and came out; a flush
 * makes everything readable; the memory is bounded and given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "proxy/handler/encode_coder.h"

#define TEXT_BYTES 200000u

static char text[TEXT_BYTES], packed[TEXT_BYTES + 4096], back[TEXT_BYTES];

static int make_text(void **state)
{
    unsigned seed = 7;
    (void)state;
    for (size_t i = 0; i < TEXT_BYTES; i++) {
        seed = seed * 1103515245u + 12345u;
        text[i] = (char)('a' + (seed >> 16) % 9);
    }
    return 0;
}

static int drain(void **state)
{
    (void)state;
    coder_pool_drain();
    return coder_bytes_in_use() == 0 ? 0 : -1;
}

/* Feeds all of it with an op, at most `room` bytes coming out at a time; the new end of packed. */
static size_t feed(struct coder *c, const char *in, size_t n, size_t at, size_t room,
                   enum coder_op op)
{
    struct coder_io io = {in, n, NULL, 0};
    enum coder_status status;
    do {
        size_t left = sizeof(packed) - at;
        size_t given = left < room ? left : room;
        assert_true(given > 0);
        io.out = packed + at;
        io.out_n = given;
        status = coder_run(c, &io, op);
        assert_int_not_equal(status, CODER_ERROR);
        at += given - io.out_n;
    } while (status == CODER_MORE);
    assert_int_equal(io.in_n, 0);
    return at;
}

/* How many bytes of text can be read from the first n bytes that are packed. */
static size_t unpack_gzip(size_t n)
{
    z_stream z = {.next_in = (unsigned char *)packed, .avail_in = (unsigned)n,
                  .next_out = (unsigned char *)back, .avail_out = TEXT_BYTES};
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    int r = inflate(&z, Z_SYNC_FLUSH);
    assert_true(r == Z_OK || r == Z_STREAM_END);
    size_t got = z.total_out;
    assert_int_equal(inflateEnd(&z), Z_OK);
    return got;
}

static size_t unpack_zstd(size_t n)
{
    ZSTD_DCtx *d = ZSTD_createDCtx();
    ZSTD_inBuffer in = {packed, n, 0};
    ZSTD_outBuffer out = {back, TEXT_BYTES, 0};
    while (in.pos < in.size) {
        assert_false(ZSTD_isError(ZSTD_decompressStream(d, &out, &in)));
    }
    ZSTD_freeDCtx(d);
    return out.pos;
}

static size_t unpack(enum coding coding, size_t n)
{
    return coding == CODING_GZIP ? unpack_gzip(n) : unpack_zstd(n);
}

static void round_trip(enum coding coding, int level, size_t step, size_t room)
{
    struct coder *c = coder_take(coding, level);
    assert_non_null(c);
    size_t at = 0, n = TEXT_BYTES / 2;
    for (size_t i = 0; i < n; i += step) {
        at = feed(c, text + i, n - i < step ? n - i : step, at, room, CODER_RUN);
    }
    at = feed(c, NULL, 0, at, room, CODER_FLUSH);
    if (coding != CODING_BR) {
        assert_int_equal(unpack(coding, at), n);
    }
    at = feed(c, text + n, TEXT_BYTES - n, at, room, CODER_RUN);
    at = feed(c, NULL, 0, at, room, CODER_FINISH);
    assert_true(at < TEXT_BYTES * 3 / 4);
    if (coding != CODING_BR) { /* curl reads it in the end-to-end tests */
        assert_int_equal(unpack(coding, at), TEXT_BYTES);
        assert_memory_equal(back, text, TEXT_BYTES);
    }
    coder_give(c);
}

static void test_round_trips(void **state)
{
    static const size_t steps[] = {TEXT_BYTES, 16384, 1000}, rooms[] = {16384, 4096, 100};
    (void)state;
    for (enum coding coding = 0; coding < CODING_COUNT; coding++) {
        for (size_t i = 0; i < 3; i++) {
            round_trip(coding, coding_level_default(coding), steps[i], rooms[i]);
        }
        round_trip(coding, coding_level_min(coding), 16384, 16384);
        round_trip(coding, coding_level_max(coding), 16384, 16384);
    }
}

/* A coder that was given back in the middle starts anew. */
static void test_given_back_early(void **state)
{
    (void)state;
    for (enum coding coding = 0; coding < CODING_COUNT; coding++) {
        struct coder *c = coder_take(coding, coding_level_default(coding));
        assert_non_null(c);
        (void)feed(c, text, 5000, 0, 16384, CODER_RUN);
        coder_give(c);
        round_trip(coding, coding_level_default(coding), 16384, 16384);
    }
}

static void test_memory(void **state)
{
    static struct coder *taken[1000];
    size_t count = 0;
    (void)state;
    while (count < 1000 && (taken[count] = coder_take(CODING_GZIP, 1))) {
        count++;
    }
    assert_true(count > 100 && count < 1000);
    assert_true(coder_bytes_in_use() <= CODERS_MAX_BYTES + CODERS_IDLE_MAX_BYTES);
    while (count) {
        coder_give(taken[--count]);
    }
    assert_true(coder_bytes_in_use() <= CODERS_IDLE_MAX_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_round_trips, drain),
        cmocka_unit_test_teardown(test_given_back_early, drain),
        cmocka_unit_test_teardown(test_memory, drain),
    };
    return cmocka_run_group_tests(tests, make_text, NULL);
}
