/* Request matchers: which requests a directive is for. Compiled once, const afterwards.
 *
 * A directive's first argument may be a matcher: `*` (all), `/path` (inline path matcher) or
 * `@name` (defined in the site or an enclosing block). Kinds now: path, method, host, remote_ip,
 * client_ip, not; each is a row in matcher.c's table. */
#ifndef ROUTE_MATCHER_H
#define ROUTE_MATCHER_H

#include "proxy/caddyfile/caddyfile.h"
#include "proxy/http/exchange.h"

struct matcher; /* NULL matches everything */

/* Named matchers that are visible in a block; inner scopes see the outer ones. */
struct matcher_scope {
    struct matcher_scope *outer;
    struct matcher_named *first;
};

/* Compiles `@name ...` definitions among the directives into scope. */
void matcher_define(struct arena *a, struct matcher_scope *scope,
                    const struct cf_directive *directive, struct cf_diags *diags);
/* Warns of definitions that nothing used. */
void matcher_scope_end(const struct matcher_scope *scope, struct cf_diags *diags);
/* Is the token a matcher (`*`, `/...`, `@...`, unquoted)? */
bool matcher_is_token(const struct cf_token *token);
/* The matcher a token names; *out NULL for `*`. False after an error in diags. */
NODISCARD bool matcher_from_token(struct arena *a, const struct matcher_scope *scope,
                                  const struct cf_token *token, struct matcher **out,
                                  struct cf_diags *diags);
/* A set of matchers that a directive has in its own block: one a line, all must match. False after
 * an error in diags (or when there is none). */
NODISCARD bool matcher_from_lines(struct arena *a, const struct cf_directive *first,
                                  struct matcher **out, struct cf_diags *diags);
/* One matcher as the words of a line ("method POST"), with the block behind them. */
NODISCARD bool matcher_from_words(struct arena *a, const struct cf_token *words, size_t count,
                                  const struct cf_directive *block, struct matcher **out,
                                  struct cf_diags *diags);
bool matcher_matches(const struct matcher *m, struct exchange *ex);
/* For the directive order: 2 a single path pattern (longest first), 1 any other, 0 none. */
int matcher_rank(const struct matcher *m, size_t *path_length);

/* Path patterns (Caddy's path matcher): case-insensitive; "*" at the end: prefix, at the start:
 * suffix, both: substring, elsewhere: any run of bytes without '/'; otherwise exact. */
bool path_pattern_matches(struct slice pattern, struct slice path);
/* Unescapes, merges "//" (unless keep_slashes), resolves "." and ".."; in a. p == NULL: memory. */
struct slice path_clean(struct arena *a, struct slice raw, bool keep_slashes);

#endif
