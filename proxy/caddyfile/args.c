/* What an import puts into the text it brings: {args[0]}, {args[1:3]}, {block}, {blocks.key}.
 *
 * In:  the lexemes of a snippet or file, and the import line.
 * Out: new lexemes. A word keeps the place where the snippet was written, with the import line
 *      behind it; words of a passed block keep their own.
 * Every word and byte made here counts against the parser's limits, so that snippets which import
 * one another cannot multiply without bound. */
#include "proxy/caddyfile/parser.h"

#define ARGS_MAX 100000 /* largest index that is read as a number */

/* ---- finding the end of a block ---------------------------------------------------------- */

struct open_block {
    bool angle;
    bool one_line;
};

/* Blocks that are open while lexemes go by, by the same rules as the parser's. */
struct nesting {
    struct open_block open[CF_DEPTH_MAX];
    unsigned depth; /* 0: the outermost block has been closed */
};

static void nest(struct nesting *n, const struct lexeme *opener, const struct lexeme *end,
                 bool angle)
{
    const struct lexeme *inside = opener + 1;
    if (n->depth < CF_DEPTH_MAX) {
        n->open[n->depth] = (struct open_block){angle, inside < end && !inside->first_on_line};
    }
    n->depth++;
}

static bool innermost_is_angle(const struct nesting *n)
{
    return n->depth > 0 && n->depth <= CF_DEPTH_MAX && n->open[n->depth - 1].angle;
}

static void follow(struct nesting *n, const struct lexeme *l, const struct lexeme *end)
{
    const struct cf_token *t = &l->token;
    bool angle = innermost_is_angle(n);
    if (cf_is_bare(t, "{")) {
        nest(n, l, end, false);
    } else if (angle && cf_is_bare(t, "<")) {
        nest(n, l, end, true);
    } else if (n->depth > 0 && (cf_is_bare(t, "}") || (angle && cf_is_bare(t, ">")))) {
        n->depth--;
    }
}

/* With angle brackets turned into braces. */
static struct lexeme as_braces(struct lexeme item, bool in_angle)
{
    if (in_angle && item.token.quote == CF_BARE) {
        const struct cf_token *t = &item.token;
        item.token.text = cf_is_bare(t, "<")    ? S("{")
                          : cf_is_bare(t, ">")  ? S("}")
                          : cf_is_bare(t, "<>") ? S("{}")
                                                : t->text;
    }
    return item;
}

const struct lexemes *cf_collect_block(struct parser *p, struct cursor *cur,
                                       const struct cf_token *opener)
{
    struct nesting nesting = {.depth = 0};
    struct lexemes *out = cf_lexemes_new(p);
    bool new_line = true;
    nest(&nesting, cur->at - 1, cur->end, cf_is_bare(opener, "<"));
    for (; cur->at < cur->end && !p->stopped; cur->at++) {
        bool in_angle = innermost_is_angle(&nesting);
        bool separates = nesting.depth == 1 && nesting.open[0].one_line &&
                         cf_is_bare(&cur->at->token, ";");
        follow(&nesting, cur->at, cur->end);
        if (nesting.depth == 0) {
            cur->at++;
            return out;
        }
        if (separates) {
            new_line = true;
            continue;
        }
        struct lexeme item = as_braces(*cur->at, in_angle);
        item.first_on_line |= new_line;
        new_line = false;
        cf_lexemes_add(p, out, item);
    }
    p->torn = true;
    if (!p->stopped && !p->cut_off) {
        cf_error(p->diags, opener, "the block that opens here is never closed");
    }
    return NULL;
}

/* ---- arguments in words ------------------------------------------------------------------ */

struct expansion {
    struct parser *p;
    const struct import *im;
    const struct import_frame *frame;
    struct lexemes *out;
};

static void out_of_range(struct expansion *x, const struct cf_token *t, struct slice what)
{
    size_t given = x->im->arg_count - 1;
    cf_error(x->p->diags, t, "%.*s: the import gives %zu argument%s", SLICE_ARG(what), given,
             given == 1 ? "" : "s");
}

/* The argument that "{args[N]}" or "{args.N}", at the front of text, stands for; NULL (and an
 * error) if there is none. Sets *length to the bytes of the placeholder, 0 if it is none. */
