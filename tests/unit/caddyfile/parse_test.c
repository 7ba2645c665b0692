/* What is a Caddyfile and which tree it gives: tokens, blocks in all four forms, sites, options,
 * snippets, named routes, environment variables. All from memory; files are in import_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/caddyfile/dump.h"

struct row {
    const char *text;
    const char *tree;
};

static const char *env(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "HOST") == 0    ? "a.com"
           : strcmp(name, "EMPTY") == 0 ? ""
           : strcmp(name, "LINES") == 0 ? "b.com {\n respond B\n}\n"
           : strcmp(name, "AGAIN") == 0 ? "{$HOST}"
                                        : NULL;
}

static const struct cf_options options = {.getenv = env};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct cf_diags diags;
        struct dstr out;
        struct dstr said;
        cf_diags_init(&diags);
        dstr_init(&out, 1 << 20);
        dstr_init(&said, 1 << 20);
        struct cf_document *doc =
            cf_parse_text(S("none/Caddyfile"), slice_str(rows[i].text), &options, &diags);
        cf_diags_print(&diags, &said);
        if (diags.errors || diags.warnings) {
            fail_msg("%s\n--- says:\n%s", rows[i].text, said.p);
        }
        dump_document(&out, doc);
        dstr_append(&out, S(""));
        if (strcmp(out.p ? out.p : "", rows[i].tree) != 0) {
            fail_msg("%s\n--- gives:\n%s\n--- not:\n%s", rows[i].text, out.p, rows[i].tree);
        }
        cf_free(doc);
        cf_diags_fini(&diags);
        dstr_fini(&out);
        dstr_fini(&said);
    }
}

static void one_line_in_all_forms(void **state)
{
    (void)state;
    static const char tree[] = "site(example.com){reverse_proxy [localhost:8000]}";
    static const struct row rows[] = {
        {"example.com { reverse_proxy localhost:8000 }", tree},
        {"example.com < reverse_proxy localhost:8000 >", tree},
        {"example.com {\n    reverse_proxy localhost:8000\n}\n", tree},
        {"example.com\nreverse_proxy localhost:8000\n", tree},
        {"example.com {\r\n\treverse_proxy localhost:8000\r\n}\r\n", tree},
        {"\xef\xbb\xbf" "example.com\nreverse_proxy localhost:8000", tree},
        {"example.com <\n reverse_proxy localhost:8000\n>", tree},
        {"example.com { reverse_proxy localhost:8000\n}", tree},
        {"example.com {\n reverse_proxy localhost:8000 }", tree},
        {"example.com { reverse_proxy localhost:8000 ; }", tree},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

static void one_line_blocks(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"a { b 1 ; c 2 ; d }", "site(a){b [1]; c [2]; d}"},
        {"a < b 1 ; c 2 ; d >", "site(a){b [1]; c [2]; d}"},
        {"a { ; b ; ; c ; }", "site(a){b; c}"},
        {"a { }", "site(a){}"},
        {"a {}", "site(a){}"},
        {"a < >", "site(a){}"},
        {"a <>", "site(a){}"},
        {"a {\n}", "site(a){}"},
        {"example.com < handle /a < respond A > >", "site(example.com){handle [/a]{respond [A]}}"},
        {"a < handle /a { respond A } >", "site(a){handle [/a]{respond [A]}}"},
        {"a { handle /a { respond A } ; log }", "site(a){handle [/a]{respond [A]}; log}"},
        {"a { handle /a { respond A } log }", "site(a){handle [/a]{respond [A]}; log}"},
        {"a { handle {} ; log {} }", "site(a){handle{}; log{}}"},
        {"a { respond A } b { respond B }", "site(a){respond [A]} site(b){respond [B]}"},
        {"a { respond A\n respond B\n}", "site(a){respond [A]; respond [B]}"},
        /* ";" and brackets elsewhere are words */
        {"a {\n header X ; y\n}", "site(a){header [X] [;] [y]}"},
        {"a {\n header X-A < >\n}", "site(a){header [X-A] [<] [>]}"},
        {"a { header X-A < > }", "site(a){header [X-A] [<] [>]}"},
        {"a { b {\n c ; d\n} }", "site(a){b{c [;] [d]}}"},
        {"a < header X \"<\" \">\" >", "site(a){header [X] [<] [>]}"},
        {"a < b { c < > } >", "site(a){b{c [<] [>]}}"},
        {"a { respond \"}\" }", "site(a){respond [}]}"},
        {"a { respond `;` ; x }", "site(a){respond [;]; x}"},
        {"a { respond {host} ; header X {{x}} }", "site(a){respond [{host}]; header [X] [{{x}}]}"},
        {"a { x b;c d=;e }", "site(a){x [b;c] [d=;e]}"},
        {"a { x 1 } # comment }\n", "site(a){x [1]}"},
        {"a { # comment\n x ; y\n}", "site(a){x [;] [y]}"},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

