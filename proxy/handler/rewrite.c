/* rewrite [matcher] <to>
 *
 * Changes the request's path and query before the handlers behind it (and, by their order, before
 * most matchers) see it. What is not written in <to> stays: "?a=b" keeps the path, "/a" the query,
 * "/a?" takes the query away. Of several rewrites beside each other only the first that matches is
 * done. With a single argument that is <to>, even where it looks like a matcher. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/target.h"

static enum handler_result rewrite_request(const void *instance, struct exchange *ex)
{
    if (!target_apply(instance, ex, &ex->req)) {
        return chain_error(ex, 503, S("out of memory"));
    }
    return HANDLER_NEXT;
}

static const struct handler_ops rewrite_ops = {
    .name = "rewrite", .nature = HANDLER_PREPARES, .on_request = rewrite_request};

bool rewrite_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                   size_t count, struct handler *out)
{
    if (!expect_args(b, d, count, 1, 1) || !expect_no_block(b, d)) {
        return false;
    }
    out->ops = &rewrite_ops;
    out->instance = target_compile(b->arena, &args[0], b->diags);
    out->group = GROUP_REWRITE;
    return out->instance != NULL;
}
