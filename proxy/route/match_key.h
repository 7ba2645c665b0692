/* Private to proxy/route: what vars and vars_regexp look at: a variable by its name ("root"), or a
 * placeholder in braces. */
#ifndef ROUTE_MATCH_KEY_H
#define ROUTE_MATCH_KEY_H

#include "proxy/route/match.h"

struct match_key {
    struct slice word; /* as written */
    struct template *text;
};

/* False after an error. */
NODISCARD bool match_key_read(struct match_line *line, const struct cf_token *token,
                              struct match_key *out);
struct slice match_key_value(const struct match_key *key, struct exchange *ex);

#endif
