/* Origins that are looked up: the addresses of a name, or what its SRV records say. The list is
 * remembered for `refresh`; an origin that stays on it keeps its counters and its connections. */
#ifndef UPSTREAM_DYNAMIC_H
#define UPSTREAM_DYNAMIC_H

#include "proxy/net/resolve.h"
#include "proxy/upstream/balance.h"

#define DYNAMIC_SOURCES_MAX 8

struct dynamic_source {
    bool srv;           /* SRV records of name; else its addresses, with port */
    struct slice name;
    uint16_t port;
    struct slice resolvers; /* dns.h; or empty */
    int64_t refresh_ms;
    int64_t grace_ms; /* how long an old list serves when the look-up fails; 0: 60 s */
    bool no_v4, no_v6;
};

struct dynamic; /* counted, shared by the workers; requests hold it: it may outlive a configuration
                 */

/* sources and like (what all origins have in common; its key is a part of theirs) are copied. Never
 * NULL (cold). */
struct dynamic *dynamic_new(const struct dynamic_source *sources, size_t count,
                            const struct origin *like);
struct dynamic *dynamic_ref(struct dynamic *d);
/* NULL is allowed. */
void dynamic_unref(struct dynamic *d);
/* A connection to one of its origins failed: the next request asks again, once a second at most. */
void dynamic_distrust(struct dynamic *d);

/* The origins for one request. Zeroed by the caller, who keeps it until dynamic_release and may
 * then start it again. */
struct dynamic_request {
    struct dynamic *dynamic; /* counted */
    struct resolver *resolver;
    struct loop *loop;
    void (*done)(struct dynamic_request *self);
    void *owner; /* borrowed; for done */
    struct resolve_request rq;
    void *room; /* owned: for the answer, while a look-up is under way */
    size_t source;
    bool ask_again;
    /* The answer, counted; none where every source failed. */
    struct origin *origins[ORIGINS_MAX];
    size_t count;
};

/* True: the origins are there. False: done will be called once, from a later turn, unless it is
 * released before. */
bool dynamic_start(struct dynamic *d, struct resolver *r, struct loop *l,
                   struct dynamic_request *dr, void (*done)(struct dynamic_request *self),
                   void *owner);
/* Lets go of the origins, or gives up a look-up. Harmless on a zeroed or released one. */
void dynamic_release(struct dynamic_request *dr);

#endif
