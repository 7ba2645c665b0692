/* From fields to a request: authority against Host, targets, cookies, lengths, limits, WebSockets;
 * and the budget for trouble. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxy/h2/h2_budget.h"
#include "proxy/h2/h2_head.h"

struct pair {
    const char *name;
    const char *value;
};

struct made {
    struct arena arena;
    struct h2_head head;
    struct request req;
    int status;
    const char *why;
};

static const struct h2_head_limits limits = {8192, 20};

static struct made make(const struct pair *fields, bool ended)
{
    struct made m = {0};
    arena_init(&m.arena, 1 << 20);
    for (; fields->name; fields++) {
        enum h2_field_result r = h2_head_field(&m.head, &limits, &m.arena, &m.req,
                                               slice_str(fields->name), slice_str(fields->value));
        assert_int_equal(r, H2_FIELD_OK);
    }
    m.status = h2_head_finish(&m.head, &m.arena, &m.req, S("https"), ended, &m.why);
    return m;
}

#define FIELDS(...) ((const struct pair[]){__VA_ARGS__, {NULL, NULL}})
#define BASE {":method", "GET"}, {":scheme", "https"}, {":path", "/a?b"}
#define assert_slice(s, text) assert_true(slice_eq((s), S(text)))

static int status_of(const struct pair *fields, bool ended)
{
    struct made m = make(fields, ended);
    int status = m.status;
    arena_fini(&m.arena);
    return status;
}

static void plain_request(void **state)
{
    (void)state;
    struct made m = make(FIELDS(BASE, {":authority", "ExAmple.com:8443"}, {"x", "y"}), true);
    assert_int_equal(m.status, 0);
    assert_int_equal(m.req.method, METHOD_GET);
    assert_int_equal(m.req.version, HTTP_2);
    assert_slice(m.req.authority, "ExAmple.com:8443");
    assert_slice(m.req.host, "example.com");
    assert_slice(m.req.port, "8443");
    assert_slice(m.req.target, "/a?b");
    assert_slice(m.req.path, "/a");
    assert_slice(m.req.query, "b");
    assert_int_equal(m.req.content_length, 0);
    assert_slice(fields_find_id(&m.req.fields, FIELD_HOST)->value, "ExAmple.com:8443");
    assert_false(m.req.upgrade);
    arena_fini(&m.arena);
}

static void authority_and_host(void **state)
{
    (void)state;
    assert_int_equal(status_of(FIELDS(BASE, {"host", "a"}), true), 0);
    assert_int_equal(status_of(FIELDS(BASE, {":authority", "a"}, {"host", "A:443"}), true), 0);
    assert_int_equal(status_of(FIELDS(BASE, {":authority", "a"}, {"host", "b"}), true), 400);
    assert_int_equal(status_of(FIELDS(BASE, {":authority", "a"}, {"host", "a:80"}), true), 400);
    assert_int_equal(status_of(FIELDS(BASE, {":authority", "a"}, {"host", ""}), true), 400);
    assert_int_equal(status_of(FIELDS(BASE, {":authority", ""}), true), 400);
    assert_int_equal(status_of(FIELDS(BASE, {":authority", "u@a"}), true), 400);
    assert_int_equal(status_of(FIELDS(BASE, {":authority", "[::1]:1"}), true), 0);
}

static int path_status(const char *method, const char *path)
{
    return status_of(FIELDS({":method", method}, {":scheme", "http"}, {":path", path},
                            {":authority", "a"}),
                     true);
}

static void targets(void **state)
{
    (void)state;
    assert_int_equal(path_status("GET", "/"), 0);
    assert_int_equal(path_status("OPTIONS", "*"), 0);
    assert_int_equal(path_status("GET", "*"), 400);
    assert_int_equal(path_status("GET", ""), 400);
    assert_int_equal(path_status("GET", "x"), 400);
    assert_int_equal(path_status("GET", "/a#b"), 400);
    assert_int_equal(path_status("GET", "/a b"), 400);
    assert_int_equal(path_status("G T", "/"), 400);
    assert_int_equal(path_status("", "/"), 400);
    assert_int_equal(status_of(FIELDS({":method", "GET"}, {":scheme", "ws"}, {":path", "/"},
                                      {":authority", "a"}),
                               true),
                     400);
    assert_int_equal(status_of(FIELDS({":method", "CONNECT"}, {":authority", "a:1"}), false), 0);
    assert_int_equal(status_of(FIELDS({":method", "CONNECT"}, {":authority", "a"}), false), 400);
}

static void cookies_are_joined(void **state)
{
    (void)state;
    struct made m = make(FIELDS(BASE, {":authority", "a"}, {"cookie", "a=1"}, {"x", "y"},
                                {"cookie", ""}, {"cookie", "b=2"}),
                         true);
    assert_int_equal(m.status, 0);
    assert_slice(fields_find_id(&m.req.fields, FIELD_COOKIE)->value, "a=1; ; b=2");
    arena_fini(&m.arena);
}

static void lengths(void **state)
{
    (void)state;
    struct made m = make(FIELDS(BASE, {":authority", "a"}, {"content-length", "12"},
                                {"expect", "100-Continue"}),
                         false);
    assert_int_equal(m.req.content_length, 12);
    assert_true(m.req.expect_continue);
    arena_fini(&m.arena);
    m = make(FIELDS(BASE, {":authority", "a"}), false);
    assert_int_equal(m.req.content_length, LENGTH_UNKNOWN);
    arena_fini(&m.arena);
    assert_int_equal(status_of(FIELDS(BASE, {":authority", "a"}, {"content-length", "1,1"}), false),
                     400);
    assert_int_equal(
        status_of(FIELDS(BASE, {":authority", "a"}, {"content-length", "9223372036854775808"}),
                  false),
        400);
}

#define TUNNEL {":method", "CONNECT"}, {":scheme", "https"}, {":path", "/ws"}, {":authority", "a"}

static void websocket(void **state)
{
    (void)state;
    struct made m = make(FIELDS(TUNNEL, {":protocol", "websocket"}, {"sec-websocket-key", "mine"},
                                {"sec-websocket-version", "13"}),
                         false);
    assert_int_equal(m.status, 0);
    assert_true(m.req.upgrade);
    assert_int_equal(m.req.method, METHOD_GET);
    assert_slice(m.req.method_text, "GET");
    assert_slice(m.req.target, "/ws");
    assert_int_equal(m.req.content_length, 0);
    assert_slice(fields_find_id(&m.req.fields, FIELD_UPGRADE)->value, "websocket");
    const struct field *key = fields_find(&m.req.fields, S("Sec-WebSocket-Key"));
    assert_int_equal(key->value.n, 24);
    assert_true(slice_ends(key->value, S("==")));
    arena_fini(&m.arena);
    assert_int_equal(status_of(FIELDS(TUNNEL, {":protocol", "connect-udp"}), false), 501);
    assert_int_equal(status_of(FIELDS(TUNNEL, {":protocol", "websocket"}), true), 400);
}

static void limits_of_a_head(void **state)
{
    (void)state;
    struct made m = {0};
    arena_init(&m.arena, 1 << 20);
    enum h2_field_result r = H2_FIELD_OK;
    for (unsigned i = 0; i < 20; i++) {
        r = h2_head_field(&m.head, &limits, &m.arena, &m.req, S("x"), S("y"));
        assert_int_equal(r, H2_FIELD_OK);
    }
    r = h2_head_field(&m.head, &limits, &m.arena, &m.req, S("cookie"), S("crumb"));
    assert_int_equal(r, H2_FIELD_OK);
    r = h2_head_field(&m.head, &limits, &m.arena, &m.req, S("x"), S("y"));
    assert_int_equal(r, H2_FIELD_TOO_MUCH);
    /* Crumbs are bounded by their bytes, 32 each and more. */
    unsigned crumbs = 0;
    while (h2_head_field(&m.head, &limits, &m.arena, &m.req, S("cookie"), S("")) == H2_FIELD_OK) {
        crumbs++;
    }
    assert_true(crumbs > 150 && crumbs < 8192 / 32);
    arena_fini(&m.arena);
}

