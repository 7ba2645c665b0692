/* Matchers: reading and evaluating; see matcher.h. */
#include "proxy/route/matcher.h"

#include "proxy/route/ip_ranges.h"

enum matcher_kind {
    MATCH_PATH,
    MATCH_METHOD,
    MATCH_HOST,
    MATCH_REMOTE_IP,
    MATCH_CLIENT_IP,
    MATCH_NOT,
};

struct matcher {
    struct matcher *next; /* all of a set must match */
    enum matcher_kind kind;
    struct slice *values; /* any of them */
    size_t value_count;
    struct ip_ranges ranges; /* MATCH_REMOTE_IP, MATCH_CLIENT_IP */
    bool keep_slashes;      /* MATCH_PATH: a pattern has "//" */
    struct matcher *negated; /* MATCH_NOT */
};

struct matcher_named {
    struct matcher_named *next;
    const struct cf_token *name;
    struct matcher *matcher;
    bool used;
};

static const struct {
    struct slice name;
    enum matcher_kind kind;
} kinds[] = {
    {S_INIT("path"), MATCH_PATH},
    {S_INIT("method"), MATCH_METHOD},
    {S_INIT("host"), MATCH_HOST},
    {S_INIT("remote_ip"), MATCH_REMOTE_IP},
    {S_INIT("client_ip"), MATCH_CLIENT_IP},
    {S_INIT("not"), MATCH_NOT},
};

/* Caddy's others: known, so that the message can say so. */
static const struct slice other_kinds[] = {
    S_INIT("path_regexp"), S_INIT("header"),      S_INIT("header_regexp"), S_INIT("query"),
    S_INIT("protocol"),    S_INIT("file"),
    S_INIT("vars"),        S_INIT("vars_regexp"), S_INIT("expression"),    S_INIT("tls"),
};

static bool find_kind(struct cf_diags *diags, const struct cf_token *name, enum matcher_kind *out)
{
    struct slice names[ARRAY_LEN(kinds)];
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (slice_eq(name->text, kinds[i].name)) {
            *out = kinds[i].kind;
            return true;
        }
        names[i] = kinds[i].name;
    }
    for (size_t i = 0; i < ARRAY_LEN(other_kinds); i++) {
        if (slice_eq(name->text, other_kinds[i])) {
            cf_error(diags, name, "the matcher \"%.*s\" is Caddy's and not yet in caddis",
                     SLICE_ARG(name->text));
            return false;
        }
    }
    struct cf_diag *diag = cf_error(diags, name, "unknown matcher \"%.*s\"",
                                    SLICE_ARG(name->text));
    if (diag) {
        cf_did_you_mean(diags, diag, name->text, names, ARRAY_LEN(names));
    }
    return false;
}

static struct slice upper(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n + 1);
    for (size_t i = 0; p && i < s.n; i++) {
        p[i] = s.p[i] >= 'a' && s.p[i] <= 'z' ? (char)(s.p[i] - 'a' + 'A') : s.p[i];
    }
    return p ? slice_of(p, s.n) : (struct slice){NULL, 0};
}

static struct matcher *compile_values(struct arena *a, enum matcher_kind kind,
                                      const struct cf_token *args, size_t count)
{
    struct matcher *m = ARENA_NEW(a, struct matcher);
    struct slice *values = ARENA_ARRAY(a, struct slice, count);
    if (!m || !values) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = kind == MATCH_HOST     ? arena_lower(a, args[i].text)
                    : kind == MATCH_METHOD ? upper(a, args[i].text)
                                           : args[i].text;
        m->keep_slashes = m->keep_slashes || slice_find_slice(values[i], S("//")) != SLICE_NPOS;
    }
    m->kind = kind;
    m->values = values;
    m->value_count = count;
    return m;
}

static struct matcher *compile_ranges(struct arena *a, enum matcher_kind kind,
                                      const struct cf_token *args, size_t count,
                                      struct cf_diags *diags)
{
    struct matcher *m = ARENA_NEW(a, struct matcher);
    bool ok = m != NULL;
    for (size_t i = 0; m && i < count; i++) {
        ok = ip_ranges_add(a, &m->ranges, &args[i], diags) && ok;
    }
    if (!ok) {
        return NULL;
    }
    m->kind = kind;
    return m;
}

