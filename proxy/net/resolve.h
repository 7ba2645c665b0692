/* Names to addresses, off the loop, cached for the process. getaddrinfo on the jobs pool (so that
 * /etc/hosts and nsswitch mean what they mean everywhere); answers are kept 10 s, then asked again
 * in the background while the old ones are still used; a failure keeps the old answer for 60 s. */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include "proxy/loop/jobs.h"
#include "proxy/net/addr.h"

#define RESOLVE_ADDRS_MAX 16

struct resolver; /* one a process, thread-safe */

struct resolve_request {
    struct job job;    /* internal */
    struct resolver *resolver;
    struct loop *loop; /* internal */
    struct task task;  /* internal */
    struct slice host; /* set by the caller, lives until done; no IP literal needed: those work */
    uint16_t port;
    /* On the loop, from a task, exactly once unless cancelled. count 0: failed, see error. */
    void (*done)(struct resolve_request *self);
    struct addr addrs[RESOLVE_ADDRS_MAX];
    unsigned count;
    const char *error; /* static text: "name not known", "timed out", "too many look-ups" */
    void *internal;
};

struct resolver *resolver_new(struct jobs *jobs);
void resolver_free(struct resolver *r);
/* The answer comes through rq->done (from a task, even when it is cached). */
void resolve_start(struct resolver *r, struct loop *l, struct resolve_request *rq);
/* done will not be called; rq may be released. */
void resolve_cancel(struct resolve_request *rq);
/* Forget what is known of host (a connection to it failed). Any thread. */
void resolver_forget(struct resolver *r, struct slice host);

#endif
