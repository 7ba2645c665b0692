/* handle [matcher] { directives }
 * handle_path <path> { directives }
 *
 * A group: of the handle and handle_path blocks beside each other only the first that matches is
 * run (more specific paths first). Its directives run in the usual order; when none of them
 * answers, what follows the blocks goes on. handle_path takes its path, up to the star, off the
 * request's path.
 *
 * route [matcher] { directives }
 *
 * No group, and its directives run in the order they are written. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/target.h"

struct block {
    struct route route;
    struct slice prefix; /* handle_path's */
};

static enum handler_result block_request(const void *instance, struct exchange *ex)
{
    const struct block *block = instance;
    if (block->prefix.n && !target_strip(ex, block->prefix, true)) {
        return chain_error(ex, 503, S("out of memory"));
    }
    chain_enter(ex, &block->route);
    return HANDLER_ENTER;
}

static const struct route *block_inner(const void *instance)
{
    return &((const struct block *)instance)->route;
}

static const struct handler_ops handle_ops = {.name = "handle",
                                              .nature = HANDLER_PREPARES,
                                              .on_request = block_request,
                                              .inner = block_inner};
static const struct handler_ops route_ops = {.name = "route",
                                             .nature = HANDLER_PREPARES,
                                             .on_request = block_request,
                                             .inner = block_inner};

static struct block *block_new(struct build *b, const struct cf_directive *d)
{
    if (!d->has_block) {
        cf_error(b->diags, &d->name, "\"%.*s\" needs a block: %.*s /path/* { ... }",
                 SLICE_ARG(d->name.text), SLICE_ARG(d->name.text));
        return NULL;
    }
    struct block *block = ARENA_NEW(b->arena, struct block);
    must(block);
    return block;
}

bool handle_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                  size_t count, struct handler *out)
{
    (void)args;
    struct block *block = expect_args(b, d, count, 0, 0) ? block_new(b, d) : NULL;
    out->ops = &handle_ops;
    out->instance = block;
    out->group = GROUP_HANDLE;
    return block && route_build(b, d->children, &block->route);
}

bool handle_path_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                       size_t count, struct handler *out)
{
    (void)args;
    struct slice path = d->arg_count ? d->args[0].text : S("");
    if (!slice_starts(path, S("/"))) {
        cf_error(b->diags, d->arg_count ? &d->args[0] : &d->name, "\"handle_path\" needs the path"
                 " that it takes off: handle_path /api/* { ... }");
        return false;
    }
    struct block *block = expect_args(b, d, count, 0, 0) ? block_new(b, d) : NULL;
    if (!block) {
        return false;
    }
    if (slice_ends(path, S("*"))) {
        path = slice_upto(path, path.n - 1);
        path = slice_upto(path, path.n - (slice_ends(path, S("/")) ? 1 : 0));
    }
    block->prefix = path;
    out->ops = &handle_ops;
    out->instance = block;
    out->group = GROUP_HANDLE;
    return route_build(b, d->children, &block->route);
}

bool route_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                 size_t count, struct handler *out)
{
    (void)args;
    struct block *block = expect_args(b, d, count, 0, 0) ? block_new(b, d) : NULL;
    out->ops = &route_ops;
    out->instance = block;
    return block && route_build_as_written(b, d->children, &block->route);
}
