/* cf_format: what comes out, that it stays so, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/caddyfile/caddyfile.h"

static bool format(const char *in, struct dstr *out, bool *ours)
{
    struct cf_diags diags;
    cf_diags_init(&diags);
    bool ok = cf_format(S("Caddyfile"), slice_str(in), out, ours, &diags);
    assert_int_equal(ok, diags.errors == 0);
    cf_diags_fini(&diags);
    return ok;
}

static void expect_once(const char *in, const char *want)
{
    struct dstr out;
    dstr_init(&out, 1 << 20);
    assert_true(format(in, &out, NULL));
    if (!slice_eq(dstr_slice(&out), slice_str(want))) {
        fail_msg("from:\n%s\ncame:\n%.*s\nwanted:\n%s", in, SLICE_ARG(dstr_slice(&out)), want);
    }
    dstr_fini(&out);
}

static void lays_out(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *out;
    } rows[] = {
        {"", ""},
        {"\n\n  \n", ""},
        {"example.com\nrespond   x\n\n\n\nheader  A   b",
         "example.com\nrespond x\n\nheader A b\n"},
        {"a {\n\n\n  b   c\n\n\n\n d\n\n}\n", "a {\n\tb c\n\n\td\n}\n"},
        {"a {\n}\nb {\n}\n# c\nd {\n}", "a {\n}\n\nb {\n}\n\n# c\nd {\n}\n"},
        {"a {\n b {\n  c\n }\n d {\n }\n e {}\n}",
         "a {\n\tb {\n\t\tc\n\t}\n\td {\n\t}\n\te {}\n}\n"},
        {"{\nemail a@b.c\n}\nx {\n}", "{\n\temail a@b.c\n}\n\nx {\n}\n"},
        /* ours */
        {"a { b c }", "a {\n\tb c\n}\n"},
        {"a < b c ; d >", "a {\n\tb c\n\td\n}\n"},
        {"a < h /x < r A > ; s { t } >", "a {\n\th /x {\n\t\tr A\n\t}\n\ts {\n\t\tt\n\t}\n}\n"},
        {"a <>\nb {}", "a {}\n\nb {}\n"},
        {"a { b \"}\" ; c \";\" ; ; }", "a {\n\tb \"}\"\n\tc \";\"\n}\n"},
        /* openers glued to words */
        {"a{\n b x{\r\n  c\n }\n d{ # e\n }\n}",
         "a {\n\tb x {\n\t\tc\n\t}\n\td {\n\t\t# e\n\t}\n}\n"},
        {"a {\n b {x}{ c\n d <<E f\n}", "a {\n\tb {x}{ c\n\td <<E f\n}\n"},
        /* words that only look like ours */
        {"a {\n header X < >\n m ; n\n}", "a {\n\theader X < >\n\tm ; n\n}\n"},
        {"a\nheader X < >", "a\nheader X < >\n"},
        {"import x < y", "import x < y\n"},
        /* comments */
        {"#a  \nb { # c\n  d   # e\n # f\n} # g\n#h",
         "#a\nb {\n\t# c\n\td # e\n\t# f\n} # g\n#h\n"},
        {"a { b # c\n d }", "a {\n\tb # c\n\td\n}\n"},
        {"a { b ; # c\n d }", "a {\n\tb\n\t# c\n\td\n}\n"},
        {"a#b # c", "a#b # c\n"},
        /* left alone */
        {"a {\n b \"c   d\n\ne\" `f  \n g`\n}", "a {\n\tb \"c   d\n\ne\" `f  \n g`\n}\n"},
        {"a {\n b <<X\n  c\n\n\n   d\n  X   e\n f\n}",
         "a {\n\tb <<X\n  c\n\n\n   d\n  X e\n\tf\n}\n"},
        {"a { b <<X\n  c\n  X ; d }", "a {\n\tb <<X\n  c\n  X\n\td\n}\n"},
        {"{$A} {\n b {$C:d   e} {args[:]} {block}\n}",
         "{$A} {\n\tb {$C:d   e} {args[:]} {block}\n}\n"},
        {"a { b c\\ }", "a {\n\tb c\\ \n}\n"},
        {"a { b c{ }", "a {\n\tb `c{`\n}\n"},
        {"a { b <<x }", "a {\n\tb \\<<x\n}\n"},
        {"a {\n b \\<<x\n}", "a {\n\tb \\<<x\n}\n"},
        /* lines that go on */
        {"a {\n b   \\\n   c \\\n d\n}", "a {\n\tb \\\n\t\tc \\\n\t\td\n}\n"},
        {"a.com,\n   b.com,  c.com {\n}", "a.com,\nb.com, c.com {\n}\n"},
        {"a.com, # x\n# y\nb.com < z >", "a.com, # x\n# y\nb.com {\n\tz\n}\n"},
        /* what came before fmt */
        {"\xef\xbb\xbf"
         "a {\r\n\tb\r\n\r\n}\r\n",
         "a {\n\tb\n}\n"},
        {"(s) {\n a {args[0]}\n}\nimport s x\nimport t\n&(r) { q }\nx < import s y { z } >",
         "(s) {\n\ta {args[0]}\n}\n\nimport s x\nimport t\n&(r) {\n\tq\n}\n\n"
         "x {\n\timport s y {\n\t\tz\n\t}\n}\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        expect_once(rows[i].in, rows[i].out);
        expect_once(rows[i].out, rows[i].out);
    }
}

static void refuses(void **state)
{
    (void)state;
    static const char *const rows[] = {"a {\n b", "a {\n}\n}", "a { b \"c }", "a { b <<X\nc }",
                                       "a < b }", "a {\n b `c"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct dstr out;
        dstr_init(&out, 1 << 20);
        assert_false(format(rows[i], &out, NULL));
        dstr_fini(&out);
    }
}

static void tells_ours(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        bool ours;
    } rows[] = {{"a {\nb\n}", false}, {"a\nb", false},    {"a { b }", true},
                {"a <\nb\n>", true},  {"a { # c\n}", false}, {"a {\nb { c\n}\n}", true}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct dstr out;
        bool ours;
        dstr_init(&out, 1 << 20);
        assert_true(format(rows[i].in, &out, &ours));
        assert_int_equal(ours, rows[i].ours);
        dstr_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lays_out),
        cmocka_unit_test(refuses),
        cmocka_unit_test(tells_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
