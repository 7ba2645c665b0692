/* Rules on header fields: reading, their order, applying. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/handler/field_rules.h"
#include "proxy/loop/loop.h"
#include "proxy/net/addr.h"

static struct loop *loop;
static struct addr peer;
static const struct http_service service = {0};
static const struct exchange_codec codec = {0};
static struct arena arena;
static struct cf_diags diags;

static bool add_rule(struct field_rules *rules, const char *a, const char *v, const char *w)
{
    struct build b = {.arena = &arena, .diags = &diags};
    struct cf_token tokens[3] = {{.text = slice_str(a)}, {.text = slice_str(v)},
                                 {.text = slice_str(w)}};
    return field_rules_parse(&b, rules, tokens, w ? 3 : v ? 2 : 1, "+-?>");
}

struct rule {
    const char *name, *value, *with;
};

static void check(enum field_rules_side side, const struct rule *rules, size_t count,
                  const char *before, const char *after)
{
    struct field_rules list = {.side = side};
    for (size_t i = 0; i < count; i++) {
        assert_true(add_rule(&list, rules[i].name, rules[i].value, rules[i].with));
    }
    struct client_info client = {.peer = &peer, .local = &peer};
    struct exchange *ex = exchange_new(loop, loop_queue(loop), &codec, &service, &client);
    struct fields fields = {0};
    struct slice rest = slice_str(before);
    struct slice line;
    ex->req.host = S("example.com");
    while (rest.n && slice_cut(&rest, '|', &line)) {
        struct slice value = line;
        struct slice name;
        (void)slice_cut(&value, '=', &name);
        assert_true(fields_add(&fields, &ex->arena, name, value));
    }
    assert_int_equal(field_rules_apply(&list, &fields, ex), RULES_DONE);
    struct dstr got;
    dstr_init(&got, 10000);
    dstr_append(&got, S(""));
    for (unsigned i = 0; i < fields.count; i++) {
        dstr_printf(&got, "%s%.*s=%.*s", i ? "|" : "", SLICE_ARG(fields.items[i].name),
                    SLICE_ARG(fields.items[i].value));
    }
    if (!slice_eq(dstr_slice(&got), slice_str(after))) {
        fail_msg("got \"%.*s\", want \"%s\"", SLICE_ARG(dstr_slice(&got)), after);
    }
    dstr_fini(&got);
    exchange_release(ex);
}

#define CHECK(side, before, after, ...)                                            \
    do {                                                                           \
        static const struct rule rules_[] = {__VA_ARGS__};                         \
        check(side, rules_, ARRAY_LEN(rules_), before, after);                     \
    } while (0)

static void test_operators(void **state)
{
    (void)state;
    CHECK(RULES_REQUEST, "A=1|a=2|B=3", "A=x|B=3", {"A", "x", NULL});
    CHECK(RULES_REQUEST, "A=1", "A=1|A=x", {"+A", "x", NULL});
    CHECK(RULES_REQUEST, "A=1|a=2|B=3", "B=3", {"-A", NULL, NULL});
    CHECK(RULES_REQUEST, "X-A=1|X-B=2|AX-=3|Y=4", "AX-=3|Y=4", {"-X-*", NULL, NULL});
    CHECK(RULES_REQUEST, "A-X=1|B-x=2|X=3|-XY=4", "X=3|-XY=4", {"-*-X", NULL, NULL});
    CHECK(RULES_REQUEST, "AabB=1|ab=2|aXb=3", "aXb=3", {"-*ab*", NULL, NULL});
    CHECK(RULES_REQUEST, "A=1", "A=1", {"?A", "x", NULL});
    CHECK(RULES_REQUEST, "B=1", "B=1|A=x", {"?A", "x", NULL});
    CHECK(RULES_REQUEST, "A=aaa|B=aa", "A=b-b-b-|B=aa", {"A", "(a)", "b-"});
    CHECK(RULES_REQUEST, "A=aaa|B=aa", "A=bbb|B=bb", {"*", "a", "b"});
    CHECK(RULES_REQUEST, "A=1", "A=example.com", {"A", "{host}", NULL});
    CHECK(RULES_REQUEST, "A=x y", "A=y x", {"A", "(\\w+) (\\w+)", "$2 $1"});
}

/* Whatever the order they are written in: delete all, add, set, delete, replace. */
static void test_order(void **state)
{
    (void)state;
    CHECK(RULES_RESPONSE, "A=1|B=2", "N=yy", {"N", "x", "y"}, {"N", "xx", NULL},
          {"-*", NULL, NULL});
    CHECK(RULES_RESPONSE, "A=1", "A=2", {"A", "2", NULL}, {"+A", "3", NULL});
    CHECK(RULES_RESPONSE, "A=1", "", {"A", "2", NULL}, {"-A", NULL, NULL});
    CHECK(RULES_RESPONSE, "A=1", "A=", {"A", NULL, NULL}); /* with a warning */
    CHECK(RULES_RESPONSE, "", "A=second", {"A", "first", NULL}, {"A", "second", NULL});
}

