/* Names and ids, the list of fields, and what is stripped on the way through a proxy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/http/chars.h"
#include "proxy/http/field.h"

static void add(struct fields *f, struct arena *a, const char *name, const char *value)
{
    assert_true(fields_add(f, a, slice_str(name), slice_str(value)));
}

static void assert_slice(struct slice s, const char *text)
{
    assert_int_equal(s.n, strlen(text));
    assert_memory_equal(s.p, text, s.n);
}

/* Every row of the table is found, in any case, and nothing near it is. */
static void test_every_id(void **state)
{
    (void)state;
    static const struct {
        enum field_id id;
        const char *name;
        unsigned flags;
    } rows[] = {
#define X(id, name, flags) {FIELD_##id, name, flags},
        HTTP_FIELD_TABLE(X)
#undef X
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char buf[64];
        size_t n = strlen(rows[i].name);
        assert_int_equal(field_id(slice_str(rows[i].name)), rows[i].id);
        assert_int_equal(field_flags(rows[i].id), rows[i].flags);
        for (size_t k = 0; k < n; k++) {
            char c = rows[i].name[k];
            buf[k] = c >= 'a' && c <= 'z' ? (char)(c - 0x20) : c;
        }
        assert_int_equal(field_id(slice_of(buf, n)), rows[i].id);
        assert_int_equal(field_id(slice_of(rows[i].name, n - 1)) == rows[i].id, false);
        for (size_t k = 0; k < n; k++) {
            for (unsigned bit = 1; bit < 256; bit <<= 1) {
                memcpy(buf, rows[i].name, n);
                buf[k] = (char)(buf[k] ^ (char)bit);
                bool same = ascii_lower(buf[k]) == rows[i].name[k];
                assert_int_equal(field_id(slice_of(buf, n)) == rows[i].id, same);
            }
        }
    }
    assert_int_equal(field_id(S("")), FIELD_OTHER);
    assert_int_equal(field_id(S("a")), FIELD_OTHER);
    assert_int_equal(field_id(S("x-powered-by")), FIELD_OTHER);
}

static void test_valid(void **state)
{
    (void)state;
    assert_true(field_name_valid(S("X-a_b!#$%&'*+.^`|~1")));
    assert_false(field_name_valid(S("")));
    const char *bad = " \t\r\n:\"(),/;<=>?@[\\]{}\x7f\x80\xff";
    for (const char *c = bad; *c; c++) {
        assert_false(field_name_valid(slice_of(c, 1)));
    }
    assert_false(field_name_valid(slice_of("a\0b", 3)));
    assert_true(field_value_valid(S("")));
    assert_true(field_value_valid(S("a\tb \x80\xff, \"quoted\"")));
    assert_false(field_value_valid(S("\x7f")));
}

/* Each byte at each place of a long value, so that both the wide and the narrow loop are asked. */
/* Each byte at each place of names and values of each length. The memory is exactly as long, so
 * that looking past the end would be seen. */
static void test_value_bytes(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 40; n++) {
        char *buf = malloc(n);
        assert_non_null(buf);
        for (size_t at = 0; at < n; at++) {
            for (int c = 0; c < 256; c++) {
                memset(buf, 'a', n);
                buf[at] = (char)c;
                bool good = c == '\t' || (c >= 0x20 && c != 0x7f);
                assert_int_equal(field_value_valid(slice_of(buf, n)), good);
                const char *end = http_value_end(buf, buf + n);
                assert_ptr_equal(end, good ? buf + n : buf + at);
            }
        }
        memset(buf, '\t', n);
        assert_true(field_value_valid(slice_of(buf, n)));
        free(buf);
    }
}

static void test_name_bytes(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 40; n++) {
        char *buf = malloc(n);
        assert_non_null(buf);
        for (size_t at = 0; at < n; at++) {
            for (int c = 0; c < 256; c++) {
                memset(buf, at % 2 ? 'A' : 'z', n);
                buf[at] = (char)c;
                bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                            (c >= 'A' && c <= 'Z') || (c && strchr("!#$%&'*+-.^_`|~", c));
                assert_int_equal(field_name_valid(slice_of(buf, n)), good);
                const char *end = http_token_end(buf, buf + n);
                assert_ptr_equal(end, good ? buf + n : buf + at);
            }
        }
        free(buf);
    }
    assert_false(field_name_valid(S("")));
}

static void test_list(void **state)
{
    (void)state;
    struct arena a;
    struct fields f = {0};
    arena_init(&a, 1 << 20);
    add(&f, &a, "Set-Cookie", "a");
    add(&f, &a, "X-One", "1");
    add(&f, &a, "set-cookie", "b");
    add(&f, &a, "x-two", "2");
    assert_int_equal(f.count, 4);
    assert_slice(fields_find(&f, S("SET-COOKIE"))->value, "a");
    assert_slice(fields_find(&f, S("X-TWO"))->value, "2");
    assert_null(fields_find(&f, S("x-three")));
    assert_null(fields_find_id(&f, FIELD_HOST));
    assert_true(fields_set(&f, &a, S("Set-cookie"), S("c")));
    assert_int_equal(f.count, 3);
    assert_slice(f.items[0].name, "Set-cookie");
    assert_slice(f.items[0].value, "c");
    assert_true(fields_set(&f, &a, S("X-New"), S("n")));
    assert_slice(f.items[3].value, "n");
    assert_true(fields_set(&f, &a, S("x-one"), S("9")));
    assert_slice(f.items[1].value, "9");
    assert_int_equal(fields_remove(&f, S("X-oNE")), 1);
    assert_int_equal(fields_remove(&f, S("X-One")), 0);
    assert_int_equal(fields_remove_id(&f, FIELD_SET_COOKIE), 1);
    assert_int_equal(f.count, 2);
    assert_slice(f.items[0].name, "x-two");
    arena_fini(&a);
}

