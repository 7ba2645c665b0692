/* The vocabulary: slices, arenas, strings, maps, encodings, dates, tasks, chunks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/base/arena.h"
#include "proxy/base/chunk.h"
#include "proxy/base/clock.h"
#include "proxy/base/enc.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/map.h"
#include "proxy/base/task.h"

static void assert_slice(struct slice got, const char *want)
{
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p, want, got.n);
}

static void test_slice_numbers(void **state)
{
    (void)state;
    uint64_t v = 7;
    assert_true(slice_u64(S("0"), 10, &v));
    assert_int_equal(v, 0);
    assert_true(slice_u64(S("18446744073709551615"), UINT64_MAX, &v));
    assert_true(v == UINT64_MAX);
    v = 7;
    assert_false(slice_u64(S("18446744073709551616"), UINT64_MAX, &v));
    assert_false(slice_u64(S(""), 10, &v));
    assert_false(slice_u64(S("-1"), 10, &v));
    assert_false(slice_u64(S("+1"), 10, &v));
    assert_false(slice_u64(S("1 "), 10, &v));
    assert_false(slice_u64(S("11"), 10, &v));
    assert_int_equal(v, 7);
}

static void test_slice_cut(void **state)
{
    (void)state;
    struct slice rest = S("a,,b");
    struct slice head;
    assert_true(slice_cut(&rest, ',', &head));
    assert_slice(head, "a");
    assert_true(slice_cut(&rest, ',', &head));
    assert_slice(head, "");
    assert_true(slice_cut(&rest, ',', &head));
    assert_slice(head, "b");
    assert_false(slice_cut(&rest, ',', &head));
    assert_true(slice_list_has(S("keep-alive, Upgrade"), S("upgrade")));
    assert_false(slice_list_has(S("upgraded"), S("upgrade")));
    assert_slice(slice_trim(S(" \t a b\t ")), "a b");
}

static void test_arena_maximum(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 10000);
    assert_non_null(arena_alloc(&a, 4000));
    assert_non_null(arena_alloc(&a, 4000));
    assert_false(a.failed);
    assert_null(arena_alloc(&a, 4000));
    assert_true(a.failed);
    arena_reset(&a);
    assert_false(a.failed);
    assert_non_null(arena_alloc(&a, 4000));
    assert_null(arena_alloc(&a, SIZE_MAX));
    arena_fini(&a);
}

static void test_arena_texts(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, ARENA_NO_MAX);
    assert_slice(arena_printf(&a, "%s-%d", "x", 5), "x-5");
    assert_slice(arena_lower(&a, S("HoSt")), "host");
    struct slice big = arena_printf(&a, "%09000d", 1);
    assert_int_equal(big.n, 9000);
    assert_string_equal(arena_cstr(&a, slice_upto(S("abcdef"), 3)), "abc");
    arena_fini(&a);
}

static void test_dstr_json(void **state)
{
    (void)state;
    struct dstr d;
    dstr_init(&d, 1000);
    dstr_json(&d, S("a\"b\\c\n\x01\xc3\xa9\xff\xc0\x80"));
    assert_slice(dstr_slice(&d),
                 "\"a\\\"b\\\\c\\n\\u0001\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    dstr_reset(&d);
    dstr_html(&d, S("<a href=\"x\">&'"));
    assert_slice(dstr_slice(&d), "&lt;a href=&#34;x&#34;&gt;&amp;&#39;");
    dstr_fini(&d);
    dstr_init(&d, 4);
    dstr_append(&d, S("abcd"));
    assert_false(d.failed);
    dstr_byte(&d, 'e');
    assert_true(d.failed);
    assert_slice(dstr_slice(&d), "abcd");
    dstr_fini(&d);
}

/* Strings of every length up to a few vectors' worth, with something in them at every place. */
static void test_dstr_json_places(void **state)
{
    (void)state;
    static const struct {
        char byte;
        const char *text;
    } bytes[] = {{'x', "x"},         {'~', "~"},         {' ', " "},
                 {'"', "\\\""},      {'\\', "\\\\"},     {'\t', "\\t"},
                 {'\0', "\\u0000"},   {'\x7f', "\\u007f"}, {'\x80', "\xef\xbf\xbd"}};
    char in[40];
    char out[64];
    memset(in, 'a', sizeof(in));
    for (size_t n = 1; n <= sizeof(in); n++) {
        for (size_t at = 0; at < n; at++) {
            for (size_t k = 0; k < ARRAY_LEN(bytes); k++) {
                char *copy = malloc(n); /* of its own: nothing beside it may be read */
                must(copy);
                memset(copy, 'a', n);
                copy[at] = bytes[k].byte;
                snprintf(out, sizeof(out), "\"%.*s%s%.*s\"", (int)at, in, bytes[k].text,
                         (int)(n - at - 1), in);
                struct dstr d;
                dstr_init(&d, 1000);
                dstr_json(&d, slice_of(copy, n));
                assert_string_equal(d.p, out);
                dstr_fini(&d);
                free(copy);
            }
        }
    }
}

