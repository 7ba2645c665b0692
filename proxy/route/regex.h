/* Regular expressions, in RE2's dialect (Caddy's and Go's) on PCRE2's engine: the one door to
 * PCRE2.
 *
 * In:  a pattern from the configuration, compiled once; then texts from clients and origins.
 * Out: yes, no, or "the limit was hit", which is never a no: a rule that denies must not fail open.
 * What RE2 does not have is refused when compiled (back-references, look-around, possessive
 * quantifiers, atomic groups, recursion, verbs); bytes that are no UTF-8 never match a character.
 */
#ifndef ROUTE_REGEX_H
#define ROUTE_REGEX_H

#include "proxy/base/arena.h"
#include "proxy/base/dstr.h"

struct regex; /* const after it is compiled; shared by threads; lives as long as its arena */

#define REGEX_PATTERN_MAX ((size_t)8192)
#define REGEX_CAPTURES_MAX 32u /* the whole match included */

/* Compiles into a, which frees it. NULL: *why says what is wrong (text in a). Cold. */
struct regex *regex_compile(struct arena *a, struct slice pattern, struct slice *why);

enum regex_result { REGEX_NO, REGEX_MATCH, REGEX_LIMIT };

/* Looks for the pattern anywhere in text. On REGEX_MATCH captures[0] is the whole match and
 * captures[i] the i-th group (p == NULL: it took no part), *count how many of max were filled in.
 * captures may be NULL with max 0. */
enum regex_result regex_search(const struct regex *re, struct slice text, struct slice *captures,
                               size_t max, size_t *count);

/* Appends text to out with every match replaced; $1, ${1}, $name, ${name} in with stand for groups
 * (Go's rules: a name is as long as it can be, an unknown one is empty) and $$ for a dollar. */
enum regex_result regex_replace_all(const struct regex *re, struct slice text, struct slice with,
                                    struct dstr *out);

/* Appends `with` to out, its references (as above) standing for the groups of the first match; on
 * REGEX_NO and REGEX_LIMIT nothing. */
enum regex_result regex_expand(const struct regex *re, struct slice text, struct slice with,
                               struct dstr *out);

/* Groups, the whole match included. */
size_t regex_group_count(const struct regex *re);
/* The number of a named group; 0: there is none. */
size_t regex_group_number(const struct regex *re, struct slice name);
/* The name of group number `group`; empty: it has none. */
struct slice regex_group_name(const struct regex *re, size_t group);

#endif
