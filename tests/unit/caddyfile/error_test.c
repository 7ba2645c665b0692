/* What is said about a broken Caddyfile: places, excerpts, carets and hints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "proxy/caddyfile/caddyfile.h"

struct row {
    const char *text;
    unsigned errors;
    unsigned warnings;
    const char *says; /* part of what is printed */
};

static void check_row(const struct row *row, const struct cf_options *options)
{
    struct cf_diags diags;
    struct dstr out;
    cf_diags_init(&diags);
    dstr_init(&out, 1 << 20);
    cf_free(cf_parse_text(S("C"), slice_str(row->text), options, &diags));
    cf_diags_print(&diags, &out);
    dstr_append(&out, S(""));
    if (diags.errors != row->errors || diags.warnings != row->warnings || !out.p ||
        !strstr(out.p, row->says)) {
        fail_msg("%s\n--- says (%u errors, %u warnings):\n%s\n--- not:\n%s", row->text,
                 diags.errors, diags.warnings, out.p, row->says);
    }
    cf_diags_fini(&diags);
    dstr_fini(&out);
}

static void check_rows(const struct row *rows, size_t count, const struct cf_options *options)
{
    for (size_t i = 0; i < count; i++) {
        check_row(&rows[i], options);
    }
}

static void lexer_errors(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"a {\n x \"b\n}\n", 1, 0, "C:2:4: error: the quote that opens here is never closed\n"
                                   "     x \"b\n       ^\n"},
        {"a {\n x \"b\n y \"c\" d\n}\n", 1, 0,
         "C:2:4: error: the quote that opens here is closed only on line 3, where another"},
        {"a {\n x \"b\n c\"\n}\n", 0, 0, ""},
        {"a { x ` }", 1, 0, "C:1:7: error: the backtick that opens here is never closed"},
        {"a {\n x <<E\n y\n}\n", 1, 0, "C:2:4: error: this heredoc never ends: no line begins with "
                                       "its mark \"E\" alone\n     x <<E\n       ^^^"},
        {"a {\n x <<E\n  y\n z\n  E\n}\n", 1, 0, "C:4:1: error: this line of the heredoc"},
        {"a {\n x <<\n}\n", 1, 0, "there is no mark behind \"<<\""},
        {"a {\n x <<<E\n}\n", 1, 0, "too many \"<\""},
        {"a {\n x <<E!\n}\n", 1, 0, "C:2:4: error: the mark of a heredoc has only letters"},
        {"\xff\xfe" "a", 1, 0, "C:1:1: error: the file is in UTF-16"},
    };
    check_rows(rows, ARRAY_LEN(rows), NULL);
}

static void block_errors(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"a {\n x\n", 1, 0,
         "C:1:3: error: the block that opens here is never closed\n    a {\n"
         "      ^"},
        {"a {\n x\nb.com {\n y\n}\n", 1, 0, "^ is a \"}\" missing above line 3?"},
        {"a { x }\n}\n", 1, 0, "C:2:1: error: this \"}\" closes nothing"},
        {"a{\n x\n}\n", 1, 0,
         "C:1:1: error: a space is missing in front of \"{\"\n    a{\n    ^^ "},
        {"a{ x }\n", 1, 0, "C:1:1: error: a space is missing"},
        {"a{}\n", 1, 0, "a space is missing in front of \"{}\""},
        {"a {\n x y{\n  z\n }\n}\n", 1, 0, "C:2:4: error: a space is missing in front of \"{\""},
        {"a {\n x{\n  z\n }\n}\n", 1, 0, "C:2:2: error: a space is missing in front of \"{\""},
        {"a { x 80}\n", 1, 0,
         "C:1:7: error: a space is missing in front of \"}\", which should "
         "close the block opened at column 3"},
        {"a { x}\n", 1, 0, "C:1:5: error: a space is missing in front of \"}\""},
        {"a < x 80>\n", 1, 0, "C:1:7: error: a space is missing in front of \">\""},
        {"a\n{\n x\n}\n", 1, 0, "C:2:1: error: \"{\" must not stand on a line of its own"},
        {"a {\n x\n {\n  y\n }\n}\n", 1, 0,
         "C:3:2: error: \"{\" must not stand on a line of its own"},
        {"a {\n {\n  y\n }\n}\n", 1, 0, "C:2:2: error: a block without a name"},
        {"a < x }\n", 1, 0, "C:1:7: error: this block was opened with \"<\" (line 1)"},
        {"a { x }\n{\n debug\n}\n", 1, 0, "C:2:1: error: a block without a name is for the global"},
        {"{\n a\n}\n{\n b\n}\n", 1, 0, "C:4:1: error: a block without a name is for the global"},
        {"a { x; y }", 0, 1, "C:1:5: warning: this \";\" belongs to the word"},
        {"a {\n ; x\n}\n", 1, 0, "C:2:2: error: \";\" cannot begin a directive"},
        {"a { x y; }", 0, 1, "C:1:7: warning: this \";\" belongs to the word"},
        {"a {\n x\n>\n", 1, 0, "C:3:1: error: this block was opened with \"{\" (line 1)"},
        {"a { x y >\n", 1, 0, "^ opened with \"{\", it must be closed with \"}\", not with \">\""},
        {"a {respond x }\n", 1, 0, "C:1:3: error: a space is missing behind \"{\""},
        {"a {\n handle /b {respond x }\n}\n", 1, 0, "C:2:12: error: a space is missing"},
        {"a {\n x {y} {y z} {\"y\":1}\n}\n", 0, 0, ""},
        {"a <respond x >\n", 1, 0, "C:1:3: error: an address cannot begin with \"<\""},
        {"< debug >\n", 1, 0, "a block of global options is opened with \"{\""},
        {"a {\n (s) {\n }\n}\n", 1, 0, "a snippet cannot be defined inside a block"},
    };
    check_rows(rows, ARRAY_LEN(rows), NULL);
}