static void trailers(void **state)
{
    (void)state;
    struct made m = {0};
    struct fields t = {0};
    arena_init(&m.arena, 1 << 20);
    assert_int_equal(
        h2_trailer_field(&m.head, &limits, &m.arena, &t, S("authorization"), S("x")), H2_FIELD_OK);
    assert_int_equal(h2_trailer_field(&m.head, &limits, &m.arena, &t, S("x-sum"), S("1")),
                     H2_FIELD_OK);
    assert_int_equal(t.count, 1);
    arena_fini(&m.arena);
}

static void responses(void **state)
{
    (void)state;
    static const struct {
        const char *status;
        const char *length; /* NULL: none */
        enum http_method method;
        bool ended;
        bool fine;
        int64_t content_length;
    } cases[] = {
        {"200", NULL, METHOD_GET, false, true, LENGTH_UNKNOWN},
        {"200", NULL, METHOD_GET, true, true, 0},
        {"200", "5", METHOD_GET, false, true, 5},
        {"200", "0", METHOD_GET, true, true, 0},
        {"200", "5", METHOD_GET, true, false, 0},
        {"200", "5", METHOD_HEAD, true, true, 5},
        {"200", NULL, METHOD_HEAD, true, true, LENGTH_UNKNOWN},
        {"304", "5", METHOD_GET, true, true, 5},
        {"204", NULL, METHOD_GET, true, true, 0},
        {"103", NULL, METHOD_GET, false, true, 0},
        {"200", "+5", METHOD_GET, false, false, 0},
        {"200", "99999999999999999999", METHOD_GET, false, false, 0},
        {"2x0", NULL, METHOD_GET, true, false, 0},
        {"20", NULL, METHOD_GET, true, false, 0},
        {"099", NULL, METHOD_GET, true, false, 0},
        {"600", NULL, METHOD_GET, true, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct h2_head head = {0};
        struct arena arena;
        struct response res = {0};
        const char *why = NULL;
        arena_init(&arena, 1 << 16);
        assert_int_equal(h2_response_field(&head, &limits, &arena, &res, S(":status"),
                                           slice_str(cases[i].status)), H2_FIELD_OK);
        if (cases[i].length) {
            assert_int_equal(h2_response_field(&head, &limits, &arena, &res, S("content-length"),
                                               slice_str(cases[i].length)), H2_FIELD_OK);
        }
        assert_int_equal(h2_response_finish(&res, cases[i].method, cases[i].ended, &why),
                         cases[i].fine);
        if (cases[i].fine) {
            assert_int_equal(res.content_length, cases[i].content_length);
            assert_int_equal(res.version, HTTP_2);
        } else {
            assert_non_null(why);
        }
        arena_fini(&arena);
    }
}

static void memory_is_bounded(void **state)
{
    (void)state;
    struct made m = {0};
    arena_init(&m.arena, 64);
    char value[2000];
    memset(value, 'v', sizeof(value));
    assert_int_equal(h2_head_field(&m.head, &limits, &m.arena, &m.req, S("x"),
                                   slice_of(value, sizeof(value))),
                     H2_FIELD_NO_MEMORY);
    arena_fini(&m.arena);
}

static void budget(void **state)
{
    (void)state;
    struct h2_budget b = {0};
    int64_t now = 1000000;
    unsigned n = 0;
    while (!h2_budget_spend(&b, H2_COST_RESET, now)) {
        n++;
    }
    assert_int_equal(n, H2_POINTS_MAX / H2_COST_RESET);
    /* It leaks: after a second a few more are forgiven. */
    now += 1000;
    for (n = 0; !h2_budget_spend(&b, H2_COST_RESET, now); n++) {
    }
    assert_int_equal(n, H2_POINTS_PER_S / H2_COST_RESET - 1);
    /* A client that stays below the leak is never told to calm down. */
    b = (struct h2_budget){0};
    for (unsigned i = 0; i < 100000; i++) {
        now += 1000 / (H2_POINTS_PER_S / H2_COST_RESET);
        assert_false(h2_budget_spend(&b, H2_COST_RESET, now));
    }
    /* Nor one whose requests are answered. */
    for (unsigned i = 0; i < 100000; i++) {
        assert_false(h2_budget_spend(&b, H2_COST_RESET, now));
        h2_budget_gain(&b, H2_GAIN_ANSWERED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_request),      cmocka_unit_test(authority_and_host),
        cmocka_unit_test(targets),            cmocka_unit_test(cookies_are_joined),
        cmocka_unit_test(lengths),            cmocka_unit_test(websocket),
        cmocka_unit_test(limits_of_a_head),   cmocka_unit_test(trailers),
        cmocka_unit_test(memory_is_bounded),  cmocka_unit_test(budget),
        cmocka_unit_test(responses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