static const struct cf_token *argument_at(struct expansion *x, const struct cf_token *t,
                                          struct slice text, size_t *length)
{
    size_t end = slice_find(text, '}');
    *length = 0;
    if (end == SLICE_NPOS) {
        return NULL;
    }
    struct slice whole = slice_upto(text, end + 1);
    struct slice inside = slice_upto(slice_from(text, 6), end - 6); /* behind "{args[" */
    if (text.p[5] == '[') {
        if (inside.n == 0 || inside.p[inside.n - 1] != ']') {
            return NULL;
        }
        inside.n--;
    }
    uint64_t index;
    *length = whole.n;
    if (slice_find(inside, ':') != SLICE_NPOS) {
        cf_error(x->p->diags, t, "%.*s, a range of arguments, must be a word of its own",
                 SLICE_ARG(whole));
    } else if (!slice_u64(inside, ARGS_MAX, &index)) {
        cf_error(x->p->diags, t, "%.*s: the index of an argument is a number from 0",
                 SLICE_ARG(whole));
    } else if (index >= x->im->arg_count - 1) {
        out_of_range(x, t, whole);
    } else {
        if (text.p[5] == '.') {
            struct cf_diag *d = cf_warning(x->p->diags, t, "%.*s is an old spelling",
                                           SLICE_ARG(whole));
            if (d) {
                d->hint = arena_printf(&x->p->diags->arena, "write {args[%u]}", (unsigned)index);
            }
        }
        return &x->im->args[1 + index];
    }
    return NULL;
}

static size_t find_args(struct slice text)
{
    for (size_t at = 0, next; (next = slice_find_slice(slice_from(text, at), S("{args"))) !=
                              SLICE_NPOS; at += 5) {
        at += next;
        if (at + 5 < text.n && (text.p[at + 5] == '[' || text.p[at + 5] == '.')) {
            return at;
        }
    }
    return SLICE_NPOS;
}

static void charge_bytes(struct expansion *x, const struct cf_token *t, size_t n)
{
    if (n > x->p->bytes_left) {
        cf_stop(x->p, t, "the configuration grows too long, counting what imports bring");
        return;
    }
    x->p->bytes_left -= n;
}

/* Replaces arguments inside a word. A word that takes text from a quoted argument counts as
 * quoted, so that no argument ever turns into a brace or into the word import. */
static void expand_word(struct expansion *x, struct cf_token *t)
{
    struct dstr d;
    struct slice text = t->text;
    enum cf_quote quote = t->quote;
    dstr_init(&d, x->p->bytes_left + 1);
    for (size_t at; (at = find_args(text)) != SLICE_NPOS;) {
        size_t length;
        bool escaped = at > 0 && text.p[at - 1] == '\\';
        const struct cf_token *arg =
            escaped ? NULL : argument_at(x, t, slice_from(text, at), &length);
        length = escaped || length == 0 ? 5 : length;
        dstr_append(&d, slice_upto(text, at));
        dstr_append(&d, arg ? arg->text : slice_upto(slice_from(text, at), length));
        quote = arg && quote == CF_BARE ? arg->quote : quote;
        text = slice_from(text, at + length);
    }
    dstr_append(&d, text);
    charge_bytes(x, t, d.failed ? SIZE_MAX : d.n);
    if (!x->p->stopped) {
        t->text = arena_copy(&x->p->doc->arena, dstr_slice(&d));
        t->quote = quote;
    }
    dstr_fini(&d);
    if (!t->text.p) {
        t->text = S("");
        cf_stop(x->p, t, "out of memory");
    }
}

/* ---- words that become several ----------------------------------------------------------- */

/* "{args[from:to]}", each bound may be missing. */
static bool is_range(struct slice text, struct slice *from, struct slice *to)
{
    if (!slice_starts(text, S("{args[")) || !slice_ends(text, S("]}")) || text.n < 9) {
        return false;
    }
    *to = slice_upto(slice_from(text, 6), text.n - 8);
    return slice_find(*to, ':') != SLICE_NPOS && slice_find(*to, '{') == SLICE_NPOS &&
           slice_cut(to, ':', from);
}

static void expand_range(struct expansion *x, const struct lexeme *l, struct slice from,
                         struct slice to)
{
    uint64_t given = x->im->arg_count - 1;
    uint64_t first = 0;
    uint64_t end = given;
    if ((from.n > 0 && !slice_u64(from, ARGS_MAX, &first)) ||
        (to.n > 0 && !slice_u64(to, ARGS_MAX, &end))) {
        cf_error(x->p->diags, &l->token, "%.*s: the bounds of a range are numbers from 0",
                 SLICE_ARG(l->token.text));
        return;
    }
    if (first > end || end > given) {
        out_of_range(x, &l->token, l->token.text);
        return;
    }
    struct lexeme item = *l;
    for (uint64_t i = first; i < end; i++) {
        item.token.text = x->im->args[1 + i].text;
        item.token.quote = x->im->args[1 + i].quote;
        cf_lexemes_add(x->p, x->out, item);
        item.first_on_line = false;
    }
}

/* What stands behind the first word `key` of a line of the block: the rest of its line, or what is
 * inside its braces if these are all there is. */
