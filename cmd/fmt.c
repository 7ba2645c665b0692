/* caddis fmt: a Caddyfile in Caddy's layout, to standard output or in its place. Exit status 1 when
 * the file was not laid out like that and stays as it was. */
#include <stdio.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/diff.h"
#include "cmd/load.h"
#include "cmd/text_file.h"
#include "proxy/caddyfile/caddyfile.h"

#define TEXT_MAX ((size_t)16 << 20)

static struct {
    const char *config;
    bool overwrite;
    bool diff;
} args;

static const struct arg table[] = {
    {"overwrite", 'w', ARG_FLAG, &args.overwrite, "write the result into the file", NULL},
    {"diff", 'd', ARG_FLAG, &args.diff, "print what changes, with + and - in front of the lines",
     NULL},
    {"config", 'c', ARG_TEXT, &args.config, "the file, as the word behind the options says it",
     NULL},
};

void fmt_help(void)
{
    printf("usage: caddis fmt [OPTIONS] [FILE]     (default: Caddyfile in this folder; -: standard"
           " input)\n\n"
           "Blocks on one line and in angle brackets are written as blocks of several lines with\n"
           "braces, so that the result runs in Caddy, too.\n\n");
    args_help(table, ARRAY_LEN(table));
}

static bool print(struct slice text)
{
    return fwrite(text.p ? text.p : "", 1, text.n, stdout) == text.n && fflush(stdout) == 0;
}

static bool print_diff(struct slice before, struct slice after)
{
    struct dstr out;
    dstr_init(&out, 4 * TEXT_MAX);
    diff_lines(before, after, &out);
    bool ok = print(dstr_slice(&out)) && !out.failed;
    dstr_fini(&out);
    return ok;
}

static int finish(const char *path, bool is_stdin, struct slice before, struct slice after)
{
    bool same = slice_eq(before, after);
    struct err err;
    if (args.overwrite) {
        bool ok = same || text_file_replace(path, after, &err);
        if (!ok) {
            (void)fprintf(stderr, "caddis fmt: %s\n", err.text);
        }
        return ok && (!args.diff || print_diff(before, after)) ? 0 : 1;
    }
    if (!(args.diff ? print_diff(before, after) : print(after))) {
        perror("caddis fmt: standard output");
        return 1;
    }
    if (!same && !is_stdin) {
        (void)fprintf(stderr, "caddis fmt: %s is not laid out like this; --overwrite changes it\n",
                      path);
    }
    return same || is_stdin ? 0 : 1;
}

static int format(const char *path)
{
    struct err err;
    struct cf_diags diags;
    struct dstr before;
    struct dstr after;
    int status = 1;
    dstr_init(&before, TEXT_MAX);
    dstr_init(&after, 2 * TEXT_MAX);
    cf_diags_init(&diags);
    bool is_stdin = slice_eq(slice_str(path), S("-"));
    if (!text_file_read(path, &before, &err)) {
        (void)fprintf(stderr, "caddis fmt: %s\n", err.text);
    } else if (!cf_format(is_stdin ? S("stdin") : slice_str(path), dstr_slice(&before), &after,
                          NULL, &diags)) {
        print_diags(&diags, NULL);
    } else {
        status = finish(path, is_stdin, dstr_slice(&before), dstr_slice(&after));
    }
    cf_diags_fini(&diags);
    dstr_fini(&before);
    dstr_fini(&after);
    return status;
}

int fmt_command(const struct command *self, int argc, char **argv)
{
    const char *path = NULL;
    if (!args_parse(self->name, table, ARRAY_LEN(table), argc, argv, &path)) {
        return 1;
    }
    if (path && args.config) {
        (void)fprintf(stderr, "caddis fmt: one file at a time: %s or %s?\n", args.config, path);
        return 1;
    }
    path = config_or_default(self->name, path ? path : args.config);
    if (!path) {
        return 1;
    }
    if (args.overwrite && slice_eq(slice_str(path), S("-"))) {
        (void)fprintf(stderr, "caddis fmt: standard input cannot be overwritten\n");
        return 1;
    }
    return format(path);
}
