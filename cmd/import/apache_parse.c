/* In: text. Out: a tree. Apache's own rules: one directive a line, a backslash at the end continues
 * it, words in "..." or '...', "#" at the start of a line is a comment, <Name args> ... </Name>. */
#include "cmd/import/apache_parse.h"

struct reader {
    struct arena *arena;
    struct slice rest;
    unsigned line;
    struct slice words[APACHE_WORDS_MAX];
    size_t count;
    struct err *err;
};

/* One logical line, trimmed; false at the end of the text. */
static bool next_line(struct reader *r, struct slice *out, unsigned *at)
{
    struct dstr joined;
    dstr_init(&joined, IMPORT_TEXT_MAX);
    bool more = false, any = false;
    struct slice line;
    do {
        if (!slice_cut(&r->rest, '\n', &line)) {
            break;
        }
        r->line++;
        *at = any ? *at : r->line;
        any = true;
        if (line.n && line.p[line.n - 1] == '\r') {
            line.n--;
        }
        more = line.n && line.p[line.n - 1] == '\\';
        dstr_append(&joined, slice_upto(line, line.n - more));
    } while (more);
    *out = slice_trim(arena_copy(r->arena, dstr_slice(&joined)));
    dstr_fini(&joined);
    return any;
}

static bool add_word(struct reader *r, struct slice word, unsigned at)
{
    if (r->count >= APACHE_WORDS_MAX) {
        return err_set(r->err, "line %u: more than %d words in one directive", at,
                       APACHE_WORDS_MAX);
    }
    r->words[r->count++] = word;
    return true;
}

/* Between quotes a backslash stands before the quote or another backslash, and nothing else. */
static struct slice unescaped(struct reader *r, struct slice word, char quote)
{
    struct dstr d;
    if (slice_find(word, '\\') == SLICE_NPOS) {
        return word;
    }
    dstr_init(&d, IMPORT_TEXT_MAX);
    for (size_t k = 0; k < word.n; k++) {
        bool escape = word.p[k] == '\\' && k + 1 < word.n &&
                      (word.p[k + 1] == quote || word.p[k + 1] == '\\');
        k += escape;
        dstr_byte(&d, word.p[k]);
    }
    struct slice copy = arena_copy(r->arena, dstr_slice(&d));
    dstr_fini(&d);
    return copy;
}

static bool split(struct reader *r, struct slice line, unsigned at)
{
    r->count = 0;
    while ((line = slice_trim(line)).n) {
        char quote = line.p[0];
        size_t stop = 0;
        if (quote == '"' || quote == '\'') {
            stop = 1;
            while (stop < line.n && line.p[stop] != quote) {
                stop += line.p[stop] == '\\' && stop + 1 < line.n ? 2 : 1;
            }
            if (stop >= line.n) {
                return err_set(r->err, "line %u: this quote is not closed", at);
            }
            if (!add_word(r, unescaped(r, slice_of(line.p + 1, stop - 1), quote), at)) {
                return false;
            }
            line = slice_from(line, stop + 1);
            continue;
        }
        while (stop < line.n && line.p[stop] != ' ' && line.p[stop] != '\t') {
            stop++;
        }
        if (!add_word(r, slice_upto(line, stop), at)) {
            return false;
        }
        line = slice_from(line, stop);
    }
    return true;
}

static struct apache_directive *make(struct reader *r, unsigned at)
{
    struct apache_directive *d = ARENA_NEW(r->arena, struct apache_directive);
    struct slice *words = ARENA_ARRAY(r->arena, struct slice, r->count);
    if (!d || !words) {
        (void)err_set(r->err, "line %u: the file is too large", at);
        return NULL;
    }
    memcpy(words, r->words, r->count * sizeof(*words));
    *d = (struct apache_directive){.words = words, .count = r->count, .line = at};
    return d;
}

static bool read_section(struct reader *r, struct apache_directive **out, struct slice name,
                         unsigned depth, unsigned opened)
{
    struct slice line;
    unsigned at = r->line;
    if (depth > IMPORT_DEPTH_MAX) {
        return err_set(r->err, "line %u: sections in more than %d sections", opened,
                       IMPORT_DEPTH_MAX);
    }
    while (next_line(r, &line, &at)) {
        if (line.n == 0 || line.p[0] == '#') {
            continue;
        }
        bool closes = slice_starts(line, S("</")), opens = !closes && line.p[0] == '<';
        if (closes || opens) {
            line = slice_from(line, closes ? 2 : 1);
            line = slice_upto(line, line.n - slice_ends(line, S(">")));
        }
        if (closes) {
            return (name.n && slice_eq_case(slice_trim(line), name)) ||
                   err_set(r->err, "line %u: </%.*s> closes nothing", at, SLICE_ARG(line));
        }
        if (!split(r, line, at)) {
            return false;
        }
        if (r->count == 0) {
            return err_set(r->err, "line %u: a section without a name", at);
        }
        struct apache_directive *d = make(r, at);
        if (!d) {
            return false;
        }
        d->is_section = opens;
        *out = d;
        out = &d->next;
        if (opens && !read_section(r, &d->children, d->words[0], depth + 1, at)) {
            return false;
        }
    }
    return name.n == 0 ||
           err_set(r->err, "line %u: <%.*s> is not closed", opened, SLICE_ARG(name));
}

bool apache_parse(struct arena *a, struct slice text, struct apache_directive **out,
                  struct err *err)
{
    struct reader *r = ARENA_NEW(a, struct reader);
    *out = NULL;
    if (!r) {
        return err_set(err, "out of memory");
    }
    *r = (struct reader){.arena = a, .rest = text, .err = err};
    return read_section(r, out, S(""), 0, 1);
}
