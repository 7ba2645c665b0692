/* Path patterns, cleaned paths, matchers and placeholders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/loop/loop.h"
#include "proxy/net/addr.h"
#include "proxy/route/matcher.h"
#include "proxy/route/path.h"
#include "proxy/route/template.h"

static void assert_slice(struct slice got, const char *want)
{
    if (!slice_eq(got, slice_str(want))) {
        fail_msg("got \"%.*s\", want \"%s\"", SLICE_ARG(got), want);
    }
}

static void test_clean(void **state)
{
    (void)state;
    static const struct {
        const char *raw;
        const char *clean;
    } cases[] = {
        {"/", "/"},           {"", "/"},             {"/a/b", "/a/b"},     {"/a/b/", "/a/b/"},
        {"//a//b", "/a/b"},   {"/a/./b", "/a/b"},    {"/a/../b", "/b"},    {"/../../b", "/b"},
        {"/a/..", "/"},       {"/a/b/..", "/a/"},    {"/a/.", "/a/"},      {"/%61/b", "/a/b"},
        {"/a%2fb", "/a/b"},   {"/%2e%2e/b", "/b"},   {"/a/%2e%2e/b", "/b"}, {"/a%zz", "/a%zz"},
        {"/a%", "/a%"},       {"/...", "/..."},      {"/a/..b", "/a/..b"}, {"/.a", "/.a"},
    };
    struct arena a;
    arena_init(&a, ARENA_NO_MAX);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_slice(path_clean(&a, slice_str(cases[i].raw), false), cases[i].clean);
    }
    assert_slice(path_clean(&a, S("/a//b"), true), "/a//b");
    arena_fini(&a);
}

static void test_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        const char *path;
        bool hit;
    } cases[] = {
        {"/a", "/a", true},          {"/a", "/A", true},         {"/a", "/a/", false},
        {"/a*", "/a", true},         {"/a*", "/abc/d", true},    {"/a/*", "/a/", true},
        {"/a/*", "/a", false},       {"*.php", "/x/y.php", true}, {"*.php", "/x/y.phps", false},
        {"*/admin/*", "/x/admin/y", true}, {"*/admin/*", "/admin", false},
        {"/a/*/c", "/a/b/c", true},  {"/a/*/c", "/a/b/x/c", false}, {"/a/*/c", "/a//c", true},
        {"/*/x*", "/q/xyz", true},   {"*", "/anything", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool hit = path_pattern_matches(slice_str(cases[i].pattern), slice_str(cases[i].path));
        if (hit != cases[i].hit) {
            fail_msg("%s on %s: %d", cases[i].pattern, cases[i].path, hit);
        }
    }
}

static struct loop *loop;
static struct addr peer;
static struct addr local;
static const struct http_service service = {0};
static const struct exchange_codec codec = {0};

static struct exchange *exchange_for(const char *method, const char *host, const char *path)
{
    struct client_info client = {.peer = &peer, .local = &local};
    struct exchange *ex = exchange_new(loop, loop_queue(loop), &codec, &service, &client);
    ex->req.method_text = slice_str(method);
    ex->req.host = slice_str(host);
    ex->req.authority = slice_str(host);
    ex->req.target = slice_str(path);
    ex->req.path = slice_upto(ex->req.target, slice_find(ex->req.target, '?'));
    size_t q = slice_find(ex->req.target, '?');
    ex->req.query = q == SLICE_NPOS ? slice_of(NULL, 0) : slice_from(ex->req.target, q + 1);
    ex->req.scheme = S("https");
    return ex;
}

/* A document's first site. */
static struct cf_document *parse(const char *text, struct cf_diags *diags)
{
    struct cf_options options = {0};
    cf_diags_init(diags);
    return cf_parse_text(S("test"), slice_str(text), &options, diags);
}

