/* The Caddyfile language: text -> tokens -> blocks. Knows no directive by name.
 *
 * In:  a file (or bytes), and through it every file and snippet it imports.
 * Out: a tree of directives in which each token knows where it was written, or diagnostics, all of
 *      them in one go. The tree and all text live in the document's arena until cf_free().
 *
 * The grammar is Caddy's (tokens, quotes, backticks, heredocs, continuation, {$ENV:default},
 * snippets, import with args, sites without braces) plus blocks on one line with { } or < >. */
#ifndef CADDYFILE_CADDYFILE_H
#define CADDYFILE_CADDYFILE_H

#include "proxy/base/arena.h"
#include "proxy/base/dstr.h"
#include "proxy/base/list.h"
#include "proxy/base/map.h"

/* ---- places and tokens ------------------------------------------------------------------- */

/* One file's (or {args}-expanded snippet's) text, kept for error excerpts. */
struct cf_source {
    const struct cf_source *next; /* in cf_document.sources */
    struct slice name; /* as the user wrote or passed it: "Caddyfile", "sites/a.caddy" */
    struct slice text; /* after environment replacement */
};

/* Where a token was written; `imported_from` is the import line that brought it, or NULL. */
struct cf_place {
    const struct cf_source *source;
    unsigned line;   /* from 1 */
    unsigned column; /* in bytes, from 1 */
    const struct cf_place *imported_from;
};

enum cf_quote { CF_BARE, CF_DOUBLE, CF_BACKTICK, CF_HEREDOC };

struct cf_token {
    struct slice text; /* NUL-terminated behind text.n, quotes and escapes resolved */
    enum cf_quote quote;
    struct cf_place at;
};

/* ---- the tree ----------------------------------------------------------------------------- */

/* One directive (or subdirective, matcher definition, option) and its block. */
struct cf_directive {
    struct cf_directive *next;
    struct cf_token name;
    struct cf_token *args; /* array */
    size_t arg_count;
    bool has_block; /* a block was written, even an empty one */
    bool torn;      /* an import in its block brought nothing, after an error: parts are missing */
    struct cf_directive *children;
};

struct cf_site {
    struct cf_site *next;
    struct cf_token *addresses; /* array, at least one */
    size_t address_count;
    bool torn; /* as in a directive */
    bool unbraced; /* without "{": it has the rest of its file */
    struct cf_directive *directives;
};

struct cf_named_route { /* &(name) { ... } */
    struct cf_named_route *next;
    struct cf_token name;
    struct cf_directive *directives;
};

struct cf_document {
    struct arena arena;
    const struct cf_source *sources; /* every file that was read, the first one in front */
    struct cf_directive *options; /* the global block's, NULL if none */
    struct cf_site *sites;
    struct cf_named_route *named_routes;
    bool unusable; /* after errors that left no tree worth a look: only cf_free is left */
};

/* ---- diagnostics --------------------------------------------------------------------------- */

enum cf_severity { CF_WARNING, CF_ERROR };

struct cf_diag {
    struct cf_diag *next;
    enum cf_severity severity;
    struct cf_place at;  /* source == NULL: no place; its source keeps only the name */
    size_t width;        /* bytes the caret line underlines, at least 1 */
    struct slice message;
    struct slice hint; /* "did you mean \"reverse_proxy\"?" or empty */
    /* The line it happened in, or the part of a long one around the place. All of this is copied,
     * so that diagnostics outlive the document they are about. */
    struct slice excerpt;
    size_t excerpt_from; /* bytes of the line left out in front */
    bool excerpt_cut;    /* something is left out behind */
};

/* Collects; owned by the caller; later steps (directives, preparing) add to the same one. */
struct cf_diags {
    struct arena arena;
    struct cf_diag *first;
    struct cf_diag **last;
    unsigned errors;
    unsigned warnings;
    unsigned repeats; /* of the errors: the same at the same place, through another import */
    /* After parsing: where its diagnostics end. What later steps say at the place of one of its
     * errors follows from that and is counted, but not kept. */
    struct cf_diag **parsed;
    bool incomplete; /* an import failed: what is not defined may have been in it */
    struct map declared; /* names that the configuration itself brings into being: cf_declare */
};

