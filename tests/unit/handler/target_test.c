/* Targets: compiled and filled in, stripped; queries taken apart and put together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/handler/target.h"
#include "proxy/handler/uri_query.h"
#include "proxy/loop/loop.h"
#include "proxy/net/addr.h"

static struct loop *loop;
static struct addr peer;
static const struct http_service service = {0};
static const struct exchange_codec codec = {0};
static struct arena arena;
static struct cf_diags diags;

static struct exchange *exchange_for(const char *target)
{
    struct client_info client = {.peer = &peer, .local = &peer};
    struct exchange *ex = exchange_new(loop, loop_queue(loop), &codec, &service, &client);
    struct slice text = slice_str(target);
    size_t mark = slice_find(text, '?');
    ex->req.method_text = S("GET");
    ex->req.host = S("example.com");
    ex->req.target = text;
    ex->req.path = slice_upto(text, mark);
    ex->req.query = mark == SLICE_NPOS ? (struct slice){NULL, 0} : slice_from(text, mark + 1);
    return ex;
}

static void assert_target(struct exchange *ex, const char *want, const char *about)
{
    if (!slice_eq(ex->req.target, slice_str(want))) {
        fail_msg("%s: got \"%.*s\", want \"%s\"", about, SLICE_ARG(ex->req.target), want);
    }
    size_t mark = slice_find(ex->req.target, '?');
    assert_true(slice_eq(ex->req.path, slice_upto(ex->req.target, mark)));
    assert_true((ex->req.query.p != NULL) == (mark != SLICE_NPOS));
    exchange_release(ex);
}

static void test_apply(void **state)
{
    (void)state;
    static const struct {
        const char *to, *before, *after;
    } cases[] = {
        {"/new", "/old?q", "/new?q"},
        {"/new?", "/old?q", "/new"},
        {"?a=b", "/old?q", "/old?a=b"},
        {"?", "/old?q", "/old"},
        {"/new?{query}", "/old", "/new"},
        {"/new?{query}&b=1", "/old?a=%20", "/new?a=%20&b=1"},
        {"/new?b={query}", "/old?a=1", "/new?b=a%3D1"},
        {"/new{uri}", "/old?a=1", "/new/old?a=1"},
        {"/new{uri}?x", "/old?a=1", "/new/old?x"},
        {"/x{path}", "/a%3fb%2f?q", "/x/a%3fb%2f?q"},
        {"x", "/old", "/x"},
        {"/a b{path}", "/old", "/a%20b/old"},
        {"/%zz", "/old", "/%25zz"},
        {"/p?k=\\{x}", "/old", "/p?k={x}"},
        {"/p#frag", "/old", "/p"},
        {"/p?q#frag", "/old", "/p?q"},
        {"/\x01\xc3\xa4", "/old", "/%01%C3%A4"},
        {"{http.request.host}", "/old", "/example.com"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cf_token token = {.text = slice_str(cases[i].to)};
        struct target *t = target_compile(&arena, &token, &diags);
        assert_non_null(t);
        struct exchange *ex = exchange_for(cases[i].before);
        assert_true(target_apply(t, ex, &ex->req));
        assert_target(ex, cases[i].after, cases[i].to);
    }
}

static void test_strip(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool prefix;
        const char *before, *after;
    } cases[] = {
        {"/api", true, "/api/x?q", "/x?q"}, {"/api", true, "/API", "/"},
        {"/api", true, "/apix", "/x"},      {"/api", true, "/ap", "/ap"},
        {"/api", true, "/%61pi/%2f", "/%2f"}, {"/a%20", true, "/a%20b", "/b"},
        {"/a ", true, "/a%20b", "/b"},      {"/api", true, "/x/../api/y", "/y"},
        {".html", false, "/a.html", "/a"},  {".html", false, "/a.htm%6c", "/a"},
        {".html", false, "/html", "/html"}, {"", false, "/a", "/a"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct exchange *ex = exchange_for(cases[i].before);
        assert_true(target_strip(ex, slice_str(cases[i].text), cases[i].prefix));
        assert_target(ex, cases[i].after, cases[i].before);
    }
}

static void test_query(void **state)
{
    (void)state;
    static const struct {
        const char *words[3];
        const char *before, *after;
    } cases[] = {
        {{"a", "1"}, "/", "/?a=1"},
        {{"a", "x y"}, "/?b=%3d&a=2&c", "/?a=x+y&b=%3D&c="},
        {{"+a", "0"}, "/?b&a=2", "/?a=2&a=0&b="},
        {{"-b"}, "/?a&b=1&b=2", "/?a="},
        {{"-a"}, "/?a", "/"},
        {{"a>b"}, "/?a=1&b=2", "/?b=1"},
        {{"a>b"}, "/?b=2", "/"},
        {{"*", "(.)x", "$1"}, "/?a=1x&b=2x", "/?a=1&b=2"},
        {{"a", "x", "y"}, "/?a=x&b=x", "/?a=y&b=x"},
        {{"a", "1"}, "/?&&%zz=%&b", "/?a=1&b="},
    };
    struct build b = {.arena = &arena, .diags = &diags};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query_op *ops = NULL;
        struct cf_token words[3] = {{.at = {NULL, 0, 0, NULL}}};
        size_t count = 0;
        for (; count < 3 && cases[i].words[count]; count++) {
            words[count].text = slice_str(cases[i].words[count]);
        }
        assert_true(query_op_read(&b, &ops, words, count));
        struct exchange *ex = exchange_for(cases[i].before);
        assert_int_equal(query_ops_apply(ops, ex), QUERY_DONE);
        assert_target(ex, cases[i].after, cases[i].before);
    }
}

static int set_up(void **state)
{
    (void)state;
    struct err err;
    loop = loop_new(&err);
    arena_init(&arena, ARENA_NO_MAX);
    cf_diags_init(&diags);
    return loop && addr_parse_ip(S("127.0.0.1"), 1, &peer) ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    cf_diags_fini(&diags);
    arena_fini(&arena);
    exchange_pool_drain();
    loop_free(loop);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apply),
        cmocka_unit_test(test_strip),
        cmocka_unit_test(test_query),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