static void test_matchers(void **state)
{
    (void)state;
    struct cf_diags diags;
    struct cf_document *doc = parse("x {\n@a {\npath /api/* /v2/*\nmethod GET\n}\n"
                                    "@b not path /x\n@c host *.example.com\nrespond @a 1\n}\n",
                                    &diags);
    assert_int_equal(diags.errors, 0);
    struct arena a;
    arena_init(&a, ARENA_NO_MAX);
    struct matcher_scope scope = {0};
    const struct cf_directive *d = doc->sites->directives;
    for (; d && d->name.text.p[0] == '@'; d = d->next) {
        matcher_define(&a, &scope, d, &diags);
    }
    assert_int_equal(diags.errors, 0);
    struct matcher *m[3];
    const char *names[] = {"@a", "@b", "@c"};
    for (int i = 0; i < 3; i++) {
        struct cf_token t = {.text = slice_str(names[i])};
        assert_true(matcher_is_token(&t));
        assert_true(matcher_from_token(&a, &scope, &t, &m[i], &diags));
    }
    static const struct {
        const char *method, *host, *path;
        bool hit[3];
    } cases[] = {
        {"GET", "www.example.com", "/api/1", {true, true, true}},
        {"GET", "example.com", "/v2/", {true, true, false}},
        {"POST", "a.b.example.com", "/api/1", {false, true, false}},
        {"GET", "x", "/x", {false, false, false}},
        {"GET", "x", "/api/../x", {false, false, false}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct exchange *ex = exchange_for(cases[i].method, cases[i].host, cases[i].path);
        for (int j = 0; j < 3; j++) {
            if ((matcher_matches(m[j], ex) == MATCH_YES) != cases[i].hit[j]) {
                fail_msg("case %zu matcher %s", i, names[j]);
            }
        }
        exchange_release(ex);
    }
    struct cf_token unknown = {.text = S("@nope")};
    assert_false(matcher_from_token(&a, &scope, &unknown, &m[0], &diags));
    assert_int_equal(diags.errors, 1);
    matcher_scope_end(&scope, &diags);
    arena_fini(&a);
    cf_diags_fini(&diags);
    cf_free(doc);
}

static void test_template(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"plain", "plain"},
        {"https://{host}{uri}", "https://example.com/a/b?q=1"},
        {"{path}|{query}|{?query}", "/a/b|q=1|?q=1"},
        {"{method} {scheme}", "GET https"},
        {"{http.request.remote.host}", "192.0.2.7"},
        {"{header.X-One}{header.X-None}", "1"},
        {"{cookie.b}", "2"},
        {"\\{host}", "{host}"},
        {"{\"json\": {\"a\": 1}}", "{\"json\": {\"a\": 1}}"},
        {"{", "{"},
    };
    struct arena a;
    struct cf_diags diags;
    arena_init(&a, ARENA_NO_MAX);
    cf_diags_init(&diags);
    struct exchange *ex = exchange_for("GET", "example.com", "/a/b?q=1");
    assert_true(fields_add(&ex->req.fields, &ex->arena, S("x-one"), S("1")));
    assert_true(fields_add(&ex->req.fields, &ex->arena, S("Cookie"), S("a=1; b=2")));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cf_token t = {.text = slice_str(cases[i].text)};
        struct template *tpl = template_compile(&a, &t, &diags);
        assert_non_null(tpl);
        assert_slice(template_eval(tpl, ex), cases[i].want);
    }
    struct cf_token bad = {.text = S("{hots}")};
    struct template *kept = template_compile(&a, &bad, &diags);
    assert_slice(template_eval(kept, ex), "{hots}");
    assert_int_equal(diags.errors, 0);
    assert_int_equal(diags.warnings, 1);
    assert_slice(diags.first->hint, "did you mean \"host\"?");
    exchange_release(ex);
    cf_diags_fini(&diags);
    arena_fini(&a);
}

static int set_up(void **state)
{
    (void)state;
    struct err err;
    loop = loop_new(&err);
    return loop && addr_parse_ip(S("192.0.2.7"), 4000, &peer) &&
                   addr_parse_ip(S("192.0.2.1"), 443, &local)
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    exchange_pool_drain();
    loop_free(loop);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_matchers),
        cmocka_unit_test(test_template),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
