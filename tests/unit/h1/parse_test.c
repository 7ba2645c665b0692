/* HTTP/1 heads: what is accepted and what it means, what is refused and how, and that the result
 * does not depend on how the bytes arrive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/h1/h1_parse.h"

#define HEAD_BYTES_MAX 65536

struct parsed {
    struct arena arena;
    struct request req;
    struct response res;
    struct h1_head head;
    struct h1_bad bad;
    enum h1_result result;
};

static const struct h1_limits usual = {HEAD_BYTES_MAX, FIELDS_FROM_PEER_MAX};

static void request_with(struct parsed *p, struct slice in, const struct h1_limits *limits)
{
    struct h1_scan scan = {0};
    *p = (struct parsed){0};
    arena_init(&p->arena, (size_t)1 << 20);
    p->result = h1_parse_request(in, &scan, limits, &p->arena, &p->req, &p->head, &p->bad);
}

static void response_with(struct parsed *p, struct slice in, enum http_method method)
{
    struct h1_scan scan = {0};
    *p = (struct parsed){0};
    arena_init(&p->arena, (size_t)1 << 20);
    p->result =
        h1_parse_response(in, &scan, &usual, method, &p->arena, &p->res, &p->head, &p->bad);
}

static void done(struct parsed *p)
{
    arena_fini(&p->arena);
}

static void assert_slice(struct slice s, const char *text)
{
    assert_int_equal(s.n, strlen(text));
    assert_memory_equal(s.p, text, s.n);
}

/* The same bytes one by one: the first result that is not MORE, and after how many bytes. */
static enum h1_result one_by_one(struct slice in, struct h1_bad *bad, size_t *after)
{
    struct h1_scan scan = {0};
    struct arena a;
    struct request req = {0};
    struct h1_head head;
    enum h1_result r = H1_MORE;
    arena_init(&a, (size_t)1 << 20);
    size_t n = 0;
    while (n < in.n && r == H1_MORE) {
        n++;
        r = h1_parse_request(slice_upto(in, n), &scan, &usual, &a, &req, &head, bad);
    }
    *after = n;
    arena_fini(&a);
    return r;
}

static void good(struct parsed *p, const char *text)
{
    struct slice in = slice_str(text);
    request_with(p, in, &usual);
    if (p->result != H1_DONE) {
        fail_msg("%d %s: %s", p->result, p->bad.why ? p->bad.why : "", text);
    }
    struct h1_bad bad;
    size_t after;
    assert_int_equal(one_by_one(in, &bad, &after), H1_DONE);
    assert_int_equal(after, p->head.head_bytes);
}

static void bad_bytes(struct slice in, int status)
{
    struct parsed p;
    request_with(&p, in, &usual);
    if (p.result != H1_BAD || p.bad.status != status) {
        fail_msg("%d %d %s instead of %d: %.*s", p.result, p.bad.status,
                 p.bad.why ? p.bad.why : "", status, SLICE_ARG(in));
    }
    struct h1_bad bad = {0};
    size_t after;
    assert_int_equal(one_by_one(in, &bad, &after), H1_BAD);
    assert_int_equal(bad.status, status);
    assert_ptr_equal(bad.why, p.bad.why);
    done(&p);
}

#define HOST "Host: example.com\r\n"

