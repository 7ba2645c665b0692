/* HTTP/1 heads as they go out: every byte of them, and what must never go out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxy/h1/h1_write.h"

static struct field items[16];

static struct fields fields_of(const char *const *pairs)
{
    struct fields f = {items, 0, ARRAY_LEN(items)};
    for (; pairs[0]; pairs += 2) {
        struct slice name = slice_str(pairs[0]);
        items[f.count++] = (struct field){name, slice_str(pairs[1]), field_id(name), 0};
    }
    return f;
}

#define FIELDS(...) fields_of((const char *const[]){__VA_ARGS__, NULL})
#define NONE ((struct slice){NULL, 0})

static void expect(struct chunk *c, const char *text)
{
    assert_non_null(c);
    assert_int_equal(c->fill, strlen(text));
    assert_memory_equal(c->data, text, c->fill);
    chunk_unref(c);
}

static struct request get(void)
{
    return (struct request){.method = METHOD_GET, .method_text = S("GET"), .target = S("/a?b")};
}

static void test_request(void **state)
{
    (void)state;
    struct request r = get();
    r.fields = FIELDS("Host", "example.com", "Connection", "x", "X-A", "", "Content-Length", "7",
                      "transfer-encoding", "chunked", "Keep-Alive", "x", "Upgrade", "x", "TE",
                      "trailers");
    expect(h1_write_request(&r, H1_NO_BODY, true, NONE),
           "GET /a?b HTTP/1.1\r\nHost: example.com\r\nX-A: \r\nTE: trailers\r\n\r\n");
    r.fields.count = 0;
    expect(h1_write_request(&r, H1_NO_BODY, false, NONE),
           "GET /a?b HTTP/1.1\r\nConnection: close\r\n\r\n");
    expect(h1_write_request(&r, H1_NO_BODY, false, S("websocket")),
           "GET /a?b HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    expect(h1_write_request(&r, H1_CHUNKED, true, NONE),
           "GET /a?b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    r.content_length = INT64_MAX;
    expect(h1_write_request(&r, H1_LENGTH, true, NONE),
           "GET /a?b HTTP/1.1\r\nContent-Length: 9223372036854775807\r\n\r\n");
    r.method = METHOD_POST;
    r.method_text = S("POST");
    expect(h1_write_request(&r, H1_NO_BODY, true, NONE),
           "POST /a?b HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
}

static void test_response(void **state)
{
    (void)state;
    struct response r = {.status = 200, .reason = S("OK"), .content_length = 12};
    r.fields = FIELDS("Server", "x", "Content-Length", "9", "Connection", "close");
    expect(h1_write_response(&r, H1_LENGTH, true, NONE, S("D")),
           "HTTP/1.1 200 OK\r\nServer: x\r\nDate: D\r\nContent-Length: 12\r\n\r\n");
    expect(h1_write_response(&r, H1_LENGTH, H1_KEEP_AND_SAY_SO, NONE, NONE),
           "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 12\r\nConnection: keep-alive\r\n\r\n");
    r.fields = FIELDS("date", "theirs");
    expect(h1_write_response(&r, H1_UNTIL_CLOSE, false, NONE, S("D")),
           "HTTP/1.1 200 OK\r\ndate: theirs\r\nConnection: close\r\n\r\n");
    r.fields.count = 0;
    r.reason = NONE;
    expect(h1_write_response(&r, H1_CHUNKED, true, NONE, NONE),
           "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n");
    r.content_length = 0;
    expect(h1_write_response(&r, H1_NO_BODY, true, NONE, NONE),
           "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n");
    r.content_length = LENGTH_UNKNOWN; /* HEAD about something chunked */
    expect(h1_write_response(&r, H1_NO_BODY, true, NONE, NONE), "HTTP/1.1 200 \r\n\r\n");
}

