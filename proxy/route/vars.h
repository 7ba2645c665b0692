/* Variables of one exchange: what handlers and matchers set and placeholders read. A variable has
 * the long name of its placeholder, without braces: "http.vars.root" ({vars.root}),
 * "http.regexp.id.1" ({re.id.1}), "http.error.status_code" ({err.status_code}),
 * "http.matchers.file.relative" ({file_match.relative}), "http.auth.user.id", and what `map` gives
 * out under a name of its own ("backend" for {backend}). A new one needs no registration here. */
#ifndef ROUTE_VARS_H
#define ROUTE_VARS_H

#include "proxy/http/exchange.h"

#define VARS_MAX 512u /* of one exchange */

/* Sets or replaces. Both texts are borrowed: of the configuration, or in ex->arena. False: memory
 * is out (the arena says so), or there are too many. */
NODISCARD bool vars_set(struct exchange *ex, struct slice name, struct slice value);
/* False: not set (out is left alone). */
bool vars_get(const struct exchange *ex, struct slice name, struct slice *out);
/* The value, or nothing. */
struct slice vars_value(const struct exchange *ex, struct slice name);
/* Copies all texts into ex->arena, so that they outlive the configuration. False: memory. */
NODISCARD bool vars_own(struct exchange *ex);
/* Forgets those whose name begins with prefix, so that what an earlier match left is not taken for
 * what a later one found. */
void vars_remove_prefix(struct exchange *ex, struct slice prefix);

#endif
