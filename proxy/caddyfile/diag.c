/* Diagnostics: collected with their places, printed for a person.
 *
 * In:  a token (for its place) and a message.
 * Out: a list in the order found, at most 150 long, and text with excerpts and carets, in the order
 *      of the places.
 * The list owns copies of all it needs, so it outlives the document it is about. What was in the
 * file is never sent to a terminal as it is: control bytes, invalid UTF-8 and characters that
 * reorder or hide text are shown as escapes. */
#include "proxy/caddyfile/caddyfile.h"

#include <stdio.h>

#define ERRORS_MAX 100
#define WARNINGS_MAX 50 /* however many there are, they leave room for errors */
#define ARENA_MAX_BYTES ((size_t)4 << 20)
#define MESSAGE_MAX 1024
#define EXCERPT_MAX 120 /* bytes of one line that are shown */
#define EXCERPT_LEAD 60 /* of these in front of the place, when the line is cut */
#define CHAIN_MAX 32    /* import lines shown under one message */
#define WORD_MAX 64     /* longest word that is compared for a suggestion */

void cf_diags_init(struct cf_diags *d)
{
    *d = (struct cf_diags){0};
    arena_init(&d->arena, ARENA_MAX_BYTES);
    map_init(&d->declared);
    d->last = &d->first;
}

void cf_diags_fini(struct cf_diags *d)
{
    map_fini(&d->declared);
    arena_fini(&d->arena);
    cf_diags_init(d);
}

void cf_declare(struct cf_diags *d, struct slice name)
{
    static char there; /* a map's values are not NULL */
    struct slice key = cf_is_declared(d, name) ? S("") : arena_copy(&d->arena, name);
    if (key.n) {
        (void)map_put(&d->declared, key, &there);
    }
}

bool cf_is_declared(const struct cf_diags *d, struct slice name)
{
    return map_get(&d->declared, name) != NULL;
}

/* ---- collecting -------------------------------------------------------------------------- */

/* The line of the text in which `at` lies, without its end. */
static struct slice line_of(const struct cf_place *at)
{
    struct slice rest = at->source->text;
    for (unsigned line = 1; line < at->line; line++) {
        size_t end = slice_find(rest, '\n');
        if (end == SLICE_NPOS) {
            return S("");
        }
        rest = slice_from(rest, end + 1);
    }
    rest = slice_upto(rest, slice_find(rest, '\n'));
    return rest.n > 0 && rest.p[rest.n - 1] == '\r' ? slice_upto(rest, rest.n - 1) : rest;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static void keep_excerpt(struct cf_diags *d, struct cf_diag *diag, const struct cf_place *at)
{
    struct slice line = line_of(at);
    size_t column = at->column > 0 ? at->column - 1 : 0;
    size_t from = 0;
    if (line.n > EXCERPT_MAX && column > EXCERPT_LEAD) {
        from = column - EXCERPT_LEAD;
        if (from > line.n - EXCERPT_MAX) {
            from = line.n - EXCERPT_MAX;
        }
        while (from < line.n && is_continuation(line.p[from])) {
            from++; /* do not cut a character in two */
        }
    }
    size_t n = line.n - from;
    if (n > EXCERPT_MAX) {
        for (n = EXCERPT_MAX; n > 0 && is_continuation(line.p[from + n]); n--) {
        }
        diag->excerpt_cut = true;
    }
    diag->excerpt = arena_copy(&d->arena, slice_upto(slice_from(line, from), n));
    diag->excerpt_from = from;
}

/* Copies a place and the import lines above it; the sources keep their names only. */
static void keep_place(struct cf_diags *d, struct cf_place *to, const struct cf_place *at)
{
    *to = (struct cf_place){0};
    for (unsigned depth = 0; at && depth < CHAIN_MAX; depth++) {
        struct cf_source *source = ARENA_NEW(&d->arena, struct cf_source);
        if (!source) {
            return;
        }
        source->name = arena_copy(&d->arena, at->source->name);
        *to = (struct cf_place){source, at->line, at->column, NULL};
        at = at->imported_from;
        struct cf_place *above = at && at->source ? ARENA_NEW(&d->arena, struct cf_place) : NULL;
        if (!above) {
            return;
        }
        to->imported_from = above;
        to = above;
    }
}

static bool is_repeat(const struct cf_diags *d, const struct cf_token *at, struct slice message)
{
    bool parsing = !d->parsed || d->parsed == &d->first;
    if (!at || !at->at.source) {
        return false;
    }
    for (const struct cf_diag *o = d->first; o; o = o->next) {
        bool follows = !parsing && o->severity == CF_ERROR;
        if (o->at.source && o->at.line == at->at.line && o->at.column == at->at.column &&
            slice_eq(o->at.source->name, at->at.source->name) &&
            (follows || slice_eq(o->message, message))) {
            return true;
        }
        parsing = parsing || &o->next == d->parsed;
    }
    return false;
}

PRINTF(4, 0)
static struct cf_diag *add(struct cf_diags *d, enum cf_severity severity,
                           const struct cf_token *at, const char *fmt, va_list ap)
{
    char text[MESSAGE_MAX];
    if (vsnprintf(text, sizeof(text), fmt, ap) < 0) {
        text[0] = '\0';
    }
    bool room = severity == CF_ERROR ? d->errors - d->repeats < ERRORS_MAX
                                     : d->warnings < WARNINGS_MAX;
    if (is_repeat(d, at, slice_str(text))) {
        d->errors += severity == CF_ERROR; /* whoever asks "was there an error?" must see it */
        d->repeats += severity == CF_ERROR;
        return NULL;
    }
    unsigned *count = severity == CF_ERROR ? &d->errors : &d->warnings;
    if (*count < UINT32_MAX / 2) {
        (*count)++;
    }
    struct cf_diag *diag = room ? ARENA_NEW(&d->arena, struct cf_diag) : NULL;
    if (!diag) {
        return NULL;
    }
    diag->severity = severity;
    diag->message = arena_copy(&d->arena, slice_str(text));
    diag->hint = S("");
    diag->width = 1;
    if (at && at->at.source) {
        keep_place(d, &diag->at, &at->at);
        keep_excerpt(d, diag, &at->at);
        diag->width = at->text.n + (at->quote == CF_BARE ? 0 : 2);
        diag->width = diag->width > 0 ? diag->width : 1;
    }
    *d->last = diag;
    d->last = &diag->next;
    return diag;
}

struct cf_diag *cf_error(struct cf_diags *d, const struct cf_token *at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct cf_diag *diag = add(d, CF_ERROR, at, fmt, ap);
    va_end(ap);
    return diag;
}

struct cf_diag *cf_warning(struct cf_diags *d, const struct cf_token *at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct cf_diag *diag = add(d, CF_WARNING, at, fmt, ap);
    va_end(ap);
    return diag;
}

/* ---- suggestions ------------------------------------------------------------------------- */

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: insertions, deletions, changes and swaps of neighbours, each 1. */
static unsigned edit_distance(struct slice a, struct slice b)
{
    unsigned rows[3][WORD_MAX + 1];
    unsigned *before = rows[0];
    unsigned *above = rows[1];
    unsigned *row = rows[2];
    for (unsigned j = 0; j <= b.n; j++) {
        above[j] = j;
        before[j] = 0;
    }
    for (unsigned i = 1; i <= a.n; i++) {
        row[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            char x = ascii_lower(a.p[i - 1]);
            char y = ascii_lower(b.p[j - 1]);
            row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == ascii_lower(b.p[j - 2]) && ascii_lower(a.p[i - 2]) == y) {
                row[j] = least(row[j], before[j - 2] + 1);
            }
        }
        unsigned *free_row = before;
        before = above;
        above = row;
        row = free_row;
    }
    return above[b.n];
}

