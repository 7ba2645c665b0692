/* Paths and queries as matchers and placeholders see them. What is forwarded is never changed by
 * any of this. */
#ifndef ROUTE_PATH_H
#define ROUTE_PATH_H

#include "proxy/base/arena.h"

/* Path patterns (Caddy's path matcher): case-insensitive; "*" at the end: prefix, at the start:
 * suffix, both: substring, elsewhere: any run of bytes without '/', with "?" and "[a-z]" as in a
 * glob; otherwise exact. */
bool path_pattern_matches(struct slice pattern, struct slice path);
/* The same for a pattern that has "%": where it has an escape ("%2F"), the path must have that very
 * escape; "%*" stands for any run that is compared as it was sent; what remains is compared
 * decoded. raw: the path with dots resolved, but not decoded (path_clean_raw). */
bool path_escaped_pattern_matches(struct slice pattern, struct slice raw);
/* Unescapes, merges "//" (unless keep_slashes), resolves "." and ".."; in a. p == NULL: memory. */
struct slice path_clean(struct arena *a, struct slice raw, bool keep_slashes);
/* The same without unescaping. */
struct slice path_clean_raw(struct arena *a, struct slice raw, bool keep_slashes);
/* Only unescaped; raw itself where there is nothing to do. p == NULL: memory. */
struct slice path_decode(struct arena *a, struct slice raw);

/* Takes the next key=value off a query, both decoded ("+" is a space); pairs with a broken escape
 * or a ";" are passed over, as they mean different things to different readers. False at the end,
 * or when memory is out (a->failed). */
NODISCARD bool query_next(struct arena *a, struct slice *rest, struct slice *key,
                          struct slice *value);

#endif
