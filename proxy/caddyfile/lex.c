/* Bytes to tokens.
 *
 * In:  one source, its environment variables already replaced.
 * Out: its tokens in order, each with its quotes and escapes resolved, its place, and whether it
 *      begins a line. Knows nothing of blocks: "{" is a token like any other.
 *
 * The rules are Caddy's, with five differences, each an error where Caddy guesses or a repair: an
 * unterminated quote, an unterminated heredoc, a NUL byte and "{" glued to a word are errors; and
 * the mark that ends a heredoc must stand first on its line and alone (in Caddy it ends the text
 * even inside a word). */
#include "proxy/caddyfile/parser.h"

#include <stdlib.h>

#include "proxy/base/mem.h"

struct lexer {
    struct parser *p;
    const struct cf_source *source;
    const struct cf_place *imported_from;
    struct lexemes *out;
    struct slice text;
    size_t i;          /* next byte */
    size_t line_start; /* where the current line begins */
    unsigned line;
    bool first_on_line;
    struct dstr buffer; /* the token being read, where it differs from the text */
};

bool cf_is_bare(const struct cf_token *t, const char *text)
{
    return t->quote == CF_BARE && slice_eq(t->text, slice_str(text));
}

void cf_stop(struct parser *p, const struct cf_token *at, const char *why)
{
    if (!p->stopped) {
        cf_error(p->diags, at, "%s", why);
        p->stopped = true;
    }
}

struct lexemes *cf_lexemes_new(struct parser *p)
{
    struct lexemes *list = mem_zalloc(sizeof(*list));
    list->next = p->lists;
    p->lists = list;
    return list;
}

void cf_lexemes_add(struct parser *p, struct lexemes *list, struct lexeme item)
{
    if (p->tokens_left == 0) {
        cf_stop(p, &item.token, "the configuration has too many words, counting what imports "
                                "bring; does a snippet import itself many times over?");
    }
    if (p->stopped) {
        return;
    }
    p->tokens_left--;
    if (list->count == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 32;
        list->items = mem_realloc_array(list->items, list->cap, sizeof(*list->items));
    }
    list->items[list->count++] = item;
}

void cf_lexemes_free(struct parser *p)
{
    for (struct lexemes *list = p->lists; list;) {
        struct lexemes *next = list->next;
        free(list->items);
        free(list);
        list = next;
    }
    p->lists = NULL;
}

struct cursor cf_cursor(const struct lexemes *list)
{
    return (struct cursor){.at = list->items,
                           .end = list->count ? list->items + list->count : list->items};
}

/* ---- characters -------------------------------------------------------------------------- */

/* Length of the white space character at s (Unicode White_Space), 0 if it is none. Carriage
 * returns are not: they are ignored. */
static size_t space_length(struct slice s)
{
    unsigned char c = (unsigned char)s.p[0];
    if (c < 0x80) {
        return c == ' ' || (c >= '\t' && c <= '\f') ? 1 : 0;
    }
    unsigned char d = s.n > 1 ? (unsigned char)s.p[1] : 0;
    unsigned char e = s.n > 2 ? (unsigned char)s.p[2] : 0;
    if (c == 0xc2) {
        return d == 0x85 || d == 0xa0 ? 2 : 0;
    }
    bool three = (c == 0xe1 && d == 0x9a && e == 0x80) || (c == 0xe3 && d == 0x80 && e == 0x80) ||
                 (c == 0xe2 && d == 0x81 && e == 0x9f) ||
                 (c == 0xe2 && d == 0x80 &&
                  ((e >= 0x80 && e <= 0x8a) || e == 0xa8 || e == 0xa9 || e == 0xaf));
    return three ? 3 : 0;
}

static struct slice rest_of(const struct lexer *l)
{
    return slice_from(l->text, l->i);
}

static void new_line(struct lexer *l, size_t next_byte)
{
    l->line++;
    l->line_start = next_byte;
}

/* "\" LF or "\" CR LF: bytes of the line continuation at the cursor, or 0. */
static size_t continuation_length(const struct lexer *l)
{
    struct slice s = rest_of(l);
    return slice_starts(s, S("\\\n")) ? 2 : slice_starts(s, S("\\\r\n")) ? 3 : 0;
}

/* A token at the cursor, without text yet. */
static struct lexeme begin(const struct lexer *l, enum cf_quote quote)
{
    size_t column = l->i - l->line_start + 1;
    return (struct lexeme){
        .token = {.quote = quote,
                  .at = {l->source, l->line, (unsigned)column, l->imported_from}},
        .raw = rest_of(l),
        .first_on_line = l->first_on_line,
    };
}

