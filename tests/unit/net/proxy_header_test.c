/* PROXY headers: every form that is one, every form that is none, and what is written. */
#include "proxy/net/proxy_header.h"
#include "tests/unit/net/helper.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define V4 "\xc0\x00\x02\x01\xc6\x33\x64\x02\x9c\x40\x01\xbb"

static void check(struct slice in, const char *source, const char *destination, size_t bytes)
{
    struct proxy_header h;
    const char *why;
    char buf[ADDR_TEXT_BYTES];
    assert_int_equal(proxy_header_parse(in, &h, &why), PROXY_HEADER_OK);
    assert_int_equal(h.bytes, bytes);
    if (!source) {
        assert_int_equal(h.source.len, 0);
        assert_int_equal(h.destination.len, 0);
        return;
    }
    assert_true(slice_eq(addr_text(&h.source, buf), slice_str(source)));
    assert_true(slice_eq(addr_text(&h.destination, buf), slice_str(destination)));
}

static void check_result(struct slice in, enum proxy_header_result wanted)
{
    struct proxy_header h;
    const char *why;
    enum proxy_header_result got = proxy_header_parse(in, &h, &why);
    if (got != wanted) {
        fail_msg("%d instead of %d for \"%.*s\"", got, wanted, SLICE_ARG(in));
    }
}

static void version_1(void **state UNUSED)
{
    check(S("PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\nGET"), "192.0.2.1:40000",
          "198.51.100.2:443", 45);
    check(S("PROXY TCP6 2001:db8::1 ::2 0 65535\r\n"), "[2001:db8::1]:0", "[::2]:65535", 36);
    check(S("PROXY UNKNOWN\r\n"), NULL, NULL, 15);
    check(S("PROXY UNKNOWN some thing else\r\n"), NULL, NULL, 31);
}

static void version_1_malformed(void **state UNUSED)
{
    static const char *const bad[] = {
        "PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",     "PROXY tcp4 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",       "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",   "PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.1 ::1 1 1\r\n",         "PROXY TCP4 ::1 ::1 1 1\r\n",
        "PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",     "PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",    "PROXY TCP4 1.1.1.1 1.1.1.1 -1 1\r\n",
        "PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n",       "PROXY TCP4 1.1.1.1\r1.1.1.1 1 1\r\n",
        "PROXY TCP6 ::1%lo ::1 1 1\r\n",          "PROXY \r\n",
        "PROXY UNKNOWNx\r\n",                     "PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        check_result(slice_str(bad[i]), PROXY_HEADER_BAD);
    }
}

static void version_1_length(void **state UNUSED)
{
    char line[120] = "PROXY UNKNOWN ";
    memset(line + 14, 'x', sizeof(line) - 14);
    check_result(slice_of(line, 106), PROXY_HEADER_MORE);
    check_result(slice_of(line, 107), PROXY_HEADER_BAD);
    memcpy(line + 105, "\r\n", 2);
    check(slice_of(line, 107), NULL, NULL, 107);
    line[105] = 'x';
    memcpy(line + 106, "\r\n", 2);
    check_result(slice_of(line, 108), PROXY_HEADER_BAD);
}

static void version_2(void **state UNUSED)
{
    check(S(SIG "\x21\x11\x00\x0c" V4 "GET"), "192.0.2.1:40000", "198.51.100.2:443", 28);
    check(S(SIG "\x21\x11\x00\x13" V4 "\x04\x00\x04xxxx"), "192.0.2.1:40000", "198.51.100.2:443",
          35);
    check(S(SIG "\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
            "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x00\x50\x01\xbb"),
          "[2001:db8::1]:80", "[::2]:443", 52);
    check(S(SIG "\x20\x00\x00\x00"), NULL, NULL, 16);             /* LOCAL */
    check(S(SIG "\x20\x11\x00\x0c" V4), NULL, NULL, 28);          /* LOCAL with addresses */
    check(S(SIG "\x20\xff\x00\x02zz"), NULL, NULL, 18);           /* LOCAL with anything */
    check(S(SIG "\x21\x00\x00\x03xyz"), NULL, NULL, 19);          /* UNSPEC */
    check(S(SIG "\x21\x12\x00\x0c" V4), NULL, NULL, 28);          /* UDP */
}

static void version_2_unix(void **state UNUSED)
{
    char in[16 + 216];
    memset(in, 0, sizeof(in));
    memcpy(in, SIG "\x21\x31\x00\xd8", 16);
    memcpy(in + 16, "/run/a", 6);
    check(slice_of(in, sizeof(in)), "/run/a", "@", sizeof(in));
    memset(in + 16, 'x', 108);
    check(slice_of(in, sizeof(in)), "@", "@", sizeof(in));
}