static void test_dstr_field_names(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"a", "\"A\""},
        {"HOST", "\"Host\""},
        {"x-forwarded-for", "\"X-Forwarded-For\""},
        {"accept-language-", "\"Accept-Language-\""},
        {"ACCEPT-LANGUAGE-X9_z", "\"Accept-Language-X9_z\""},
        {"upgrade-insecure-requests-and-more-than-that",
         "\"Upgrade-Insecure-Requests-And-More-Than-That\""},
        {"not\"a-name", "\"not\\\"a-name\""},
    };
    struct dstr d;
    dstr_init(&d, 1000);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        dstr_reset(&d);
        dstr_json_field_name(&d, slice_str(names[i][0]));
        assert_string_equal(d.p, names[i][1]);
    }
    dstr_fini(&d);
    dstr_init(&d, 5);
    dstr_json(&d, S("abcd"));
    assert_true(d.failed); /* with its quotes it is too long */
    dstr_fini(&d);
}

static void test_dstr_number(void **state)
{
    (void)state;
    struct dstr d;
    dstr_init(&d, 1000);
    const uint64_t values[] = {0, 7, 10, 99, 100, 12345, UINT64_MAX};
    const unsigned digits[] = {1, 3, 1, 2, 6, 1, 1};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        dstr_number(&d, values[i], digits[i]);
        dstr_byte(&d, ' ');
    }
    assert_slice(dstr_slice(&d), "0 007 10 99 000100 12345 18446744073709551615 ");
    dstr_fini(&d);
}

static void test_map(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static char keys[COUNT][8];
    static int values[COUNT];
    struct map m;
    map_init(&m);
    assert_null(map_get(&m, S("x")));
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(keys[i], sizeof(keys[i]), "k%d", i);
        if (i % 2) { /* either way of finding room */
            assert_true(map_reserve(&m));
            size_t cap = m.cap;
            assert_null(map_put(&m, slice_str(keys[i]), &values[i]));
            assert_int_equal(m.cap, cap);
        } else {
            assert_null(map_put(&m, slice_str(keys[i]), &values[i]));
        }
    }
    for (int i = 0; i < COUNT; i += 3) {
        assert_ptr_equal(map_del(&m, slice_str(keys[i])), &values[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_ptr_equal(map_get(&m, slice_str(keys[i])), i % 3 == 0 ? NULL : &values[i]);
    }
    assert_ptr_equal(map_put(&m, S("k1"), &values[0]), &values[1]);
    size_t cursor = 0;
    size_t seen = 0;
    while (map_next(&m, &cursor)) {
        seen++;
    }
    assert_int_equal(seen, m.count);
    assert_int_equal(seen, COUNT - (COUNT + 2) / 3);
    map_fini(&m);
}

static void test_base64(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"\xff\xef", "/+8="},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dstr d;
        dstr_init(&d, 100);
        enc_base64(&d, slice_str(cases[i][0]));
        assert_true(slice_eq(dstr_slice(&d), slice_str(cases[i][1])));
        dstr_fini(&d);
    }
}

static void test_base64url(void **state)
{
    (void)state;
    static const struct {
        struct slice bytes;
        const char *text;
    } cases[] = {{S_INIT(""), ""},        {S_INIT("f"), "Zg"},        {S_INIT("fo"), "Zm8"},
                 {S_INIT("foo"), "Zm9v"}, {S_INIT("foob"), "Zm9vYg"}, {S_INIT("\xfb\xff"), "-_8"}};
    struct arena a;
    arena_init(&a, ARENA_NO_MAX);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dstr d;
        struct slice back;
        dstr_init(&d, 100);
        enc_base64url(&d, cases[i].bytes);
        assert_slice(dstr_slice(&d), cases[i].text);
        assert_true(enc_base64url_decode(&a, slice_str(cases[i].text), &back));
        assert_true(slice_eq(back, cases[i].bytes));
        dstr_fini(&d);
    }
    static const char *const bad[] = {"Z", "Zg==", "Zh", "Zm+v", "a b"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct slice out;
        assert_false(enc_base64url_decode(&a, slice_str(bad[i]), &out));
    }
    struct slice plain;
    assert_true(enc_base64_decode(&a, S("Zm9vOmI+/w=="), &plain));
    assert_true(slice_eq(plain, S("foo:b>\xff")));
    assert_true(enc_base64_decode(&a, S(""), &plain) && plain.n == 0);
    static const char *const bad_plain[] = {"Zg", "Zm-v", "Zh==", "====", "Z===", "Zg==Zg=="};
    for (size_t i = 0; i < ARRAY_LEN(bad_plain); i++) {
        assert_false(enc_base64_decode(&a, slice_str(bad_plain[i]), &plain));
    }
    arena_fini(&a);
}

static void test_percent(void **state)
{
    (void)state;
    struct arena a;
    struct slice out;
    arena_init(&a, ARENA_NO_MAX);
    assert_true(enc_percent_decode(&a, S("a%20b%2F"), &out));
    assert_slice(out, "a b/");
    assert_false(enc_percent_decode(&a, S("a%2"), &out));
    assert_false(enc_percent_decode(&a, S("%"), &out));
    assert_false(enc_percent_decode(&a, S("%zz"), &out));
    arena_fini(&a);
}

