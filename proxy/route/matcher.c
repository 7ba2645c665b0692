/* Matchers: the table of kinds, sets of them, named ones and their scopes; see matcher.h. */
#include "proxy/route/match.h"

struct matcher_named {
    struct matcher_named *next;
    const struct cf_token *name;
    struct matcher *matcher;
    bool used;
};

static const struct matcher_kind *const kinds[] = {
    &match_path,        &match_path_regexp, &match_host,          &match_method,
    &match_header,      &match_header_regexp, &match_query,       &match_protocol,
    &match_remote_ip,   &match_client_ip,   &match_file,          &match_not,
    &match_vars,        &match_vars_regexp, &match_expression,    &match_tls,
};

/* Caddy's others: known, so that the message can say so. */
static const struct slice other_kinds[] = {
    S_INIT("url_pattern"),
};

/* ---- reading --------------------------------------------------------------------------------- */

const struct matcher_kind *match_find_kind(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (slice_eq(name, kinds[i]->name)) {
            return kinds[i];
        }
    }
    return NULL;
}

bool matcher_is_kind(struct slice name)
{
    return match_find_kind(name) != NULL;
}

static const struct matcher_kind *find_kind(struct cf_diags *diags, const struct cf_token *name)
{
    struct slice names[ARRAY_LEN(kinds)];
    const struct matcher_kind *kind = match_find_kind(name->text);
    if (kind) {
        return kind;
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        names[i] = kinds[i]->name;
    }
    for (size_t i = 0; i < ARRAY_LEN(other_kinds); i++) {
        if (slice_eq(name->text, other_kinds[i])) {
            cf_error(diags, name, "the matcher \"%.*s\" is Caddy's and not in caddis",
                     SLICE_ARG(name->text));
            return NULL;
        }
    }
    struct cf_diag *diag = cf_error(diags, name, "unknown matcher \"%.*s\"",
                                    SLICE_ARG(name->text));
    if (diag && slice_starts(name->text, S("/"))) {
        diag->hint = arena_printf(&diags->arena, "write path %.*s", SLICE_ARG(name->text));
    } else if (diag) {
        cf_did_you_mean(diags, diag, name->text, names, ARRAY_LEN(names));
    }
    return NULL;
}

static bool check_line(const struct match_line *line, const struct matcher_kind *kind)
{
    if (line->depth > MATCH_DEPTH_MAX) {
        cf_error(line->diags, line->name, "matchers nest too deeply");
        return false;
    }
    if (line->has_block && !kind->has_block) {
        cf_error(line->diags, line->name, "the matcher \"%.*s\" takes no block",
                 SLICE_ARG(kind->name));
        return false;
    }
    if (line->count == 0 && !line->has_block && !kind->no_arguments) {
        cf_error(line->diags, line->name, "the matcher \"%.*s\" needs at least one value",
                 SLICE_ARG(kind->name));
        return false;
    }
    return true;
}

/* Reads a line into the set: into the matcher of its kind, or a new one at *tail. */
static bool read_line(struct match_line *line, struct matcher *set, struct matcher ***tail)
{
    const struct matcher_kind *kind = find_kind(line->diags, line->name);
    if (!kind || !check_line(line, kind)) {
        return false;
    }
    for (struct matcher *m = set; m; m = m->next) {
        if (m->kind == kind) {
            return kind->read(line, m);
        }
    }
    struct matcher *m = ARENA_NEW(line->arena, struct matcher);
    must(m);
    m->kind = kind;
    if (!kind->read(line, m)) {
        return false;
    }
    **tail = m;
    *tail = &m->next;
    return true;
}

struct matcher *match_compile_line(struct match_line *line)
{
    struct matcher *one = NULL;
    struct matcher **tail = &one;
    return read_line(line, NULL, &tail) ? one : NULL;
}

struct matcher *match_compile_set(const struct match_line *parent, const struct cf_directive *first)
{
    struct matcher *set = NULL;
    struct matcher **tail = &set;
    bool ok = true;
    for (const struct cf_directive *d = first; d; d = d->next) {
        struct match_line line = {
            .arena = parent->arena,
            .diags = parent->diags,
            .name = &d->name,
            .args = d->args,
            .count = d->arg_count,
            .children = d->children,
            .has_block = d->has_block,
            .set_name = parent->set_name,
            .depth = parent->depth + 1,
        };
        ok = read_line(&line, set, &tail) && ok;
    }
    return ok ? set : NULL;
}

bool matcher_from_lines(struct arena *a, const struct cf_directive *first, struct matcher **out,
                        struct cf_diags *diags)
{
    struct match_line line = {.arena = a, .diags = diags};
    *out = match_compile_set(&line, first);
    return *out != NULL;
}

bool matcher_from_words(struct arena *a, const struct cf_token *words, size_t count,
                        const struct cf_directive *block, struct matcher **out,
                        struct cf_diags *diags)
{
    struct cf_token expression = {.text = S("expression"), .at = words[0].at};
    bool quoted = words[0].quote != CF_BARE; /* as in matcher_define */
    struct match_line line = {
        .arena = a,
        .diags = diags,
        .name = quoted ? &expression : &words[0],
        .args = words + (quoted ? 0 : 1),
        .count = count - (quoted ? 0 : 1),
        .children = block,
        .has_block = block != NULL,
    };
    *out = match_compile_line(&line);
    return *out != NULL;
}

/* ---- named ones ------------------------------------------------------------------------------ */

