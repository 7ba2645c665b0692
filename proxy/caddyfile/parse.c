/* A whole Caddyfile: options, snippets, named routes, sites.
 *
 * In:  a path or bytes.
 * Out: the document, and diagnostics. What holds for a file's top level is here; blocks and their
 *      directives are read by block.c. */
#include "proxy/caddyfile/parser.h"

#include <stdlib.h>

#include "proxy/base/mem.h"

static void parse_items(struct parser *p, struct cursor *cur, unsigned depth);

static void set_hint(struct cf_diag *diag, struct slice hint)
{
    if (diag) {
        diag->hint = hint; /* a literal */
    }
}

/* ---- what stands in front of a block ----------------------------------------------------- */

/* The addresses (or the one name of a snippet) of an item, and how its block opens. */
struct head {
    struct lexemes *words;
    enum opener how; /* OPENS_NOTHING: the line ended */
    bool on_next_line; /* the opener is alone on the line below */
};

/* A word may be several addresses with commas between them. Returns whether it ends in a comma. */
static bool add_words(struct parser *p, struct lexemes *words, const struct lexeme *item)
{
    struct slice rest = item->token.text;
    struct slice part;
    if (item->token.quote != CF_BARE || slice_find(rest, ',') == SLICE_NPOS) {
        cf_lexemes_add(p, words, *item);
        return false;
    }
    while (slice_cut(&rest, ',', &part) && !p->stopped) {
        struct lexeme one = *item;
        one.token.at.column += (unsigned)(part.p - item->token.text.p);
        one.token.text = arena_copy(&p->doc->arena, part);
        if (part.n > 0) {
            cf_lexemes_add(p, words, one);
        }
    }
    return item->token.text.p[item->token.text.n - 1] == ',';
}

/* "<respond" behind an address. */
static void look_for_angle(struct parser *p, const struct cf_token *t)
{
    if (t->quote == CF_BARE && t->text.n > 1 && t->text.p[0] == '<') {
        set_hint(cf_error(p->diags, t, "an address cannot begin with \"<\""),
                 S("to open a block put a space behind it"));
    }
}

/* Reads to the opener, and leaves the cursor at it. */
static void take_head(struct parser *p, struct cursor *cur, struct head *h)
{
    const struct cf_token *comma = NULL;
    *h = (struct head){.words = cf_lexemes_new(p)};
    for (; cur->at < cur->end && !p->stopped; cur->at++) {
        if (cur->at->first_on_line && h->words->count > 0 && !comma) {
            break;
        }
        h->how = cf_opener(&cur->at->token, true);
        if (h->how != OPENS_NOTHING || cf_is_bare(&cur->at->token, "}")) {
            break;
        }
        struct lexeme item = *cur->at;
        h->how = cf_split_glued(p, &item.token);
        look_for_angle(p, &item.token);
        comma = add_words(p, h->words, &item) ? &cur->at->token : NULL;
        if (h->how != OPENS_NOTHING) {
            return; /* the word itself stands for its opener */
        }
    }
    if (comma && h->words->count > 0 && !p->stopped) {
        cf_error(p->diags, comma, "another address is expected behind the comma");
    }
    if (h->how == OPENS_NOTHING && cur->at < cur->end && cur->at->first_on_line) {
        h->how = cf_is_bare(&cur->at->token, "{") ? OPENS_BRACE : OPENS_NOTHING;
        h->on_next_line = h->how != OPENS_NOTHING;
    }
}

