/* RE2's dialect to PCRE2's: refuses what RE2 does not have and rewrites what the two read
 * differently. Pure. */
#ifndef ROUTE_REGEX_DIALECT_H
#define ROUTE_REGEX_DIALECT_H

#include "proxy/base/dstr.h"

/* Appends the pattern for PCRE2 to out. False: why says what RE2 does not have (static text). */
NODISCARD bool regex_from_re2(struct slice pattern, struct dstr *out, const char **why);

#endif