static bool check_values(enum matcher_kind kind, const struct cf_token *name,
                         const struct cf_token *args, size_t count, struct cf_diags *diags)
{
    if (count == 0) {
        cf_error(diags, name, "the matcher \"%.*s\" needs at least one value",
                 SLICE_ARG(name->text));
        return false;
    }
    for (size_t i = 0; i < count && kind == MATCH_PATH; i++) {
        char c = args[i].text.n ? args[i].text.p[0] : '\0';
        if (c != '/' && c != '*') {
            cf_error(diags, &args[i], "a path pattern begins with / or *; this one never matches");
            return false;
        }
    }
    return true;
}

/* `name args... [{ ... }]`, where args are given apart from the name. */
static struct matcher *compile_one(struct arena *a, const struct cf_token *name,
                                   const struct cf_token *args, size_t count,
                                   const struct cf_directive *children, struct cf_diags *diags);

static struct matcher *compile_set(struct arena *a, const struct cf_directive *first,
                                   struct cf_diags *diags)
{
    struct matcher *set = NULL;
    struct matcher **tail = &set;
    for (const struct cf_directive *d = first; d; d = d->next) {
        *tail = compile_one(a, &d->name, d->args, d->arg_count, d->children, diags);
        if (!*tail) {
            return NULL;
        }
        tail = &(*tail)->next;
    }
    return set;
}

static struct matcher *compile_one(struct arena *a, const struct cf_token *name,
                                   const struct cf_token *args, size_t count,
                                   const struct cf_directive *children, struct cf_diags *diags)
{
    enum matcher_kind kind;
    if (!find_kind(diags, name, &kind)) {
        return NULL;
    }
    if (kind == MATCH_REMOTE_IP || kind == MATCH_CLIENT_IP) {
        return check_values(kind, name, args, count, diags)
                   ? compile_ranges(a, kind, args, count, diags)
                   : NULL;
    }
    if (kind != MATCH_NOT) {
        return check_values(kind, name, args, count, diags)
                   ? compile_values(a, kind, args, count)
                   : NULL;
    }
    struct matcher *m = ARENA_NEW(a, struct matcher);
    if (!m) {
        return NULL;
    }
    m->kind = MATCH_NOT;
    m->negated = count ? compile_one(a, &args[0], args + 1, count - 1, children, diags)
                       : compile_set(a, children, diags);
    if (!m->negated && !count && !children) {
        cf_error(diags, name, "\"not\" needs a matcher");
    }
    return m->negated ? m : NULL;
}

bool matcher_from_lines(struct arena *a, const struct cf_directive *first, struct matcher **out,
                        struct cf_diags *diags)
{
    *out = compile_set(a, first, diags);
    return *out != NULL;
}

bool matcher_from_words(struct arena *a, const struct cf_token *words, size_t count,
                        const struct cf_directive *block, struct matcher **out,
                        struct cf_diags *diags)
{
    *out = compile_one(a, &words[0], words + 1, count - 1, block, diags);
    return *out != NULL;
}

void matcher_define(struct arena *a, struct matcher_scope *scope,
                    const struct cf_directive *d, struct cf_diags *diags)
{
    for (const struct matcher_named *n = scope->first; n; n = n->next) {
        if (slice_eq(n->name->text, d->name.text)) {
            cf_error(diags, &d->name, "the matcher %.*s is defined twice in this block",
                     SLICE_ARG(d->name.text));
            return;
        }
    }
    if (d->name.text.n < 2) {
        cf_error(diags, &d->name, "a matcher needs a name behind the @");
        return;
    }
    if (d->arg_count == 0 && !d->children) {
        cf_error(diags, &d->name, "the matcher %.*s has no conditions", SLICE_ARG(d->name.text));
        return;
    }
    struct matcher_named *named = ARENA_NEW(a, struct matcher_named);
    if (!named) {
        return;
    }
    named->name = &d->name;
    named->matcher = d->arg_count ? compile_one(a, &d->args[0], d->args + 1, d->arg_count - 1,
                                                d->children, diags)
                                  : compile_set(a, d->children, diags);
    named->next = scope->first;
    scope->first = named;
}