static void finish(struct lexer *l, struct lexeme *item, struct slice text)
{
    item->token.text = arena_copy(&l->p->doc->arena, text);
    item->raw.n = (size_t)(l->text.p + l->i - item->raw.p);
    if (!item->token.text.p || l->buffer.failed) {
        item->token.text = S("");
        cf_stop(l->p, &item->token, "out of memory");
        return;
    }
    if (memchr(text.p ? text.p : "", 0, text.n)) {
        cf_stop(l->p, &item->token, "there is a NUL byte here: this is no text in UTF-8");
    }
    l->first_on_line = false;
    cf_lexemes_add(l->p, l->out, *item);
}

static struct slice without_cr(struct slice line)
{
    return line.n > 0 && line.p[line.n - 1] == '\r' ? slice_upto(line, line.n - 1) : line;
}

/* ---- quotes ------------------------------------------------------------------------------ */

/* What was meant is one line, most likely: it ends there, or in front of a brace at its end, and
 * what follows is read as if it had been closed. */
static void end_at_line(struct lexer *l, struct lexeme *item)
{
    size_t from = (size_t)(item->raw.p - l->text.p);
    struct slice line = slice_from(item->raw, 1);
    line = slice_upto(line, slice_find(line, '\n'));
    struct slice trimmed = slice_trim(line);
    size_t brace = (size_t)(trimmed.p + trimmed.n - line.p);
    if (trimmed.n && brace > 1 && strchr("{}>", line.p[brace - 1]) && line.p[brace - 2] == ' ') {
        line.n = brace - 1;
    }
    l->i = from + 1 + line.n;
    l->line = item->token.at.line;
    l->line_start = from + 1 - item->token.at.column;
    finish(l, item, without_cr(line));
}

static void unterminated(struct lexer *l, struct lexeme *item, const char *what)
{
    struct cf_diag *diag = cf_error(l->p->diags, &item->token,
                                    "the %s that opens here is never closed", what);
    if (diag) {
        diag->width = 1;
    }
    end_at_line(l, item);
}

/* A quote that ends lines further down, inside of what looks like a word, was not meant to: it is
 * the next one's opening quote. */
static bool ends_in_a_word(struct lexer *l, struct lexeme *item)
{
    unsigned end = l->line;
    if (end == item->token.at.line || l->i == l->text.n || l->text.p[l->i] == '\r' ||
        space_length(rest_of(l))) {
        return false;
    }
    struct cf_diag *diag = cf_error(l->p->diags, &item->token, "the quote that opens here is closed"
                                    " only on line %u, where another seems to begin", end);
    if (diag) {
        diag->width = 1;
        diag->hint = S("is the closing quote missing on this line?");
    }
    end_at_line(l, item);
    return true;
}

/* In "..." only \" is an escape; every other backslash stays, together with what follows it, so
 * that a pair of backslashes in front of the closing quote does not hide it. */
static void lex_double(struct lexer *l)
{
    struct lexeme item = begin(l, CF_DOUBLE);
    dstr_reset(&l->buffer);
    for (l->i++; l->i < l->text.n; l->i++) {
        char c = l->text.p[l->i];
        if (c == '"') {
            l->i++;
            if (!ends_in_a_word(l, &item)) {
                finish(l, &item, dstr_slice(&l->buffer));
            }
            return;
        }
        if (c == '\\' && l->i + 1 < l->text.n) {
            c = l->text.p[++l->i];
            if (c != '"') {
                dstr_byte(&l->buffer, '\\');
            }
        }
        dstr_byte(&l->buffer, c);
        if (c == '\n') {
            new_line(l, l->i + 1);
        }
    }
    unterminated(l, &item, "quote");
}

static void lex_backtick(struct lexer *l)
{
    struct lexeme item = begin(l, CF_BACKTICK);
    size_t from = ++l->i;
    for (; l->i < l->text.n; l->i++) {
        if (l->text.p[l->i] == '`') {
            struct slice inside = slice_upto(slice_from(l->text, from), l->i - from);
            l->i++;
            finish(l, &item, inside);
            return;
        }
        if (l->text.p[l->i] == '\n') {
            new_line(l, l->i + 1);
        }
    }
    unterminated(l, &item, "backtick");
}

/* ---- heredocs ---------------------------------------------------------------------------- */

static bool is_mark(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_alpha(s.p[i]) && !ascii_is_digit(s.p[i]) && s.p[i] != '-' && s.p[i] != '_') {
            return false;
        }
    }
    return s.n > 0;
}

