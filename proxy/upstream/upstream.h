/* Connections to origins on one worker: pools of idle ones, dialing, one request at a time each.
 *
 * A request takes the idle connection used last, or opens one. If a kept connection turns out to
 * be dead, the request is sent again on a fresh one when that is safe: nothing of it reached the
 * kernel, or the origin had said nothing and the method is idempotent and no body was consumed
 * (RFC 9112 section 9.3.1). */
#ifndef UPSTREAM_UPSTREAM_H
#define UPSTREAM_UPSTREAM_H

#include "proxy/net/dial.h"
#include "proxy/upstream/origin.h"

struct upstream; /* one a worker; outlives generations, so that pools survive a reload */
struct upstream_request;

struct upstream *upstream_new(struct loop *l, struct resolver *r);
/* Closes idle connections now, lets busy ones finish. */
void upstream_drain(struct upstream *u);
/* Every connection is closed; nothing may be under way any more but tunnels, which end. */
void upstream_free(struct upstream *u);

struct loop *upstream_loop(const struct upstream *u);
struct resolver *upstream_resolver(const struct upstream *u);

struct upstream_failure {
    int status;       /* what to tell the client: 502, 503 or 504 */
    bool unsent;      /* the request reached no origin: another one may be tried */
    enum end_reason reason;
    struct slice detail; /* "connection refused"; valid during the call */
};

struct upstream_events {
    /* Exactly one of them, once, from the loop or a task; the request is then gone for the caller.
     * on_head: ex->res is filled in; respond. */
    void (*on_head)(void *ctx);
    void (*on_failed)(void *ctx, const struct upstream_failure *failure);
};

/* Sends out (final fields; upgrade: the protocol asked for or empty) as the origin's part of ex.
 * out and what it points to live in ex's arena. Takes a reference to o. NULL: memory. */
struct upstream_request *upstream_start(struct upstream *u, struct origin *o, struct exchange *ex,
                                        const struct request *out, struct slice upgrade,
                                        const struct upstream_events *events, void *ctx);
/* Before on_head or on_failed only: no event will come, a connection in use is closed. */
void upstream_cancel(struct upstream_request *rq);

#endif
