/* Response matchers: `@name { status 4xx; header F [v] }`, for what reverse_proxy does with an
 * origin's answer. Const once read. */
#ifndef HANDLER_RESPONSE_MATCH_H
#define HANDLER_RESPONSE_MATCH_H

#include "proxy/handler/handler.h"
#include "proxy/http/status_set.h"

struct response_matcher;

/* A list of named ones, of one block. */
struct response_scope {
    struct response_matcher *first;
};

/* Reads `@name status 401 403`, `@name header F v`, or `@name { ... }`. */
void response_matcher_define(struct build *b, struct response_scope *scope,
                             const struct cf_directive *d);
/* NULL after an error: there is none of that name. */
const struct response_matcher *response_matcher_find(struct build *b,
                                                     const struct response_scope *scope,
                                                     const struct cf_token *name);
bool response_matches(const struct response_matcher *m, int status, const struct fields *fields);

#endif