static struct cf_token *words_of(struct parser *p, const struct head *h)
{
    struct cf_token *tokens = ARENA_ARRAY(&p->doc->arena, struct cf_token, h->words->count);
    if (!tokens) {
        cf_stop(p, &h->words->items[0].token, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < h->words->count; i++) {
        tokens[i] = h->words->items[i].token;
    }
    return tokens;
}

/* ---- items ------------------------------------------------------------------------------- */

static void parse_options(struct parser *p, struct cursor *cur, enum opener how)
{
    const struct cf_token *opener = &cur->at->token;
    cf_mend(p, cur, opener);
    struct cf_directive *options = cf_parse_block(p, cur, how, 0);
    if (p->stopped) {
        return;
    }
    if (p->options_seen || p->doc->sites || p->doc->named_routes) {
        set_hint(cf_error(p->diags, opener, "a block without a name is for the global options; "
                          "there is one at most, in front of all sites"),
                 S("is the site's address missing, or on a line of its own?"));
        return;
    }
    p->options_seen = true;
    p->doc->options = options;
}

static void parse_snippet(struct parser *p, struct cursor *cur, const struct head *h)
{
    const struct cf_token *name = &h->words->items[0].token;
    const struct lexemes *body = NULL;
    if (h->how == OPENS_EMPTY) {
        cur->at++;
        body = cf_lexemes_new(p);
    } else {
        const struct lexeme *opener = cur->at++;
        body = cf_collect_block(p, cur, &opener->token);
    }
    if (body && !p->stopped) {
        cf_add_snippet(p, name, body);
    }
}

static void parse_route(struct parser *p, struct cursor *cur, const struct head *h)
{
    struct cf_token name = h->words->items[0].token;
    struct cf_named_route *route = ARENA_NEW(&p->doc->arena, struct cf_named_route);
    name.text = arena_copy(&p->doc->arena,
                           slice_upto(slice_from(name.text, 2), name.text.n - 3));
    name.at.column += 2;
    if (!route || !name.text.p) {
        cf_stop(p, &h->words->items[0].token, "out of memory");
        return;
    }
    route->name = name;
    route->directives = cf_parse_block(p, cur, h->how, 0);
    if (map_get(&p->routes, name.text)) {
        cf_error(p->diags, &name, "the named route \"%.*s\" is defined twice",
                 SLICE_ARG(name.text));
        return;
    }
    (void)map_put(&p->routes, name.text, route);
    *p->last_route = route;
    p->last_route = &route->next;
}

/* No brace behind the addresses: the only site there is, and all that follows is its body. */
static void parse_unbraced(struct parser *p, struct cursor *cur, struct cf_site *site,
                           unsigned depth)
{
    struct cf_directive **tail = &site->directives;
    struct block b = {.end = END_OF_TEXT, .unbraced = true, .depth = depth};
    if (p->doc->sites != site) {
        set_hint(cf_error(p->diags, &site->addresses[site->address_count - 1],
                          "\"{\" is expected behind the address of a site"),
                 S("only a site that is alone in its file may leave the braces out"));
        b.unbraced = false; /* no need to complain about the sites that may follow */
    }
    p->unbraced = site;
    site->unbraced = true;
    cf_parse_directives(p, cur, &b, &tail);
}

static void parse_site(struct parser *p, struct cursor *cur, const struct head *h, unsigned depth)
{
    struct cf_site *site = ARENA_NEW(&p->doc->arena, struct cf_site);
    struct cf_token *addresses = words_of(p, h);
    if (!site || !addresses) {
        cf_stop(p, &h->words->items[0].token, "out of memory");
        return;
    }
    site->addresses = addresses;
    site->address_count = h->words->count;
    if (p->unbraced) {
        cf_error(p->diags, &addresses[0], "another site, \"%.*s\" (line %u), has no braces and so "
                 "must be the only one", SLICE_ARG(p->unbraced->addresses[0].text),
                 p->unbraced->addresses[0].at.line);
    }
    *p->last_site = site;
    p->last_site = &site->next;
    unsigned lost = p->lost;
    if (h->how != OPENS_NOTHING) {
        site->directives = cf_parse_block(p, cur, h->how, depth);
    } else {
        parse_unbraced(p, cur, site, depth);
    }
    site->torn = p->lost != lost;
}

/* (name) or &(name), bare: the prefix tells which. */
static bool is_named(const struct cf_token *t, struct slice prefix)
{
    return t->quote == CF_BARE && slice_starts(t->text, prefix) && slice_ends(t->text, S(")"));
}

/* "@name ..." at the top: over its line and block. */
static bool is_stray_matcher(struct parser *p, struct cursor *cur, const struct head *h)
{
    const struct cf_token *t = h->words->count ? &h->words->items[0].token : NULL;
    if (!t || t->quote != CF_BARE || t->text.p[0] != '@') {
        return false;
    }
    set_hint(cf_error(p->diags, t, "a matcher is defined inside a site, not beside it"),
             S("put it into the site's block, or into a snippet that sites import"));
    if (h->how != OPENS_NOTHING) {
        (void)cf_parse_block(p, cur, h->how, 0);
    }
    return true;
}

/* A head without an opener whose block is closed all the same: an error, and the last word of the
 * head stands for its opener. */
static bool find_opener(struct parser *p, struct cursor *cur, struct head *h)
{
    const struct cf_token *first = &h->words->items[0].token;
    if (cur->at == cur->end || !cf_lost_opener(cur, first)) {
        return false;
    }
    set_hint(cf_error(p->diags, &h->words->items[h->words->count - 1].token,
                      "\"{\" is expected at the end of this line"),
             S("a \"}\" further down closes the block that should begin here"));
    cur->at--;
    h->how = OPENS_BRACE;
    return true;
}

static void parse_item(struct parser *p, struct cursor *cur, unsigned depth)
{
    struct head h;
    take_head(p, cur, &h);
    if (p->stopped || is_stray_matcher(p, cur, &h)) {
        return;
    }
    if (h.words->count == 0) {
        cf_error(p->diags, &cur->at[cur->at == cur->end ? -1 : 0].token,
                 "the address of a site is expected");
        if (h.how != OPENS_NOTHING) {
            (void)cf_parse_block(p, cur, h.how, depth); /* over it, also where ",{" is one word */
        }
        return;
    }
    const struct cf_token *first = &h.words->items[0].token;
    if (h.on_next_line) {
        set_hint(cf_error(p->diags, &cur->at->token, "\"{\" must not stand on a line of its own"),
                 S("put it at the end of the line above"));
    }
    bool snippet = is_named(first, S("("));
    bool route = is_named(first, S("&("));
    if (h.how == OPENS_BRACE) {
        cf_mend(p, cur, first);
    }
    if (!snippet && !route) {
        (void)(h.how == OPENS_NOTHING && find_opener(p, cur, &h));
        parse_site(p, cur, &h, depth);
        return;
    }
    if (h.words->count > 1) {
        cf_error(p->diags, &h.words->items[1].token, "\"{\" is expected behind the name of a %s",
                 snippet ? "snippet" : "named route");
    } else if (first->text.n == (snippet ? 2U : 3U)) {
        cf_error(p->diags, first, "the name is empty");
    }
    if (h.how == OPENS_NOTHING && !find_opener(p, cur, &h)) {
        cf_error(p->diags, first, "\"{\" is expected behind the name of a %s",
                 snippet ? "snippet" : "named route");
    } else if (snippet) {
        parse_snippet(p, cur, &h);
    } else {
        parse_route(p, cur, &h);
    }
}

static void parse_import(struct parser *p, struct cursor *cur, unsigned depth)
{
    struct import im;
    struct cursor text;
    struct block top = {.end = END_OF_TEXT, .depth = depth};
    cf_parse_import_line(p, cur, &top, &im);
    if (cf_import_begin(p, &im)) {
        while (cf_import_next(p, &im, &text)) {
            parse_items(p, &text, depth + 1);
        }
    }
    cf_import_end(&im);
}

static void parse_items(struct parser *p, struct cursor *cur, unsigned depth)
{
    if (depth > CF_DEPTH_MAX && cur->at < cur->end) {
        cf_stop(p, &cur->at->token, "too many imports inside one another");
    }
    while (cur->at < cur->end && !p->stopped) {
        const struct cf_token *t = &cur->at->token;
        enum opener how = cf_opener(t, false);
        if (how != OPENS_NOTHING) {
            parse_options(p, cur, how);
        } else if (cf_is_bare(t, "import")) {
            parse_import(p, cur, depth);
        } else if (cf_is_bare(t, "}") || cf_is_bare(t, ">") || cf_is_bare(t, "<") ||
                   cf_is_bare(t, "<>")) {
            set_hint(cf_error(p->diags, t, "this \"%.*s\" %s", SLICE_ARG(t->text),
                              t->text.p[0] == '<' ? "needs an address in front of it"
                                                  : "closes nothing"),
                     t->text.p[0] == '<' ? S("a block of global options is opened with \"{\"")
                                         : S("is there one too many, or an opening one missing "
                                             "above?"));
            cur->at++;
        } else {
            parse_item(p, cur, depth);
        }
    }
}

/* ---- the entrance ------------------------------------------------------------------------ */

static void begin(struct parser *p, const struct cf_options *options, struct cf_diags *d)
{
    *p = (struct parser){.diags = d, .options = options, .doc = mem_zalloc(sizeof(*p->doc))};
    arena_init(&p->doc->arena, CF_ARENA_MAX_BYTES);
    map_init(&p->snippets);
    map_init(&p->routes);
    p->bytes_left = options && options->max_bytes ? options->max_bytes : CF_BYTES_MAX;
    p->tokens_left = options && options->max_tokens ? options->max_tokens : CF_TOKENS_MAX;
    p->last_source = &p->doc->sources;
    p->last_site = &p->doc->sites;
    p->last_route = &p->doc->named_routes;
}

static struct cf_document *finish(struct parser *p, const struct cf_source *source)
{
    if (source) {
        struct lexemes *all = cf_lexemes_new(p);
        cf_lex(p, source, NULL, all);
        struct cursor cur = cf_cursor(all);
        parse_items(p, &cur, 0);
    }
    cf_lexemes_free(p);
    map_fini(&p->snippets);
    map_fini(&p->routes);
    p->doc->unusable = !source || p->stopped || p->torn;
    p->diags->parsed = p->diags->last;
    return p->doc;
}

struct cf_document *cf_parse_file(const char *path, const struct cf_options *options,
                                  struct cf_diags *d)
{
    struct parser p;
    struct import_frame root = {0};
    begin(&p, options, d);
    const struct cf_source *source = cf_read_source(&p, path, NULL, &root);
    p.root_dev = root.dev;
    p.root_ino = root.ino;
    return finish(&p, source);
}

struct cf_document *cf_parse_text(struct slice name, struct slice text,
                                  const struct cf_options *options, struct cf_diags *d)
{
    struct parser p;
    begin(&p, options, d);
    return finish(&p, cf_new_source(&p, name, text, NULL));
}

void cf_free(struct cf_document *doc)
{
    if (doc) {
        arena_fini(&doc->arena);
        free(doc);
    }
}