static void item_errors(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"a { x }\nb\ny\nz\n", 1, 0, "C:2:1: error: \"{\" is expected behind the address"},
        {"a\nx\nb.com {\n y\n}\n", 1, 0, "C:3:1: error: this looks like a site, inside the site "
                                         "\"a\" (line 1), which has no braces"},
        {"a, {\n x\n}\n", 1, 0, "C:1:1: error: another address is expected behind the comma"},
        {", {\n x\n}\n", 1, 0, "C:1:3: error: the address of a site is expected"},
        {",{ x }\n", 2, 0, "C:1:1: error: the address of a site is expected"},
        {",\n", 1, 0, "C:1:1: error: the address of a site is expected"},
        {"(s)\nx\n", 1, 0, "C:1:1: error: \"{\" is expected behind the name of a snippet"},
        {"(s) t { x }\n", 1, 0, "C:1:5: error: \"{\" is expected behind the name of a snippet"},
        {"() { x }\n", 1, 0, "the name is empty"},
        {"(s) { x }\n(s) { y }\n", 1, 0, "^^^ first defined at C:1"},
        {"&(s) { x }\n&(s) { y }\n", 1, 0, "the named route \"s\" is defined twice"},
        {"(s) {\n x\n", 1, 0, "C:1:5: error: the block that opens here is never closed"},
    };
    check_rows(rows, ARRAY_LEN(rows), NULL);
}

