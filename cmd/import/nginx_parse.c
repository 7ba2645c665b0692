/* In: text. Out: a tree. nginx's own rules: words between blanks; '...' and "..." with backslashes;
 * ";" ends a directive, "{" opens its block; "#" at the start of a word is a comment; "${" is no
 * block. */
#include "cmd/import/nginx_parse.h"

struct reader {
    struct arena *arena;
    const char *p, *end;
    unsigned line;
    struct slice words[NGINX_WORDS_MAX];
    size_t count;
    struct err *err;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_blanks(struct reader *r)
{
    while (r->p < r->end) {
        if (*r->p == '#') {
            while (r->p < r->end && *r->p != '\n') {
                r->p++;
            }
        } else if (is_blank(*r->p)) {
            r->line += *r->p == '\n';
            r->p++;
        } else {
            return;
        }
    }
}

/* What the backslash at *p and the byte behind it stand for; *p is moved to the last one used. */
static char unescaped(const char **p, char quote)
{
    char c = (*p)[1];
    bool literal = quote ? c == quote || c == '\\' : c == ' ' || c == '"' || c == '\'' || c == ';';
    *p += literal || c == 'n' || c == 'r' || c == 't';
    return literal ? c : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : '\\';
}

static bool take_word(struct reader *r, const char *start, const char *stop, char quote)
{
    if (r->count >= NGINX_WORDS_MAX) {
        return err_set(r->err, "line %u: more than %d words in one directive", r->line,
                       NGINX_WORDS_MAX);
    }
    char *copy = arena_alloc(r->arena, (size_t)(stop - start) + 1);
    if (!copy) {
        return err_set(r->err, "line %u: the file is too large", r->line);
    }
    size_t n = 0;
    for (const char *p = start; p < stop; p++) {
        copy[n++] = *p != '\\' || p + 1 == stop ? *p : unescaped(&p, quote);
    }
    copy[n] = '\0';
    r->words[r->count++] = slice_of(copy, n);
    return true;
}

static bool quoted_word(struct reader *r)
{
    char quote = *r->p++;
    unsigned opened = r->line;
    const char *start = r->p;
    while (r->p < r->end && *r->p != quote) {
        r->line += *r->p == '\n';
        r->p += *r->p == '\\' && r->p + 1 < r->end ? 2 : 1;
    }
    if (r->p >= r->end) {
        return err_set(r->err, "line %u: this quote is not closed", opened);
    }
    return take_word(r, start, r->p++, quote);
}

static bool bare_word(struct reader *r)
{
    const char *start = r->p;
    while (r->p < r->end && !is_blank(*r->p) && *r->p != ';') {
        if (*r->p == '{' && (r->p == start || r->p[-1] != '$')) {
            break;
        }
        r->p += *r->p == '\\' && r->p + 1 < r->end && r->p[1] != '\n' ? 2 : 1;
    }
    return take_word(r, start, r->p, '\0');
}

static bool read_block(struct reader *r, struct nginx_directive **out, unsigned depth,
                       unsigned opened);

static bool finish(struct reader *r, struct nginx_directive *d, unsigned depth)
{
    d->words = ARENA_ARRAY(r->arena, struct slice, r->count);
    if (!d->words) {
        return err_set(r->err, "line %u: the file is too large", r->line);
    }
    memcpy(d->words, r->words, r->count * sizeof(*r->words));
    d->count = r->count;
    d->has_block = *r->p++ == '{';
    return !d->has_block || read_block(r, &d->children, depth + 1, d->line);
}

static bool read_directive(struct reader *r, struct nginx_directive **out, unsigned depth)
{
    unsigned line = r->line;
    r->count = 0;
    for (;;) {
        skip_blanks(r);
        if (r->p >= r->end || *r->p == '}') {
            struct slice name = r->count ? r->words[0] : S("");
            return err_set(r->err, "line %u: \"%.*s\" is not ended by \";\"", line,
                           SLICE_ARG(name));
        }
        if (*r->p == ';' || *r->p == '{') {
            break;
        }
        if (!(*r->p == '"' || *r->p == '\'' ? quoted_word(r) : bare_word(r))) {
            return false;
        }
    }
    if (r->count == 0) {
        return err_set(r->err, "line %u: unexpected \"%c\"", r->line, *r->p);
    }
    struct nginx_directive *d = ARENA_NEW(r->arena, struct nginx_directive);
    if (!d) {
        return err_set(r->err, "line %u: the file is too large", r->line);
    }
    d->line = line;
    *out = d;
    return finish(r, d, depth);
}

static bool read_block(struct reader *r, struct nginx_directive **out, unsigned depth,
                       unsigned opened)
{
    if (depth > IMPORT_DEPTH_MAX) {
        return err_set(r->err, "line %u: blocks in more than %d blocks", r->line,
                       IMPORT_DEPTH_MAX);
    }
    for (;;) {
        skip_blanks(r);
        if (r->p >= r->end) {
            return depth == 0 || err_set(r->err, "line %u: this block is not closed", opened);
        }
        if (*r->p == '}') {
            r->p++;
            return depth > 0 || err_set(r->err, "line %u: \"}\" without \"{\"", r->line);
        }
        if (!read_directive(r, out, depth)) {
            return false;
        }
        out = &(*out)->next;
    }
}

bool nginx_parse(struct arena *a, struct slice text, struct nginx_directive **out, struct err *err)
{
    struct reader *r = ARENA_NEW(a, struct reader);
    *out = NULL;
    if (!r) {
        return err_set(err, "out of memory");
    }
    *r = (struct reader){.arena = a, .p = text.p, .end = text.p + text.n, .line = 1, .err = err};
    return read_block(r, out, 0, 1);
}
