/* Laying a Caddyfile out: cf_format.
 *
 * In:  the bytes of one file, its environment variables not replaced, its imports not followed.
 * Out: the same words and comments, each as it was written, on lines of one form.
 *
 * It follows the blocks as block.c and parse.c do, with no more knowledge than they have of what a
 * word means: an opener, a closer and a ";" are found by the same rules, so that what it writes is
 * read as what it has read. */
#include "proxy/caddyfile/parser.h"

#include <stdlib.h>

#include "proxy/base/mem.h"

enum written { NOTHING, WORD, OPENER, CLOSER, COMMENT };

/* What the line at the top of the file, outside of all braces, is. */
enum head { HEAD_NONE, HEAD_IMPORT, HEAD_SITE };

struct level {
    bool angle;
    bool one_line;
    const struct lexeme *opener;
};

struct layout {
    struct dstr *out;
    struct cf_diags *diags;
    const struct lexeme *previous; /* in the text; NULL: none */
    enum written last;
    struct level levels[CF_DEPTH_MAX];
    unsigned depth;
    enum head head;
    bool comma;    /* the addresses go on on the next line */
    bool unbraced; /* the rest of the file is the body of a site without braces */
    bool ended;    /* a ";" was met: the next word begins a line */
    bool ours;     /* there are blocks that Caddy does not have */
    bool failed;
};

static void fail(struct layout *f, const struct lexeme *l, const char *why)
{
    cf_error(f->diags, &l->token, "%s", why);
    f->failed = true;
}

static const struct level *top(const struct layout *f)
{
    return f->depth ? &f->levels[f->depth - 1] : NULL;
}

/* ---- lines ------------------------------------------------------------------------------- */

/* What stands between l and the lexeme in front of it: white space and continuations. */
static struct slice gap_before(const struct layout *f, const struct lexeme *l)
{
    if (!f->previous) {
        return S("");
    }
    const char *from = f->previous->raw.p + f->previous->raw.n;
    return slice_of(from, (size_t)(l->raw.p - from));
}

static bool has_blank_line(const struct layout *f, const struct lexeme *l)
{
    struct slice gap = gap_before(f, l);
    size_t first = slice_find(gap, '\n');
    return first != SLICE_NPOS && slice_find(slice_from(gap, first + 1), '\n') != SLICE_NPOS;
}

static void write_tabs(struct layout *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        dstr_byte(f->out, '\t');
    }
}

/* A new line for l, with the blank lines in front of it: none behind an opener, one where there
 * were any, and one between the blocks of the file. */
static void begin_line(struct layout *f, const struct lexeme *l)
{
    bool between_blocks = f->depth == 0 && f->last == CLOSER;
    if (f->last != NOTHING) {
        dstr_byte(f->out, '\n');
        if (between_blocks || (f->last != OPENER && has_blank_line(f, l))) {
            dstr_byte(f->out, '\n');
        }
    }
    write_tabs(f, f->depth);
    f->ended = false;
}

/* Carriage returns are no part of a word, and at the end of no line. becomes_last: "<<x" that was
 * in the middle of a line is now at its end, where it would open a heredoc. */
static void write_raw(struct layout *f, const struct lexeme *l, bool becomes_last)
{
    struct slice raw = l->raw;
    while (l->comment && strchr(" \t\r", raw.p[raw.n - 1])) {
        raw.n--; /* not beyond its "#" */
    }
    bool bare = !l->comment && l->token.quote == CF_BARE;
    if (bare && becomes_last && slice_starts(raw, S("<<"))) {
        dstr_byte(f->out, '\\');
    }
    if (l->comment || bare) {
        for (size_t i = 0; i < raw.n; i++) {
            if (raw.p[i] != '\r') {
                dstr_byte(f->out, raw.p[i]);
            }
        }
    } else {
        dstr_append(f->out, raw);
    }
}

static bool stands_alone(const struct layout *f, const struct lexeme *l)
{
    return l->first_on_line || f->ended || f->last != WORD;
}

/* ---- words, comments, blocks ------------------------------------------------------------- */

static void put_comment(struct layout *f, const struct lexeme *l)
{
    bool behind = !l->first_on_line && !f->ended && (f->last == WORD || f->last == CLOSER);
    if (behind) {
        dstr_byte(f->out, ' ');
    } else {
        bool ended = f->ended;
        begin_line(f, l);
        f->ended = ended;
    }
    write_raw(f, l, false);
    f->last = COMMENT;
}