void cf_diags_init(struct cf_diags *d);
void cf_diags_fini(struct cf_diags *d);
/* At most 100 errors and 50 warnings are kept, the count goes on; the same message at the same
 * place is kept once (a bad snippet imported by ten sites is one mistake). The token's place and
 * width are used; NULL: none. Returns the new diagnostic (to set a hint) or NULL when it is not
 * kept. */
struct cf_diag *cf_error(struct cf_diags *d, const struct cf_token *at, const char *fmt, ...)
    PRINTF(3, 4);
struct cf_diag *cf_warning(struct cf_diags *d, const struct cf_token *at, const char *fmt, ...)
    PRINTF(3, 4);
/* hint := did you mean "X"?, X the nearest of names by edit distance, if one is near enough. */
void cf_did_you_mean(struct cf_diags *d, struct cf_diag *diag, struct slice word,
                     const struct slice *names, size_t count);
/* A name (of a placeholder) that something in the configuration makes, so that whoever meets it
 * does not call it unknown. Copied. */
void cf_declare(struct cf_diags *d, struct slice name);
bool cf_is_declared(const struct cf_diags *d, struct slice name);
/* For a person:   Caddyfile:12:5: error: unknown directive "revers_proxy"
 *                     revers_proxy localhost:8000
 *                     ^^^^^^^^^^^^ did you mean "reverse_proxy"?
 *                   imported at sites/a.caddy:3:1
 * In the order of the places, file by file. Control bytes are made visible. */
void cf_diags_print(const struct cf_diags *d, struct dstr *out);

/* ---- parsing --------------------------------------------------------------------------------- */

struct cf_options {
    /* Looks an environment variable up; NULL if unset. NULL here: getenv. */
    const char *(*getenv)(void *ctx, const char *name);
    void *ctx;
    size_t max_bytes;  /* of all files together; 0: 16 MiB */
    size_t max_tokens; /* after imports; 0: 1,000,000 */
    bool no_files;     /* imports may name snippets only: for text that someone else sent */
};

/* Reads and parses path and its imports ("-" is standard input). Never NULL. After errors it is
 * what they left: good for finding more of them, unless it is unusable, and for nothing else. */
struct cf_document *cf_parse_file(const char *path, const struct cf_options *options,
                                  struct cf_diags *d);
/* The same for bytes in memory; name is for messages, imports are relative to name's folder. */
struct cf_document *cf_parse_text(struct slice name, struct slice text,
                                  const struct cf_options *options, struct cf_diags *d);
void cf_free(struct cf_document *doc);

/* text as Caddy's fmt lays it out: a directive a line, a tab for each block around it, at most one
 * blank line, braces at the ends of lines; quotes, heredocs and comments as they are. What is ours,
 * blocks on one line and in angle brackets, is written as blocks of several lines with braces, so
 * that the result also runs in Caddy. It means the same, and laid out again it stays as it is.
 * *ours (may be NULL): there were such blocks. False, and errors in d, when text has none to lay
 * out (a quote or a block that never ends); out is of no use then. */
NODISCARD bool cf_format(struct slice name, struct slice text, struct dstr *out, bool *ours,
                         struct cf_diags *d);

/* ---- values, shared by the directives -------------------------------------------------------- */

/* Go's durations and d for days ("1h30m", "1.5s", "250ms", "7d"), in ms; false if malformed or
 * negative or over 100 years. A bare 0 is allowed. */
NODISCARD bool cf_parse_duration(struct slice text, int64_t *ms);
/* go-humanize: "10MB" = 10^6, "10MiB" = 2^20, "64KiB", plain bytes; false if malformed. */
NODISCARD bool cf_parse_size(struct slice text, uint64_t *bytes);
/* A file that is read only later, when nobody looks at messages: can it be? False after an error at
 * its token, in the system's words. */
bool cf_check_file(struct cf_diags *d, const struct cf_token *path);

/* One site address or origin address: [scheme://]host[:port][/path]. */
struct cf_address {
    struct slice scheme; /* "", "http", "https", ... lower-case */
    struct slice host;   /* lower-case, IPv6 without brackets; empty for ":8080" */
    struct slice port; /* "" or decimal digits, 0 to 65535, or "8001-8010" where ranges are legal */
    struct slice path;   /* "" or from '/' on */
};
/* Syntax only. Text that is malformed gives false and a message without a place in why. */
NODISCARD bool cf_parse_address(struct arena *a, struct slice text, struct cf_address *out,
                                struct slice *why);

#endif