static struct cursor find_key(const struct expansion *x, struct slice key)
{
    struct cursor all = cf_cursor(x->im->block);
    struct nesting nesting = {.depth = 1};
    /* Looking through a large block again and again is work too. */
    size_t cost = x->im->block->count / 16;
    x->p->tokens_left -= cost < x->p->tokens_left ? cost : x->p->tokens_left;
    for (const struct lexeme *l = all.at; l < all.end; l++) {
        if (nesting.depth == 1 && l->first_on_line && slice_eq(l->token.text, key)) {
            const struct lexeme *end = l + 1;
            for (; end < all.end && (nesting.depth > 1 || !end->first_on_line); end++) {
                follow(&nesting, end, all.end);
            }
            bool braced = end - l >= 3 && cf_is_bare(&l[1].token, "{") &&
                          cf_is_bare(&end[-1].token, "}");
            if (!braced) {
                return (struct cursor){.at = l + 1, .end = end};
            }
            struct cursor inside = {.at = l + 2, .end = end};
            const struct lexemes *body = cf_collect_block(x->p, &inside, &l[1].token);
            return body ? cf_cursor(body) : (struct cursor){.at = end, .end = end};
        }
        follow(&nesting, l, all.end);
    }
    return (struct cursor){.at = all.end, .end = all.end};
}

/* Is this bare word {block} or {blocks.key}? Then *words is what it stands for. */
static bool is_block_word(const struct expansion *x, const struct cf_token *t,
                          struct cursor *words)
{
    bool whole = cf_is_bare(t, "{block}");
    bool part = t->quote == CF_BARE && t->text.n > 9 && slice_starts(t->text, S("{blocks.")) &&
                t->text.p[t->text.n - 1] == '}';
    *words = (struct cursor){.at = NULL};
    if (x->im->block && whole) {
        *words = cf_cursor(x->im->block);
    } else if (x->im->block && part) {
        *words = find_key(x, slice_upto(slice_from(t->text, 8), t->text.n - 9));
    }
    return whole || part;
}

/* Behind the snippet definition at l, or l if there is none. */
static const struct lexeme *skip_definition(const struct lexeme *l, const struct lexeme *end)
{
    struct slice name = l->token.text;
    if (l->token.quote != CF_BARE || !l->first_on_line || end - l < 2 || name.n < 3 ||
        name.p[0] != '(' || name.p[name.n - 1] != ')' ||
        (!cf_is_bare(&l[1].token, "{") && !cf_is_bare(&l[1].token, "<"))) {
        return l;
    }
    struct nesting nesting = {.depth = 0};
    nest(&nesting, l + 1, end, cf_is_bare(&l[1].token, "<"));
    for (l += 2; l < end && nesting.depth > 0; l++) {
        follow(&nesting, l, end);
    }
    return l;
}

static void splice_words(struct expansion *x, struct cursor words, bool first_on_line)
{
    for (bool first = true; words.at < words.end && !x->p->stopped; words.at++, first = false) {
        struct lexeme word = *words.at;
        word.first_on_line = first ? first_on_line : word.first_on_line;
        cf_lexemes_add(x->p, x->out, word);
    }
}

static void expand_lexeme(struct expansion *x, struct lexeme item)
{
    struct cursor words;
    struct slice from;
    struct slice to;
    item.token.at.imported_from = &x->frame->at;
    if (is_block_word(x, &item.token, &words)) {
        splice_words(x, words, item.first_on_line);
        return;
    }
    if (item.token.quote == CF_BARE && is_range(item.token.text, &from, &to)) {
        expand_range(x, &item, from, to);
        return;
    }
    if (find_args(item.token.text) != SLICE_NPOS) {
        expand_word(x, &item.token);
    }
    cf_lexemes_add(x->p, x->out, item);
}

const struct lexemes *cf_expand(struct parser *p, const struct import *im,
                                const struct lexemes *in, const struct import_frame *frame)
{
    struct expansion x = {p, im, frame, cf_lexemes_new(p)};
    struct cursor all = cf_cursor(in);
    bool owes_line = false; /* what began the line turned out to be nothing */
    for (const struct lexeme *l = all.at; l < all.end && !p->stopped;) {
        const struct lexeme *verbatim = frame->snippet ? l : skip_definition(l, all.end);
        if (l < verbatim) {
            for (; l < verbatim && !p->stopped; l++) {
                cf_lexemes_add(p, x.out, *l);
            }
            continue; /* another definition may follow */
        }
        size_t before = x.out->count;
        struct lexeme item = *l++;
        item.first_on_line |= owes_line;
        expand_lexeme(&x, item);
        owes_line = item.first_on_line && x.out->count == before;
    }
    return p->stopped ? NULL : x.out;
}