static void tokens(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"a\nx a#b # c\n#d\ny", "site(a){x [a#b]; y}"},
        {"a\nx \"b c\" \"\" `d \"e\"`", "site(a){x [b c] [] [d \"e\"]}"},
        {"a\nx \"q\\\"q \\n \\\\\" z", "site(a){x [q\"q \\n \\\\] [z]}"},
        {"a\nx `\\`", "site(a){x [\\]}"},
        {"a\nx \"one\ntwo\" y", "site(a){x [one\ntwo] [y]}"},
        {"a\nx b\"c d\"", "site(a){x [b\"c] [d\"]}"},
        {"a\nx \"b\"c", "site(a){x [b] [c]}"},
        {"a\nx b\\\n  c \\\r\n d\ny", "site(a){x [b] [c] [d]; y}"},
        {"a\nx \\d \\\" e\\", "site(a){x [\\d] [\\\"] [e\\]}"},
        {"a\nx # c \\\ny", "site(a){x; y}"},
        {"a\nx b\xc2\xa0" "c\xe3\x80\x80" "d \xc3\xa9", "site(a){x [b] [c] [d] [\xc3\xa9]}"},
        {"a\nx \\<<b", "site(a){x [<<b]}"},
        {"a\nx << b <<c d", "site(a){x [<<] [b] [<<c] [d]}"},
        {"a\nx <<END\n  one\n\n    two\n  END 200\ny", "site(a){x [one\n\n  two] [200]; y}"},
        {"a\nx <<E\nE\ny", "site(a){x []; y}"},
        {"a\nx <<E\none E\nEE\nE", "site(a){x [one E\nEE]}"},
        {"a\r\nx <<E\r\n\tone\r\n\ttwo\r\n\tE\r\ny", "site(a){x [one\ntwo]; y}"},
        {"a {\n x <<E\n }\n E\n}", "site(a){x [}]}"},
        {"a { x <<E\n;\nE ; y }", "site(a){x [;]; y}"},
        {"", ""},
        {"# nothing\n", ""},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

static void sites(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"a.com b.com, c.com,\nd.com { x }", "site(a.com b.com c.com d.com){x}"},
        {"a.com,b.com { x }", "site(a.com b.com){x}"},
        {"a.com , b.com { x }", "site(a.com b.com){x}"},
        {"a.com,\n\n# c\nb.com\nx", "site(a.com b.com){x}"},
        {"\"a.com\" { x }", "site(a.com){x}"},
        {"a\nx {\n y\n}\nz", "site(a){x{y}; z}"},
        {"a.com", "site(a.com){}"},
        {"http://a:80/p* { x }", "site(http://a:80/p*){x}"},
        {"a {\n @m path /x\n @n {\n  host y\n }\n r @m\n}", "site(a){@m [path] [/x]; "
                                                             "@n{host [y]}; r [@m]}"},
        {"{\n email a@b.c\n s {\n  t\n }\n}\na { x }", "options{email [a@b.c]; s{t}} site(a){x}"},
        {"{ debug ; email e }\na { x }", "options{debug; email [e]} site(a){x}"},
        {"{}\na { x }", "site(a){x}"},
        {"{\n debug\n}\na\nx", "options{debug} site(a){x}"},
        {"&(r) {\n x\n}\n&(s) { y }\na { invoke r }", "route(r){x} route(s){y} "
                                                      "site(a){invoke [r]}"},
        {"a {\n x {\n  y {\n   z {\n   }\n  }\n }\n}", "site(a){x{y{z{}}}}"},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