void cf_did_you_mean(struct cf_diags *d, struct cf_diag *diag, struct slice word,
                     const struct slice *names, size_t count)
{
    if (!diag || word.n == 0 || word.n > WORD_MAX) {
        return;
    }
    /* A third of the word may be wrong; beyond that a suggestion is a guess. */
    unsigned allowed = (unsigned)(word.n < 3 ? 1 : word.n / 3);
    unsigned best = allowed > 3 ? 4 : allowed + 1;
    const struct slice *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        if (names[i].n == 0 || names[i].n > WORD_MAX) {
            continue;
        }
        unsigned distance = edit_distance(word, names[i]);
        if (distance < best && distance < names[i].n) {
            best = distance;
            nearest = &names[i];
        }
    }
    if (nearest) {
        diag->hint = arena_printf(&d->arena, "did you mean \"%.*s\"?", SLICE_ARG(*nearest));
    }
}

/* ---- printing ---------------------------------------------------------------------------- */

/* Length of the UTF-8 character at the front of s (RFC 3629), 0 if it is none. */
static size_t utf8_length(struct slice s, uint32_t *code)
{
    static const uint32_t least_code[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char c = (unsigned char)s.p[0];
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3
             : c >= 0xf0 && c < 0xf5                ? 4 : 0;
    if (n == 0 || n > s.n) {
        return 0;
    }
    *code = n == 1 ? c : c & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if (!is_continuation(s.p[i])) {
            return 0;
        }
        *code = *code << 6 | ((unsigned char)s.p[i] & 0x3fU);
    }
    bool valid = *code >= least_code[n] && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff);
    return valid ? n : 0;
}

