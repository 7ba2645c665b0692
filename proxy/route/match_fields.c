/* Matchers of names and values:
 *   header FIELD [VALUE...] | header !FIELD    query KEY=VALUE... | query ""    vars KEY VALUE...
 * Several lines merge: of one name any value will do; of different fields and keys all must fit, of
 * different variables any. */
#include "proxy/route/match_key.h"
#include "proxy/route/path.h"

/* ---- header ---------------------------------------------------------------------------------- */

struct field_condition {
    struct field_condition *next;
    struct slice name;
    bool absent;                /* !FIELD */
    struct match_values values; /* any of them; none: the field is there */
};

static struct field_condition *find_field(struct match_line *line, struct matcher *m,
                                          struct slice name, bool *is_new)
{
    struct field_condition *last = NULL;
    for (struct field_condition *c = m->data; c; c = c->next) {
        if (slice_eq_case(c->name, name)) {
            *is_new = false;
            return c;
        }
        last = c;
    }
    struct field_condition *c = ARENA_NEW(line->arena, struct field_condition);
    must(c);
    c->name = name;
    *is_new = true;
    if (last) {
        last->next = c;
    } else {
        m->data = c;
    }
    return c;
}

static bool read_header(struct match_line *line, struct matcher *m)
{
    struct slice name = line->args[0].text;
    bool absent = slice_starts(name, S("!"));
    bool is_new;
    name = slice_from(name, absent ? 1 : 0);
    if (!field_name_valid(name)) {
        cf_error(line->diags, &line->args[0], "\"%.*s\" is no field name; this never matches",
                 SLICE_ARG(line->args[0].text));
        return false;
    }
    if (absent && line->count > 1) {
        cf_error(line->diags, &line->args[1], "a field that is not there has no value");
        return false;
    }
    struct field_condition *c = find_field(line, m, name, &is_new);
    if (!is_new && c->absent != absent) {
        cf_error(line->diags, &line->args[0], "the field would have to be there and not be there;"
                 " this never matches");
        return false;
    }
    c->absent = absent;
    for (size_t i = 1; i < line->count; i++) {
        if (!match_value_add(line, &c->values, &line->args[i])) {
            return false;
        }
    }
    return true;
}

static bool value_fits(const struct match_values *values, struct slice value, struct exchange *ex)
{
    for (const struct match_value *v = values->first; v; v = v->next) {
        if (match_wildcard(template_eval(v->text, ex), value)) {
            return true;
        }
    }
    return false;
}

static bool field_fits(const struct field_condition *c, struct exchange *ex)
{
    bool there = false;
    for (unsigned i = 0; i < ex->req.fields.count; i++) {
        const struct field *f = &ex->req.fields.items[i];
        if (!slice_eq_case(f->name, c->name)) {
            continue;
        }
        there = true;
        if (c->values.first && value_fits(&c->values, f->value, ex)) {
            return true;
        }
    }
    return c->absent ? !there : there && !c->values.first;
}

static enum match_result header_matches(const struct matcher *m, struct exchange *ex)
{
    for (const struct field_condition *c = m->data; c; c = c->next) {
        if (!field_fits(c, ex)) {
            return MATCH_NO;
        }
    }
    return MATCH_YES;
}

const struct matcher_kind match_header = {
    .name = S_INIT("header"),
    .read = read_header,
    .matches = header_matches,
};

/* ---- query ----------------------------------------------------------------------------------- */

struct key_condition {
    struct key_condition *next;
    struct slice word; /* as written */
    struct template *key;
    struct match_values values; /* any of them; "*" is any value */
};

struct query {
    struct key_condition *first; /* NULL: there must be no query */
};

static struct key_condition *find_key(struct match_line *line, struct query *q,
                                      const struct cf_token *at, struct slice key)
{
    struct key_condition **tail = &q->first;
    for (; *tail; tail = &(*tail)->next) {
        if (slice_eq((*tail)->word, key)) {
            return *tail;
        }
    }
    struct cf_token token = *at;
    token.text = arena_copy(line->arena, key);
    *tail = ARENA_NEW(line->arena, struct key_condition);
    must(*tail);
    (*tail)->word = token.text;
    (*tail)->key = template_compile(line->arena, &token, line->diags);
    return (*tail)->key ? *tail : NULL;
}