static void snippets(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"(s) {\n x 1\n y {\n  z\n }\n}\na {\n import s\n w\n}", "site(a){x [1]; y{z}; w}"},
        {"(s) { x ; y }\na { import s ; z }", "site(a){x; y; z}"},
        {"(s) < x ; y < z > >\na { import s }", "site(a){x; y{z}}"},
        {"(s) {}\na { x ; import s ; y }", "site(a){x; y}"},
        {"(s) {\n x {args[0]} -{args[1]}- \"{args[0]}\"\n}\na { import s 1 \"2 3\" }",
         "site(a){x [1] [-2 3-] [1]}"},
        {"(s) {\n x {args[:]} | {args[1:]} | {args[:1]} | {args[1:2]} | {args[3:]}\n}\n"
         "a { import s 1 2 3 }", "site(a){x [1] [2] [3] [|] [2] [3] [|] [1] [|] [2] [|]}"},
        {"(s) {\n x \\{args[0]} {args[ {args}\n}\na { import s }",
         "site(a){x [\\{args[0]}] [{args[] [{args}]}"},
        {"(t) {\n y {args[0]}\n}\n(s) {\n import t {args[1]}\n}\na { import s 1 2 }",
         "site(a){y [2]}"},
        {"(s) {\n {args[0]} {\n  x {args[1]}\n }\n}\nimport s a 1\nimport s b 2",
         "site(a){x [1]} site(b){x [2]}"},
        {"(s) { x {args[0]} }\na { import s \"}\" ; import s \"{\" }", "site(a){x [}]; x [{]}"},
        {"(s) { {args[0]} }\na { import s \"import\" }", "site(a){import}"},
        {"(s) {\n b\n {block}\n e\n}\na {\n import s {\n  x\n  y {\n   z\n  }\n }\n}",
         "site(a){b; x; y{z}; e}"},
        {"(s) {\n h {\n  {block}\n }\n}\na { import s { x ; y } ; z }", "site(a){h{x; y}; z}"},
        {"(s) {\n {block}\n x\n}\na { import s ; import s {} }", "site(a){x; x}"},
        {"(s) {\n h {blocks.k}\n}\na {\n import s {\n  j 1\n  k 2 3\n  l\n }\n}",
         "site(a){h [2] [3]}"},
        {"(s) {\n h {\n  {blocks.k}\n }\n}\na {\n import s {\n  j {\n   k no\n  }\n  k {\n   x ; "
         "1\n   y\n  }\n }\n}", "site(a){h{x [;] [1]; y}}"},
        {"(s) { h {blocks.no} }\na { import s { k 1 } }", "site(a){h}"},
        {"(s) { {block} }\na {\n import s {\n  import s {\n   x\n  }\n }\n}", "site(a){x}"},
        {"(t) { x }\n(s) { {block} }\na { import s { import t } }", "site(a){x}"},
        {"(s) { debug }\n{\n import s\n}\na { x }", "options{debug} site(a){x}"},
        {"(s) { x }\na\nimport s\ny", "site(a){x; y}"},
        {"a { x {args[0]} {block} }", "site(a){x [{args[0]}] [{block}]}"},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

static void environment(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{$HOST} { x }", "site(a.com){x}"},
        {"x.{$HOST}:80 { y \"{$HOST}\" `{$HOST}` }", "site(x.a.com:80){y [a.com] [a.com]}"},
        {"a { x {$NO:} {$NO:d} {$NO:d e} {$EMPTY:d} \"{$NO:}\" }", "site(a){x [d] [d] [e] []}"},
        {"a { x {$NO:b:c} {$HOST:d} }", "site(a){x [b:c] [a.com]}"},
        {"a { x {$AGAIN} }", "site(a){x [{$HOST}]}"},
        {"{$LINES}", "site(b.com){respond [B]}"},
        {"a { x {$} }", "site(a){x [{$}]}"},
        {"a\nx {$HOST", "site(a){x [{$HOST]}"},
        {"# {$HOST} {$NO}\na { x }", "site(a){x}"},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

static void places(void **state)
{
    (void)state;
    struct cf_diags diags;
    cf_diags_init(&diags);
    struct slice text = S("# c\na.com,b.com {\n\tx 1 \\\n  \"2\"\n}\n");
    struct cf_document *doc = cf_parse_text(S("f"), text, NULL, &diags);
    assert_int_equal(diags.errors, 0);
    const struct cf_token *b = &doc->sites->addresses[1];
    assert_int_equal(b->at.line, 2);
    assert_int_equal(b->at.column, 7);
    const struct cf_directive *x = doc->sites->directives;
    assert_int_equal(x->name.at.line, 3);
    assert_int_equal(x->name.at.column, 2);
    assert_int_equal(x->args[1].at.line, 4);
    assert_int_equal(x->args[1].at.column, 3);
    assert_int_equal(x->args[1].quote, CF_DOUBLE);
    assert_true(slice_eq(x->args[1].at.source->name, S("f")));
    assert_int_equal(x->args[1].text.p[x->args[1].text.n], 0);
    cf_free(doc);
    cf_diags_fini(&diags);
}

/* A generous bound, far above what is needed, that quadratic behaviour would break. */
static void a_hundred_thousand_lines(void **state)
{
    (void)state;
    struct dstr text;
    struct cf_diags diags;
    dstr_init(&text, 16 << 20);
    cf_diags_init(&diags);
    for (int i = 0; i < 20000; i++) {
        dstr_printf(&text, "s%d.example.com {\n\tencode gzip # c\n\theader X \"y z\"\n"
                           "\treverse_proxy localhost:%d\n}\n", i, i);
    }
    clock_t start = clock();
    struct cf_document *doc = cf_parse_text(S("big"), dstr_slice(&text), NULL, &diags);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    print_message("100,000 lines: %.3f s\n", seconds);
    assert_int_equal(diags.errors, 0);
    assert_true(seconds < 5);
    size_t count = 0;
    for (const struct cf_site *s = doc->sites; s; s = s->next) {
        count++;
    }
    assert_int_equal(count, 20000);
    cf_free(doc);
    cf_diags_fini(&diags);
    dstr_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_line_in_all_forms), cmocka_unit_test(one_line_blocks),
        cmocka_unit_test(tokens),                cmocka_unit_test(sites),
        cmocka_unit_test(snippets),              cmocka_unit_test(environment),
        cmocka_unit_test(places),                cmocka_unit_test(a_hundred_thousand_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