static void version_2_malformed(void **state UNUSED)
{
    check_result(S(SIG "\x11\x11\x00\x0c" V4), PROXY_HEADER_BAD);
    check_result(S(SIG "\x22\x11\x00\x0c" V4), PROXY_HEADER_BAD);
    check_result(S(SIG "\x21\x41\x00\x0c" V4), PROXY_HEADER_BAD);
    check_result(S(SIG "\x21\x13\x00\x0c" V4), PROXY_HEADER_BAD);
    check_result(S(SIG "\x21\x11\x00\x0b" V4), PROXY_HEADER_BAD);
    check_result(S(SIG "\x21\x21\x00\x0c" V4), PROXY_HEADER_BAD);
    check_result(S(SIG "\x21\x31\x00\x0c" V4), PROXY_HEADER_BAD);
    check_result(S(SIG "\x21\x11\x0f\xf1" V4), PROXY_HEADER_BAD); /* 4097 bytes */
    check_result(S(SIG "\x21\x11\x0f\xf0" V4), PROXY_HEADER_MORE);
    check_result(S(SIG "\x21\x11\xff\xff" V4), PROXY_HEADER_BAD);
}

static void neither(void **state UNUSED)
{
    check_result(S("POST / HTTP/1.1\r\n"), PROXY_HEADER_NONE);
    check_result(S("PROXYX"), PROXY_HEADER_NONE);
    check_result(S("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), PROXY_HEADER_NONE);
    check_result(S("\r\n\r\nGET / HTTP/1.1\r\n"), PROXY_HEADER_NONE);
    check_result(S("\x16\x03\x01"), PROXY_HEADER_NONE);
    check_result(S(""), PROXY_HEADER_MORE);
    check_result(S("PROXY"), PROXY_HEADER_MORE);
    check_result(S("\r\n\r\n"), PROXY_HEADER_MORE);
}

/* What the caller waits for is enough to go on, and never beyond the header. */
static void in_pieces(void **state UNUSED)
{
    struct slice in[] = {S("PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n"),
                         S(SIG "\x21\x11\x00\x13" V4 "\x04\x00\x04xxxx")};
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        for (size_t n = 0; n < in[i].n; n++) {
            struct proxy_header h;
            const char *why;
            assert_int_equal(proxy_header_parse(slice_upto(in[i], n), &h, &why),
                             PROXY_HEADER_MORE);
            assert_true(h.bytes > n && h.bytes <= in[i].n);
        }
    }
}

static void check_written(unsigned version, const char *from, const char *to, struct slice wanted)
{
    struct addr a;
    struct addr b;
    char out[PROXY_HEADER_V1_MAX + 1];
    assert_true(addr_parse_ip(slice_str(from), 40000, &a));
    assert_true(addr_parse_ip(slice_str(to), 443, &b));
    size_t n = proxy_header_write(version, &a, &b, out);
    assert_int_equal(n, wanted.n);
    assert_memory_equal(out, wanted.p, n);
}

static void written(void **state UNUSED)
{
    check_written(1, "192.0.2.1", "198.51.100.2",
                  S("PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n"));
    check_written(1, "::ffff:192.0.2.1", "198.51.100.2",
                  S("PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n"));
    check_written(1, "2001:db8::1", "::1", S("PROXY TCP6 2001:db8::1 ::1 40000 443\r\n"));
    check_written(1, "192.0.2.1", "::1", S("PROXY TCP6 ::ffff:192.0.2.1 ::1 40000 443\r\n"));
    check_written(2, "192.0.2.1", "198.51.100.2", S(SIG "\x21\x11\x00\x0c" V4));
    check_written(2, "::1", "192.0.2.1",
                  S(SIG "\x21\x21\x00\x24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
                    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01\x9c\x40\x01\xbb"));
}

static void written_without_addresses(void **state UNUSED)
{
    struct addr a;
    char out[PROXY_HEADER_V1_MAX + 1];
    assert_true(addr_unix(S("/run/x"), &a));
    assert_int_equal(proxy_header_write(1, &a, &a, out), 15);
    assert_memory_equal(out, "PROXY UNKNOWN\r\n", 15);
    assert_int_equal(proxy_header_write(2, &a, &a, out), 16);
    assert_memory_equal(out, SIG "\x21\x00\x00\x00", 16);
    assert_int_equal(proxy_header_write(2, NULL, NULL, out), 16);
    assert_memory_equal(out, SIG "\x20\x00\x00\x00", 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1),
        cmocka_unit_test(version_1_malformed),
        cmocka_unit_test(version_1_length),
        cmocka_unit_test(version_2),
        cmocka_unit_test(version_2_unix),
        cmocka_unit_test(version_2_malformed),
        cmocka_unit_test(neither),
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(written),
        cmocka_unit_test(written_without_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
