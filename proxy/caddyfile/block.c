/* Directives and the blocks they stand in.
 *
 * In:  lexemes, behind the opener of a block.
 * Out: the list of directives in it, imports carried out in their places. After an error reading
 *      goes on at the next line or closer, so that one run finds all there is to find.
 *
 * A bare "{" opens a block wherever an argument could stand, a bare "}" closes one. Where more
 * words follow the opener on its line the block is a one-line block, and there a bare ";" ends a
 * directive. "<" and ">" do the same inside blocks that were opened by "<", and nowhere else. */
#include "proxy/caddyfile/parser.h"

enum opener cf_opener(const struct cf_token *t, bool angle)
{
    if (cf_is_bare(t, "{")) {
        return OPENS_BRACE;
    }
    if (cf_is_bare(t, "{}") || (angle && cf_is_bare(t, "<>"))) {
        return OPENS_EMPTY;
    }
    return angle && cf_is_bare(t, "<") ? OPENS_ANGLE : OPENS_NOTHING;
}

static void set_hint(struct cf_diag *diag, struct slice hint)
{
    if (diag) {
        diag->hint = hint; /* a literal */
    }
}

static bool is_end(const struct lexeme *l, const struct block *b)
{
    return cf_is_bare(&l->token, "}") || (b->end == END_ANGLE && cf_is_bare(&l->token, ">"));
}

/* Does a directive's list of words stop in front of this one? */
static bool stops_words(const struct lexeme *l, const struct block *b)
{
    return l->first_on_line || is_end(l, b) || (b->one_line && cf_is_bare(&l->token, ";")) ||
           cf_opener(&l->token, b->end == END_ANGLE) != OPENS_NOTHING;
}

enum opener cf_split_glued(struct parser *p, struct cf_token *word)
{
    struct slice text = word->text;
    bool empty = slice_ends(text, S("{}"));
    if (word->quote != CF_BARE || text.n < 2 + (size_t)empty ||
        (!empty && text.p[text.n - 1] != '{')) {
        return OPENS_NOTHING;
    }
    set_hint(cf_error(p->diags, word, "a space is missing in front of \"%s\"", empty ? "{}" : "{"),
             S("a brace that belongs to the word goes in quotes"));
    word->text = arena_copy(&p->doc->arena, slice_upto(text, text.n - 1 - empty));
    return empty ? OPENS_EMPTY : OPENS_BRACE;
}

/* Words that are easily mistyped in a one-line block: "8000}" and "8000;". */
static void look_for_glue(struct parser *p, const struct cursor *cur, const struct block *b)
{
    const struct cf_token *t = &cur->at->token;
    struct slice text = t->text;
    if (!b->one_line || t->quote != CF_BARE || text.n < 2) {
        return;
    }
    char last = text.p[text.n - 1];
    const struct lexeme *next = cur->at + 1;
    if (last == (b->end == END_ANGLE ? '>' : '}') && slice_find(text, '{') == SLICE_NPOS) {
        p->glued = t;
    }
    if (last == ';' && next < cur->end && !next->first_on_line) {
        set_hint(cf_warning(p->diags, t, "this \";\" belongs to the word and separates nothing"),
                 S("to end the directive put a space in front of it; otherwise use quotes"));
    }
}

/* The words from the cursor on as an array; the last one may turn out to have a brace glued to it,
 * then *glued says which. */
static struct cf_token *take_words(struct parser *p, struct cursor *cur, const struct block *b,
                                   size_t *count, enum opener *glued)
{
    const struct lexeme *end = cur->at;
    while (end < cur->end && !stops_words(end, b)) {
        end++;
    }
    *count = (size_t)(end - cur->at);
    *glued = OPENS_NOTHING;
    if (*count == 0) {
        return NULL;
    }
    struct cf_token *words = arena_alloc(&p->doc->arena, *count * sizeof(*words));
    if (!words) {
        cf_stop(p, &cur->at->token, "out of memory");
        *count = 0;
        return NULL;
    }
    for (size_t i = 0; i < *count; i++, cur->at++) {
        words[i] = cur->at->token;
        look_for_glue(p, cur, b);
    }
    if (end == cur->end || end->first_on_line) {
        *glued = cf_split_glued(p, &words[*count - 1]);
    }
    return words;
}