static bool check_definition(const struct matcher_scope *scope, const struct cf_directive *d,
                             struct cf_diags *diags)
{
    if (map_get(&scope->by_name, d->name.text)) {
        cf_error(diags, &d->name, "the matcher %.*s is defined twice in this block",
                 SLICE_ARG(d->name.text));
        return false;
    }
    if (d->name.text.n < 2) {
        struct cf_diag *diag = cf_error(diags, &d->name, "a matcher needs a name behind the @");
        if (diag && d->arg_count) {
            diag->hint = arena_printf(&diags->arena, "without a space: @%.*s",
                                      SLICE_ARG(d->args[0].text));
        }
        return false;
    }
    if (d->arg_count == 0 && !d->children) {
        cf_error(diags, &d->name, "the matcher %.*s has no conditions", SLICE_ARG(d->name.text));
        return false;
    }
    return true;
}

void matcher_define(struct arena *a, struct matcher_scope *scope,
                    const struct cf_directive *d, struct cf_diags *diags)
{
    struct matcher_named *named = ARENA_NEW(a, struct matcher_named);
    must(named);
    if (!check_definition(scope, d, diags)) {
        return;
    }
    struct match_line line = {
        .arena = a,
        .diags = diags,
        .set_name = slice_from(d->name.text, 1),
    };
    struct cf_token expression = {.text = S("expression"), .at = d->name.at};
    if (d->arg_count) {
        /* `@name "..."`: what is quoted is no name of a matcher, but an expression. */
        bool quoted = d->args[0].quote != CF_BARE;
        line.name = quoted ? &expression : &d->args[0];
        line.args = d->args + (quoted ? 0 : 1);
        line.count = d->arg_count - (quoted ? 0 : 1);
        line.children = d->children;
        line.has_block = d->has_block;
    }
    named->name = &d->name;
    named->matcher = d->arg_count ? match_compile_line(&line)
                                  : match_compile_set(&line, d->children);
    named->next = scope->first;
    scope->first = named;
    (void)map_put(&scope->by_name, d->name.text, named);
}

void matcher_scope_end(struct matcher_scope *scope, struct cf_diags *diags)
{
    for (const struct matcher_named *n = scope->first; n; n = n->next) {
        if (!n->used && n->matcher && diags->errors == 0) { /* else it is a consequence, mostly */
            cf_warning(diags, n->name, "the matcher %.*s is never used", SLICE_ARG(n->name->text));
        }
    }
    map_fini(&scope->by_name);
    *scope = (struct matcher_scope){.outer = NULL};
}

bool matcher_is_token(const struct cf_token *token)
{
    return token->text.n &&
           (token->text.p[0] == '/' || token->text.p[0] == '@' || slice_eq(token->text, S("*")));
}

static bool inline_path(struct arena *a, const struct cf_token *token, struct matcher **out,
                        struct cf_diags *diags)
{
    struct cf_token name = {.text = S("path"), .at = token->at};
    struct match_line line = {
        .arena = a,
        .diags = diags,
        .name = &name,
        .args = token,
        .count = 1,
    };
    *out = match_compile_line(&line);
    return *out != NULL;
}

bool matcher_from_token(struct arena *a, const struct matcher_scope *scope,
                        const struct cf_token *token, struct matcher **out, struct cf_diags *diags)
{
    *out = NULL;
    if (slice_eq(token->text, S("*"))) {
        return true;
    }
    if (token->text.p[0] == '/') {
        return inline_path(a, token, out, diags);
    }
    struct slice names[64];
    size_t count = 0;
    for (; scope; scope = scope->outer) {
        struct matcher_named *known = map_get(&scope->by_name, token->text);
        if (known) {
            known->used = true;
            *out = known->matcher;
            return known->matcher != NULL;
        }
        for (const struct matcher_named *n = scope->first; n && count < ARRAY_LEN(names);
             n = n->next) {
            names[count++] = n->name->text;
        }
    }
    if (diags->incomplete) {
        return false; /* what failed to be imported may define it */
    }
    struct cf_diag *diag = cf_error(diags, token, "the matcher %.*s is not defined here",
                                    SLICE_ARG(token->text));
    if (diag) {
        cf_did_you_mean(diags, diag, token->text, names, count);
    }
    return false;
}

/* ---- asking ---------------------------------------------------------------------------------- */

struct slice matcher_unmet(const struct matcher *m, struct exchange *ex)
{
    for (; m; m = m->next) {
        if (m->kind->matches(m, ex) != MATCH_YES) {
            return m->kind->name;
        }
    }
    return S("");
}

enum match_result matcher_matches(const struct matcher *m, struct exchange *ex)
{
    for (; m; m = m->next) {
        enum match_result r = m->kind->matches(m, ex);
        if (r != MATCH_YES) {
            return r;
        }
    }
    return MATCH_YES;
}

bool matcher_may_wait(const struct matcher *m)
{
    for (; m; m = m->next) {
        if (m->kind->may_wait && m->kind->may_wait(m)) {
            return true;
        }
    }
    return false;
}

bool matcher_has_expression(const struct matcher *m)
{
    while (m && m->kind != &match_expression) {
        m = m->next;
    }
    return m != NULL;
}

/* ---- values ---------------------------------------------------------------------------------- */

bool match_value_add(struct match_line *line, struct match_values *values,
                     const struct cf_token *token)
{
    struct match_value *v = ARENA_NEW(line->arena, struct match_value);
    must(v);
    v->text = template_compile(line->arena, token, line->diags);
    if (!v->text) {
        return false;
    }
    *(values->last ? &values->last->next : &values->first) = v;
    values->last = v;
    return true;
}

bool match_wildcard(struct slice pattern, struct slice value)
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