void matcher_scope_end(const struct matcher_scope *scope, struct cf_diags *diags)
{
    for (const struct matcher_named *n = scope->first; n; n = n->next) {
        if (!n->used && n->matcher && diags->errors == 0) { /* else it is a consequence, mostly */
            cf_warning(diags, n->name, "the matcher %.*s is never used", SLICE_ARG(n->name->text));
        }
    }
}

bool matcher_is_token(const struct cf_token *token)
{
    return token->quote == CF_BARE && token->text.n &&
           (token->text.p[0] == '/' || token->text.p[0] == '@' || slice_eq(token->text, S("*")));
}

bool matcher_from_token(struct arena *a, const struct matcher_scope *scope,
                        const struct cf_token *token, struct matcher **out, struct cf_diags *diags)
{
    *out = NULL;
    if (slice_eq(token->text, S("*"))) {
        return true;
    }
    if (token->text.p[0] == '/') {
        *out = compile_values(a, MATCH_PATH, token, 1);
        return *out != NULL;
    }
    struct slice names[64];
    size_t count = 0;
    for (; scope; scope = scope->outer) {
        for (struct matcher_named *n = scope->first; n; n = n->next) {
            if (slice_eq(n->name->text, token->text)) {
                n->used = true;
                *out = n->matcher;
                return n->matcher != NULL;
            }
            if (count < ARRAY_LEN(names)) {
                names[count++] = n->name->text;
            }
        }
    }
    struct cf_diag *diag = cf_error(diags, token, "the matcher %.*s is not defined here",
                                    SLICE_ARG(token->text));
    if (diag) {
        cf_did_you_mean(diags, diag, token->text, names, count);
    }
    return false;
}

static bool host_value_matches(struct slice pattern, struct slice host)
{
    struct slice want;
    struct slice have;
    if (slice_find(pattern, '*') == SLICE_NPOS) {
        return slice_eq(pattern, host);
    }
    do { /* label by label; "*" is any one */
        (void)slice_cut(&pattern, '.', &want);
        (void)slice_cut(&host, '.', &have);
        if (!slice_eq(want, S("*")) && !slice_eq(want, have)) {
            return false;
        }
    } while (pattern.p && host.p);
    return !pattern.p && !host.p;
}

static bool one_matches(const struct matcher *m, struct exchange *ex)
{
    struct slice path = {NULL, 0};
    if (m->kind == MATCH_NOT) {
        return !matcher_matches(m->negated, ex);
    }
    if (m->kind == MATCH_REMOTE_IP || m->kind == MATCH_CLIENT_IP) {
        return ip_ranges_have(&m->ranges, m->kind == MATCH_REMOTE_IP ? ex->client.peer
                                                                     : ex->client_addr);
    }
    if (m->kind == MATCH_PATH) {
        struct slice *clean = &ex->clean_path[m->keep_slashes];
        if (!clean->p) {
            /* Out of memory leaves arena.failed set, which the chain answers with 503: a rule that
             * denies must not fail open. */
            *clean = path_clean(&ex->arena, ex->req.path, m->keep_slashes);
        }
        path = *clean;
    }
    for (size_t i = 0; i < m->value_count; i++) {
        struct slice v = m->values[i];
        bool hit = m->kind == MATCH_PATH     ? path_pattern_matches(v, path)
                   : m->kind == MATCH_METHOD ? slice_eq(v, ex->req.method_text)
                                             : host_value_matches(v, ex->req.host);
        if (hit) {
            return true;
        }
    }
    return false;
}

bool matcher_matches(const struct matcher *m, struct exchange *ex)
{
    for (; m; m = m->next) {
        if (!one_matches(m, ex)) {
            return false;
        }
    }
    return true;
}

int matcher_rank(const struct matcher *m, size_t *path_length)
{
    *path_length = 0;
    if (!m) {
        return 0;
    }
    if (m->kind == MATCH_PATH && !m->next && m->value_count == 1) {
        /* "/foo" before "/foo*": a star counts less than nothing. */
        struct slice v = m->values[0];
        bool star = v.n && v.p[v.n - 1] == '*';
        *path_length = v.n * 2 - (star ? 3 : 0);
        return 2;
    }
    return 1;
}
