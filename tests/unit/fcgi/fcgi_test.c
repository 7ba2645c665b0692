/* FastCGI: records written and read, byte for byte; what a script's head becomes; what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/fcgi/fcgi_read.h"

#define BYTES(text) slice_of(text, sizeof(text) - 1)

static void expect(const struct dstr *got, struct slice wanted)
{
    assert_int_equal(got->n, wanted.n);
    assert_memory_equal(got->p, wanted.p, wanted.n);
}

/* ---- writing -------- */

static void test_head(void **state)
{
    struct dstr out;
    uint64_t length = 7;
    (void)state;
    dstr_init(&out, 100000);
    assert_true(fcgi_write_head(&out,
                                S("POST /x HTTP/1.1\r\nSCRIPT_NAME: /x\r\nEMPTY:\r\n"
                                  "Content-Length: 12\r\nConnection: close\r\n\r\n"),
                                &length));
    assert_int_equal(length, 12);
    expect(&out, BYTES("\1\1\0\1\0\10\0\0" "\0\1\0\0\0\0\0\0"
                       "\1\4\0\1\0\50\0\0"
                       "\13\2SCRIPT_NAME/x" "\5\0EMPTY" "\16\2CONTENT_LENGTH12"
                       "\1\4\0\1\0\0\0\0"));
    dstr_fini(&out);
}

/* Lengths of four bytes, and parameters that do not fit into one record. */
static void test_long_values(void **state)
{
    struct dstr head, out;
    uint64_t length;
    (void)state;
    dstr_init(&head, 200000);
    dstr_init(&out, 200000);
    dstr_append(&head, S("GET / HTTP/1.1\r\nA: "));
    for (size_t i = 0; i < 70000; i++) {
        dstr_byte(&head, 'a');
    }
    dstr_append(&head, S("\r\n\r\n"));
    assert_true(fcgi_write_head(&out, dstr_slice(&head), &length));
    assert_int_equal(length, 0);
    struct slice s = slice_from(dstr_slice(&out), 16);
    assert_memory_equal(s.p, "\1\4\0\1\377\377\0\0" "\1\200\1\21\160" "Aaaa", 17);
    s = slice_from(s, 8 + 65535);
    assert_memory_equal(s.p, "\1\4\0\1\21\167\0\0aaa", 11);
    assert_int_equal(s.n, 8 + 0x1177 + 8);
    dstr_fini(&head);
    dstr_fini(&out);
}

static void test_heads_that_cgi_does_not_have(void **state)
{
    static const char *const bad[] = {
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "GET / HTTP/1.1\r\nno field\r\n\r\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct dstr out;
        uint64_t length;
        dstr_init(&out, 100000);
        assert_false(fcgi_write_head(&out, slice_str(bad[i]), &length));
        dstr_fini(&out);
    }
}

/* ---- reading -------- */

static void record(struct dstr *in, unsigned type, struct slice content, unsigned padding)
{
    const char header[8] = {1, (char)type, 0, 1, (char)(content.n >> 8), (char)(content.n & 255),
                            (char)padding, 0};
    dstr_append(in, slice_of(header, 8));
    dstr_append(in, content);
    dstr_append(in, slice_of("\0\0\0\0\0\0\0\0", padding));
}

/* A whole response with this as its STDOUT, in records of `cut` bytes, fed byte by byte. */
static struct fcgi_read respond(struct slice text, size_t cut, struct dstr *out)
{
    struct dstr in;
    struct fcgi_read r;
    dstr_init(&in, 1 << 20);
    dstr_init(out, 1 << 20);
    fcgi_read_init(&r);
    while (text.n) {
        struct slice part = slice_upto(text, text.n < cut ? text.n : cut);
        record(&in, FCGI_STDOUT, part, (unsigned)(text.n % 8));
        text = slice_from(text, part.n);
    }
    record(&in, FCGI_STDOUT, S(""), 0);
    record(&in, FCGI_END_REQUEST, BYTES("\0\0\0\0\0\0\0\0"), 0);
    dstr_append(&in, S("bytes behind the end"));
    for (size_t i = 0; i < in.n; i++) {
        if (!fcgi_read_feed(&r, slice_of(in.p + i, 1), out)) {
            break;
        }
    }
    dstr_fini(&in);
    return r;
}

