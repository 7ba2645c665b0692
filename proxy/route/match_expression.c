/* Matcher: an expression (cel.h).
 *   expression EXPRESSION...    @name `EXPRESSION`
 * Several words are one expression with spaces between them, their quotes kept; one word that is
 * quoted is the expression without its quotes. An expression that fails (types that do not go
 * together, a limit) is neither yes nor no. */
#include "proxy/route/cel.h"

/* ---- matchers as functions ------------------------------------------------------------------- */

/* A constant as a word of the Caddyfile; false: it is none. */
static bool constant_word(const struct cel_node *n, struct slice *out)
{
    if (n->op == CEL_PLACEHOLDER) {
        *out = n->literal.u.s;
        return true;
    }
    *out = n->literal.u.s;
    return n->op == CEL_LITERAL && n->literal.type == CEL_STRING;
}

struct words {
    struct cf_token *items;
    size_t count;
};

static bool add_word(struct match_line *line, struct words *w, const struct cf_token *at,
                     struct slice text)
{
    if (w->count == CEL_NODES_MAX) {
        cf_error(line->diags, at, "too many values");
        return false;
    }
    w->items[w->count] = *at;
    w->items[w->count++].text = text;
    return true;
}

/* One constant, or a list of them. */
static bool add_constants(struct match_line *line, struct words *w, const struct cf_token *at,
                          const struct cel_node *n)
{
    const struct cel_node *first = n->op == CEL_MAKE_LIST ? n->args : n;
    struct slice text;
    for (; first; first = n->op == CEL_MAKE_LIST ? first->next : NULL) {
        if (!constant_word(first, &text)) {
            cf_error(line->diags, at, "the arguments of %.*s() are texts in quotes, or"
                     " placeholders", SLICE_ARG(at->text));
            return false;
        }
        if (!add_word(line, w, at, text)) {
            return false;
        }
    }
    return true;
}

static bool read_words(struct match_line *line, const struct cf_token *at, struct matcher *m,
                       const struct words *w)
{
    struct match_line inner = *line;
    inner.name = at;
    inner.args = w->items;
    inner.count = w->count;
    inner.children = NULL;
    inner.has_block = false;
    if (w->count == 0 && !m->kind->no_arguments) {
        cf_error(line->diags, at, "%.*s() needs at least one value", SLICE_ARG(at->text));
        return false;
    }
    return m->kind->read(&inner, m);
}

/* header({'Name': ['a', 'b']}), query({...}), vars({...}): a line for each key. */
static bool read_map(struct match_line *line, const struct cf_token *at, struct matcher *m,
                     struct words *w, const struct cel_node *map)
{
    bool query = m->kind == &match_query;
    for (const struct cel_node *key = map->args; key; key = key->next->next) {
        struct slice name;
        w->items += w->count;
        w->count = 0;
        if (!constant_word(key, &name)) {
            cf_error(line->diags, at, "the keys of %.*s() are texts in quotes",
                     SLICE_ARG(at->text));
            return false;
        }
        if ((!query && !add_word(line, w, at, name)) ||
            !add_constants(line, w, at, key->next)) {
            return false;
        }
        for (size_t i = 0; query && i < w->count; i++) {
            w->items[i].text = arena_printf(line->arena, "%.*s=%.*s", SLICE_ARG(name),
                                            SLICE_ARG(w->items[i].text));
        }
        if (!read_words(line, at, m, w)) {
            return false;
        }
    }
    w->count = 0;
    return map->args || read_words(line, at, m, w);
}

/* file({'root': ..., 'try_files': [...]}): its options as lines of a block. */
static bool read_options(struct match_line *line, const struct cf_token *at, struct matcher *m,
                         struct words *w, const struct cel_node *map)
{
    struct cf_directive *first = NULL;
    struct cf_directive **tail = &first;
    for (const struct cel_node *key = map->args; key; key = key->next->next) {
        struct cf_directive *d = ARENA_NEW(line->arena, struct cf_directive);
        must(d);
        d->name = *at;
        w->items += w->count;
        w->count = 0;
        if (!constant_word(key, &d->name.text) || !add_constants(line, w, at, key->next)) {
            return false;
        }
        d->args = w->items;
        d->arg_count = w->count;
        *tail = d;
        tail = &d->next;
    }
    struct match_line inner = *line;
    inner.name = at;
    inner.args = NULL;
    inner.count = 0;
    inner.children = first;
    inner.has_block = true;
    return m->kind->read(&inner, m);
}