static bool read_query(struct match_line *line, struct matcher *m)
{
    struct query *q = m->data ? m->data : ARENA_NEW(line->arena, struct query);
    must(q);
    m->data = q;
    for (size_t i = 0; i < line->count; i++) {
        struct cf_token value = line->args[i];
        struct slice key;
        if (value.text.n == 0) {
            continue;
        }
        (void)slice_cut(&value.text, '=', &key);
        if (!value.text.p) {
            cf_error(line->diags, &line->args[i], "a query condition is written KEY=VALUE; KEY=*"
                     " where any value will do");
            return false;
        }
        struct key_condition *c = find_key(line, q, &line->args[i], key);
        if (!c || !match_value_add(line, &c->values, &value)) {
            return false;
        }
    }
    return true;
}

static bool one_value_fits(const struct key_condition *c, struct slice value, struct exchange *ex)
{
    for (const struct match_value *v = c->values.first; v; v = v->next) {
        struct slice want = template_eval(v->text, ex);
        if (slice_eq(want, S("*")) || slice_eq(want, value)) {
            return true;
        }
    }
    return false;
}

static bool key_fits(const struct key_condition *c, struct exchange *ex)
{
    struct slice want = template_eval(c->key, ex);
    struct slice rest = ex->req.query;
    struct slice key;
    struct slice value;
    while (query_next(&ex->arena, &rest, &key, &value)) {
        if (slice_eq(key, want) && one_value_fits(c, value, ex)) {
            return true;
        }
    }
    return false;
}

static enum match_result query_matches(const struct matcher *m, struct exchange *ex)
{
    const struct query *q = m->data;
    if (!q->first) {
        return match_bool(ex->req.query.n == 0);
    }
    for (const struct key_condition *c = q->first; c; c = c->next) {
        if (!key_fits(c, ex)) {
            return MATCH_NO;
        }
    }
    return MATCH_YES;
}

const struct matcher_kind match_query = {
    .name = S_INIT("query"),
    .read = read_query,
    .matches = query_matches,
};

/* ---- vars ------------------------------------------------------------------------------------ */

bool match_key_read(struct match_line *line, const struct cf_token *token, struct match_key *out)
{
    struct cf_token text = *token;
    bool braces = token->text.n > 2 && token->text.p[0] == '{' &&
                  token->text.p[token->text.n - 1] == '}';
    if (!braces) {
        text.text = arena_printf(line->arena, "{http.vars.%.*s}", SLICE_ARG(token->text));
    }
    out->word = token->text;
    out->text = template_compile(line->arena, &text, line->diags);
    return out->text != NULL;
}

struct slice match_key_value(const struct match_key *key, struct exchange *ex)
{
    return template_eval(key->text, ex);
}

struct var_condition {
    struct var_condition *next;
    struct match_key key;
    struct match_values values;
};

static bool read_vars(struct match_line *line, struct matcher *m)
{
    if (line->count < 2) {
        cf_error(line->diags, line->name, "vars needs a variable and values: vars NAME VALUE...");
        return false;
    }
    struct var_condition *c = ARENA_NEW(line->arena, struct var_condition);
    must(c);
    c->next = m->data;
    m->data = c;
    bool ok = match_key_read(line, &line->args[0], &c->key);
    for (size_t i = 1; ok && i < line->count; i++) {
        ok = match_value_add(line, &c->values, &line->args[i]);
    }
    return ok;
}

static enum match_result vars_matches(const struct matcher *m, struct exchange *ex)
{
    for (const struct var_condition *c = m->data; c; c = c->next) {
        struct slice have = match_key_value(&c->key, ex);
        for (const struct match_value *v = c->values.first; v; v = v->next) {
            if (slice_eq(template_eval(v->text, ex), have)) {
                return MATCH_YES;
            }
        }
    }
    return MATCH_NO;
}

const struct matcher_kind match_vars = {
    .name = S_INIT("vars"),
    .read = read_vars,
    .matches = vars_matches,
};