static void import_errors(void **state)
{
    (void)state;
    static const struct cf_options no_files = {.no_files = true};
    static const struct row rows[] = {
        {"(snip) { x }\na { import snap }\n", 1, 0,
         "C:2:12: error: there is no snippet \"snap\" above this line, and no file \"snap\"\n"
         "    a { import snap }\n               ^^^^ did you mean \"snip\"?"},
        {"a { import s }\n(s) { x }\n", 1, 0, "there is no snippet \"s\" above this line"},
        {"a { import }\n", 1, 0, "C:1:5: error: import needs the name"},
        {"a { import \"\" }\n", 1, 0, "is empty"},
        {"a { import no-such-folder/x }\n", 1, 0, "cannot read the file \"no-such-folder/x\": No "},
        {"a { import no-such-folder/* }\n", 0, 1, "warning: no file matches"},
        {"a { import no-such-folder/*/* }\n", 1, 0, "one \"*\" or \"?\""},
        {"a { import /dev/null }\n", 1, 0, "it is no regular file"},
        {"a { import / }\n", 1, 0, "Is a directory"},
        {"(s) { import s }\na { import s }\n", 1, 0,
         "C:1:7: error: the snippet \"s\" imports itself\n    (s) { import s }\n"
         "          ^^^^^^\n  imported at C:2:5\n"},
        {"(s) { import {args[0]} t }\n(t) { import s t }\na { import s t }\n", 1, 0,
         "imports itself"},
        {"(s) {\n x {args[1]}\n}\na { import s 1 }\n", 1, 0,
         "C:2:4: error: {args[1]}: the import gives 1 argument\n     x {args[1]}\n"
         "       ^^^^^^^^^\n  imported at C:4:5\n"},
        {"(s) {\n x {args[1:3]}\n}\na { import s 1 2 }\n", 1, 0, "the import gives 2 arguments"},
        {"(s) {\n x {args[2:1]}\n}\na { import s 1 2 }\n", 1, 0, "{args[2:1]}"},
        {"(s) {\n x {args[a:]}\n}\na { import s 1 2 }\n", 1, 0, "bounds of a range"},
        {"(s) {\n x {args[-1]}\n}\na { import s 1 2 }\n", 1, 0, "a number from 0"},
        {"(s) {\n x y{args[:]}\n}\na { import s 1 2 }\n", 1, 0, "must be a word of its own"},
        {"(s) {\n x {args.0}\n}\na { import s 1 }\n", 0, 1, "write {args[0]}"},
        {"(s) {\n }\n}\na { import s }\n", 1, 0, "C:3:1: error: this \"}\" closes nothing"},
    };
    check_rows(rows, ARRAY_LEN(rows), NULL);
    check_row(&(struct row){"a { import /etc/hostname }\n", 1, 0, "cannot be imported here"},
              &no_files);
}

static const char *unset(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "SET") == 0 ? "" : NULL;
}

static void unset_variables(void **state)
{
    (void)state;
    static const struct cf_options options = {.getenv = unset};
    check_row(&(struct row){"a {\n x {$NO}y\n}\n", 0, 1,
                            "C:2:4: warning: the environment variable \"NO\" is not set\n"
                            "     x y\n       ^ write {$NO:} if it may be empty\n"}, &options);
    check_row(&(struct row){" # {$NO}\na { x {$SET} {$NO:} }", 0, 0, ""}, &options);
}

/* Nothing that is short may become long without bound. */
static void limits(void **state)
{
    (void)state;
    static const struct cf_options few = {.max_tokens = 10};
    static const struct cf_options small = {.max_bytes = 10};
    struct dstr text;
    check_row(&(struct row){"a { b c d e f g h i j k }", 1, 0, "too many words"}, &few);
    check_row(&(struct row){"a\nx 2345678", 1, 0, "too long"}, &small);
    dstr_init(&text, 1 << 20);
    dstr_append(&text, S("(s0) {\n x\n}\n"));
    for (int i = 1; i < 60; i++) {
        dstr_printf(&text, "(s%d) {\n import s%d\n import s%d\n}\n", i, i - 1, i - 1);
    }
    dstr_append(&text, S("a { import s59 }\n"));
    check_row(&(struct row){text.p, 1, 0, "too many words"}, NULL);
    dstr_reset(&text);
    dstr_append(&text, S("(s0) {\n x {args[0]}\n}\n"));
    for (int i = 1; i < 60; i++) {
        dstr_printf(&text, "(s%d) {\n import s%d {args[0]}{args[0]}\n}\n", i, i - 1);
    }
    dstr_append(&text, S("a { import s59 ab }\n"));
    check_row(&(struct row){text.p, 1, 0, "grows too long"}, NULL);
    dstr_reset(&text);
    for (int i = 0; i < 100000; i++) {
        dstr_append(&text, S("a {\n"));
    }
    check_row(&(struct row){text.p, 1, 0, "too many blocks"}, NULL);
    dstr_fini(&text);
}

