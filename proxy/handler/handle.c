/* handle [matcher] { directives }
 *
 * A group: of the handle blocks beside each other only the first that matches is run (more
 * specific paths first). Its directives run in the usual order; when none of them answers, what
 * follows the handle blocks goes on. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"

/* All handle blocks of one route share this group; groups are told apart by route. */
#define HANDLE_GROUP 1u

static enum handler_result handle_request(const void *instance, struct exchange *ex)
{
    chain_enter(ex, instance);
    return HANDLER_ENTER;
}

static const struct handler_ops handle_ops = {.name = "handle", .on_request = handle_request};

bool handle_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                  size_t count, struct handler *out)
{
    (void)args;
    if (!expect_args(b, d, count, 0, 0)) {
        return false;
    }
    if (!d->has_block) {
        cf_error(b->diags, &d->name, "\"handle\" needs a block: handle /path/* { ... }");
        return false;
    }
    struct route *route = ARENA_NEW(b->arena, struct route);
    must(route);
    out->ops = &handle_ops;
    out->instance = route;
    out->group = HANDLE_GROUP;
    return route_build(b, d->children, route);
}
