/* Runs a route's handlers for an exchange, and the response hooks on the way back. */
#ifndef HANDLER_CHAIN_H
#define HANDLER_CHAIN_H

#include "proxy/handler/handler.h"

#define CHAIN_DEPTH_MAX 16
#define CHAIN_HOOKS_MAX 64

struct upstream;

struct chain {
    struct {
        const struct route *route;
        size_t next;
        unsigned group_taken;
    } stack[CHAIN_DEPTH_MAX];
    unsigned depth;
    struct {
        const struct handler_ops *ops;
        const void *instance;
    } hooks[CHAIN_HOOKS_MAX];
    unsigned hook_count;
    const struct route *enter; /* set by chain_enter */
    struct upstream *upstream; /* this worker's */
    void *pin;                 /* server's own: keeps the configuration alive */
};

/* Makes ex->chain (in its arena); false when memory is out. jobs: for what may block, or NULL. */
NODISCARD bool chain_new(struct exchange *ex, struct upstream *upstream, struct jobs *jobs);
/* Runs route; when no handler answers, an empty 200 is sent, as Caddy does. Where a matcher has to
 * wait (MATCH_WAIT) the chain stops there and goes on when ex->resume is called. */
void chain_run(struct exchange *ex, const struct route *route);
/* For a handler that returns HANDLER_ENTER. */
void chain_enter(struct exchange *ex, const struct route *route);
/* The response hooks: the early ones in order, then the others, last passed first. */
void chain_run_hooks(struct exchange *ex);
static inline struct chain *chain_of(struct exchange *ex)
{
    return ex->chain;
}

#endif
