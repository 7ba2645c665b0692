/* Conditions, ranges and Accept-Encoding: the rows of RFC 9110 sections 12.5.3, 13 and 14. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/handler/accept_encoding.h"
#include "proxy/handler/file_conditions.h"
#include "proxy/handler/file_types.h"

static struct arena arena;
static struct file_range ranges[FILE_RANGES_MAX];
static unsigned count;

/* fields: "Name: value" each, NULL at the end. */
static int status(const char *const *fields, uint64_t size)
{
    struct request req = {.method = METHOD_GET};
    struct file_facts facts = {S("\"tag\""), 1000000000, size};
    for (; *fields; fields++) {
        struct slice value = slice_str(*fields), name;
        assert_true(slice_cut(&value, ':', &name));
        assert_true(fields_add(&req.fields, &arena, name, slice_trim(value)));
    }
    return file_conditions(&req, &facts, ranges, &count);
}

#define STATUS(size, ...) status((const char *const[]){__VA_ARGS__, NULL}, size)
#define AT "Sun, 09 Sep 2001 01:46:40 GMT"
#define BEFORE "Sun, 09 Sep 2001 01:46:39 GMT"

static void test_preconditions(void **state)
{
    (void)state;
    assert_int_equal(STATUS(10, "X: y"), 200);
    assert_int_equal(STATUS(10, "If-None-Match: \"tag\""), 304);
    assert_int_equal(STATUS(10, "If-None-Match: W/\"tag\""), 304);
    assert_int_equal(STATUS(10, "If-None-Match: \"a\", \"tag\""), 304);
    assert_int_equal(STATUS(10, "If-None-Match: *"), 304);
    assert_int_equal(STATUS(10, "If-None-Match: \"other\""), 200);
    /* If-Modified-Since counts only without If-None-Match. */
    assert_int_equal(STATUS(10, "If-None-Match: \"other\"", "If-Modified-Since: " AT), 200);
    assert_int_equal(STATUS(10, "If-Modified-Since: " AT), 304);
    assert_int_equal(STATUS(10, "If-Modified-Since: " BEFORE), 200);
    assert_int_equal(STATUS(10, "If-Modified-Since: yesterday"), 200);
    assert_int_equal(STATUS(10, "If-Match: \"other\""), 412);
    assert_int_equal(STATUS(10, "If-Match: W/\"tag\""), 412);
    assert_int_equal(STATUS(10, "If-Match: \"tag\""), 200);
    assert_int_equal(STATUS(10, "If-Unmodified-Since: " BEFORE), 412);
    assert_int_equal(STATUS(10, "If-Unmodified-Since: " AT), 200);
}

static void one_range(uint64_t first, uint64_t length)
{
    assert_int_equal(count, 1);
    assert_int_equal(ranges[0].first, first);
    assert_int_equal(ranges[0].length, length);
}

static void test_ranges(void **state)
{
    (void)state;
    assert_int_equal(STATUS(100, "Range: bytes=0-9"), 206);
    one_range(0, 10);
    assert_int_equal(STATUS(100, "Range: bytes=90-"), 206);
    one_range(90, 10);
    assert_int_equal(STATUS(100, "Range: bytes=-5"), 206);
    one_range(95, 5);
    assert_int_equal(STATUS(100, "Range: bytes=-500"), 206);
    one_range(0, 100);
    assert_int_equal(STATUS(100, "Range: bytes=50-500"), 206);
    one_range(50, 50);
    assert_int_equal(STATUS(100, "Range: bytes=0-1, 5-6"), 206);
    assert_int_equal(count, 2);
    assert_int_equal(STATUS(100, "Range: bytes=100-"), 416);
    assert_int_equal(STATUS(0, "Range: bytes=0-"), 416);
    assert_int_equal(STATUS(100, "Range: bytes=-0"), 416);
    assert_int_equal(STATUS(100, "Range: bytes=200-300, 5-6"), 206);
    one_range(5, 2);
    const char *ignored[] = {"Range: bytes=9-1", "Range: bytes=a-b", "Range: lines=1-2",
                             "Range: bytes=", "Range: bytes=1", "Range: bytes=0-99,0-99",
                             "Range: bytes=99999999999999999999999-"};
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++) {
        assert_int_equal(STATUS(100, ignored[i]), 200);
        assert_int_equal(count, 0);
    }
}

static void test_if_range(void **state)
{
    (void)state;
    assert_int_equal(STATUS(100, "Range: bytes=0-9", "If-Range: \"tag\""), 206);
    assert_int_equal(STATUS(100, "Range: bytes=0-9", "If-Range: W/\"tag\""), 200);
    assert_int_equal(STATUS(100, "Range: bytes=0-9", "If-Range: \"old\""), 200);
    assert_int_equal(STATUS(100, "Range: bytes=0-9", "If-Range: " AT), 206);
    assert_int_equal(STATUS(100, "Range: bytes=0-9", "If-Range: " BEFORE), 200);
}

static void test_accept_encoding(void **state)
{
    (void)state;
    static const struct slice offered[] = {S_INIT("zstd"), S_INIT("br"), S_INIT("gzip")};
    static const struct {
        const char *field;
        const char *order;
    } rows[] = {
        {"gzip, br", "12"},          {"gzip;q=1.0, br;q=0.5", "21"}, {"*", "012"},
        {"gzip;q=0", ""},            {"*;q=0.1, gzip;q=0", "01"},    {"identity", ""},
        {"GZIP;Q=0.8", "2"},         {"zstd;q=0.001, br ; q=0.01", "10"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fields fields = {0};
        unsigned order[ACCEPT_CODINGS_MAX];
        assert_true(fields_add(&fields, &arena, S("accept-encoding"), slice_str(rows[i].field)));
        unsigned n = accept_encoding(&fields, offered, 3, order);
        assert_int_equal(n, strlen(rows[i].order));
        for (unsigned k = 0; k < n; k++) {
            assert_int_equal(order[k], rows[i].order[k] - '0');
        }
    }
    struct fields none = {0};
    unsigned order[ACCEPT_CODINGS_MAX];
    assert_int_equal(accept_encoding(&none, offered, 3, order), 0);
}

/* The table is sorted, or some would not be found. */
static void test_types(void **state)
{
    (void)state;
    const char *names[] = {"a.7z", "a.css", "a.gz", "a.JSON", "a.mjs", "a.png", "a.webp", "a.zst",
                           "a.html", "a.js", "a.svg", "a.txt", "a.woff2", "a.wasm"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_true(file_type(slice_str(names[i])).n > 0);
    }
    assert_true(slice_eq(file_type(S("x/index.html")), S("text/html; charset=utf-8")));
    assert_int_equal(file_type(S("README")).n, 0);
    assert_int_equal(file_type(S("a.unknown")).n, 0);
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_NO_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_preconditions), cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_if_range),      cmocka_unit_test(test_accept_encoding),
        cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
