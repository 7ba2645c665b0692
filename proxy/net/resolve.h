/* Names to addresses and services, cached for the process, on a thread of its own (c-ares behind
 * dns.h; /etc/hosts counts). Answers are kept for their TTL, at least 1 s and at most 5 min; while
 * they are used they are asked again in the background before that time is up. When it is up a
 * request waits for the new answer, and gets the old one only if there is no new one (for 60 s). */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include "proxy/net/dns.h"

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
    struct slice servers; /* to ask, as dns_query's; empty: the system's */
    int64_t max_age_ms;   /* an older answer is asked again, whatever its TTL; 0: the TTL holds */
    int64_t stale_ms;     /* how long an old answer serves while there is no new one; 0: 60 s */
    struct addr
        *all; /* room for DNS_ADDRS_MAX, where all of them are wanted; used instead of addrs */
    /* Room for DNS_SRV_MAX: the question is for host's SRV records, the answer is here. NULL: for
     * addresses. */
    struct dns_srv *srv;
    /* From the loop's turn, never from inside a call, exactly once unless cancelled. count 0:
     * failed, see error. rq may be released or started again from inside. */
    void (*done)(struct resolve_request *self);
    struct addr addrs[RESOLVE_ADDRS_MAX];
    unsigned count; /* of addrs, all or srv */
    int64_t age_ms; /* of the answer */
    bool cached;    /* it was not asked for now: a failed connection may ask again */
    const char *error; /* static text: "name not known", "timed out", "too many look-ups" */
    void *internal;    /* the waiter, while a look-up is under way */
};

/* At most 1024 names and 64 look-ups at a time. NULL and err: no thread, memory. */
struct resolver *resolver_new(struct err *err);
/* Ends the thread. Who still waits is answered ("shutting down"); the loops must still be there.
 * NULL is allowed. */
void resolver_free(struct resolver *r);
/* The answer comes through rq->done (from a task, even when it is cached). */
void resolve_start(struct resolver *r, struct loop *l, struct resolve_request *rq);
/* done will not be called; rq may be released. Harmless after done and on a zeroed request. Only on
 * the loop's thread. */
void resolve_cancel(struct resolve_request *rq);
/* A connection to host failed: its addresses are asked again at once and the next request waits for
 * the answer (the old one serves only if there is none), unless the last look-up is less than a
 * second old (false: there is no newer answer to be had). servers as in the request. Any thread. */
bool resolver_forget(struct resolver *r, struct slice host, struct slice servers);

#endif