static void test_limits(void **state)
{
    (void)state;
    struct arena a;
    struct fields f = {0};
    arena_init(&a, 1 << 20);
    for (unsigned i = 0; i < FIELDS_MAX; i++) {
        add(&f, &a, "x", "y");
    }
    assert_false(fields_add(&f, &a, S("x"), S("y")));
    assert_int_equal(f.count, FIELDS_MAX);
    assert_int_equal(fields_remove(&f, S("X")), FIELDS_MAX);
    arena_fini(&a);
    struct arena none;
    struct fields g = {0};
    arena_init(&none, 0);
    assert_false(fields_add(&g, &none, S("x"), S("y")));
    assert_int_equal(g.count, 0);
    arena_fini(&none);
}

static void test_tokens(void **state)
{
    (void)state;
    struct arena a;
    struct fields f = {0};
    arena_init(&a, 1 << 20);
    add(&f, &a, "Connection", "keep-alive");
    add(&f, &a, "connection", " x ,Upgrade");
    assert_true(fields_have_token(&f, FIELD_CONNECTION, S("upgrade")));
    assert_true(fields_have_token(&f, FIELD_CONNECTION, S("keep-alive")));
    assert_false(fields_have_token(&f, FIELD_CONNECTION, S("close")));
    assert_false(fields_have_token(&f, FIELD_TE, S("upgrade")));
    arena_fini(&a);
}

static void test_strip_hop_by_hop(void **state)
{
    (void)state;
    struct arena a;
    struct fields f = {0};
    arena_init(&a, 1 << 20);
    add(&f, &a, "Host", "example.com");
    add(&f, &a, "Connection", "close, X-Secret ,, host");
    add(&f, &a, "x-secret", "1");
    add(&f, &a, "X-Keep", "2");
    add(&f, &a, "Keep-Alive", "timeout=5");
    add(&f, &a, "Transfer-Encoding", "chunked");
    add(&f, &a, "Content-Length", "5");
    add(&f, &a, "TE", "trailers");
    add(&f, &a, "Trailer", "X");
    add(&f, &a, "Upgrade", "h2c");
    add(&f, &a, "Proxy-Authorization", "Basic x");
    add(&f, &a, "Proxy-Connection", "keep-alive");
    add(&f, &a, "Connection", "x-other");
    add(&f, &a, "X-Other", "3");
    add(&f, &a, "Content-Type", "text/plain");
    fields_strip_hop_by_hop(&f);
    assert_int_equal(f.count, 3);
    assert_slice(f.items[0].name, "Host"); /* no Connection field takes the authority away */
    assert_slice(f.items[1].name, "X-Keep");
    assert_slice(f.items[2].name, "Content-Type");
    arena_fini(&a);
}

static void test_strip_trailers(void **state)
{
    (void)state;
    struct arena a;
    struct fields f = {0};
    arena_init(&a, 1 << 20);
    add(&f, &a, "Content-Length", "5");
    add(&f, &a, "Grpc-Status", "0");
    add(&f, &a, "Host", "x");
    add(&f, &a, "Set-Cookie", "x");
    add(&f, &a, "Authorization", "x");
    add(&f, &a, "Connection", "close");
    add(&f, &a, "X-Forwarded-For", "x");
    add(&f, &a, "Date", "x");
    fields_strip_trailers(&f);
    assert_int_equal(f.count, 2);
    assert_slice(f.items[0].name, "Grpc-Status");
    assert_slice(f.items[1].name, "Date");
    arena_fini(&a);
}

static void test_strip_request_trailers(void **state)
{
    (void)state;
    struct arena a;
    struct fields request = {0};
    struct fields f = {0};
    arena_init(&a, 1 << 20);
    add(&request, &a, "Connection", "x-hop, close");
    add(&f, &a, "X_Forwarded_For", "1.2.3.4");
    add(&f, &a, "X-Sum", "7");
    add(&f, &a, "X-Hop", "x");
    add(&f, &a, "Content-Length", "5");
    fields_strip_request_trailers(&f, &request);
    assert_int_equal(f.count, 1);
    assert_slice(f.items[0].name, "X-Sum");
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_id),         cmocka_unit_test(test_valid),
        cmocka_unit_test(test_value_bytes),     cmocka_unit_test(test_name_bytes),
             cmocka_unit_test(test_list),
        cmocka_unit_test(test_limits),           cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_strip_hop_by_hop), cmocka_unit_test(test_strip_trailers),
        cmocka_unit_test(test_strip_request_trailers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
