/* Matchers with regular expressions, whose groups become {re.NAME.N} and {re.N} (and by name, where
 * a group has one):
 *   path_regexp [NAME] RE    header_regexp [NAME] FIELD RE    vars_regexp [NAME] KEY RE
 * NAME is that of the named matcher where none is given. */
#include "proxy/route/match.h"
#include "proxy/route/match_key.h"
#include "proxy/route/path.h"
#include "proxy/route/regex.h"
#include "proxy/route/vars.h"

/* One pattern, and how the variables of its groups are called. */
struct pattern {
    struct pattern *next;
    const struct regex *re;
    size_t groups;
    struct slice *numbered; /* "http.regexp.N" */
    struct slice *named;    /* "http.regexp.NAME.N"; NULL: the matcher has no name */
    struct slice *spelt;    /* "http.regexp.NAME.GROUP" or "http.regexp.GROUP"; empty ones: none */
    struct slice field;     /* header_regexp */
    struct match_key key;   /* vars_regexp */
};

/* ---- reading --------------------------------------------------------------------------------- */

static void name_groups(struct arena *a, struct pattern *p, struct slice name)
{
    p->groups = regex_group_count(p->re);
    p->numbered = ARENA_ARRAY(a, struct slice, p->groups);
    p->named = name.n ? ARENA_ARRAY(a, struct slice, p->groups) : NULL;
    p->spelt = ARENA_ARRAY(a, struct slice, p->groups);
    must(p->numbered && p->spelt);
    for (size_t i = 0; i < p->groups; i++) {
        struct slice group = regex_group_name(p->re, i);
        p->numbered[i] = arena_printf(a, "http.regexp.%zu", i);
        if (p->named) {
            p->named[i] = arena_printf(a, "http.regexp.%.*s.%zu", SLICE_ARG(name), i);
        }
        if (group.n) {
            p->spelt[i] = arena_printf(a, "http.regexp.%.*s%s%.*s", SLICE_ARG(name),
                                       name.n ? "." : "", SLICE_ARG(group));
        }
    }
}

static struct pattern *new_pattern(struct match_line *line, struct slice name,
                                   const struct cf_token *text)
{
    struct pattern *p = ARENA_NEW(line->arena, struct pattern);
    struct slice why = S("");
    must(p);
    p->re = regex_compile(line->arena, text->text, &why);
    if (!p->re) {
        cf_error(line->diags, text, "this is no regular expression: %.*s", SLICE_ARG(why));
        return NULL;
    }
    name_groups(line->arena, p, name);
    return p;
}

static void append(struct matcher *m, struct pattern *p)
{
    struct pattern *last = m->data;
    while (last && last->next) {
        last = last->next;
    }
    if (last) {
        last->next = p;
    } else {
        m->data = p;
    }
}

/* ---- asking ---------------------------------------------------------------------------------- */

static bool set_groups(const struct pattern *p, struct exchange *ex, const struct slice *groups,
                       size_t count)
{
    for (size_t i = 0; i < p->groups && i < REGEX_CAPTURES_MAX; i++) {
        struct slice value = i < count && groups[i].p ? groups[i] : S("");
        if (!vars_set(ex, p->numbered[i], value) ||
            (p->named && !vars_set(ex, p->named[i], value)) ||
            (p->spelt[i].n && !vars_set(ex, p->spelt[i], value))) {
            return false;
        }
    }
    return true;
}

static enum match_result search(const struct pattern *p, struct exchange *ex, struct slice text)
{
    struct slice groups[REGEX_CAPTURES_MAX];
    size_t count = 0;
    switch (regex_search(p->re, text, groups, REGEX_CAPTURES_MAX, &count)) {
    case REGEX_NO:
        return MATCH_NO;
    case REGEX_LIMIT:
        ex->error_detail = S("a matcher's regular expression took too long");
        return MATCH_FAILED;
    case REGEX_MATCH:
        break;
    }
    return set_groups(p, ex, groups, count) ? MATCH_YES : MATCH_FAILED;
}

/* ---- path_regexp ----------------------------------------------------------------------------- */

static bool count_words(struct match_line *line, size_t min, const char *form)
{
    if (line->count >= min && line->count <= min + 1) {
        return true;
    }
    cf_error(line->diags, line->count > min + 1 ? &line->args[min + 1] : line->name,
             "\"%.*s\" is written: %s", SLICE_ARG(line->name->text), form);
    return false;
}

