/* Private to proxy/caddyfile: what the steps of parsing hand to one another.
 *
 *     bytes --env.c--> bytes --lex.c--> lexemes --args.c--> lexemes --parse.c--> tree
 *                                         ^---- import.c: files, snippets ----'
 *
 * Text, places and the tree are made in the document's arena. Lexeme arrays are only needed while
 * parsing; the parser owns them all and frees them at the end. */
#ifndef CADDYFILE_PARSER_H
#define CADDYFILE_PARSER_H

#include <glob.h>
#include <sys/types.h>

#include "proxy/base/map.h"
#include "proxy/caddyfile/caddyfile.h"

#define CF_BYTES_MAX ((size_t)16 << 20)
#define CF_TOKENS_MAX 1000000
/* Places, words and nodes for CF_TOKENS_MAX words and CF_BYTES_MAX of text stay far below this. */
#define CF_ARENA_MAX_BYTES ((size_t)1 << 30)
#define CF_DEPTH_MAX 100 /* blocks and imports inside one another; bounds the C stack too */

/* A token, and whether it begins a line: not the same as a change of at.line, because of line
 * continuation and of tokens that an import put there. */
struct lexeme {
    struct cf_token token;
    struct slice raw; /* in the source's text, quotes and marks included */
    bool first_on_line;
    bool comment; /* only where parser.for_format is set; token has no text then */
};

struct lexemes {
    struct lexemes *next;  /* in parser.lists */
    struct lexeme *items;  /* owned, malloc */
    size_t count;
    size_t cap;
};

/* Reads lexemes in order. */
struct cursor {
    const struct lexeme *at;
    const struct lexeme *end;
    bool no_surplus; /* mend.c: between here and the end no closer is left over */
};

/* (name) { ... }: the body is normalised, see cf_collect_block. */
struct snippet {
    struct cf_token name;
    const struct lexemes *body;
};

/* One import line being carried out; places of what it brings point at `at`. */
struct import_frame {
    struct cf_place at;
    const struct snippet *snippet; /* NULL: a file */
    dev_t dev;
    ino_t ino;
};

struct parser {
    struct cf_document *doc;
    struct cf_diags *diags;
    const struct cf_options *options;
    struct map snippets; /* name -> struct snippet, in the document's arena */
    struct map routes;   /* name -> struct cf_named_route */
    struct lexemes *lists;
    size_t bytes_left;
    size_t tokens_left;
    dev_t root_dev; /* of the first file, if it is one */
    ino_t root_ino; /* 0: it is none */
    bool cut_off; /* a quote or heredoc ran to the end: blocks are unclosed only because of it */
    bool torn; /* a block could not be told apart from what follows it */
    bool stopped; /* a limit was hit: said once, then everything ends */
    const struct cf_source **last_source;
    struct cf_site **last_site;
    struct cf_named_route **last_route;
    const struct cf_site *unbraced; /* the site without braces, if there is one */
    bool options_seen;
    bool for_format; /* fmt.c's: comments are lexemes, too, and {$...} was not replaced: one word */
    unsigned lost; /* imports that brought nothing, after an error */
    const struct cf_token *glued; /* the last word of a one-line block that ends in its closer */
};

/* What an import line says. */
struct import {
    const struct cf_token *word; /* "import" itself */
    const struct cf_token *args; /* args[0]: what to import */
    size_t arg_count;
    const struct lexemes *block; /* normalised; NULL: none was given */
    /* Where cf_import_next is. */
    const struct snippet *snippet;
    char *path;
    glob_t found;
    bool is_glob;
    size_t next;
};

/* Variables that are not set and have no default: where in the result they are missing. */
#define CF_UNSET_MAX 16
struct cf_unset {
    size_t count; /* those beyond CF_UNSET_MAX are not kept */
    size_t at[CF_UNSET_MAX];
    struct slice names[CF_UNSET_MAX]; /* in the text that was given */
};

/* env.c: {$NAME} and {$NAME:default} in the bytes of one file. False: no memory, or the result is
 * longer than max_bytes. */
NODISCARD bool cf_replace_env(struct arena *a, struct slice text, const struct cf_options *options,
                              size_t max_bytes, struct slice *out, struct cf_unset *unset);

