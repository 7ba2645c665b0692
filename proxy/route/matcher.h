/* Request matchers: which requests a directive is for. Compiled once, const afterwards.
 *
 * A directive's first argument may be a matcher: `*` (all), `/path` (inline path matcher) or
 * `@name` (defined in the site or an enclosing block). Each kind is a row in matcher.c's table. */
#ifndef ROUTE_MATCHER_H
#define ROUTE_MATCHER_H

#include "proxy/caddyfile/caddyfile.h"
#include "proxy/http/exchange.h"

struct matcher; /* NULL matches everything */

/* Named matchers that are visible in a block; inner scopes see the outer ones. */
struct matcher_scope {
    struct matcher_scope *outer;
    struct matcher_named *first;
    struct map by_name; /* of this scope's own; freed by matcher_scope_end */
};

/* Compiles `@name ...` definitions among the directives into scope. */
void matcher_define(struct arena *a, struct matcher_scope *scope,
                    const struct cf_directive *directive, struct cf_diags *diags);
/* Warns of definitions that nothing used. The scope is over: what was compiled stays. */
void matcher_scope_end(struct matcher_scope *scope, struct cf_diags *diags);
/* Is there a kind of matcher of this name? */
bool matcher_is_kind(struct slice name);
/* Is the token a matcher: `*`, `/...`, `@...`, quoted or not? */
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

enum match_result {
    MATCH_NO,
    MATCH_YES,
    MATCH_WAIT,   /* not known yet: ex->resume is called when asking again will tell */
    MATCH_FAILED, /* neither yes nor no (a limit was hit, a broken expression): answer 500, as a
                     rule that denies must not fail open; or ex->match_status where it is set */
};

/* When memory runs out the result is MATCH_NO or MATCH_FAILED and ex->arena.failed is set: answer
 * 503. */
enum match_result matcher_matches(const struct matcher *m, struct exchange *ex);
/* After matcher_matches has told, before anything else is asked: the kind of the condition that the
 * request did not meet ("method"); empty if it met all, or none can be named. For people. */
struct slice matcher_unmet(const struct matcher *m, struct exchange *ex);
/* May it answer MATCH_WAIT? Where nobody can wait (lb_retry_match) such a matcher is refused. */
bool matcher_may_wait(const struct matcher *m);
/* Does an expression stand among its conditions? */
bool matcher_has_expression(const struct matcher *m);
/* For the order of directives of one name, Caddy's rule: is a more specific than b? Of two that
 * have one path pattern each (other conditions or none beside it) the longer one; "/foo" before
 * "/foo*"; one with a matcher before one without; otherwise neither, and they stay as written. */
bool matcher_more_specific(const struct matcher *a, const struct matcher *b);
/* Is a certainly true wherever b is? False where that cannot be told. */
bool matcher_covers(const struct matcher *a, const struct matcher *b);

#endif