/* The block or brace that is to blame, and nothing that follows from it. */
static void mended(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* a "}" is missing */
        {"a.com {\n  x {\n    y\n  z\n}\nb.com {\n  y\n}\n", 1, 0,
         "C:2:5: error: the block that opens here is never closed\n      x {\n        ^ is a \"}\" "
         "missing above line 4?"},
        {"a.com {\n\tx {\n\t\ty\n}\nb.com {\n\ty\n}\n", 1, 0,
         "C:2:4: error: the block that opens here is never closed\n    \tx {\n    \t  ^ is a \"}\" "
         "missing above line 4?"},
        {"a.com {\nx\nb.com {\ny\n}\n(s) {\nz\n}\nc.com {\nimport s\n}\n", 1, 0,
         "C:1:7: error: the block that opens here is never closed\n    a.com {\n          ^ is a "
         "\"}\" missing above line 3?"},
        {"(s) {\n x\na.com {\n import s\n}\n", 1, 0, "missing above line 3?"},
        {"{\n x\na.com {\n y\n}\n", 1, 0, "C:1:1: error: the block that opens here"},
        {"a.com {\n x {\n  y\nb.com {\n z {\n  y\n", 4, 0, "C:5:4: error: the block that opens"},
        {"a.com { x y}\nb.com {\n z\n}\n", 1, 0, "C:1:11: error: a space is missing in front"},
        {"a.com\nx {\n y\nz\n", 1, 0, "C:2:3: error: the block that opens here is never closed"},
        {"(s) {\n x y{\n z\n}\na.com {\n y\n}\n", 0, 0, ""}, /* "y{" is a word of a snippet */
        /* one is left over */
        {"a.com {\n  x {\n  y\n  }\n  }\n  z\n}\nb.com {\n  y\n}\n", 1, 0,
         "C:5:3: error: this \"}\" closes the block of line 1, but what follows looks like a part"},
        {"a.com {\n  x\n  }\n  intranet {\n  y\n  }\n", 0, 0, ""},
        /* the opener is missing */
        {"a.com\n  x\n}\nb.com {\n  y\n}\n", 1, 0,
         "C:1:1: error: \"{\" is expected at the end of this line"},
        {"(s)\n  x\n}\nb.com {\n  import s\n}\n", 1, 0, "C:1:1: error: \"{\" is expected at the"},
        {"b.com {\n  y\n}\na.com, c.com\n  x\n}\n", 1, 0, "C:4:8: error: \"{\" is expected at the"},
        {"a.com {\n  x {\n    y z\n      u\n    }\n    v\n  }\n}\nb.com {\n  y\n}\n", 1, 0,
         "C:3:7: error: \"{\" is expected at the end of this line\n        y z\n          ^ the "
         "\"}\" in line 5 closes"},
        {"{\n\tx\n\t\ty\n\t}\n}\na.com {\n\tz\n\t\ty\n\t}\n}\n", 2, 0,
         "C:7:2: error: \"{\" is expected at the end of this line"},
        {"(s) {\n x\n  y\n }\n z\n}\na.com {\n import s\n}\n", 1, 0, "C:2:2: error: \"{\" is"},
        {"a.com {\n x\n  y\n z\n}\n", 0, 0, ""}, /* nothing is missing: only the layout is odd */
    };
    check_rows(rows, ARRAY_LEN(rows), NULL);
}

/* What steps behind the parser say at the place of one of its errors is a consequence. */
static void consequences(void **state)
{
    (void)state;
    struct cf_diags diags;
    struct dstr out;
    cf_diags_init(&diags);
    dstr_init(&out, 1 << 20);
    struct cf_document *doc = cf_parse_text(S("C"), S("a {\n y{\n }\n x\n z\n}\n"), NULL, &diags);
    const struct cf_directive *y = doc->sites->directives;
    assert_false(doc->unusable);
    assert_int_equal(diags.errors, 1);
    assert_non_null(cf_error(&diags, &y->next->next->name, "unknown z"));
    assert_null(cf_error(&diags, &y->name, "unknown y"));
    assert_non_null(cf_error(&diags, &y->next->name, "unknown x"));
    assert_int_equal(diags.errors - diags.repeats, 3);
    cf_diags_print(&diags, &out);
    dstr_append(&out, S(""));
    const char *x = strstr(out.p, "C:4:2: error: unknown x"); /* in the order of the text */
    const char *z = strstr(out.p, "C:5:2: error: unknown z");
    assert_true(x && z && x < z && x > strstr(out.p, "C:2:2: error: a space is missing"));
    cf_free(doc);
    cf_diags_fini(&diags);
    dstr_fini(&out);
}

static void all_at_once(void **state)
{
    (void)state;
    static const struct row row = {
        "a{\n x\n}\n}\nb.com {\n import nope\n y z{\n }\n w {args[0]}\n}\nc.com {\n", 5, 0,
        "C:11:7: error: the block that opens here is never closed"};
    check_row(&row, NULL);
}

