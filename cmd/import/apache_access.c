/* Who may come, in Apache's words: Require, Allow and Deny, AuthType, [F]. What decided it is not
 * known here, so that what was closed for some is closed for all until a person has written it. */
#include "cmd/import/apache_convert.h"

static bool has(struct slice text, struct slice part)
{
    return slice_find_slice(text, part) != SLICE_NPOS;
}

/* ---- what closes ------------------------------------------------------------------------- */

/* "[F]", "[F,L]", "[R=403]", "[gone]": the status of a rule that refuses; 0. */
static unsigned refusal_of(struct slice flags)
{
    struct slice flag;
    flags = slice_upto(slice_from(flags, 1), flags.n > 1 ? flags.n - 2 : 0);
    while (slice_cut(&flags, ',', &flag)) {
        flag = slice_trim(flag);
        uint64_t status;
        if (slice_eq_case(flag, S("F")) || slice_eq_case(flag, S("forbidden"))) {
            return 403;
        }
        if (slice_starts(flag, S("R=4")) && slice_u64(slice_from(flag, 2), 499, &status)) {
            return (unsigned)status;
        }
        if (slice_eq_case(flag, S("G")) || slice_eq_case(flag, S("gone"))) {
            return 410;
        }
    }
    return 0;
}

static bool closes(const struct apache_directive *d)
{
    if (is(d, S("Require"))) {
        return !slice_eq_case(word(d, 1), S("all")) || !slice_eq_case(word(d, 2), S("granted"));
    }
    if (is(d, S("Allow")) || is(d, S("AuthType"))) {
        struct slice last = word(d, d->count - 1);
        return !slice_eq_case(last, S("all")) && !slice_eq_case(last, S("None"));
    }
    if (is(d, S("SSLVerifyClient"))) {
        return slice_eq_case(word(d, 1), S("require"));
    }
    return is(d, S("Deny")) || is(d, S("SSLRequire")) ||
           (is(d, S("RewriteRule")) && refusal_of(word(d, 3)));
}

bool apache_closes(const struct apache_directive *first)
{
    for (const struct apache_directive *d = first; d; d = d->next) {
        if (closes(d) || (d->is_section && apache_closes(d->children))) {
            return true;
        }
    }
    return false;
}

/* Is it closed to everybody? Then it was meant to be, and nobody is asked who they are. */
static bool for_nobody(const struct apache_directive *first)
{
    bool nobody = true;
    for (const struct apache_directive *d = first; d; d = d->next) {
        struct slice last = word(d, d->count - 1);
        nobody = nobody && (d->is_section ? for_nobody(d->children)
                            : !closes(d)  ? !is(d, S("Allow"))
                                          : slice_eq_case(last, S("denied")) ||
                                                slice_eq_case(last, S("all")));
    }
    return nobody;
}

/* ---- folders ----------------------------------------------------------------------------- */

static bool is_below(struct slice path, struct slice folder)
{
    folder = import_without_slash(folder);
    return slice_starts(path, folder) && (path.n == folder.n || path.p[folder.n] == '/');
}

/* Does it say at all who may come? */
static bool decides(const struct apache_directive *first)
{
    for (const struct apache_directive *d = first; d; d = d->next) {
        if (closes(d) || is(d, S("Require")) || is(d, S("Allow")) || decides(d->children)) {
            return true;
        }
    }
    return false;
}

/* The section that is nearest to the folder, of those around it. */
static void nearest(const struct apache_directive *first, struct slice folder,
                    const struct apache_directive **best)
{
    for (const struct apache_directive *d = first; d; d = d->next) {
        if (!d->is_section || !is(d, S("Directory")) || !is_below(folder, word(d, 1)) ||
            !decides(d->children)) {
            continue;
        }
        size_t n = import_without_slash(word(d, 1)).n;
        size_t than = *best ? import_without_slash(word(*best, 1)).n : 0;
        if (!*best || n > than || (n == than && apache_closes(d->children))) {
            *best = d;
        }
    }
}

static void folders_below(struct apache *a, struct import_text *t,
                          const struct apache_directive *first, struct slice folder)
{
    for (const struct apache_directive *d = first; d; d = d->next) {
        struct slice path = word(d, 1);
        if (!d->is_section || !apache_closes(d->children)) {
            continue;
        }
        if (is(d, S("DirectoryMatch")) || has(path, S("*")) || slice_eq(path, S("~"))) {
            if (is(d, S("Directory")) || is(d, S("DirectoryMatch"))) {
                text_line(t, "error 403 # <%.*s>", SLICE_ARG(written(a, d)));
            }
        } else if (is(d, S("Directory")) && path.n > folder.n && is_below(path, folder)) {
            struct slice rest = import_without_slash(slice_from(path, folder.n));
            text_line(t, "error %.*s 403", SLICE_ARG(import_below(a->i, rest)));
        }
    }
}

void apache_folder_access(struct apache *a, struct import_text *t,
                          const struct apache_directive *host, struct slice folder)
{
    const struct apache_directive *around = NULL;
    folder = import_without_slash(folder);
    nearest(a->top, folder, &around);
    nearest(host->children, folder, &around);
    if (around && apache_closes(around->children)) {
        text_line(t, "error 403 # <%.*s>", SLICE_ARG(written(a, around)));
    }
    folders_below(a, t, a->top, folder);
    folders_below(a, t, host->children, folder);
}

/* ---- origins ----------------------------------------------------------------------------- */

static bool origin_closed(const struct apache_directive *first, struct slice url)
{
    for (const struct apache_directive *d = first; d; d = d->next) {
        struct slice name = slice_upto(word(d, 1), slice_find(word(d, 1), '*'));
        bool fits = is(d, S("ProxyMatch")) || (is(d, S("Proxy")) && slice_starts(url, name));
        if (d->is_section && fits && apache_closes(d->children)) {
            return true;
        }
    }
    return false;
}

