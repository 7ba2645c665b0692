/* Braces that are missing or left over, and what was meant.
 *
 * In:  lexemes, with the cursor at the opener of a block that stands at the top of a text, or
 *      behind an address whose opener is missing.
 * Out: an error for each brace, at the block or brace that is to blame, and a cursor over lexemes
 *      in which the braces go together, so that one missing "}" is one error and everything behind
 *      it is still read and checked.
 * Text whose braces go together is never touched. In other text the indentation tells where a block
 * was meant to end; no more than what is missing is put in. */
#include "proxy/caddyfile/parser.h"

#define EXTRA_MAX 8 /* left over braces in one block that are looked for */
#define STEPS_MAX 64 /* lines of one block that open nothing, though the next one is indented */

struct frame {
    const struct lexeme *opener;
    unsigned column; /* where the line of the opener begins */
    bool looked;     /* its first line inside was seen: */
    bool indented;   /* it begins further right */
};

struct mending {
    struct parser *p;
    const struct lexeme *end;
    struct lexemes *out;
    struct frame open[CF_DEPTH_MAX];
    unsigned depth;
    size_t missing; /* closers that are still to be put in */
    unsigned column; /* where the current line begins */
};

static void set_hint(struct cf_diag *diag, struct slice hint)
{
    if (diag) {
        diag->hint = hint; /* a literal */
    }
}

static bool ends_line(const struct lexeme *l, const struct lexeme *end)
{
    return l + 1 == end || l[1].first_on_line;
}

/* A word with an opener glued to it counts for one, too, as in block.c. */
static bool opens(const struct lexeme *l, const struct lexeme *end)
{
    struct slice text = l->token.text;
    return cf_is_bare(&l->token, "{") ||
           (l->token.quote == CF_BARE && text.n > 1 && text.p[text.n - 1] == '{' &&
            ends_line(l, end));
}

/* The parser takes a ">" alone on its line for a closer, after an error. */
static bool closes(const struct lexeme *l, const struct lexeme *end)
{
    return cf_is_bare(&l->token, "}") ||
           (l->first_on_line && cf_is_bare(&l->token, ">") && ends_line(l, end));
}

/* Behind the closer that goes with the opener at `at`; NULL, and how many are missing. bare: only
 * "{" itself opens, as where a snippet is collected. */
static const struct lexeme *matching(const struct lexeme *at, const struct lexeme *end, bool bare,
                                     size_t *missing)
{
    *missing = 0;
    for (const struct lexeme *l = at; l < end; l++) {
        *missing += (bare && l > at ? cf_is_bare(&l->token, "{") : opens(l, end)) ? 1 : 0;
        *missing -= closes(l, end) ? 1 : 0;
        if (*missing == 0) {
            return l + 1;
        }
    }
    return NULL;
}

/* A word of small letters, or "@name": no address, but what stands inside a site. */
static bool is_inner_word(const struct cf_token *t)
{
    for (size_t i = 0; i < t->text.n; i++) {
        char c = t->text.p[i];
        if (!(c >= 'a' && c <= 'z') && c != '_' && !(i == 0 && c == '@')) {
            return false;
        }
    }
    return t->quote == CF_BARE && t->text.n > 0 && !slice_eq(t->text, S("localhost"));
}

/* "example.com {", "(snippet) {": a line that can only stand at the top. */
static bool is_top_line(const struct lexeme *l, const struct lexeme *end)
{
    struct slice text = l->token.text;
    if (l->token.quote != CF_BARE || text.n == 0 || text.p[0] == '@' || text.p[0] == '{') {
        return false;
    }
    bool named = slice_starts(text, S("(")) || slice_starts(text, S("&("));
    if (!named && slice_find(text, '.') == SLICE_NPOS && slice_find(text, ':') == SLICE_NPOS) {
        return false;
    }
    while (!ends_line(l, end)) {
        l++;
    }
    return opens(l, end);
}

/* ---- closers that are missing ------------------------------------------------------------ */

static void put_closer(struct mending *m, const struct lexeme *before)
{
    struct lexeme closer = *before;
    closer.token.text = S("}");
    closer.token.quote = CF_BARE;
    closer.first_on_line = true;
    cf_lexemes_add(m->p, m->out, closer);
    m->depth--;
    m->missing--;
}

static void report(struct mending *m, const struct lexeme *before)
{
    const struct lexeme *opener = m->open[m->depth - 1].opener;
    if (m->p->cut_off) {
        return; /* said already, and the reason for this one */
    }
    struct cf_diag *diag = cf_error(m->p->diags, &opener->token, "the block that opens here is "
                                    "never closed");
    if (diag && before) {
        diag->hint = arena_printf(&m->p->diags->arena, "is a \"}\" missing above line %u?",
                                  before->token.at.line);
    }
}