/* ---- blocks ------------------------------------------------------------------------------ */

/* A directive whose name looks like a site address: the sign of a missing "}". */
static const struct cf_token *looks_like_site(const struct cf_directive *d)
{
    for (; d; d = d->next) {
        const struct cf_token *t = &d->name;
        bool address = slice_find(t->text, '.') != SLICE_NPOS ||
                       slice_find(t->text, ':') != SLICE_NPOS;
        if (d->has_block && t->quote == CF_BARE && address && t->text.n > 0 &&
            t->text.p[0] != '@' && t->text.p[0] != '{') {
            return t;
        }
    }
    return NULL;
}

/* A word that stands where a site's address should, and is none: an option, usually. */
static bool no_address(const struct cf_token *t)
{
    for (size_t i = 0; i < t->text.n; i++) {
        char c = t->text.p[i];
        if (!(c >= 'a' && c <= 'z') && c != '_') {
            return false;
        }
    }
    return !slice_eq(t->text, S("localhost"));
}

/* "{ ... >": a one-line block whose line ends in the other kind of closer. */
static bool ends_in_angle(const struct cursor *cur, const struct block *b)
{
    const struct lexeme *l = cur->end;
    while (&(--l)->token != b->opener) {
        if (l->token.at.line == b->opener->at.line) {
            return cf_is_bare(&l->token, ">");
        }
    }
    return false;
}

static void report_unclosed(struct parser *p, const struct cursor *cur, const struct block *b,
                            const struct cf_directive *inside)
{
    const char *closer = b->end == END_ANGLE ? ">" : "}";
    if (p->stopped || p->cut_off) {
        return; /* said already, and the reason for this one */
    }
    if (b->one_line && p->glued && p->glued->at.source == b->opener->at.source &&
        p->glued->at.line == b->opener->at.line) {
        p->torn = true;
        set_hint(cf_error(p->diags, p->glued, "a space is missing in front of \"%s\", which should "
                          "close the block opened at column %u", closer, b->opener->at.column),
                 S("a brace that belongs to the word goes in quotes"));
        return;
    }
    p->torn = true;
    struct cf_diag *diag = cf_error(p->diags, b->opener, "the block that opens here is never "
                                    "closed");
    const struct cf_token *site = b->depth <= 1 ? looks_like_site(inside) : NULL;
    if (diag && b->one_line && b->end == END_BRACE && ends_in_angle(cur, b)) {
        diag->hint = S("opened with \"{\", it must be closed with \"}\", not with \">\"");
    } else if (diag && site) {
        diag->hint = arena_printf(&p->diags->arena, "is a \"%s\" missing above line %u?", closer,
                                  site->at.line);
    }
}

struct cf_directive *cf_parse_block(struct parser *p, struct cursor *cur, enum opener how,
                                    unsigned depth)
{
    struct cf_directive *head = NULL;
    struct cf_directive **tail = &head;
    const struct lexeme *opener = cur->at++;
    if (how == OPENS_EMPTY) {
        return NULL;
    }
    struct block b = {
        .end = how == OPENS_ANGLE ? END_ANGLE : END_BRACE,
        .one_line = cur->at < cur->end && !cur->at->first_on_line,
        .depth = depth + 1,
        .opener = &opener->token,
    };
    cf_parse_directives(p, cur, &b, &tail);
    return head;
}

/* A bare closer at the cursor: steps over it. True: it ends the block. */
static bool take_end(struct parser *p, struct cursor *cur, const struct block *b)
{
    const struct cf_token *t = &cur->at->token;
    cur->at++;
    if (b->end == END_OF_TEXT) {
        set_hint(cf_error(p->diags, t, "this \"}\" closes nothing"),
                 S("is there one too many, or a \"{\" missing above?"));
        return false;
    }
    if (b->end == END_ANGLE && cf_is_bare(t, "}")) {
        cf_error(p->diags, t, "this block was opened with \"<\" (line %u) and must be closed with "
                              "\">\"", b->opener->at.line);
    }
    return true;
}