static bool read_function(struct match_line *line, const struct cf_token *at, struct matcher *m,
                          const struct cel_node *args)
{
    bool takes_map = m->kind == &match_header || m->kind == &match_query || m->kind == &match_vars;
    size_t words = 1;
    for (const struct cel_node *n = args; n; n = n->next) {
        words += 1 + n->arg_count * 2;
        for (const struct cel_node *k = n->args; k; k = k->next) {
            words += k->arg_count + 1;
        }
    }
    struct words w = {ARENA_ARRAY(line->arena, struct cf_token, words), 0};
    must(w.items);
    if (args && args->op == CEL_MAKE_MAP && !args->next && (takes_map || m->kind == &match_file)) {
        return takes_map ? read_map(line, at, m, &w, args) : read_options(line, at, m, &w, args);
    }
    if (takes_map) {
        cf_error(line->diags, at, "%.*s() takes a map: %.*s({'name': 'value'})",
                 SLICE_ARG(at->text), SLICE_ARG(at->text));
        return false;
    }
    for (const struct cel_node *n = args; n; n = n->next) {
        if (!add_constants(line, &w, at, n)) {
            return false;
        }
    }
    return read_words(line, at, m, &w);
}

struct matcher *cel_matcher(struct match_line *line, const struct cf_token *at,
                            const struct matcher_kind *kind, const struct cel_node *args)
{
    if (kind == &match_expression || kind == &match_not) {
        cf_error(line->diags, at, "%.*s is no function in an expression%s", SLICE_ARG(kind->name),
                 kind == &match_not ? "; write !" : "");
        return NULL;
    }
    struct matcher *m = ARENA_NEW(line->arena, struct matcher);
    must(m);
    m->kind = kind;
    struct cf_token *name = ARENA_NEW(line->arena, struct cf_token);
    must(name);
    *name = *at;
    return read_function(line, name, m, args) ? m : NULL;
}

/* ---- the matcher ----------------------------------------------------------------------------- */

static struct slice quoted(struct arena *a, const struct cf_token *t)
{
    return t->quote == CF_DOUBLE     ? arena_printf(a, "\"%.*s\"", SLICE_ARG(t->text))
           : t->quote == CF_BACKTICK ? arena_printf(a, "'%.*s'", SLICE_ARG(t->text))
                                     : t->text;
}

static bool read_expression(struct match_line *line, struct matcher *m)
{
    size_t *offsets = ARENA_ARRAY(line->arena, size_t, line->count);
    struct dstr d;
    must(offsets);
    if (m->data) {
        struct cf_diag *diag = cf_error(line->diags, line->name, "a second expression in one"
                                        " matcher");
        if (diag) {
            diag->hint = S("join them with && or ||");
        }
        return false;
    }
    dstr_init(&d, CEL_BYTES_MAX * 2);
    for (size_t i = 0; i < line->count; i++) {
        dstr_append(&d, i ? S(" ") : S(""));
        offsets[i] = d.n;
        dstr_append(&d, line->count > 1 ? quoted(line->arena, &line->args[i]) : line->args[i].text);
    }
    struct cel_text text = {arena_copy(line->arena, dstr_slice(&d)), line->args, offsets,
                            line->count};
    bool fits = !d.failed;
    dstr_fini(&d);
    if (!fits) {
        cf_error(line->diags, &line->args[0], "the expression is too long");
        return false;
    }
    m->data = cel_parse(line, &text);
    return m->data != NULL;
}

static enum match_result expression_matches(const struct matcher *m, struct exchange *ex)
{
    struct cel_eval e = {.ex = ex};
    struct cel_value v;
    bool yes;
    bool ok = cel_eval(&e, m->data, &v) && cel_as_bool(&v, &yes);
    if (e.waits) {
        return MATCH_WAIT;
    }
    if (!ok) {
        ex->error_detail = S("an expression failed: its values do not go together, or a limit was"
                             " hit");
    }
    return ok ? match_bool(yes) : MATCH_FAILED;
}

static bool may_wait(const struct matcher *m)
{
    return cel_may_wait(m->data);
}

const struct matcher_kind match_expression = {
    .name = S_INIT("expression"),
    .read = read_expression,
    .matches = expression_matches,
    .may_wait = may_wait,
};
