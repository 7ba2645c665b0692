/* Imports of files: where they are looked for, globs, cycles, and the chain under an error. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/caddyfile/dump.h"

static char folder[64];

static void write_file(const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fputs(text, f) >= 0, 1);
    assert_int_equal(fclose(f), 0);
}

static int set_up(void **state)
{
    (void)state;
    char path[256];
    (void)snprintf(folder, sizeof(folder), "%s", "/tmp/caddyfile-test-XXXXXX");
    if (!mkdtemp(folder)) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/sites", folder);
    if (mkdir(path, 0700) != 0) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/sites/folder", folder);
    if (mkdir(path, 0700) != 0) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/sites/fifo", folder);
    return mkfifo(path, 0600);
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {
        "sites/a.caddy", "sites/b.caddy", "sites/.hidden.caddy", "sites/common", "sites/empty",
        "sites/broken",  "sites/again",   "sites/fifo",          "sites/folder", "sites/snips",
        "sites",         "Caddyfile",     ""};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[256];
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)remove(path);
    }
    return 0;
}

/* Parses folder/Caddyfile and compares the tree and, where given, a part of what is said; "@"
 * stands for the folder. */
static void check(const char *text, unsigned errors, unsigned warnings, const char *tree,
                  const char *says)
{
    char path[256];
    struct cf_diags diags;
    struct dstr out;
    struct dstr said;
    struct dstr want;
    cf_diags_init(&diags);
    dstr_init(&out, 1 << 20);
    dstr_init(&said, 1 << 20);
    dstr_init(&want, 1 << 20);
    write_file("Caddyfile", text);
    (void)snprintf(path, sizeof(path), "%s/Caddyfile", folder);
    struct cf_document *doc = cf_parse_file(path, NULL, &diags);
    dump_document(&out, doc);
    cf_free(doc);
    cf_diags_print(&diags, &said); /* after the document is gone: it must not need it */
    dstr_append(&out, S(""));
    dstr_append(&said, S(""));
    for (const char *c = says ? says : ""; *c; c++) {
        dstr_append(&want, *c == '@' ? slice_str(folder) : slice_of(c, 1));
    }
    dstr_append(&want, S(""));
    if (diags.errors != errors || diags.warnings != warnings ||
        (tree && strcmp(out.p, tree) != 0) || !strstr(said.p, want.p)) {
        fail_msg("%s\n--- gives:\n%s\n--- says:\n%s\n--- not:\n%s\n%s", text, out.p, said.p,
                 tree ? tree : "", want.p);
    }
    cf_diags_fini(&diags);
    dstr_fini(&out);
    dstr_fini(&said);
    dstr_fini(&want);
}

static void files(void **state)
{
    (void)state;
    write_file("sites/a.caddy", "a.com {\n import common 1\n}\n");
    write_file("sites/b.caddy", "b.com { import common 2 }\n");
    write_file("sites/.hidden.caddy", "hidden.com { x }\n");
    write_file("sites/common", "log {args[0]}");
    check("import sites/a.caddy\n", 0, 0, "site(a.com){log [1]}", NULL);
    check("import sites/*.caddy\nc.com {\n import sites/common 3\n x\n}\n", 0, 0,
          "site(a.com){log [1]} site(b.com){log [2]} site(c.com){log [3]; x}", NULL);
    check("import sites/?.caddy", 0, 0, "site(a.com){log [1]} site(b.com){log [2]}", NULL);
    check("import sites/.h*", 0, 0, "site(hidden.com){x}", NULL);
    check("c.com {\n import sites/fol*\n import sites/common x\n}", 0, 0,
          "site(c.com){log [x]}", NULL);
    check("c.com\nimport sites/common 4\ny", 0, 0, "site(c.com){log [4]; y}", NULL);
}

/* Arguments inside a snippet that a file defines belong to whoever imports the snippet. */
static void snippets_in_files(void **state)
{
    (void)state;
    write_file("sites/snips", "(s) {\n x {args[0]} {\n  y\n }\n z\n}\n(t) { w {args[0]} }\n"
                              "d.com { v {args[0]} }");
    check("import sites/snips 9\nc.com {\n import s 1\n import t 2\n}\n", 0, 0,
          "site(d.com){v [9]} site(c.com){x [1]{y}; z; w [2]}", NULL);
    check("import sites/snips 9\nc.com {\n import s\n}\n", 1, 0, NULL,
          "@/sites/snips:2:4: error: {args[0]}: the import gives 0 arguments\n"
          "     x {args[0]} {\n       ^^^^^^^^^\n  imported at @/Caddyfile:3:2\n");
}

static void failures(void **state)
{
    (void)state;
    write_file("sites/empty", "# nothing\n");
    write_file("sites/broken", "x y{\n}\nimport nope\n");
    write_file("sites/again", "import again\nimport ../Caddyfile\n");
    check("a { import sites/empty }", 0, 1, "site(a){}", "is empty");
    check("a { import sites/nope }", 1, 0, NULL,
          "@/Caddyfile:1:12: error: cannot read the file \"@/sites/nope\": No such file");
    check("a { import sites/folder }", 1, 0, NULL, "Is a directory");
    check("a { import sites/fifo }", 1, 0, NULL, "it is no regular file");
    check("a { import sites/*.none }", 0, 1, "site(a){}", "no file matches \"@/sites/*.none\"");
    check("a {\n import sites/broken\n}", 2, 0, NULL,
          "@/sites/broken:1:3: error: a space is missing in front of \"{\"\n"
          "    x y{\n      ^^ a brace that belongs to the word goes in quotes\n"
          "  imported at @/Caddyfile:2:2\n@/sites/broken:3:8: error: there is no snippet");
    check("import sites/again", 2, 0, NULL,
          "error: the file \"@/sites/again\" imports itself\n    import again\n    ^^^^^^\n"
          "  imported at @/Caddyfile:1:1\n");
}

static void missing_file(void **state)
{
    (void)state;
    struct cf_diags diags;
    struct dstr said;
    cf_diags_init(&diags);
    dstr_init(&said, 1 << 20);
    cf_free(cf_parse_file("/no/such/Caddyfile", NULL, &diags));
    cf_diags_print(&diags, &said);
    assert_string_equal(said.p, "error: cannot read the file \"/no/such/Caddyfile\": No such file "
                                "or directory\n");
    cf_diags_fini(&diags);
    cf_free(cf_parse_file("/", NULL, &diags));
    assert_int_equal(diags.errors, 1);
    cf_diags_fini(&diags);
    dstr_fini(&said);
}

static void standard_input(void **state)
{
    (void)state;
    struct cf_diags diags;
    struct dstr out;
    int pipe_fds[2];
    int saved = dup(STDIN_FILENO);
    cf_diags_init(&diags);
    dstr_init(&out, 1 << 20);
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(write(pipe_fds[1], "a { x }", 7), 7);
    close(pipe_fds[1]);
    dup2(pipe_fds[0], STDIN_FILENO);
    close(pipe_fds[0]);
    struct cf_document *doc = cf_parse_file("-", NULL, &diags);
    dup2(saved, STDIN_FILENO);
    close(saved);
    dump_document(&out, doc);
    assert_string_equal(out.p, "site(a){x}");
    cf_free(doc);
    cf_diags_fini(&diags);
    dstr_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),        cmocka_unit_test(snippets_in_files),
        cmocka_unit_test(failures),     cmocka_unit_test(missing_file),
        cmocka_unit_test(standard_input),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