static void test_special_statuses(void **state)
{
    (void)state;
    struct response r = {.status = 103, .reason = S("Early Hints"), .content_length = 0};
    r.fields = FIELDS("Link", "</a>");
    expect(h1_write_response(&r, H1_NO_BODY, false, NONE, NONE),
           "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    r = (struct response){.status = 204, .reason = S("No Content"), .content_length = 0};
    expect(h1_write_response(&r, H1_NO_BODY, true, NONE, NONE), "HTTP/1.1 204 No Content\r\n\r\n");
    r = (struct response){.status = 304, .reason = S("Not Modified"), .content_length = 5};
    expect(h1_write_response(&r, H1_NO_BODY, true, NONE, NONE),
           "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
    r = (struct response){.status = 101, .reason = S("Go"), .content_length = LENGTH_UNKNOWN};
    expect(h1_write_response(&r, H1_TUNNEL, true, S("websocket"), NONE),
           "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
}

/* Response splitting and its like end here, whoever is to blame. */
static void test_refused(void **state)
{
    (void)state;
    struct request r = get();
    const char *const names[] = {"", "a b", "a:", "a\r\nb", "\xe9"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        r.fields = FIELDS(names[i], "v");
        assert_null(h1_write_request(&r, H1_NO_BODY, true, NONE));
    }
    const char *const values[] = {"a\r\nb", "a\nb", "a\rb", "\x01", "\x7f"};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct response res = {.status = 200, .reason = S("OK")};
        res.fields = FIELDS("X", values[i]);
        assert_null(h1_write_response(&res, H1_NO_BODY, true, NONE, NONE));
        res.fields.count = 0;
        res.reason = slice_str(values[i]);
        assert_null(h1_write_response(&res, H1_NO_BODY, true, NONE, NONE));
        res.reason = NONE;
        assert_null(h1_write_response(&res, H1_NO_BODY, true, slice_str(values[i]), NONE));
    }
    r = get();
    const char *const targets[] = {"", "/a b", "/a\r\n", "/a#b", "/\xe9"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        r.target = slice_str(targets[i]);
        assert_null(h1_write_request(&r, H1_NO_BODY, true, NONE));
    }
    r = get();
    r.method_text = S("GET /");
    assert_null(h1_write_request(&r, H1_NO_BODY, true, NONE));
    struct response res = {.status = 99};
    assert_null(h1_write_response(&res, H1_NO_BODY, true, NONE, NONE));
}

static void test_sizes(void **state)
{
    (void)state;
    static char big[600 * 1024];
    memset(big, 'v', sizeof(big));
    struct request r = get();
    struct field one = {S_INIT("X"), {big, 60 * 1024}, FIELD_OTHER, 0};
    r.fields = (struct fields){&one, 1, 1};
    struct chunk *c = h1_write_request(&r, H1_NO_BODY, true, NONE);
    assert_non_null(c);
    assert_int_equal(c->fill, strlen("GET /a?b HTTP/1.1\r\nX: \r\n\r\n") + 60 * 1024);
    chunk_unref(c);
    one.value.n = sizeof(big);
    assert_null(h1_write_request(&r, H1_NO_BODY, true, NONE));
    struct field many[3] = {one, one, one};
    many[0].value.n = many[1].value.n = many[2].value.n = 200 * 1024;
    r.fields = (struct fields){many, 3, 3};
    assert_null(h1_write_request(&r, H1_NO_BODY, true, NONE));
}

static void test_chunks(void **state)
{
    (void)state;
    static const struct {
        uint64_t size;
        const char *line;
    } rows[] = {
        {0, "0\r\n"}, {1, "1\r\n"}, {16384, "4000\r\n"}, {UINT64_MAX, "ffffffffffffffff\r\n"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[H1_CHUNK_LINE_BYTES];
        size_t n = h1_write_chunk_line(out, rows[i].size);
        assert_int_equal(n, strlen(rows[i].line));
        assert_memory_equal(out, rows[i].line, n);
    }
    struct dstr d;
    dstr_init(&d, 4096);
    h1_write_last_chunk(&d, NULL);
    assert_string_equal(d.p, "0\r\n\r\n");
    dstr_reset(&d);
    struct fields f = FIELDS("X-Sum", "1", "Content-Length", "5", "Y", "");
    h1_write_last_chunk(&d, &f);
    assert_string_equal(d.p, "0\r\nX-Sum: 1\r\nY: \r\n\r\n");
    dstr_reset(&d);
    f = FIELDS("X", "a\r\nb");
    h1_write_last_chunk(&d, &f);
    assert_true(d.failed);
    dstr_fini(&d);
}

/* Fields as the parser gives them: their lines go out in one piece, but only as long as the fields
 * are what they were. */
static void test_received_lines(void **state)
{
    (void)state;
    static const char in[] = "GET /a?b HTTP/1.1\r\nHost: x\r\nX-Cut: abc\r\nX-B:2\r\nX-C:  3\r\n"
                             "X-D: 4 \r\nX-E:\r\nConnection: x\r\nX-F: 6\r\nX-G: 7\r\n\r\n";
    struct arena a;
    arena_init(&a, 65536);
    struct request r = {.scheme = S("http")};
    struct h1_head head;
    struct h1_bad bad;
    struct h1_scan scan = {0};
    const struct h1_limits limits = {.head_bytes_max = 4096, .fields_max = 100};
    assert_int_equal(h1_parse_request(slice_of(in, sizeof(in) - 1), &scan, &limits, &a, &r, &head,
                                      &bad),
                     H1_DONE);
    expect(h1_write_request(&r, H1_NO_BODY, true, NONE),
           "GET /a?b HTTP/1.1\r\nHost: x\r\nX-Cut: abc\r\nX-B: 2\r\nX-C: 3\r\nX-D: 4\r\nX-E: \r\n"
           "X-F: 6\r\nX-G: 7\r\n\r\n");
    struct field *f = r.fields.items;
    f[1].value.n = 2;
    f[7].name = S("X-Other");
    f[8].value = S("8");
    expect(h1_write_request(&r, H1_NO_BODY, true, NONE),
           "GET /a?b HTTP/1.1\r\nHost: x\r\nX-Cut: ab\r\nX-B: 2\r\nX-C: 3\r\nX-D: 4\r\nX-E: \r\n"
           "X-Other: 6\r\nX-G: 8\r\n\r\n");
    f[1].value.n = strlen("abc\r\nX-B:2");
    assert_null(h1_write_request(&r, H1_NO_BODY, true, NONE));
    f[1].value.n = 3;
    f[1].name.n = strlen("X-Cut: a");
    assert_null(h1_write_request(&r, H1_NO_BODY, true, NONE));
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request), cmocka_unit_test(test_response),
        cmocka_unit_test(test_special_statuses), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_sizes),   cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_received_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