static void test_dates(void **state)
{
    (void)state;
    char text[CLOCK_HTTP_DATE_BYTES];
    int64_t ms;
    clock_http_date(784111777000, text);
    assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
    static const char *const same[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
                                       "Sunday, 06-Nov-94 08:49:37 GMT",
                                       "Sun Nov  6 08:49:37 1994"};
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        ms = 0;
        assert_true(clock_parse_http_date(slice_str(same[i]), &ms));
        assert_true(ms == 784111777000);
    }
    assert_false(clock_parse_http_date(S("tomorrow"), &ms));
    assert_false(clock_parse_http_date(S("Sun, 31 Feb 2021 08:49:37 GMT"), &ms));
    assert_true(clock_parse_rfc3339(S("1994-11-06T08:49:37Z"), &ms));
    assert_true(ms == 784111777000);
    assert_true(clock_parse_rfc3339(S("1994-11-06T10:49:37.123+02:00"), &ms));
    assert_true(ms == 784111777000);
    assert_false(clock_parse_rfc3339(S("1994-11-06T08:49:37"), &ms));
    assert_false(clock_parse_rfc3339(S("1994-13-06T08:49:37Z"), &ms));
    assert_false(clock_parse_rfc3339(S("1994-00-06T08:49:37Z"), &ms));
}

static int runs;
static struct run_queue queue;
static struct task second;

static void count_run(struct task *t)
{
    (void)t;
    runs++;
}

static void post_second(struct task *t)
{
    (void)t;
    task_post(&queue, &second);
    task_post(&queue, &second);
    assert_int_equal(runs, 0); /* never inside the post */
}

static void test_tasks(void **state)
{
    (void)state;
    struct task first;
    runs = 0;
    run_queue_init(&queue);
    task_init(&first, post_second);
    task_init(&second, count_run);
    task_post(&queue, &first);
    run_queue_run(&queue);
    assert_int_equal(runs, 1);
    task_post(&queue, &second);
    task_cancel(&second);
    run_queue_run(&queue);
    assert_int_equal(runs, 1);
}

static void test_chunks(void **state)
{
    (void)state;
    struct chunk *c = chunk_new(1);
    assert_int_equal(c->cap, CHUNK_BYTES);
    assert_int_equal(chunk_bytes_in_use(), CHUNK_BYTES);
    chunk_ref(c);
    chunk_unref(c);
    assert_int_equal(chunk_bytes_in_use(), CHUNK_BYTES);
    chunk_unref(c);
    assert_int_equal(chunk_bytes_in_use(), 0);
    c = chunk_new(CHUNK_BYTES + 1);
    assert_int_equal(c->cap, CHUNK_BYTES + 1);
    chunk_unref(c);
    chunk_unref(NULL);
    assert_int_equal(chunk_bytes_in_use(), 0);
    chunk_pool_drain();
}

static void test_err(void **state)
{
    (void)state;
    struct err e;
    assert_false(err_errno(&e, ENOENT, "opening %s", "x"));
    err_prefix(&e, "renewing %s: ", "a.example");
    assert_string_equal(e.text, "renewing a.example: opening x: No such file or directory");
    static char big[5000];
    memset(big, 'y', sizeof(big) - 1);
    err_set(&e, "%s", big);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    err_prefix(&e, "p: ");
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

static void test_log_line(void **state)
{
    (void)state;
    struct dstr d;
    dstr_init(&d, 1000);
    struct log_field f[] = {LOG_S("name", S("a\nb")), LOG_I("n", -3), {.key = NULL}};
    log_line(&d, LOG_JSON, LOG_WARN, "acme", "hello", f, ARRAY_LEN(f));
    assert_true(slice_starts(dstr_slice(&d), S("{\"level\":\"warn\",\"ts\":")));
    assert_true(slice_ends(dstr_slice(&d), S(",\"logger\":\"acme\",\"msg\":\"hello\","
                                             "\"name\":\"a\\nb\",\"n\":-3}\n")));
    dstr_reset(&d);
    log_line(&d, LOG_CONSOLE, LOG_ERROR, "acme", "hello", f, ARRAY_LEN(f));
    assert_true(slice_ends(dstr_slice(&d), S("  ERROR  acme  hello  name=\"a\\nb\"  n=-3\n")));
    dstr_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slice_numbers), cmocka_unit_test(test_slice_cut),
        cmocka_unit_test(test_arena_maximum), cmocka_unit_test(test_arena_texts),
        cmocka_unit_test(test_dstr_json),     cmocka_unit_test(test_map),
        cmocka_unit_test(test_dstr_json_places), cmocka_unit_test(test_dstr_field_names),
        cmocka_unit_test(test_dstr_number),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_base64url),     cmocka_unit_test(test_percent),
        cmocka_unit_test(test_dates),         cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_chunks),        cmocka_unit_test(test_err),
        cmocka_unit_test(test_log_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