/* Control characters, zero-width ones, line separators, and those that turn text round. */
static bool is_hidden(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || c == 0xfeff ||
           (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || (c >= 0xfff9 && c <= 0xfffb) || c >= 0xe0000;
}

/* Writes one character of s made visible; returns its bytes in s and its columns on screen. */
static size_t print_char(struct dstr *out, struct slice s, size_t *columns)
{
    uint32_t code = 0;
    size_t n = utf8_length(s, &code);
    size_t before = out->n;
    if (n == 0) {
        dstr_printf(out, "\\x%02x", (unsigned)(unsigned char)s.p[0]);
    } else if (!is_hidden(code)) {
        dstr_append(out, slice_upto(s, n));
        *columns = 1;
        return n;
    } else if (n == 1) {
        dstr_printf(out, "\\x%02x", (unsigned)code);
    } else {
        dstr_printf(out, "\\u{%x}", (unsigned)code);
    }
    *columns = out->n - before;
    return n ? n : 1;
}

static void print_visible(struct dstr *out, struct slice s)
{
    size_t columns;
    while (s.n > 0) {
        s = slice_from(s, print_char(out, s, &columns));
    }
}

/* The caret line is made while the excerpt is written: a tab under a tab, spaces under the rest,
 * so that both lines agree whatever the terminal's tab width. */
static void print_excerpt(struct dstr *out, const struct cf_diag *diag)
{
    struct dstr caret;
    size_t begin = diag->at.column > 0 ? diag->at.column - 1 : 0;
    begin = begin > diag->excerpt_from ? begin - diag->excerpt_from : 0;
    dstr_init(&caret, (size_t)EXCERPT_MAX * 16);
    const char *lead = diag->excerpt_from ? "    ..." : "    ";
    dstr_append(out, slice_str(lead));
    dstr_printf(&caret, "%*s", (int)strlen(lead), "");
    bool marked = false;
    for (size_t i = 0; i < diag->excerpt.n;) {
        struct slice s = slice_from(diag->excerpt, i);
        bool under = i >= begin && i - begin < diag->width;
        bool tab = s.p[0] == '\t';
        size_t columns = 1;
        if (tab) {
            dstr_byte(out, '\t');
            i++;
        } else {
            i += print_char(out, s, &columns);
        }
        for (; (under || !marked) && columns > 0; columns--) {
            dstr_byte(&caret, under ? '^' : tab ? '\t' : ' ');
        }
        marked = marked || under;
    }
    if (!marked) {
        dstr_byte(&caret, '^'); /* at the end of the line */
    }
    dstr_append(out, diag->excerpt_cut ? S("...\n") : S("\n"));
    dstr_append(out, dstr_slice(&caret));
    dstr_fini(&caret);
}

static void print_place(struct dstr *out, const struct cf_place *at)
{
    print_visible(out, at->source->name);
    dstr_printf(out, ":%u:%u", at->line, at->column);
}

static void print_diag(const struct cf_diag *diag, struct dstr *out)
{
    if (diag->at.source) {
        print_place(out, &diag->at);
        dstr_append(out, S(": "));
    }
    dstr_append(out, diag->severity == CF_ERROR ? S("error: ") : S("warning: "));
    print_visible(out, diag->message);
    dstr_byte(out, '\n');
    if (diag->at.source) {
        print_excerpt(out, diag);
        if (diag->hint.n > 0) {
            dstr_byte(out, ' ');
            print_visible(out, diag->hint);
        }
        dstr_byte(out, '\n');
    } else if (diag->hint.n > 0) {
        dstr_append(out, S("    "));
        print_visible(out, diag->hint);
        dstr_byte(out, '\n');
    }
    for (const struct cf_place *p = diag->at.imported_from; p && p->source; p = p->imported_from) {
        dstr_append(out, S("  imported at "));
        print_place(out, p);
        dstr_byte(out, '\n');
    }
}

/* Those without a place come last. */
static bool stands_before(const struct cf_diag *a, const struct cf_diag *b)
{
    if (!a->at.source || !b->at.source) {
        return a->at.source && !b->at.source;
    }
    return slice_eq(a->at.source->name, b->at.source->name) &&
           (a->at.line < b->at.line ||
            (a->at.line == b->at.line && a->at.column < b->at.column));
}

/* Parsing and what comes after it find things in an order of their own; people read a file from
 * above. What is found in one file stays together, the files in the order found. */
static unsigned in_order(const struct cf_diags *d, const struct cf_diag **out)
{
    unsigned count = 0;
    for (const struct cf_diag *diag = d->first; diag; diag = diag->next) {
        unsigned at = count;
        for (unsigned i = 0; i < count && at == count && diag->at.source; i++) {
            bool same_file = out[i]->at.source &&
                             slice_eq(out[i]->at.source->name, diag->at.source->name);
            bool file_ends = i + 1 == count || !out[i + 1]->at.source ||
                             !slice_eq(out[i + 1]->at.source->name, diag->at.source->name);
            at = stands_before(diag, out[i]) ? i : same_file && file_ends ? i + 1 : at;
        }
        memmove(&out[at + 1], &out[at], (count - at) * sizeof(out[0]));
        out[at] = diag;
        count++;
    }
    return count;
}

void cf_diags_print(const struct cf_diags *d, struct dstr *out)
{
    const struct cf_diag *sorted[ERRORS_MAX + WARNINGS_MAX + 1];
    unsigned printed = in_order(d, sorted);
    for (unsigned i = 0; i < printed; i++) {
        print_diag(sorted[i], out);
    }
    if (d->errors + d->warnings - d->repeats > printed) {
        dstr_printf(out, "... and %u more\n", d->errors + d->warnings - d->repeats - printed);
    }
}