/* The name for the groups: the first of more than min words, else the named matcher's. */
static struct slice take_name(const struct match_line *line, size_t min)
{
    return line->count > min && line->args[0].text.n ? line->args[0].text : line->set_name;
}

static bool read_path_regexp(struct match_line *line, struct matcher *m)
{
    if (!count_words(line, 1, "path_regexp [NAME] EXPRESSION")) {
        return false;
    }
    if (m->data) {
        struct cf_diag *d = cf_error(line->diags, line->name, "a second path_regexp in one"
                                     " matcher");
        if (d) {
            d->hint = S("write one expression with \"|\", or two matchers");
        }
        return false;
    }
    m->data = new_pattern(line, take_name(line, 1), &line->args[line->count - 1]);
    return m->data != NULL;
}

static enum match_result path_regexp_matches(const struct matcher *m, struct exchange *ex)
{
    struct slice *clean = &ex->clean_path[false];
    if (!clean->p) {
        *clean = path_clean(&ex->arena, ex->req.path, false);
    }
    return clean->p ? search(m->data, ex, *clean) : MATCH_FAILED;
}

const struct matcher_kind match_path_regexp = {
    .name = S_INIT("path_regexp"),
    .read = read_path_regexp,
    .matches = path_regexp_matches,
};

/* ---- header_regexp --------------------------------------------------------------------------- */

static bool read_header_regexp(struct match_line *line, struct matcher *m)
{
    if (!count_words(line, 2, "header_regexp [NAME] FIELD EXPRESSION")) {
        return false;
    }
    const struct cf_token *field = &line->args[line->count - 2];
    if (!field_name_valid(field->text)) {
        cf_error(line->diags, field, "\"%.*s\" is no field name; this never matches",
                 SLICE_ARG(field->text));
        return false;
    }
    for (const struct pattern *p = m->data; p; p = p->next) {
        if (slice_eq_case(p->field, field->text)) {
            cf_error(line->diags, field, "a second header_regexp for the same field in one"
                     " matcher");
            return false;
        }
    }
    struct pattern *p = new_pattern(line, take_name(line, 2), &line->args[line->count - 1]);
    if (!p) {
        return false;
    }
    p->field = field->text;
    append(m, p);
    return true;
}

static enum match_result one_field_matches(const struct pattern *p, struct exchange *ex)
{
    for (unsigned i = 0; i < ex->req.fields.count; i++) {
        const struct field *f = &ex->req.fields.items[i];
        if (!slice_eq_case(f->name, p->field)) {
            continue;
        }
        enum match_result r = search(p, ex, f->value);
        if (r != MATCH_NO) {
            return r;
        }
    }
    return MATCH_NO;
}

/* Every pattern must match one of its field's values. */
static enum match_result header_regexp_matches(const struct matcher *m, struct exchange *ex)
{
    for (const struct pattern *p = m->data; p; p = p->next) {
        enum match_result r = one_field_matches(p, ex);
        if (r != MATCH_YES) {
            return r;
        }
    }
    return MATCH_YES;
}

const struct matcher_kind match_header_regexp = {
    .name = S_INIT("header_regexp"),
    .read = read_header_regexp,
    .matches = header_regexp_matches,
};

/* ---- vars_regexp ----------------------------------------------------------------------------- */

static bool read_vars_regexp(struct match_line *line, struct matcher *m)
{
    if (!count_words(line, 2, "vars_regexp [NAME] VARIABLE EXPRESSION")) {
        return false;
    }
    struct pattern *p = new_pattern(line, take_name(line, 2), &line->args[line->count - 1]);
    if (!p || !match_key_read(line, &line->args[line->count - 2], &p->key)) {
        return false;
    }
    append(m, p);
    return true;
}

/* Any of them, as Caddy has it. */
static enum match_result vars_regexp_matches(const struct matcher *m, struct exchange *ex)
{
    for (const struct pattern *p = m->data; p; p = p->next) {
        enum match_result r = search(p, ex, match_key_value(&p->key, ex));
        if (r != MATCH_NO) {
            return r;
        }
    }
    return MATCH_NO;
}

const struct matcher_kind match_vars_regexp = {
    .name = S_INIT("vars_regexp"),
    .read = read_vars_regexp,
    .matches = vars_regexp_matches,
};