static size_t indent_length(struct slice line)
{
    size_t n = 0;
    while (n < line.n && (line.p[n] == ' ' || line.p[n] == '\t')) {
        n++;
    }
    return n;
}

/* Is this the line that ends the heredoc? Something may follow behind white space. */
static bool ends_heredoc(struct slice line, struct slice mark)
{
    struct slice s = slice_from(line, indent_length(line));
    if (!slice_starts(s, mark)) {
        return false;
    }
    s = slice_from(s, mark.n);
    return s.n == 0 || s.p[0] == '\r' || space_length(s) > 0;
}

/* The body between the two marks, the white space in front of the closing mark taken from each
 * line (empty lines need not have it), line ends as LF, the last one dropped. */
static void strip_heredoc(struct lexer *l, const struct lexeme *item, struct slice body,
                          struct slice indent)
{
    struct slice line;
    bool told = false;
    dstr_reset(&l->buffer);
    struct lexeme at = *item;
    for (at.token.at.line++; slice_cut(&body, '\n', &line) && body.p; at.token.at.line++) {
        line = without_cr(line);
        if (l->buffer.n > 0 || at.token.at.line > item->token.at.line + 1) {
            dstr_byte(&l->buffer, '\n');
        }
        if (slice_starts(line, indent)) {
            dstr_append(&l->buffer, slice_from(line, indent.n));
        } else if (line.n > 0 && !told) {
            at.token.at.column = 1;
            at.token.text = slice_upto(line, indent_length(line));
            cf_error(l->p->diags, &at.token,
                     "this line of the heredoc does not begin with the white space that stands in "
                     "front of its closing mark");
            told = true;
        }
    }
}

/* At the first byte of the line below "<<MARK". */
static void lex_heredoc_body(struct lexer *l, struct lexeme *item, struct slice mark)
{
    size_t from = l->i;
    item->token.text = slice_of(mark.p - 2, mark.n + 2); /* underlined by errors */
    while (l->i < l->text.n) {
        struct slice line = rest_of(l);
        line = slice_upto(line, slice_find(line, '\n'));
        if (ends_heredoc(line, mark)) {
            struct slice body = slice_upto(slice_from(l->text, from), l->i - from);
            struct slice indent = slice_upto(line, indent_length(line));
            strip_heredoc(l, item, body, indent);
            l->i += indent.n + mark.n;
            item->token.quote = CF_HEREDOC;
            finish(l, item, dstr_slice(&l->buffer));
            return;
        }
        l->i += line.n + (l->i + line.n < l->text.n ? 1 : 0);
        new_line(l, l->i);
    }
    cf_error(l->p->diags, &item->token, "this heredoc never ends: no line begins with its mark "
                                        "\"%.*s\" alone", SLICE_ARG(mark));
    l->p->cut_off = true;
    finish(l, item, S("")); /* with it the directive is whole */
}

/* A bare token that begins with "<<" and reaches to the end of its line opens a heredoc. */
static void lex_heredoc(struct lexer *l, struct lexeme *item, struct slice word)
{
    struct slice mark = slice_from(word, 2);
    item->token.text = word;
    if (!is_mark(mark)) {
        const char *why = mark.n == 0 ? "there is no mark behind \"<<\""
                          : mark.p[0] == '<'
                              ? "too many \"<\"; a heredoc opens with two"
                              : "the mark of a heredoc has only letters, digits, \"-\" and \"_\"";
        struct cf_diag *diag = cf_error(l->p->diags, &item->token, "%s", why);
        if (diag) {
            diag->hint = S("in quotes, or as \\<<, it is an ordinary word");
        }
        finish(l, item, word);
        return;
    }
    l->i++; /* the LF */
    new_line(l, l->i);
    lex_heredoc_body(l, item, mark);
}

/* ---- bare tokens ------------------------------------------------------------------------- */

/* "{" and what can only be a directive's name. */
static bool is_glued_opener(struct slice word)
{
    for (size_t i = 1; i < word.n; i++) {
        if (word.p[i] != '_' && (word.p[i] < 'a' || word.p[i] > 'z')) {
            return false;
        }
    }
    return word.n > 3 && word.p[0] == '{';
}

/* "{respond": an error, and two words, so that what follows makes sense. */
static void split_opener(struct lexer *l, struct lexeme *item, struct slice word)
{
    struct lexeme rest = *item;
    item->token.text = word;
    struct cf_diag *diag = cf_error(l->p->diags, &item->token, "a space is missing behind \"{\"");
    if (diag) {
        diag->hint = S("a brace that belongs to the word goes in quotes");
    }
    finish(l, item, slice_upto(word, 1));
    rest.first_on_line = false;
    rest.token.at.column++;
    finish(l, &rest, slice_from(word, 1));
}