/* What a line at the top of the file means for those that follow. */
static void begin_head(struct layout *f, const struct lexeme *l)
{
    f->unbraced = f->unbraced || f->head == HEAD_SITE;
    f->head = cf_is_bare(&l->token, "import") ? HEAD_IMPORT : HEAD_SITE;
}

static void begin_word(struct layout *f, const struct lexeme *l)
{
    if (f->comma && l->first_on_line) {
        dstr_byte(f->out, '\n');
    } else if (stands_alone(f, l)) {
        begin_line(f, l);
        if (f->depth == 0) {
            begin_head(f, l);
        }
    } else if (slice_find(gap_before(f, l), '\n') != SLICE_NPOS) {
        dstr_append(f->out, S(" \\\n"));
        write_tabs(f, f->depth + 1);
    } else {
        dstr_byte(f->out, ' ');
    }
}

/* Does something end the line behind l that did not do so in the text? */
static bool becomes_last(const struct lexeme *l, const struct lexeme *end)
{
    const struct lexeme *next = l + 1;
    return next < end && !next->first_on_line &&
           (cf_is_bare(&next->token, "}") || cf_is_bare(&next->token, ">") ||
            cf_is_bare(&next->token, ";"));
}

/* At the end of a line "x{" would be taken for a word and an opener. */
static bool needs_quotes(const struct lexeme *l, const struct lexeme *end)
{
    struct slice text = l->token.text;
    return l->token.quote == CF_BARE && becomes_last(l, end) &&
           slice_find(text, '`') == SLICE_NPOS &&
           ((text.n > 1 && slice_ends(text, S("{"))) || (text.n > 2 && slice_ends(text, S("{}"))));
}

static bool ends_line(const struct lexeme *l, const struct lexeme *end)
{
    return l + 1 == end || l[1].first_on_line;
}

/* And "x\" would make the line go on, but for a space behind it. */
static bool needs_space(const struct lexeme *l, const struct lexeme *end)
{
    return l->token.quote == CF_BARE && slice_ends(l->token.text, S("\\")) &&
           (becomes_last(l, end) || ends_line(l, end));
}

static void put_word(struct layout *f, const struct lexeme *l, const struct lexeme *end)
{
    begin_word(f, l);
    if (needs_quotes(l, end)) {
        dstr_printf(f->out, "`%.*s`", SLICE_ARG(l->token.text));
    } else {
        write_raw(f, l, becomes_last(l, end) || ends_line(l, end));
    }
    dstr_append(f->out, needs_space(l, end) ? S(" ") : S(""));
    f->last = WORD;
    f->comma = f->depth == 0 && !f->unbraced && f->head == HEAD_SITE &&
               l->token.quote == CF_BARE && slice_ends(l->token.text, S(","));
}

/* Is the next word on this line? */
static bool goes_on(const struct lexeme *l, const struct lexeme *end)
{
    do {
        l++;
    } while (l < end && l->comment);
    return l < end && !l->first_on_line;
}

static void put_opener(struct layout *f, const struct lexeme *l, const struct lexeme *end,
                       enum opener how)
{
    if (stands_alone(f, l)) {
        begin_line(f, l);
    } else {
        dstr_byte(f->out, ' ');
    }
    f->head = HEAD_NONE;
    f->comma = false;
    f->ours = f->ours || l->token.text.p[0] == '<';
    if (how == OPENS_EMPTY) {
        dstr_append(f->out, S("{}"));
        f->last = CLOSER;
        return;
    }
    if (f->depth == CF_DEPTH_MAX) {
        fail(f, l, "too many blocks inside one another");
        return;
    }
    bool one_line = goes_on(l, end);
    f->levels[f->depth++] = (struct level){how == OPENS_ANGLE, one_line, l};
    f->ours = f->ours || one_line;
    dstr_byte(f->out, '{');
    f->last = OPENER;
}

static void put_closer(struct layout *f, const struct lexeme *l)
{
    if (f->depth == 0) {
        fail(f, l, "this \"}\" closes nothing");
        return;
    }
    if (top(f)->angle && cf_is_bare(&l->token, "}")) {
        fail(f, l, "this block was opened with \"<\" and must be closed with \">\"");
        return;
    }
    f->depth--;
    f->ended = false;
    dstr_byte(f->out, '\n');
    write_tabs(f, f->depth);
    dstr_byte(f->out, '}');
    f->last = CLOSER;
}

/* Does "<" open a block here? Behind addresses, and inside of blocks that it opened. */
static bool angles_open(const struct layout *f, const struct lexeme *l)
{
    return f->depth ? top(f)->angle
                    : !f->unbraced && f->head == HEAD_SITE && f->last == WORD &&
                          (!l->first_on_line || f->comma);
}