void apache_origin_access(struct apache *a, struct import_text *t,
                          const struct apache_directive *host, struct slice url)
{
    if (origin_closed(a->top, url) || origin_closed(host->children, url)) {
        text_line(t, "error 401 # <Proxy>");
    }
}

/* ---- paths ------------------------------------------------------------------------------- */

static void refuse(struct apache *a, struct import_text *t, const char *kind, struct slice value,
                   unsigned status)
{
    struct slice name = import_name(a->i);
    text_line(t, "@%.*s %s %.*s", SLICE_ARG(name), kind, SLICE_ARG(value));
    text_line(t, "error @%.*s %u", SLICE_ARG(name), status);
}

static void refuse_regexp(struct apache *a, struct import_text *t, struct slice re, unsigned status)
{
    bool negated = slice_starts(re, S("!"));
    refuse(a, t, negated ? "not path_regexp" : "path_regexp",
           import_quoted(a->i, slice_from(re, negated)), status);
}

/* "/admin" is what is below it, too, but not "/administration". */
static void refuse_path(struct apache *a, struct import_text *t, struct slice path, unsigned status)
{
    path = import_without_slash(path);
    if (path.n == 0) {
        text_line(t, "error %u", status);
        return;
    }
    struct slice below = arena_printf(&a->i->arena, "%.*s/*", SLICE_ARG(path));
    refuse(a, t, "path", arena_printf(&a->i->arena, "%.*s %.*s",
                                      SLICE_ARG(import_quoted(a->i, path)),
                                      SLICE_ARG(import_quoted(a->i, below))), status);
}

/* <Files> are compared with what is behind the last slash. */
static void refuse_files(struct apache *a, struct import_text *t, const struct apache_directive *d)
{
    struct slice what = word(d, d->count - 1);
    if (is(d, S("Files")) && d->count == 2) {
        refuse(a, t, "path", import_quoted(a->i, arena_printf(&a->i->arena, "*/%.*s",
                                                              SLICE_ARG(what))), 403);
        return;
    }
    bool front = slice_starts(what, S("^"));
    refuse_regexp(a, t, arena_printf(&a->i->arena, front ? "/(?:%.*s)[^/]*$" : "(?:%.*s)[^/]*$",
                                     SLICE_ARG(slice_from(what, front))), 403);
}

static void section(struct apache *a, struct import_text *t, const struct apache_directive *d)
{
    if (!d->is_section || !apache_closes(d->children) || is(d, S("VirtualHost")) ||
        is(d, S("Directory")) || is(d, S("DirectoryMatch")) || is(d, S("Proxy")) ||
        is(d, S("ProxyMatch"))) {
        return;
    }
    unsigned status = for_nobody(d->children) ? 403 : 401;
    if (is(d, S("Files")) || is(d, S("FilesMatch"))) {
        refuse_files(a, t, d);
    } else if (is(d, S("LocationMatch")) || (is(d, S("Location")) && d->count > 2)) {
        refuse_regexp(a, t, word(d, d->count - 1), status);
    } else if (is(d, S("Location"))) {
        refuse_path(a, t, word(d, 1), status);
    } else {
        text_line(t, "error 401 # <%.*s>", SLICE_ARG(written(a, d)));
    }
}

/* Conditions that say who may come are those with "!": all others are refused. */
void apache_condition(struct apache_conditions *c, const struct apache_directive *d)
{
    struct slice what = word(d, 1);
    c->any = true;
    c->upgrade = c->upgrade || has(what, S("pgrade")) || has(word(d, 2), S("pgrade"));
    c->for_some = c->for_some || (slice_starts(word(d, 2), S("!")) && !has(what, S("HTTPS")) &&
                                  !has(what, S("HOST")) && !has(what, S("SERVER_NAME")) &&
                                  !has(what, S("METHOD")) && !has(what, S("REQUEST_FILENAME")));
}

unsigned apache_refuses(const struct apache_directive *rule, const struct apache_conditions *c)
{
    return !c->any || c->for_some ? refusal_of(word(rule, 3)) : 0;
}

static bool is_refusal(const struct apache_directive *d, unsigned *status)
{
    uint64_t code = slice_eq_case(word(d, 1), S("gone")) ? 410 : 0;
    bool number = code || (slice_u64(word(d, 1), 599, &code) && code >= 400);
    *status = (unsigned)code;
    return number && (is(d, S("Redirect")) || is(d, S("RedirectMatch")));
}

bool apache_is_refusal(const struct apache_directive *d)
{
    unsigned status;
    return is_refusal(d, &status);
}

static void sections(struct apache *a, struct import_text *t, const struct apache_directive *first)
{
    struct apache_conditions c = {0};
    unsigned status;
    for (const struct apache_directive *d = first; d; d = d->next) {
        section(a, t, d);
        if (is(d, S("SSLVerifyClient")) && closes(d)) {
            text_line(t, "error 401 # SSLVerifyClient");
        } else if (is_refusal(d, &status) && is(d, S("Redirect"))) {
            refuse_path(a, t, word(d, 2), status);
        } else if (is_refusal(d, &status)) {
            refuse_regexp(a, t, word(d, 2), status);
        } else if (is(d, S("RewriteCond"))) {
            apache_condition(&c, d);
        } else if (is(d, S("RewriteRule"))) {
            if (apache_refuses(d, &c)) {
                refuse_regexp(a, t, word(d, 1), apache_refuses(d, &c));
            }
            c = (struct apache_conditions){0};
        }
    }
}

void apache_access(struct apache *a, struct import_text *t, const struct apache_directive *host)
{
    sections(a, t, a->top);
    sections(a, t, host->children);
}
