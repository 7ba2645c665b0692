/* log [<name>] {
 *     output stderr|stdout|discard|file <path>
 *     format console|json
 *     level  DEBUG|INFO
 * }
 *
 * The site's access log, one line a request; off unless this directive is there. Default: stderr,
 * console on a terminal and JSON elsewhere. A file is made 0600 (folders that are missing: 0700)
 * and opened again on reload and when it was renamed. Authorization, Cookie and Set-Cookie values
 * are not written. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/handler/access_log.h"
#include "proxy/handler/directives.h"

struct log_draft {
    const char *target; /* NULL: discard */
    const struct cf_token *at; /* where the target is written, or the directive */
    bool format_given;
    enum log_format format;
};

/* Makes the folders above a file; what cannot be made shows when the file is opened. */
static void make_folders(struct slice path)
{
    char folder[4096];
    for (size_t i = 1; i < path.n && i < sizeof(folder); i++) {
        if (path.p[i] == '/') {
            memcpy(folder, path.p, i);
            folder[i] = '\0';
            (void)mkdir(folder, 0700);
        }
    }
}

static bool parse_output(struct build *b, const struct cf_directive *d, struct log_draft *draft)
{
    static const struct slice kinds[] = {S_INIT("stderr"), S_INIT("stdout"), S_INIT("discard"),
                                         S_INIT("file")};
    if (!expect_args(b, d, d->arg_count, 1, SIZE_MAX)) {
        return false;
    }
    struct slice kind = d->args[0].text;
    bool is_file = slice_eq(kind, S("file"));
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        known = known || slice_eq(kind, kinds[i]);
    }
    if (!known) {
        struct cf_diag *diag = cf_error(b->diags, &d->args[0], "unknown log output \"%.*s\""
                                        " (stderr, stdout, discard, file PATH)", SLICE_ARG(kind));
        cf_did_you_mean(b->diags, diag, kind, kinds, ARRAY_LEN(kinds));
        return false;
    }
    if (!expect_args(b, d, d->arg_count, is_file ? 2 : 1, is_file ? 2 : 1)) {
        return false;
    }
    draft->at = &d->args[d->arg_count - 1];
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        cf_error(b->diags, &o->name, "\"%.*s\" is Caddy's and not yet in caddis; the file is opened"
                 " again when it was renamed, so logrotate works", SLICE_ARG(o->name.text));
    }
    if (is_file) {
        make_folders(d->args[1].text);
        draft->target = d->args[1].text.p;
    } else {
        draft->target = slice_eq(kind, S("discard")) ? NULL : kind.p;
    }
    return true;
}

static bool parse_format(struct build *b, const struct cf_directive *d, struct log_draft *draft)
{
    if (!expect_args(b, d, d->arg_count, 1, 1) || !expect_no_block(b, d)) {
        return false;
    }
    if (!slice_eq(d->args[0].text, S("json")) && !slice_eq(d->args[0].text, S("console"))) {
        cf_error(b->diags, &d->args[0], "unknown log format \"%.*s\" (console, json)",
                 SLICE_ARG(d->args[0].text));
        return false;
    }
    draft->format_given = true;
    draft->format = slice_eq(d->args[0].text, S("json")) ? LOG_JSON : LOG_CONSOLE;
    return true;
}

/* Access lines are info, and error where the status is 5xx: these two levels show all of them. */
static void parse_level(struct build *b, const struct cf_directive *d)
{
    if (expect_args(b, d, d->arg_count, 1, 1) && !slice_eq_case(d->args[0].text, S("INFO")) &&
        !slice_eq_case(d->args[0].text, S("DEBUG"))) {
        cf_error(b->diags, &d->args[0], "the level is INFO or DEBUG; others are not yet in caddis");
    }
}

static void parse_option(struct build *b, const struct cf_directive *d, struct log_draft *draft)
{
    if (slice_eq(d->name.text, S("output"))) {
        (void)parse_output(b, d, draft);
    } else if (slice_eq(d->name.text, S("format"))) {
        (void)parse_format(b, d, draft);
    } else if (slice_eq(d->name.text, S("level"))) {
        parse_level(b, d);
    } else {
        cf_error(b->diags, &d->name, "\"log\" has no option \"%.*s\" in caddis (it has output,"
                 " format, level)", SLICE_ARG(d->name.text));
    }
}

static void log_release(void *instance)
{
    struct log_config *config = instance;
    log_sink_unref(config->sink);
}

static const struct handler_ops log_ops = {.name = "log", .release = log_release};

bool log_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
               size_t count, struct handler *out)
{
    (void)out;
    unsigned errors = b->diags->errors;
    struct log_draft draft = {.target = "stderr", .at = &d->name};
    if (!expect_args(b, d, count, 0, 1)) {
        return false;
    }
    if (b->site->log) {
        cf_error(b->diags, &d->name, "the site has a log already");
        return false;
    }
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        parse_option(b, o, &draft);
    }
    if (b->diags->errors != errors || !draft.target) {
        return b->diags->errors == errors;
    }
    struct log_config *config = ARENA_NEW(b->arena, struct log_config);
    struct build_release *r = ARENA_NEW(b->arena, struct build_release);
    must(config && r);
    struct err err;
    config->sink = log_sink_open(draft.target, &err);
    if (!config->sink) {
        cf_error(b->diags, draft.at, "the log cannot be opened: %s", err.text);
        return false;
    }
    config->name = count ? args[0].text : arena_printf(b->arena, "log%u", b->log_count++);
    config->format = draft.format_given ? draft.format
                     : isatty(STDERR_FILENO) ? LOG_CONSOLE
                                             : LOG_JSON;
    *r = (struct build_release){b->releases, &log_ops, config};
    b->releases = r;
    b->site->log = config;
    return true;
}