static void at_most_a_hundred(void **state)
{
    (void)state;
    struct cf_diags diags;
    struct dstr out;
    cf_diags_init(&diags);
    dstr_init(&out, 1 << 20);
    for (int i = 0; i < 60; i++) {
        assert_int_equal(cf_warning(&diags, NULL, "warning %d", i) != NULL, i < 50);
    }
    for (int i = 0; i < 150; i++) {
        struct cf_diag *d = cf_error(&diags, NULL, "number %d", i);
        assert_int_equal(d != NULL, i < 100);
    }
    cf_diags_print(&diags, &out);
    assert_int_equal(diags.errors, 150);
    assert_non_null(strstr(out.p, "error: number 99\n... and 60 more\n"));
    assert_null(strstr(out.p, "number 100"));
    cf_diags_fini(&diags);
    dstr_fini(&out);
}

/* The caret stands under the word whatever is in front of it, and nothing reaches the terminal. */
static void excerpts(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"a {\n\tx\ty{\n\t}\n}\n", 1, 0, "    \tx\ty{\n    \t \t^^ "},
        {"a {\n \xc3\xa9\xe2\x82\xac y{\n }\n}\n", 1, 0,
         "     \xc3\xa9\xe2\x82\xac y{\n        ^^ "},
        {"a {\n \x1b[31m y{\n }\n}\n", 1, 0, "     \\x1b[31m y{\n              ^^ "},
        {"a {\n \xff y{\n }\n}\n", 1, 0, "     \\xff y{\n          ^^ "},
        {"a {\n \xe2\x80\xae y{\n }\n}\n", 1, 0, "     \\u{202e} y{\n              ^^ "},
        {"a {\n \"\x1b\" y{\n }\n}\n", 1, 0, "\"\\x1b\" y{"},
        {"(\x1b) { x }\n(\x1b) { y }\n", 1, 0, "error: the snippet \"\\x1b\" is defined twice"},
    };
    check_rows(rows, ARRAY_LEN(rows), NULL);
    struct dstr text;
    dstr_init(&text, 1 << 20);
    dstr_append(&text, S("a {\n x "));
    for (int i = 0; i < 500; i++) {
        dstr_append(&text, S("\xc3\xa9 "));
    }
    dstr_append(&text, S("y{\n }\n}\n"));
    check_row(&(struct row){text.p, 1, 0, "    ... \xc3\xa9 \xc3\xa9"}, NULL);
    check_row(&(struct row){text.p, 1, 0, "\xc3\xa9 y{\n                                        "},
              NULL);
    dstr_fini(&text);
}

static void suggestions(void **state)
{
    (void)state;
    static const struct slice names[] = {S_INIT("reverse_proxy"), S_INIT("respond"),
                                         S_INIT("redir"), S_INIT("tls"), S_INIT("log")};
    static const struct {
        const char *word;
        const char *hint;
    } rows[] = {
        {"revers_proxy", "did you mean \"reverse_proxy\"?"},
        {"reverse-proxy", "did you mean \"reverse_proxy\"?"},
        {"Respond", "did you mean \"respond\"?"},
        {"rediirect", ""},
        {"tsl", "did you mean \"tls\"?"},
        {"lo", "did you mean \"log\"?"},
        {"zzz", ""},
        {"", ""},
        {"proxy", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cf_diags diags;
        cf_diags_init(&diags);
        struct cf_diag *d = cf_error(&diags, NULL, "x");
        cf_did_you_mean(&diags, d, slice_str(rows[i].word), names, ARRAY_LEN(names));
        if (!slice_eq(d->hint, slice_str(rows[i].hint))) {
            fail_msg("%s: %.*s", rows[i].word, SLICE_ARG(d->hint));
        }
        cf_did_you_mean(&diags, NULL, S("x"), names, ARRAY_LEN(names));
        cf_diags_fini(&diags);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lexer_errors),  cmocka_unit_test(block_errors),
        cmocka_unit_test(item_errors),   cmocka_unit_test(import_errors),
        cmocka_unit_test(limits),        cmocka_unit_test(all_at_once),
        cmocka_unit_test(mended),        cmocka_unit_test(consequences),
        cmocka_unit_test(excerpts),      cmocka_unit_test(at_most_a_hundred),
        cmocka_unit_test(suggestions),   cmocka_unit_test(unset_variables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