/* lex.c: all tokens of a source. Errors go to the diagnostics; what could be read is in out. */
void cf_lex(struct parser *p, const struct cf_source *source, const struct cf_place *imported_from,
            struct lexemes *out);
bool cf_is_bare(const struct cf_token *t, const char *text);

/* A new empty list, owned by the parser. */
struct lexemes *cf_lexemes_new(struct parser *p);
/* Appends and counts it against max_tokens; past that nothing is added and p->stopped is set. */
void cf_lexemes_add(struct parser *p, struct lexemes *list, struct lexeme item);
struct cursor cf_cursor(const struct lexemes *list);
/* Frees all lists. */
void cf_lexemes_free(struct parser *p);
/* Ends the parsing with one error. */
void cf_stop(struct parser *p, const struct cf_token *at, const char *why);

/* args.c: a copy of in with {args[...]}, {block} and {blocks.key} replaced for this import, and
 * with the import's frame as the place it came from. NULL: stopped. Bodies of snippet definitions
 * in a file are left alone: their {args} belong to whoever imports the snippet. */
const struct lexemes *cf_expand(struct parser *p, const struct import *im,
                                const struct lexemes *in, const struct import_frame *frame);
/* The body of the block whose opener is behind the cursor, up to and over its closer, written as a
 * block of several lines with braces would be: ";" and "<" have done their work. NULL: no closer
 * (an error was given). */
const struct lexemes *cf_collect_block(struct parser *p, struct cursor *cur,
                                       const struct cf_token *opener);

/* mend.c: at the opener (its line begins at `first`) of a block that no other block of this text is
 * around: where the braces from here on do not go together, gives an error for each that is missing
 * or left over, and turns the cursor to lexemes in which they do. */
void cf_mend(struct parser *p, struct cursor *cur, const struct cf_token *first);
/* Nothing opens a block behind the address or name `first`, but further on a "}" closes it? */
bool cf_lost_opener(const struct cursor *cur, const struct cf_token *first);

/* block.c */
enum block_end { END_OF_TEXT, END_BRACE, END_ANGLE };

/* The block whose directives are being read. */
struct block {
    enum block_end end;
    bool one_line; /* its first directive begins on the line of the opener: ";" separates */
    bool unbraced; /* the body of the site without braces */
    unsigned depth;
    const struct cf_token *opener; /* NULL: END_OF_TEXT */
};

/* Does this word open a block here? "<" does only where angle is set. */
enum opener { OPENS_NOTHING, OPENS_BRACE, OPENS_ANGLE, OPENS_EMPTY };
enum opener cf_opener(const struct cf_token *t, bool angle);
/* Reads directives to the end of the block, and over its closer, onto the list. */
void cf_parse_directives(struct parser *p, struct cursor *cur, const struct block *b,
                         struct cf_directive ***tail);
/* The directives of the block whose opener is at the cursor. depth is that of what it is in. */
struct cf_directive *cf_parse_block(struct parser *p, struct cursor *cur, enum opener how,
                                    unsigned depth);
/* "host{": gives an error, takes the brace off the word, and says what it would have opened. */
enum opener cf_split_glued(struct parser *p, struct cf_token *word);
/* The import line at the cursor; its place in the text is b. */
void cf_parse_import_line(struct parser *p, struct cursor *cur, const struct block *b,
                          struct import *im);

/* import.c */
/* Reads a file (NULL path name "-": standard input) into a source; an error is given at `at`
 * (NULL: without a place). NULL: failed. */
const struct cf_source *cf_read_source(struct parser *p, const char *path,
                                       const struct cf_token *at, struct import_frame *frame);
const struct cf_source *cf_new_source(struct parser *p, struct slice name, struct slice text,
                                      const struct cf_token *at);
void cf_add_snippet(struct parser *p, const struct cf_token *name, const struct lexemes *body);
/* Finds what im->args[0] names. False: nothing to import, and a diagnostic says why. */
NODISCARD bool cf_import_begin(struct parser *p, struct import *im);
/* The lexemes of the snippet, or of the next file; false at the end. */
NODISCARD bool cf_import_next(struct parser *p, struct import *im, struct cursor *out);
void cf_import_end(struct import *im);

#endif