/* In front of all others the bytes of such a word say how the file is written. */
static bool is_byte_order_mark(struct slice raw)
{
    return slice_starts(raw, S("\xef\xbb\xbf")) || slice_starts(raw, S("\xff\xfe")) ||
           slice_starts(raw, S("\xfe\xff"));
}

static void put(struct layout *f, const struct lexeme *l, const struct lexeme *end)
{
    if (f->last == NOTHING && is_byte_order_mark(l->raw)) {
        fail(f, l, "there is a byte order mark here: this is no text in UTF-8");
        return;
    }
    if (l->comment) {
        put_comment(f, l);
        return;
    }
    enum opener how = cf_opener(&l->token, angles_open(f, l));
    bool angle = f->depth && top(f)->angle;
    if (how != OPENS_NOTHING) {
        put_opener(f, l, end, how);
    } else if (cf_is_bare(&l->token, "}") || (angle && cf_is_bare(&l->token, ">"))) {
        put_closer(f, l);
    } else if (f->depth && top(f)->one_line && cf_is_bare(&l->token, ";")) {
        f->ended = true;
    } else {
        put_word(f, l, end);
    }
}

/* ---- the whole --------------------------------------------------------------------------- */

/* "host{" at the end of a line is a mistake that is easily mended: an opener of its own. */
static size_t glued_opener(const struct lexeme *l, const struct lexeme *end)
{
    struct slice text = l->token.text;
    size_t brace = slice_find(text, '{');
    bool last = ends_line(l, end) || (l[1].comment && ends_line(l + 1, end));
    bool glued = l->token.quote == CF_BARE && !l->comment && last && brace != SLICE_NPOS &&
                 brace > 0 && slice_eq(slice_from(text, brace), S("{")) &&
                 (brace > 1 || !strchr("<>};", text.p[0])); /* what is left must be a word */
    return glued ? slice_rfind(l->raw, '{') : SLICE_NPOS; /* carriage returns may follow */
}

static const struct lexemes *split_glued(struct parser *p, const struct lexemes *all)
{
    struct lexemes *out = cf_lexemes_new(p);
    struct cursor cur = cf_cursor(all);
    for (; cur.at < cur.end && !p->stopped; cur.at++) {
        struct lexeme word = *cur.at;
        size_t brace = glued_opener(cur.at, cur.end);
        if (brace == SLICE_NPOS) {
            cf_lexemes_add(p, out, word);
            continue;
        }
        struct lexeme opener = word;
        opener.raw = slice_from(word.raw, brace);
        opener.token.text = S("{");
        opener.token.at.column += (unsigned)brace;
        opener.first_on_line = false;
        word.raw = slice_upto(word.raw, brace);
        word.token.text = slice_upto(word.token.text, word.token.text.n - 1);
        cf_lexemes_add(p, out, word);
        cf_lexemes_add(p, out, opener);
    }
    return out;
}

static void lay_out(struct layout *f, const struct lexemes *all)
{
    struct cursor cur = cf_cursor(all);
    for (; cur.at < cur.end && !f->failed; cur.at++) {
        put(f, cur.at, cur.end);
        f->previous = cur.at;
    }
    if (!f->failed && f->depth > 0) {
        fail(f, top(f)->opener, "the block that opens here is never closed");
    }
    if (f->out->n) {
        dstr_byte(f->out, '\n');
    }
}

bool cf_format(struct slice name, struct slice text, struct dstr *out, bool *ours,
               struct cf_diags *d)
{
    struct cf_document doc = {.options = NULL};
    struct parser p = {.diags = d, .doc = &doc, .for_format = true, .tokens_left = CF_TOKENS_MAX};
    struct layout *f = mem_zalloc(sizeof(*f));
    unsigned errors = d->errors;
    *f = (struct layout){.out = out, .diags = d};
    arena_init(&doc.arena, CF_ARENA_MAX_BYTES);
    if (slice_starts(text, S("\xef\xbb\xbf"))) {
        text = slice_from(text, 3);
    }
    struct cf_source source = {.name = name, .text = text};
    struct lexemes *all = cf_lexemes_new(&p);
    cf_lex(&p, &source, NULL, all);
    if (d->errors == errors) {
        lay_out(f, split_glued(&p, all));
    }
    if (ours) {
        *ours = f->ours;
    }
    if (out->failed && d->errors == errors) {
        cf_error(d, NULL, "the file is too long to be laid out");
    }
    cf_lexemes_free(&p);
    arena_fini(&doc.arena);
    free(f);
    return d->errors == errors;
}
