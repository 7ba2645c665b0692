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
    struct resolver *resolver; /* internal, as the next two */
    struct loop *loop;
    struct task task;
    /* Set by the caller, lives until done. IP literals work (IPv6 with or without brackets), and
     * localhost and *.localhost are 127.0.0.1 and ::1 without asking anyone (RFC 6761 section
     * 6.3). */
    struct slice host;
    uint16_t port;
    /* From the loop's turn, never from inside a call, exactly once unless cancelled. count 0:
     * failed, see error. rq may be released or started again from inside. */
    void (*done)(struct resolve_request *self);
    struct addr addrs[RESOLVE_ADDRS_MAX];
    unsigned count;
    const char *error; /* static text: "name not known", "timed out", "too many look-ups" */
    void *internal;    /* the waiter, while a look-up is under way */
};

/* At most 1024 names and 64 look-ups at a time. jobs is borrowed. NULL: memory. */
struct resolver *resolver_new(struct jobs *jobs);
/* Requests must have ended or been cancelled; look-ups under way keep what they need. Before or
 * after jobs_free; loops must outlive jobs_free. NULL is allowed. */
void resolver_free(struct resolver *r);
/* The answer comes through rq->done (from a task, even when it is cached). */
void resolve_start(struct resolver *r, struct loop *l, struct resolve_request *rq);
/* done will not be called; rq may be released. Harmless after done and on a zeroed request. Only on
 * the loop's thread. */
void resolve_cancel(struct resolve_request *rq);
/* A connection to host failed: the next request waits for a new look-up (the old answer serves only
 * if that one fails), unless the last one is less than a second old. Any thread. */
void resolver_forget(struct resolver *r, struct slice host);

#endif
