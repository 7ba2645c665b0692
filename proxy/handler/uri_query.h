/* The operations of `uri query`: a query taken apart, changed, put together. */
#ifndef HANDLER_URI_QUERY_H
#define HANDLER_URI_QUERY_H

#include "proxy/handler/handler.h"

struct query_op;

/* Reads one operation (words[0] is the key with its sign) into the list, which is kept in the order
 * they run. False after an error in b->diags. */
bool query_op_read(struct build *b, struct query_op **list, const struct cf_token *words,
                   size_t count);

enum query_result {
    QUERY_DONE,
    QUERY_NO_MEMORY,
    QUERY_LIMIT, /* a regular expression hit its limit */
};
NODISCARD enum query_result query_ops_apply(const struct query_op *ops, struct exchange *ex);

#endif
