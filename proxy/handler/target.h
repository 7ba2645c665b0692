/* Changing a request's target: rewrite, uri, handle_path, method, reverse_proxy's rewrite,
 * forward_auth's uri. What a request then has is a legal target whatever placeholders brought:
 * the path begins with "/", bytes that may not stand in a target are escaped. */
#ifndef HANDLER_TARGET_H
#define HANDLER_TARGET_H

#include "proxy/handler/handler.h"

struct target; /* "/path{x}?key={y}", compiled; const */

/* The parts that are not written stay the request's: "?a=b" keeps the path, "/a" the query, "/a?"
 * takes the query away. Placeholders in the query are escaped as form values. NULL after an error
 * in diags. */
struct target *target_compile(struct arena *a, const struct cf_token *t, struct cf_diags *diags);
/* Fills in for ex and changes req, which is ex's own or a copy of it. False: memory. */
NODISCARD bool target_apply(const struct target *t, struct exchange *ex, struct request *req);

/* Sets path and query (p == NULL: none, not even "?") and the target made of both; bytes that may
 * not stand there are escaped. False: memory. */
NODISCARD bool target_set(struct exchange *ex, struct request *req, struct slice path,
                          struct slice query);
/* Takes prefix (or suffix) off req's path, where it is there; letters are compared without regard
 * to case, escapes in the path as what they stand for. False: memory. */
NODISCARD bool target_strip(struct exchange *ex, struct slice text, bool prefix);

/* Appends text as a key or value of a form: "+" for a space, other bytes escaped. */
void target_form_encode(struct dstr *out, struct slice text);

#endif