/* ---- directives -------------------------------------------------------------------------- */

static void set_block(struct parser *p, struct cursor *cur, const struct block *b,
                      enum opener how, struct cf_directive *d)
{
    unsigned lost = p->lost;
    if (b->end == END_OF_TEXT && how == OPENS_BRACE) {
        cf_mend(p, cur, &d->name);
    }
    d->has_block = true;
    d->children = cf_parse_block(p, cur, how, b->depth);
    d->torn = p->lost != lost;
}

static void parse_directive(struct parser *p, struct cursor *cur, const struct block *b,
                            struct cf_directive ***tail)
{
    struct cf_directive *d = ARENA_NEW(&p->doc->arena, struct cf_directive);
    struct cursor start = *cur;
    if (!d) {
        cf_stop(p, &cur->at->token, "out of memory");
        return;
    }
    enum opener glued = OPENS_NOTHING;
    look_for_glue(p, cur, b);
    d->name = cur->at++->token;
    d->args = take_words(p, cur, b, &d->arg_count, &glued);
    if (d->arg_count == 0 && (cur->at == cur->end || cur->at->first_on_line)) {
        glued = cf_split_glued(p, &d->name);
    }
    **tail = d;
    *tail = &d->next;
    if (glued != OPENS_NOTHING) {
        cur->at--; /* the word stands for its opener */
        set_block(p, cur, b, glued, d);
    } else if (cur->at < cur->end && !cur->at->first_on_line && !is_end(cur->at, b)) {
        enum opener how = cf_opener(&cur->at->token, b->end == END_ANGLE);
        if (how != OPENS_NOTHING) {
            set_block(p, cur, b, how, d);
        }
    }
    if (b->unbraced && d->has_block && !p->stopped) {
        struct cf_directive only = *d;
        only.next = NULL;
        if (looks_like_site(&only)) {
            set_hint(cf_error(p->diags, &start.at->token, "this looks like a site, inside the site "
                              "\"%.*s\" (line %u), which has no braces",
                              SLICE_ARG(p->unbraced->addresses[0].text),
                              p->unbraced->addresses[0].at.line),
                     no_address(&p->unbraced->addresses[0])
                         ? S("global options stand in a block of their own at the top:"
                             " { email me@example.com }")
                         : S("with more than one site each needs \"{\" and \"}\""));
        }
    }
}

void cf_parse_import_line(struct parser *p, struct cursor *cur, const struct block *b,
                          struct import *im)
{
    enum opener glued;
    *im = (struct import){.word = &cur->at->token};
    cur->at++;
    im->args = take_words(p, cur, b, &im->arg_count, &glued);
    bool more = cur->at < cur->end && !cur->at->first_on_line;
    enum opener how =
        glued ? glued : more ? cf_opener(&cur->at->token, b->end == END_ANGLE) : OPENS_NOTHING;
    if (how == OPENS_EMPTY) {
        im->block = cf_lexemes_new(p);
    }
    if (how == OPENS_NOTHING || how == OPENS_EMPTY) {
        cur->at += how == OPENS_EMPTY && !glued ? 1 : 0;
        return;
    }
    const struct lexeme *opener = glued ? cur->at - 1 : cur->at++;
    im->block = cf_collect_block(p, cur, &opener->token);
}

static void parse_import(struct parser *p, struct cursor *cur, const struct block *b,
                         struct cf_directive ***tail)
{
    struct import im;
    struct cursor text;
    struct block inside = {.end = END_OF_TEXT, .depth = b->depth + 1};
    cf_parse_import_line(p, cur, b, &im);
    if (cf_import_begin(p, &im)) {
        while (cf_import_next(p, &im, &text)) {
            cf_parse_directives(p, &text, &inside, tail);
        }
    }
    cf_import_end(&im);
}