/* To the last byte of {$NAME:default}, which may have white space in it. */
static void skip_variable(struct lexer *l)
{
    size_t n = slice_find(rest_of(l), '}');
    if (n == SLICE_NPOS) {
        struct lexeme item = begin(l, CF_BARE);
        item.token.text = slice_upto(item.raw, 2);
        cf_error(l->p->diags, &item.token, "this \"{$\" is never closed");
        n = 0;
    }
    l->i += n;
}

/* "{" CR "$" is no variable; without the carriage return, which no layout keeps, it would be. */
static void refuse_torn_variable(struct lexer *l)
{
    size_t i = l->i + 1;
    while (i < l->text.n && l->text.p[i] == '\r') {
        i++;
    }
    if (i > l->i + 1 && i < l->text.n && l->text.p[i] == '$') {
        struct lexeme item = begin(l, CF_BARE);
        item.token.text = slice_upto(item.raw, 1);
        cf_error(l->p->diags, &item.token, "there is a carriage return between \"{\" and \"$\"");
    }
}

static void lex_bare(struct lexer *l)
{
    struct lexeme item = begin(l, CF_BARE);
    size_t from = l->i;
    size_t end = l->i; /* behind the last byte that belongs to the token: no CR LF */
    for (; l->i < l->text.n; l->i++) {
        char c = l->text.p[l->i];
        if (c == '\r') {
            continue;
        }
        if (space_length(rest_of(l)) || continuation_length(l)) {
            break;
        }
        if (l->p->for_format && slice_starts(rest_of(l), S("{$"))) {
            skip_variable(l);
        } else if (l->p->for_format && c == '{') {
            refuse_torn_variable(l);
        }
        end = l->i + 1;
    }
    struct slice word = slice_upto(slice_from(l->text, from), end - from);
    if (memchr(word.p, '\r', word.n)) {
        dstr_reset(&l->buffer);
        for (size_t i = 0; i < word.n; i++) {
            if (word.p[i] != '\r') {
                dstr_byte(&l->buffer, word.p[i]);
            }
        }
        word = dstr_slice(&l->buffer);
    }
    bool at_line_end = l->i < l->text.n && l->text.p[l->i] == '\n';
    if (slice_starts(word, S("<<")) && at_line_end) {
        lex_heredoc(l, &item, word);
        return;
    }
    if (is_glued_opener(word)) {
        split_opener(l, &item, word);
        return;
    }
    finish(l, &item, slice_starts(word, S("\\<<")) ? slice_from(word, 1) : word);
}

/* From its "#" to the end of the line. */
static void lex_comment(struct lexer *l)
{
    struct lexeme item = begin(l, CF_BARE);
    size_t n = slice_find(rest_of(l), '\n');
    item.comment = true;
    l->i = n == SLICE_NPOS ? l->text.n : l->i + n;
    if (l->p->for_format) {
        finish(l, &item, S(""));
    }
}

/* Steps over white space, line ends, continuations and comments; false at the end of the text. */
static bool skip_to_token(struct lexer *l)
{
    while (l->i < l->text.n) {
        char c = l->text.p[l->i];
        size_t n = continuation_length(l);
        if (n) {
            l->i += n;
            new_line(l, l->i);
        } else if (c == '\n') {
            l->i++;
            new_line(l, l->i);
            l->first_on_line = true;
        } else if (c == '\r') {
            l->i++;
        } else if ((n = space_length(rest_of(l))) > 0) {
            l->i += n;
        } else if (c == '#') {
            lex_comment(l);
        } else {
            return true;
        }
    }
    return false;
}

void cf_lex(struct parser *p, const struct cf_source *source, const struct cf_place *imported_from,
            struct lexemes *out)
{
    struct lexer l = {.p = p, .source = source, .imported_from = imported_from, .out = out,
                      .text = source->text, .line = 1, .first_on_line = true};
    dstr_init(&l.buffer, source->text.n + 1);
    if (slice_starts(l.text, S("\xff\xfe")) || slice_starts(l.text, S("\xfe\xff"))) {
        struct lexeme first = begin(&l, CF_BARE);
        cf_stop(p, &first.token, "the file is in UTF-16; it must be in UTF-8");
    }
    while (!p->stopped && skip_to_token(&l)) {
        switch (l.text.p[l.i]) {
        case '"': lex_double(&l); break;
        case '`': lex_backtick(&l); break;
        default: lex_bare(&l); break;
        }
    }
    dstr_fini(&l.buffer);
}
