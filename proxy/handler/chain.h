/* Runs a route's handlers for an exchange, and the response hooks on the way back. */
#ifndef HANDLER_CHAIN_H
#define HANDLER_CHAIN_H

#include "proxy/handler/access_log.h"
#include "proxy/handler/handler.h"

#define CHAIN_DEPTH_MAX 16
#define CHAIN_HOOKS_MAX 72
#define CHAIN_HOOKS_ADDED_MAX 8 /* of these, for chain_add_hook */
#define CHAIN_HOOKS_FEW 16      /* of these, without memory of their own */

struct upstream;

/* Watches a chain that only pretends: handlers that would answer, or do something outside of the
 * exchange, are told and not run. */
struct chain_trace {
    /* A handler was looked at, at this depth of routes (1: the site's own). r: what its matcher
     * says; excluded: not even asked, because another of its group was run. */
    void (*looked)(struct chain_trace *self, struct exchange *ex, const struct handler *h,
                   unsigned depth, enum match_result r, bool excluded);
    /* It has been run (HANDLER_PREPARES). */
    void (*ran)(struct chain_trace *self, struct exchange *ex, const struct handler *h,
                unsigned depth);
    /* The end: h answers; NULL: nothing does. failed: a matcher could not tell. */
    void (*over)(struct chain_trace *self, struct exchange *ex, const struct handler *h,
                 bool failed);
};

struct chain_hook {
    const struct handler_ops *ops;
    const void *instance;
};

struct chain {
    struct {
        const struct route *route;
        size_t next;
        unsigned groups_taken; /* bit i: a handler of group i was run */
    } stack[CHAIN_DEPTH_MAX];
    unsigned depth;
    struct chain_hook *hooks; /* few_hooks, or more in the exchange's arena */
    unsigned hook_count;
    unsigned hook_cap; /* CHAIN_HOOKS_ADDED_MAX of these are kept for chain_add_hook */
    struct chain_hook few_hooks[CHAIN_HOOKS_FEW];
    const struct route *enter; /* set by chain_enter */
    const struct error_route *errors; /* the site's handle_errors; NULL: none */
    struct {
        int status; /* 0: none */
        struct slice message;
    } error;     /* what handle_errors is answering */
    bool failed;       /* an error was raised: nothing intercepts its page */
    bool intercepting; /* on_intercept's route runs: when it does not answer the response stays */
    bool running; /* chain_run is on the C stack */
    bool raised;  /* and an error was raised in it */
    struct upstream *upstream; /* this worker's */
    struct jobs *slow_jobs;    /* borrowed; for what takes seconds (password hashes); or NULL */
    struct log_notes log;
    struct chain_trace *trace; /* NULL, but for caddis explain */
    void *pin;                 /* server's own: keeps the configuration alive */
};

/* Makes ex->chain (in its arena); false when memory is out. jobs: for what may block, or NULL. */
NODISCARD bool chain_new(struct exchange *ex, struct upstream *upstream, struct jobs *jobs);
/* Runs route; when no handler answers, an empty 200 is sent, as Caddy does. Where a matcher has to
 * wait (MATCH_WAIT) the chain stops there and goes on when ex->resume is called. */
void chain_run(struct exchange *ex, const struct route *route);
/* For a handler that returns HANDLER_ENTER. */
void chain_enter(struct exchange *ex, const struct route *route);
/* The handler cannot answer: the site's handle_errors does, or a page with status and detail (for
 * a person; borrowed until the exchange ends). At any time until the response has started, as
 * exchange_error_page. Always HANDLER_DONE. */
enum handler_result chain_error(struct exchange *ex, int status, struct slice detail);
/* The status of an answer that names none: that of the error being handled, else 200. */
int chain_default_status(struct exchange *ex);
/* Has ops' response hooks run for whatever answer comes, as if a handler with them was passed. */
void chain_add_hook(struct exchange *ex, const struct handler_ops *ops, const void *instance);
/* Has handlers that were passed look at the response (on_intercept). True: others answer now, and
 * this response is not to be sent. */
bool chain_intercepts(struct exchange *ex);
/* The response hooks: the early ones in order, then the others, last passed first. */
void chain_run_hooks(struct exchange *ex);
/* The early ones only, for an interim response; they run again later. */
void chain_run_early_hooks(struct exchange *ex);
static inline struct chain *chain_of(struct exchange *ex)
{
    return ex->chain;
}

#endif