static void test_plain_get(void **state)
{
    (void)state;
    struct parsed p;
    good(&p, "GET /a/b?c=d?e HTTP/1.1\r\nHost: Example.com:8080\r\nX-A_b:\t v w \t\r\nEmpty:\r\n"
             "\r\nrest");
    assert_int_equal(p.req.method, METHOD_GET);
    assert_slice(p.req.method_text, "GET");
    assert_int_equal(p.req.version, HTTP_1_1);
    assert_slice(p.req.target, "/a/b?c=d?e");
    assert_slice(p.req.path, "/a/b");
    assert_slice(p.req.query, "c=d?e");
    assert_slice(p.req.authority, "Example.com:8080");
    assert_slice(p.req.host, "example.com");
    assert_slice(p.req.port, "8080");
    assert_int_equal(p.req.fields.count, 3);
    assert_slice(p.req.fields.items[1].name, "X-A_b");
    assert_slice(p.req.fields.items[1].value, "v w");
    assert_slice(p.req.fields.items[2].value, "");
    assert_int_equal(p.head.framing, H1_NO_BODY);
    assert_int_equal(p.req.content_length, 0);
    assert_true(p.head.keep_alive);
    assert_false(p.req.upgrade || p.req.expect_continue);
    /* The proxy's own additions need no new array. */
    assert_true(p.req.fields.cap >= p.req.fields.count + 4);
    done(&p);
    good(&p, "GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_null(p.req.query.p);
    done(&p);
    good(&p, "GET /? HTTP/1.1\r\n" HOST "\r\n");
    assert_non_null(p.req.query.p);
    assert_int_equal(p.req.query.n, 0);
    done(&p);
    good(&p, "\r\nBREW /pot HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(p.req.method, METHOD_OTHER);
    assert_int_equal(p.head.head_bytes, strlen("\r\nBREW /pot HTTP/1.1\r\n" HOST "\r\n"));
    done(&p);
    good(&p, "GET /%zz{}|\\^`\"<> HTTP/1.1\r\n" HOST "X: caf\xe9\r\n\r\n");
    done(&p);
}

static void test_forms(void **state)
{
    (void)state;
    struct parsed p;
    good(&p, "GET http://Example.com/x?y HTTP/1.1\r\nHost: example.com:80\r\n\r\n");
    assert_slice(p.req.authority, "Example.com");
    assert_slice(p.req.host, "example.com");
    assert_slice(p.req.target, "/x?y");
    done(&p);
    good(&p, "GET HTTPS://example.com:443?q=/ HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_slice(p.req.target, "/?q=/");
    assert_slice(p.req.path, "/");
    assert_slice(p.req.query, "q=/");
    done(&p);
    good(&p, "GET http://example.com HTTP/1.0\r\n\r\n");
    assert_slice(p.req.host, "example.com");
    assert_slice(p.req.target, "/");
    done(&p);
    good(&p, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n");
    assert_slice(p.req.target, "*");
    done(&p);
    good(&p, "OPTIONS http://example.com HTTP/1.1\r\n" HOST "\r\n");
    assert_slice(p.req.target, "*");
    done(&p);
    good(&p, "CONNECT a.example:443 HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(p.req.method, METHOD_CONNECT);
    assert_slice(p.req.host, "a.example");
    assert_slice(p.req.port, "443");
    done(&p);
    good(&p, "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n");
    assert_slice(p.req.host, "::1");
    done(&p);
}

static void test_versions(void **state)
{
    (void)state;
    struct parsed p;
    good(&p, "GET / HTTP/1.0\r\n\r\n");
    assert_int_equal(p.req.version, HTTP_1_0);
    assert_false(p.head.keep_alive);
    assert_int_equal(p.req.host.n, 0);
    done(&p);
    good(&p, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_true(p.head.keep_alive);
    done(&p);
    good(&p, "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n");
    assert_false(p.head.keep_alive);
    done(&p);
    good(&p, "GET / HTTP/1.1\r\n" HOST "Connection: x, CLOSE\r\n\r\n");
    assert_false(p.head.keep_alive);
    done(&p);
    good(&p, "GET / HTTP/1.7\r\n" HOST "\r\n");
    assert_int_equal(p.req.version, HTTP_1_1);
    done(&p);
}

static void test_framing(void **state)
{
    (void)state;
    struct parsed p;
    good(&p, "POST / HTTP/1.1\r\n" HOST "Content-Length: 05\r\nExpect: 100-Continue\r\n\r\n");
    assert_int_equal(p.head.framing, H1_LENGTH);
    assert_int_equal(p.req.content_length, 5);
    assert_true(p.req.expect_continue);
    done(&p);
    good(&p, "POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775807\r\n\r\n");
    assert_true(p.req.content_length == INT64_MAX);
    done(&p);
    good(&p, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(p.head.framing, H1_NO_BODY);
    assert_false(p.req.expect_continue);
    done(&p);
    good(&p, "POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_false(p.req.expect_continue); /* 1.0 knows no 1xx */
    done(&p);
    good(&p, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n");
    assert_int_equal(p.head.framing, H1_CHUNKED);
    assert_int_equal(p.req.content_length, LENGTH_UNKNOWN);
    done(&p);
}

static void test_upgrade(void **state)
{
    (void)state;
    struct parsed p;
    good(&p,
         "GET / HTTP/1.1\r\n" HOST "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_true(p.req.upgrade);
    done(&p);
    good(&p, "GET / HTTP/1.1\r\n" HOST "Upgrade: websocket\r\n\r\n");
    assert_false(p.req.upgrade);
    done(&p);
    good(&p, "GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade:\r\n\r\n");
    assert_false(p.req.upgrade);
    done(&p);
    good(&p, "POST / HTTP/1.1\r\n" HOST
             "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\n");
    assert_false(p.req.upgrade);
    done(&p);
    good(&p, "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_false(p.req.upgrade);
    done(&p);
}

static void test_bad_requests(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        /* the request line */
        {"GET /\r\n", 400},
        {"GET / \r\n", 400},
        {"GET  / HTTP/1.1\r\n", 400},
        {"GET /  HTTP/1.1\r\n", 400},
        {"GET / HTTP/1.1 \r\n", 400},
        {"GET / HTTP/1.1\n", 400},
        {"GET / HTTP/1.1\r\r\n", 400},
        {"GET /\tHTTP/1.1\r\n", 400},
        {"GET / HTTP/1\r\n", 400},
        {"GET / http/1.1\r\n", 400},
        {"GET / HTTP/11\r\n", 400},
        {"GET / HTTP/2.0\r\n", 505},
        {"GET / HTTP/0.9\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {" GET / HTTP/1.1\r\n", 400},
        {"G@T / HTTP/1.1\r\n", 400},
        {"GET\r\n", 400},
        {"\n", 400},
        {"\r\r\n", 400},
        {"\r\n\r\n", 400},
        {"\rGET / HTTP/1.1\r\n", 400},
        {"\x16\x03\x01", 400},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG", 501},
        /* the target */
        {"GET /a b HTTP/1.1\r\n", 400},
        {"GET /a#b HTTP/1.1\r\n", 400},
        {"GET /caf\xc3\xa9 HTTP/1.1\r\n", 400},
        {"GET /\x7f HTTP/1.1\r\n", 400},
        {"GET a HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET * HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET ?a HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET example.com:80 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET ftp://example.com/ HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET http:///a HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET http://u@example.com/ HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET http://example.com:x/ HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET http://other.example/ HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET http://example.com:81/ HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET https://example.com/ HTTP/1.1\r\nHost: example.com:80\r\n\r\n", 400},
        {"CONNECT example.com HTTP/1.1\r\n" HOST "\r\n", 400},
        {"CONNECT / HTTP/1.1\r\n" HOST "\r\n", 400},
        /* more than 64 options in Connection */
#define OPTIONS_13 "a,b,c,d,e,f,g,h,i,j,k,l,m,"
        {"GET / HTTP/1.1\r\n" HOST
         "Connection: " OPTIONS_13 OPTIONS_13 OPTIONS_13 OPTIONS_13 OPTIONS_13 "\r\n\r\n",
         400},
        /* Host */
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
        {"GET / HTTP/1.0\r\n" HOST "Host: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400},
        /* field lines */
        {"GET / HTTP/1.1\r\n" HOST "X : a\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST " X: a\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n", 400},
        {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST ": a\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X(): a\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X: a\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X: a\r\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X: a\x01\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "\rX: a\r\n", 400},
        /* framing */
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1 2\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775808\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
         400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;a=b\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n", 501},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n", 501},
        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bad_bytes(slice_str(rows[i].text), rows[i].status);
    }
    bad_bytes(S("GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n"), 400);
    bad_bytes(S("GET /\0 HTTP/1.1\r\n"), 400);
    bad_bytes(S("GET / HTTP/1.1\r\n" HOST "X\0: a\r\n"), 400);
}

/* Each byte in a field name and in a target: accepted exactly where the grammar says so. */
static void test_every_byte(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        struct parsed p;
        char text[] = "GET / HTTP/1.1\r\nHost: a\r\nXyZ: a\r\n\r\n";
        text[26] = (char)c;
        request_with(&p, slice_str(text), &usual);
        bool token = field_name_valid(slice_of(text + 26, 1)) || c == ':';
        assert_int_equal(p.result, token ? H1_DONE : H1_BAD);
        done(&p);
        char line[] = "GET /a? HTTP/1.1\r\nHost: a\r\n\r\n";
        line[5] = (char)c;
        request_with(&p, slice_str(line), &usual);
        assert_int_equal(p.result, c > 0x20 && c < 0x7f && c != '#' ? H1_DONE : H1_BAD);
        done(&p);
    }
}

static void test_more(void **state)
{
    (void)state;
    const char *text = "\r\nGET / HTTP/1.1\r\n" HOST "X: y\r\n\r\n";
    for (size_t n = 0; n < strlen(text); n++) {
        struct parsed p;
        char copy[64];
        memcpy(copy, text, n);
        request_with(&p, slice_of(copy, n), &usual);
        assert_int_equal(p.result, H1_MORE);
        assert_int_equal(p.arena.used_bytes, 0); /* nothing is allocated for half a head */
        done(&p);
    }
}

/* Nothing new: nothing looked at again. */
static void test_scan_position(void **state)
{
    (void)state;
    struct h1_scan scan = {0};
    struct parsed p;
    request_with(&p, S(""), &usual);
    struct slice in = S("GET / HTTP/1.1\r\nHost: a\r\nX: b");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            h1_parse_request(in, &scan, &usual, &p.arena, &p.req, &p.head, &p.bad), H1_MORE);
        assert_int_equal(scan.seen, in.n);
    }
    done(&p);
}

static void test_limits(void **state)
{
    (void)state;
    struct parsed p;
    const char *text = "GET / HTTP/1.1\r\n" HOST "X: y\r\n\r\n";
    size_t n = strlen(text);
    struct h1_limits limits = {n, 2};
    request_with(&p, slice_str(text), &limits);
    assert_int_equal(p.result, H1_DONE);
    done(&p);
    limits.head_bytes_max = n - 1;
    request_with(&p, slice_str(text), &limits);
    assert_int_equal(p.result, H1_BAD);
    assert_int_equal(p.bad.status, 431);
    done(&p);
    limits = (struct h1_limits){n, 1};
    request_with(&p, slice_str(text), &limits);
    assert_int_equal(p.bad.status, 431);
    done(&p);
    limits = (struct h1_limits){10, 128};
    request_with(&p, S("GET /aaaa"), &limits);
    assert_int_equal(p.result, H1_MORE);
    done(&p);
    request_with(&p, S("GET /aaaaa"), &limits); /* refused before its end is there */
    assert_int_equal(p.bad.status, 414);
    done(&p);
    limits.head_bytes_max = 20;
    request_with(&p, S("GET / HTTP/1.1\r\nX: y"), &limits);
    assert_int_equal(p.bad.status, 431);
    done(&p);
}

static void test_many_fields(void **state)
{
    (void)state;
    for (unsigned count = 126; count <= 130; count++) {
        char text[8192];
        size_t n = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST);
        for (unsigned i = 1; i < count; i++) {
            n += (size_t)snprintf(text + n, sizeof(text) - n, "X-%u: %u\r\n", i, i);
        }
        n += (size_t)snprintf(text + n, sizeof(text) - n, "\r\n");
        struct parsed p;
        request_with(&p, slice_of(text, n), &usual);
        assert_int_equal(p.result, count <= 128 ? H1_DONE : H1_BAD);
        if (count <= 128) {
            assert_int_equal(p.req.fields.count, count);
        } else {
            assert_int_equal(p.bad.status, 431);
        }
        done(&p);
    }
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct parsed p = {0};
    struct h1_scan scan = {0};
    arena_init(&p.arena, 0);
    assert_int_equal(h1_parse_request(S("GET / HTTP/1.1\r\n" HOST "\r\n"), &scan, &usual, &p.arena,
                                      &p.req, &p.head, &p.bad),
                     H1_BAD);
    assert_int_equal(p.bad.status, 503);
    done(&p);
}

/* ---- responses -------- */

static void answer(struct parsed *p, const char *text, enum http_method method)
{
    response_with(p, slice_str(text), method);
    if (p->result != H1_DONE) {
        fail_msg("%d %s: %s", p->result, p->bad.why ? p->bad.why : "", text);
    }
}

static void test_response_framing(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum http_method method;
        int status;
        enum h1_framing framing;
        int64_t length;
        bool keep_alive;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", METHOD_GET, 200, H1_LENGTH, 5, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", METHOD_GET, 200, H1_NO_BODY, 0, true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_GET, 200, H1_CHUNKED, -1,
         true},
        {"HTTP/1.1 200 OK\r\n\r\n", METHOD_GET, 200, H1_UNTIL_CLOSE, -1, false},
        {"HTTP/1.1 200\r\n\r\n", METHOD_GET, 200, H1_UNTIL_CLOSE, -1, false},
        {"HTTP/1.1 200 \r\nContent-Length: 1\r\nConnection: close\r\n\r\n", METHOD_GET, 200,
         H1_LENGTH, 1, false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", METHOD_GET, 200, H1_LENGTH, 1, false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n", METHOD_GET, 200,
         H1_LENGTH, 1, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", METHOD_HEAD, 200, H1_NO_BODY, 5, true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_HEAD, 200, H1_NO_BODY, -1,
         true},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", METHOD_GET, 304, H1_NO_BODY, 5,
         true},
        {"HTTP/1.1 204 No Content\r\n\r\n", METHOD_GET, 204, H1_NO_BODY, 0, true},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", METHOD_GET, 204, H1_NO_BODY, 0,
         false},
        {"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_GET, 204,
         H1_NO_BODY, 0, false},
        {"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", METHOD_GET, 205, H1_NO_BODY, 0,
         true},
        {"HTTP/1.1 205 Reset Content\r\n\r\n", METHOD_GET, 205, H1_UNTIL_CLOSE, -1, false},
        {"HTTP/1.1 100 Continue\r\n\r\n", METHOD_GET, 100, H1_NO_BODY, 0, true},
        {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", METHOD_HEAD, 103, H1_NO_BODY, 0, true},
        {"HTTP/1.1 101 Go\r\nUpgrade: x\r\n\r\n", METHOD_GET, 101, H1_TUNNEL, -1, true},
        {"HTTP/1.1 200 OK\r\n\r\n", METHOD_CONNECT, 200, H1_TUNNEL, -1, true},
        {"HTTP/1.1 599 \xe9\t.\r\nContent-Length: 2\r\n\r\n", METHOD_GET, 599, H1_LENGTH, 2, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct parsed p;
        answer(&p, rows[i].text, rows[i].method);
        assert_int_equal(p.res.status, rows[i].status);
        assert_int_equal(p.head.framing, rows[i].framing);
        assert_int_equal(p.res.content_length, rows[i].length);
        assert_int_equal(p.head.keep_alive, rows[i].keep_alive);
        assert_int_equal(p.res.tunnel, rows[i].framing == H1_TUNNEL);
        assert_int_equal(p.head.head_bytes, strlen(rows[i].text));
        done(&p);
    }
}

static void test_reason(void **state)
{
    (void)state;
    struct parsed p;
    answer(&p, "HTTP/1.1 404 Not  Here\r\nA: b\r\n\r\nbody", METHOD_GET);
    assert_slice(p.res.reason, "Not  Here");
    assert_int_equal(p.res.version, HTTP_1_1);
    assert_int_equal(p.res.fields.count, 1);
    done(&p);
    answer(&p, "HTTP/1.0 404\r\n\r\n", METHOD_GET);
    assert_slice(p.res.reason, "");
    assert_int_equal(p.res.version, HTTP_1_0);
    done(&p);
}

static void test_bad_responses(void **state)
{
    (void)state;
    const char *rows[] = {
        "SSH-2.0", "<html>", "H2", "HTTP/2", "\r\nHTTP/1.1 200 OK\r\n", "HTTP/1.1 20 OK\r\n",
        "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 600 X\r\n", "HTTP/1.1 099 X\r\n", "HTTP/1.1 2x0 X\r\n",
        "HTTP/1.1  200 OK\r\n", "HTTP/1.1\r\n", "HTTP/1.\r\n", "HTTP/1.x 200 OK\r\n",
        "HTTP/1.1 200 OK\n", "HTTP/1.1 200 O\rK\r\n", "HTTP/1.1 200 O\x01K\r\n",
        "HTTP/1.1 200\tOK\r\n", "HTTP/1.1 200\rOK\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 304 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct parsed p;
        response_with(&p, slice_str(rows[i]), METHOD_GET);
        if (p.result != H1_BAD) {
            fail_msg("accepted: %s", rows[i]);
        }
        assert_int_equal(p.bad.status, 502);
        assert_int_equal(p.res.status, 0);
        done(&p);
    }
}

static void test_response_limits(void **state)
{
    (void)state;
    struct slice in = S("HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
    for (size_t max = 1; max <= in.n; max++) {
        struct parsed p = {0};
        struct h1_scan scan = {0};
        struct h1_limits limits = {max, 128};
        arena_init(&p.arena, 4096);
        /* Refused as soon as the limit is reached, before the end is there. */
        enum h1_result want = max == in.n ? H1_DONE : H1_BAD;
        assert_int_equal(h1_parse_response(slice_upto(in, max), &scan, &limits, METHOD_GET,
                                           &p.arena, &p.res, &p.head, &p.bad),
                         want);
        done(&p);
    }
    struct parsed p = {0};
    struct h1_scan scan = {0};
    arena_init(&p.arena, 4096);
    assert_int_equal(h1_parse_response(in, &scan, &(struct h1_limits){100, 0}, METHOD_GET,
                                       &p.arena, &p.res, &p.head, &p.bad),
                     H1_BAD);
    assert_int_equal(p.bad.status, 502);
    done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_get),     cmocka_unit_test(test_forms),
        cmocka_unit_test(test_versions),      cmocka_unit_test(test_framing),
        cmocka_unit_test(test_upgrade),       cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_every_byte),    cmocka_unit_test(test_more),
        cmocka_unit_test(test_scan_position), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_many_fields),   cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_response_framing), cmocka_unit_test(test_reason),
        cmocka_unit_test(test_bad_responses), cmocka_unit_test(test_response_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