/* "{ respond x}": takes the brace off the last word. */
static bool unglue(struct mending *m)
{
    const struct frame *f = &m->open[m->depth - 1];
    struct lexeme *last = &m->out->items[m->out->count - 1];
    struct slice text = last->token.text;
    bool glued = last->token.quote == CF_BARE && text.n > 1 && text.p[text.n - 1] == '}' &&
                 slice_find(text, '{') == SLICE_NPOS && !f->looked &&
                 last->token.at.line == f->opener->token.at.line;
    if (!glued) {
        return false;
    }
    set_hint(cf_error(m->p->diags, &last->token, "a space is missing in front of \"}\", which "
                      "should close the block opened at column %u", f->opener->token.at.column),
             S("a brace that belongs to the word goes in quotes"));
    last->token.text = arena_copy(&m->p->doc->arena, slice_upto(text, text.n - 1));
    return true;
}

/* At the first word of a line: which blocks should have ended above it? */
static void close_lost(struct mending *m, const struct lexeme *l)
{
    bool closer = closes(l, m->end);
    m->column = l->token.at.column;
    while (m->depth > 0 && m->missing > 0 && !m->p->stopped) {
        struct frame *f = &m->open[m->depth - 1];
        bool top_line = m->depth == 1 && m->column <= f->column && is_top_line(l, m->end);
        bool unglued = unglue(m);
        if (!f->looked) {
            f->looked = true;
            f->indented = m->column > f->column;
        }
        bool dedented = f->indented && (closer ? m->column < f->column : m->column <= f->column);
        if (!dedented && !top_line && !unglued) {
            return;
        }
        if (!unglued) {
            report(m, l);
        }
        put_closer(m, l);
    }
}

static void copy_lexeme(struct mending *m, const struct lexeme *l)
{
    if (l->first_on_line) {
        close_lost(m, l);
    }
    if (opens(l, m->end)) {
        m->open[m->depth++] = (struct frame){.opener = l, .column = m->column};
    } else if (closes(l, m->end)) {
        if (m->depth == 0) {
            return; /* the block it should close was closed for it */
        }
        m->depth--;
    }
    cf_lexemes_add(m->p, m->out, *l);
}

/* From the opener at the cursor to the end of the text. */
static void put_closers(struct parser *p, struct cursor *cur, size_t missing, unsigned column)
{
    struct mending m = {.p = p, .end = cur->end, .out = cf_lexemes_new(p), .missing = missing,
                        .column = column};
    const struct lexeme *l = cur->at;
    for (; l < cur->end && m.depth < CF_DEPTH_MAX && !p->stopped; l++) {
        copy_lexeme(&m, l);
    }
    if (l < cur->end || p->stopped) {
        return; /* nested too deeply: the parser will say so */
    }
    while (m.depth > 0 && m.missing > 0 && !p->stopped) {
        if (!unglue(&m)) {
            report(&m, NULL);
        }
        put_closer(&m, cur->end - 1);
    }
    if (!p->stopped) {
        cur->at = m.out->items;
        cur->end = m.out->items + m.out->count;
    }
}

/* ---- closers that are left over ---------------------------------------------------------- */

/* The "}" of a site stands too far right, what follows looks like a part of the site, and further
 * on a "}" closes nothing. Whether one does is looked for once, if there is none: the block that
 * was closed has as many openers as closers, so that it changes nothing for what is behind it. */
static bool is_left_over(struct cursor *cur, const struct lexeme *closer, unsigned column)
{
    const struct lexeme *next = closer + 1;
    const struct lexeme *end = cur->end;
    size_t depth = 1;
    if (cur->no_surplus || !closer->first_on_line || closer->token.at.column <= column ||
        next >= end || !next->first_on_line || next->token.at.column <= column ||
        !is_inner_word(&next->token)) {
        return false;
    }
    for (const struct lexeme *l = next; l < end && depth > 0; l++) {
        depth += opens(l, end) ? 1 : 0;
        depth -= closes(l, end) ? 1 : 0;
    }
    cur->no_surplus = depth > 0;
    return depth == 0;
}

static void leave_out(struct parser *p, struct cursor *cur, const struct lexeme *closer)
{
    struct lexemes *out = cf_lexemes_new(p);
    set_hint(cf_error(p->diags, &closer->token, "this \"}\" closes the block of line %u, but what "
                      "follows looks like a part of it", cur->at->token.at.line),
             S("is it one too many?"));
    for (const struct lexeme *l = cur->at; l < cur->end && !p->stopped; l++) {
        if (l != closer) {
            cf_lexemes_add(p, out, *l);
        }
    }
    if (!p->stopped) {
        cur->at = out->items;
        cur->end = out->items + out->count;
    }
}

/* ---- openers that are missing ------------------------------------------------------------ */

/* Is there a "}" further on that closes nothing? Looked for once, if there is none. */
static bool has_surplus(struct cursor *cur)
{
    size_t depth = 0;
    for (const struct lexeme *l = cur->at; l < cur->end && !cur->no_surplus; l++) {
        if (closes(l, cur->end) && depth == 0) {
            return true;
        }
        depth += opens(l, cur->end) ? 1 : 0;
        depth -= closes(l, cur->end) ? 1 : 0;
    }
    cur->no_surplus = true;
    return false;
}