/* "(name) {": other words may begin with a parenthesis, as the expressions of map do. */
static bool looks_like_snippet(const struct cursor *cur, const struct block *b)
{
    const struct cf_token *t = &cur->at->token;
    const struct lexeme *next = cur->at + 1;
    return t->quote == CF_BARE && slice_starts(t->text, S("(")) && slice_ends(t->text, S(")")) &&
           next < cur->end && !next->first_on_line &&
           cf_opener(&next->token, b->end == END_ANGLE) != OPENS_NOTHING;
}

/* "{" on a line of its own: the block of the line above, if that has none yet. */
static void parse_stray_block(struct parser *p, struct cursor *cur, const struct block *b,
                              enum opener how, struct cf_directive *above)
{
    const struct cf_token *t = &cur->at->token;
    bool attach = above && !above->has_block && cur->at->first_on_line &&
                  above->name.at.source == t->at.source && above->name.at.line < t->at.line;
    struct slice hint = S("put it at the end of the line above");
    if (attach) {
        set_hint(cf_error(p->diags, t, "\"{\" must not stand on a line of its own"), hint);
        set_block(p, cur, b, how, above);
        return;
    }
    set_hint(cf_error(p->diags, t, "a block without a name"),
             S("\"{\" belongs at the end of the line above"));
    (void)cf_parse_block(p, cur, how, b->depth);
}

/* Something that can begin no directive, or a directive. */
static void parse_line(struct parser *p, struct cursor *cur, const struct block *b,
                       struct cf_directive *above, struct cf_directive ***tail)
{
    const struct cf_token *t = &cur->at->token;
    if (cf_is_bare(t, "import")) {
        parse_import(p, cur, b, tail);
        return;
    }
    enum opener how = cf_opener(t, b->end == END_ANGLE);
    if (how != OPENS_NOTHING) {
        parse_stray_block(p, cur, b, how, above);
        return;
    }
    if (cf_is_bare(t, ";") || cf_is_bare(t, ">") || cf_is_bare(t, "<")) {
        cf_error(p->diags, t, "\"%.*s\" cannot begin a directive", SLICE_ARG(t->text));
    } else if (looks_like_snippet(cur, b)) {
        set_hint(cf_error(p->diags, t, "a snippet cannot be defined inside a block"),
                 S("put it at the top of the file"));
    }
    parse_directive(p, cur, b, tail);
}

/* A ">" alone on its line in a block that was opened with "{". */
static bool is_wrong_closer(const struct cursor *cur, const struct block *b)
{
    const struct lexeme *next = cur->at + 1;
    return b->end == END_BRACE && cf_is_bare(&cur->at->token, ">") && cur->at->first_on_line &&
           (next == cur->end || next->first_on_line);
}

void cf_parse_directives(struct parser *p, struct cursor *cur, const struct block *b,
                         struct cf_directive ***tail)
{
    struct cf_directive **first = *tail;
    if (b->depth > CF_DEPTH_MAX && cur->at < cur->end) {
        cf_stop(p, &cur->at->token, "too many blocks and imports inside one another");
    }
    while (cur->at < cur->end && !p->stopped) {
        if (b->one_line && cf_is_bare(&cur->at->token, ";")) {
            cur->at++;
        } else if (is_end(cur->at, b)) {
            if (take_end(p, cur, b)) {
                return;
            }
        } else if (is_wrong_closer(cur, b)) {
            cf_error(p->diags, &cur->at->token,
                     "this block was opened with \"{\" (line %u) and must"
                     " be closed with \"}\"",
                     b->opener->at.line);
            cur->at++;
            return;
        } else {
            struct cf_directive *above =
                *tail == first ? NULL : container_of(*tail, struct cf_directive, next);
            parse_line(p, cur, b, above, tail);
        }
    }
    if (b->end != END_OF_TEXT) {
        report_unclosed(p, cur, b, *first);
    }
}
