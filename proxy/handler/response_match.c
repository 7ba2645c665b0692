/* Reading and trying response matchers; see response_match.h. */
#include "proxy/handler/response_match.h"

struct field_condition {
    struct field_condition *next;
    struct slice name;
    bool absent;          /* !name */
    struct slice *values; /* any of them, with * at either end; none: the field is there */
    size_t count;
};

struct response_matcher {
    struct response_matcher *next;
    struct slice name;
    struct status_set status; /* empty: any */
    struct field_condition *fields; /* all of them */
};

/* ---- reading --------------------------------------------------------------------------------- */

static void read_status(struct build *b, struct response_matcher *m, const struct cf_token *args,
                        size_t count, const struct cf_token *at)
{
    if (count == 0) {
        cf_error(b->diags, at, "status needs a code such as 404 or 5xx");
    }
    for (size_t i = 0; i < count; i++) {
        if (!status_set_add(&m->status, args[i].text)) {
            cf_error(b->diags, &args[i], "\"%.*s\" is no status such as 404 or 5xx",
                     SLICE_ARG(args[i].text));
        }
    }
}

static void read_header(struct build *b, struct response_matcher *m, const struct cf_token *args,
                        size_t count, const struct cf_token *at)
{
    if (count == 0) {
        cf_error(b->diags, at, "header needs a field: header X-Name [value]");
        return;
    }
    struct field_condition *c = ARENA_NEW(b->arena, struct field_condition);
    must(c);
    c->name = args[0].text;
    if (slice_starts(c->name, S("!"))) {
        c->absent = true;
        c->name = slice_from(c->name, 1);
    }
    if (!field_name_valid(c->name)) {
        cf_error(b->diags, &args[0], "\"%.*s\" is no field name", SLICE_ARG(args[0].text));
    }
    if (c->absent && count > 1) {
        cf_error(b->diags, &args[1], "a field that is not there has no value");
    }
    c->values = ARENA_ARRAY(b->arena, struct slice, count);
    must(c->values);
    c->count = count - 1;
    for (size_t i = 1; i < count; i++) {
        c->values[i - 1] = args[i].text;
    }
    c->next = m->fields;
    m->fields = c;
}

static void read_condition(struct build *b, struct response_matcher *m, const struct cf_token *name,
                           const struct cf_token *args, size_t count)
{
    static const struct slice names[] = {S_INIT("status"), S_INIT("header")};
    if (slice_eq(name->text, names[0])) {
        read_status(b, m, args, count, name);
    } else if (slice_eq(name->text, names[1])) {
        read_header(b, m, args, count, name);
    } else {
        struct cf_diag *diag = cf_error(b->diags, name, "a response matcher has status and header,"
                                        " not \"%.*s\"", SLICE_ARG(name->text));
        if (diag) {
            cf_did_you_mean(b->diags, diag, name->text, names, ARRAY_LEN(names));
        }
    }
}

void response_matcher_define(struct build *b, struct response_scope *scope,
                             const struct cf_directive *d)
{
    struct response_matcher *m = ARENA_NEW(b->arena, struct response_matcher);
    must(m);
    m->name = d->name.text;
    for (const struct response_matcher *o = scope->first; o; o = o->next) {
        if (slice_eq(o->name, m->name)) {
            cf_error(b->diags, &d->name, "the matcher %.*s is defined twice in this block",
                     SLICE_ARG(m->name));
        }
    }
    if (d->arg_count) {
        read_condition(b, m, &d->args[0], d->args + 1, d->arg_count - 1);
    }
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        read_condition(b, m, &c->name, c->args, c->arg_count);
    }
    if (!d->arg_count && !d->children) {
        cf_error(b->diags, &d->name, "the matcher %.*s has no conditions", SLICE_ARG(m->name));
    }
    m->next = scope->first;
    scope->first = m;
}

const struct response_matcher *response_matcher_find(struct build *b,
                                                     const struct response_scope *scope,
                                                     const struct cf_token *name)
{
    struct slice names[64];
    size_t count = 0;
    for (const struct response_matcher *m = scope->first; m; m = m->next) {
        if (slice_eq(m->name, name->text)) {
            return m;
        }
        if (count < ARRAY_LEN(names)) {
            names[count++] = m->name;
        }
    }
    struct cf_diag *diag = cf_error(b->diags, name, "the response matcher %.*s is not defined in"
                                    " this block", SLICE_ARG(name->text));
    if (diag) {
        cf_did_you_mean(b->diags, diag, name->text, names, count);
    }
    return NULL;
}

/* ---- trying ---------------------------------------------------------------------------------- */

static bool value_fits(struct slice pattern, struct slice value)
{
    bool before = slice_starts(pattern, S("*"));
    bool behind = pattern.n > 1 && slice_ends(pattern, S("*"));
    struct slice core = slice_from(pattern, before ? 1 : 0);
    core = slice_upto(core, core.n - (behind ? 1 : 0));
    return before && behind ? slice_find_slice(value, core) != SLICE_NPOS
           : before         ? slice_ends(value, core)
           : behind         ? slice_starts(value, core)
                            : slice_eq(value, core);
}

static bool condition_holds(const struct field_condition *c, const struct fields *fields)
{
    bool there = false;
    for (unsigned i = 0; i < fields->count; i++) {
        const struct field *f = &fields->items[i];
        if (!slice_eq_case(f->name, c->name)) {
            continue;
        }
        there = true;
        for (size_t k = 0; k < c->count; k++) {
            if (value_fits(c->values[k], f->value)) {
                return true;
            }
        }
    }
    return c->absent ? !there : there && c->count == 0;
}

bool response_matches(const struct response_matcher *m, int status, const struct fields *fields)
{
    if (m->status.any && !status_set_has(&m->status, status)) {
        return false;
    }
    for (const struct field_condition *c = m->fields; c; c = c->next) {
        if (!condition_holds(c, fields)) {
            return false;
        }
    }
    return true;
}
