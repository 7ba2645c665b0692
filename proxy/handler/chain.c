/* Running handlers and hooks; see chain.h. The position is a stack of routes in the exchange's
 * arena, so that a handler may answer later. */
#include "proxy/handler/chain.h"

static void chain_continue(struct exchange *ex);

bool chain_new(struct exchange *ex, struct upstream *upstream, struct jobs *jobs)
{
    struct chain *c = arena_alloc(&ex->arena, sizeof(*c));
    if (!c) {
        return false;
    }
    c->depth = 0;
    c->hook_count = 0;
    c->enter = NULL;
    c->upstream = upstream;
    c->pin = NULL;
    ex->chain = c;
    ex->jobs = jobs;
    ex->resume = chain_continue;
    return true;
}

static bool push_route(struct chain *c, const struct route *route)
{
    if (c->depth == CHAIN_DEPTH_MAX) {
        return false;
    }
    c->stack[c->depth].route = route;
    c->stack[c->depth].next = 0;
    c->stack[c->depth].group_taken = 0;
    c->depth++;
    return true;
}

void chain_enter(struct exchange *ex, const struct route *route)
{
    chain_of(ex)->enter = route;
}

/* Finds the next handler whose matcher and group allow it: MATCH_YES and *out; MATCH_NO at the end
 * of everything. After MATCH_WAIT the same place is looked at again. */
static enum match_result next_handler(struct chain *c, struct exchange *ex,
                                      const struct handler **out)
{
    while (c->depth > 0) {
        unsigned top = c->depth - 1;
        const struct route *route = c->stack[top].route;
        if (c->stack[top].next == route->count) {
            c->depth--;
            continue;
        }
        const struct handler *h = &route->handlers[c->stack[top].next];
        enum match_result r = MATCH_NO;
        if (!h->group || h->group != c->stack[top].group_taken) {
            r = matcher_matches(h->matcher, ex);
        }
        if (r == MATCH_WAIT || r == MATCH_FAILED || ex->arena.failed) {
            return r;
        }
        c->stack[top].next++;
        ex->answers = NULL; /* what was learnt holds for this step */
        if (r == MATCH_YES) {
            c->stack[top].group_taken = h->group ? h->group : c->stack[top].group_taken;
            *out = h;
            return MATCH_YES;
        }
    }
    return MATCH_NO;
}

/* False: there are too many to remember, and leaving one out could open what it closes. */
static bool remember_hook(struct chain *c, const struct handler *h)
{
    if (!h->ops->on_response && !h->ops->on_response_early) {
        return true;
    }
    if (c->hook_count == CHAIN_HOOKS_MAX) {
        return false;
    }
    c->hooks[c->hook_count].ops = h->ops;
    c->hooks[c->hook_count].instance = h->instance;
    c->hook_count++;
    return true;
}

/* A handler was passed; false: the exchange is answered or waited for. */
static bool run_one(struct chain *c, struct exchange *ex, const struct handler *h)
{
    switch (h->ops->on_request(h->instance, ex)) {
    case HANDLER_NEXT:
        if (remember_hook(c, h)) {
            return true;
        }
        exchange_error_page(ex, 500, S("more than 64 header directives apply to this request"));
        return false;
    case HANDLER_ENTER:
        if (push_route(c, c->enter)) {
            return true;
        }
        exchange_error_page(ex, 500, S("the configuration nests too deeply"));
        return false;
    case HANDLER_DONE:
    case HANDLER_WAIT:
        return false;
    }
    return false;
}

/* A matcher that could not look must not let the request through. */
static void match_failed(struct exchange *ex)
{
    if (ex->arena.failed) {
        exchange_error_page(ex, 503, S("out of memory"));
    } else {
        int status = ex->match_status ? ex->match_status : 500;
        exchange_error_page(ex, status, ex->match_status ? S("") : S("a matcher failed"));
    }
}

static void chain_continue(struct exchange *ex)
{
    struct chain *c = chain_of(ex);
    for (;;) {
        const struct handler *h = NULL;
        enum match_result r = next_handler(c, ex, &h);
        if (r == MATCH_WAIT && !ex->arena.failed) {
            return;
        }
        if (r == MATCH_FAILED || ex->arena.failed) {
            match_failed(ex);
            return;
        }
        if (!h) {
            break;
        }
        if (!run_one(c, ex, h)) {
            return;
        }
    }
    if (!exchange_simple(ex, 200, S(""), S(""))) {
        exchange_error_page(ex, 503, S("out of memory"));
        return;
    }
    exchange_respond(ex);
}

void chain_run(struct exchange *ex, const struct route *route)
{
    if (push_route(chain_of(ex), route)) {
        chain_continue(ex);
    }
}

void chain_run_hooks(struct exchange *ex)
{
    struct chain *c = chain_of(ex);
    for (unsigned i = 0; c && i < c->hook_count; i++) {
        if (c->hooks[i].ops->on_response_early) {
            c->hooks[i].ops->on_response_early(c->hooks[i].instance, ex);
        }
    }
    while (c && c->hook_count > 0) {
        c->hook_count--;
        if (c->hooks[c->hook_count].ops->on_response) {
            c->hooks[c->hook_count].ops->on_response(c->hooks[c->hook_count].instance, ex);
        }
    }
}