static void test_what_is_kept(void **state)
{
    (void)state;
    CHECK(RULES_REQUEST, "Host=h|Content-Length=3|A=1", "Host=h|Content-Length=3",
          {"-*", NULL, NULL});
    CHECK(RULES_RESPONSE, "Host=h|Transfer-Encoding=chunked", "Transfer-Encoding=chunked",
          {"-*", NULL, NULL});
    CHECK(RULES_REQUEST, "Host=h|Content-Length=3|C=4", "Host=h|Content-Length=3",
          {"-C*", NULL, NULL});
    CHECK(RULES_REQUEST, "Host=aaa|A=aaa", "Host=aaa|A=bbb", {"*", "a", "b"});
}

static void test_refused(void **state)
{
    (void)state;
    static const struct rule bad[] = {
        {"-A", "x", NULL},      {"A", "(", "x"},
        {"A", "a(?=b)", "x"},   {"A B", "x", NULL}, {"Content-Length", "1", NULL}, {"", "x", NULL},
        {"-Host", NULL, NULL},  {"+Host", "x", NULL}, {"-Transfer-Encoding", NULL, NULL},
        {"A", "{http.request.body}", NULL}, {"+A", "x", "y"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct field_rules list = {.side = RULES_REQUEST};
        unsigned errors = diags.errors;
        if (add_rule(&list, bad[i].name, bad[i].value, bad[i].with) || diags.errors == errors) {
            fail_msg("%s was taken", bad[i].name);
        }
    }
}

static void test_limit(void **state)
{
    (void)state;
    struct field_rules list = {.side = RULES_REQUEST};
    assert_true(add_rule(&list, "A", "^(a+a+)+b", "x"));
    struct client_info client = {.peer = &peer, .local = &peer};
    struct exchange *ex = exchange_new(loop, loop_queue(loop), &codec, &service, &client);
    char text[3003];
    memset(text, 'a', 3000);
    text[3000] = 'c';
    text[3001] = 'b';
    struct fields fields = {0};
    assert_true(fields_add(&fields, &ex->arena, S("A"), slice_of(text, 3002)));
    assert_int_equal(field_rules_apply(&list, &fields, ex), RULES_LIMIT);
    exchange_release(ex);
}

static int set_up(void **state)
{
    (void)state;
    struct err err;
    arena_init(&arena, ARENA_NO_MAX);
    cf_diags_init(&diags);
    loop = loop_new(&err);
    return loop && addr_parse_ip(S("192.0.2.7"), 4000, &peer) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    exchange_pool_drain();
    loop_free(loop);
    cf_diags_fini(&diags);
    arena_fini(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operators), cmocka_unit_test(test_order),
        cmocka_unit_test(test_what_is_kept), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