static void test_responses(void **state)
{
    static const struct {
        const char *script;
        const char *wanted;
    } rows[] = {
        {"Content-Type: a/b\r\n\r\nbody", "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n"
                                          "Connection: close\r\n\r\nbody"},
        {"Status: 404 Not Found\nX: 1\n\nno\n\nmore", "HTTP/1.1 404 Not Found\r\nX: 1\r\n"
                                                      "Connection: close\r\n\r\nno\n\nmore"},
        {"Location: /x\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: /x\r\nConnection: close\r\n\r\n"},
        {"Location: /x\r\nstatus:201\r\n\r\n", "HTTP/1.1 201 Created\r\nLocation: /x\r\n"
                                               "Connection: close\r\n\r\n"},
        {"Transfer-Encoding: chunked\r\nConnection: x\r\nUpgrade: y\r\nA: b\r\n\r\nz",
         "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\nz"},
        {"\r\nonly a body", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nonly a body"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t cut = 1; cut < 40; cut += 6) {
            struct dstr out;
            struct fcgi_read r = respond(slice_str(rows[i].script), cut, &out);
            assert_null(r.bad);
            assert_true(r.ended);
            expect(&out, slice_str(rows[i].wanted));
            fcgi_read_fini(&r);
            dstr_fini(&out);
        }
    }
}

static void test_scripts_that_are_refused(void **state)
{
    static const char *const bad[] = {"Status: 99\n\n", "Status: 101 Switch\n\n", "Status: abc\n\n",
                                      "Status: 2000\n\n", "Status:\n\n", "", "A: b\n"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct dstr out;
        struct fcgi_read r = respond(slice_str(bad[i]), 100, &out);
        assert_non_null(r.bad);
        assert_int_equal(out.n, 0);
        assert_false(fcgi_read_feed(&r, S("more"), &out)); /* for good */
        fcgi_read_fini(&r);
        dstr_fini(&out);
    }
}

static void test_records_that_are_refused(void **state)
{
    static const struct slice bad[] = {
        {"\2\6\0\1\0\1\0\0", 8}, {"\1\6\0\2\0\1\0\0", 8},  {"\1\6\1\1\0\1\0\0", 8},
        {"\1\1\0\1\0\1\0\0", 8}, {"\1\13\0\1\0\10\0\0", 8}, {"\1\3\0\1\0\7\0\0", 8},
        {"\1\3\0\1\0\10\0\0\0\0\0\0\2\0\0\0", 16}, {"HTTP/1.1 200 OK", 15},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct dstr out;
        struct fcgi_read r;
        dstr_init(&out, 1000);
        fcgi_read_init(&r);
        assert_false(fcgi_read_feed(&r, bad[i], &out));
        assert_non_null(r.bad);
        fcgi_read_fini(&r);
        dstr_fini(&out);
    }
}

/* A head without an end, and a script that only complains: both have a maximum. */
static void test_limits(void **state)
{
    static char many[60000];
    struct dstr in, out;
    struct fcgi_read r;
    (void)state;
    memset(many, 'a', sizeof(many));
    dstr_init(&in, 1 << 20);
    dstr_init(&out, 1 << 20);
    fcgi_read_init(&r);
    record(&in, FCGI_STDERR, slice_of(many, sizeof(many)), 0);
    assert_true(fcgi_read_feed(&r, dstr_slice(&in), &out));
    assert_int_equal(r.errors.n, FCGI_ERRORS_MAX_BYTES);
    dstr_reset(&in);
    record(&in, FCGI_STDOUT, slice_of(many, sizeof(many)), 0);
    assert_true(fcgi_read_feed(&r, dstr_slice(&in), &out));
    assert_false(fcgi_read_feed(&r, dstr_slice(&in), &out));
    assert_int_equal(out.n, 0);
    fcgi_read_fini(&r);
    dstr_fini(&in);
    dstr_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_heads_that_cgi_does_not_have),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_scripts_that_are_refused),
        cmocka_unit_test(test_records_that_are_refused),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