/* The first line from l on that begins no further right than column. */
static const struct lexeme *line_left_of(const struct lexeme *l, const struct lexeme *end,
                                         unsigned column)
{
    while (l < end && !(l->first_on_line && l->token.at.column <= column)) {
        l++;
    }
    return l;
}

/* The last word of a line that opens nothing, though what follows is indented and closed by a "}"
 * in the line's own column; NULL. */
static const struct lexeme *lost_opener(const struct cursor *cur, const struct lexeme *behind,
                                        const struct lexeme **closer)
{
    const struct lexeme *line = NULL;
    bool opened = false;
    unsigned steps = 0;
    for (const struct lexeme *l = cur->at; l < behind && steps < STEPS_MAX; l++) {
        if (l->first_on_line && l > cur->at) {
            line = closes(l, cur->end) ? NULL : l;
            opened = false;
        }
        opened = opened || opens(l, cur->end);
        if (!line || opened || l + 1 >= behind || !l[1].first_on_line ||
            l[1].token.at.column <= line->token.at.column) {
            continue;
        }
        *closer = line_left_of(l + 1, behind, line->token.at.column);
        if (*closer < behind && (*closer)->token.at.column == line->token.at.column &&
            closes(*closer, cur->end)) {
            return l;
        }
        steps++;
    }
    return NULL;
}

static void put_opener(struct parser *p, struct cursor *cur, const struct lexeme *last,
                       const struct lexeme *closer)
{
    struct lexemes *out = cf_lexemes_new(p);
    struct lexeme opener = *last;
    struct cf_diag *diag = cf_error(p->diags, &last->token, "\"{\" is expected at the end of this "
                                    "line");
    if (diag) {
        diag->hint = arena_printf(&p->diags->arena, "the \"}\" in line %u closes the block that "
                                  "should begin here", closer->token.at.line);
    }
    opener.token.text = S("{");
    opener.token.quote = CF_BARE;
    opener.first_on_line = false;
    for (const struct lexeme *l = cur->at; l < cur->end && !p->stopped; l++) {
        cf_lexemes_add(p, out, *l);
        if (l == last) {
            cf_lexemes_add(p, out, opener);
        }
    }
    if (!p->stopped) {
        cur->at = out->items;
        cur->end = out->items + out->count;
    }
}

static void put_openers(struct parser *p, struct cursor *cur)
{
    for (unsigned i = 0; i < EXTRA_MAX && !p->stopped; i++) {
        const struct lexeme *closer = NULL;
        size_t missing;
        const struct lexeme *behind = matching(cur->at, cur->end, false, &missing);
        const struct lexeme *last = behind ? lost_opener(cur, behind, &closer) : NULL;
        if (!last || !has_surplus(cur)) {
            return;
        }
        put_opener(p, cur, last, closer);
    }
}

/* ---- the entrance ------------------------------------------------------------------------ */

void cf_mend(struct parser *p, struct cursor *cur, const struct cf_token *first)
{
    unsigned column = first->at.column;
    const struct lexeme *opener = cur->at;
    size_t missing;
    bool glued_end = false;
    if (!opens(opener, cur->end)) {
        return;
    }
    if (!ends_line(opener, cur->end)) { /* a block on one line */
        const struct lexeme *last = opener;
        while (!ends_line(last, cur->end)) {
            last++;
        }
        struct slice text = last->token.text;
        glued_end = last->token.quote == CF_BARE && text.n > 1 && text.p[text.n - 1] == '}' &&
                    slice_find(text, '{') == SLICE_NPOS;
        if (!glued_end) {
            return;
        }
    }
    if (!glued_end) {
        put_openers(p, cur);
    }
    bool snippet = first->quote == CF_BARE && slice_starts(first->text, S("("));
    opener = cur->at;
    const struct lexeme *whole = snippet ? matching(opener, cur->end, true, &missing) : NULL;
    if (whole && !is_left_over(cur, whole - 1, column)) {
        return;
    }
    for (unsigned i = 0; i < EXTRA_MAX && !p->stopped; i++) {
        const struct lexeme *behind = matching(cur->at, cur->end, false, &missing);
        if (!behind) {
            put_closers(p, cur, missing, column);
            return;
        }
        if (glued_end || !is_left_over(cur, behind - 1, column)) {
            return;
        }
        leave_out(p, cur, behind - 1);
    }
}

bool cf_lost_opener(const struct cursor *cur, const struct cf_token *first)
{
    size_t depth = 1;
    for (const struct lexeme *l = cur->at; l < cur->end; l++) {
        bool outside = depth == 1 && l->first_on_line && l->token.at.column <= first->at.column;
        if (outside && closes(l, cur->end)) {
            return true;
        }
        if (outside && (is_top_line(l, cur->end) || opens(l, cur->end))) {
            return false;
        }
        depth += opens(l, cur->end) ? 1 : 0;
        depth -= closes(l, cur->end) ? 1 : 0;
        if (depth == 0) {
            return false;
        }
    }
    return false;
}
