/* The inside of upstream: shared by upstream.c (requests: attempts and outcomes), pool.c
 * (connections by origin key) and opening.c (new connections: dialing, PROXY header, TLS).
 *
 * Lifetimes. A request lives in its exchange's arena until its outcome was reported or it was
 * cancelled; of one that HTTP/2 carries, `counted` lives on until the response is over. A
 * connection belongs to its pool and is freed where its codec reports its end. An opening lives
 * until it has become a connection or has failed, or the last who waited for it has given up. A
 * pool lives while it has connections or openings. */
#ifndef UPSTREAM_UPSTREAM_PRIV_H
#define UPSTREAM_UPSTREAM_PRIV_H

#include "proxy/base/map.h"
#include "proxy/upstream/upstream.h"

/* Where connections are limited, a kept one makes room for others after so long. */
#define LIMITED_IDLE_MS 1000
/* So many wait for one new connection that may turn out to speak HTTP/2. */
#define OPENING_WAITERS_MAX 100u
/* So often a request is sent again that an origin refused (REFUSED_STREAM, GOAWAY). */
#define REFUSALS_MAX 3u

struct upstream {
    struct loop *loop;
    struct resolver *resolver;
    struct map pools;
    struct list connections; /* all of them, so that they can be ended */
    struct list openings;    /* likewise */
    bool draining;
};

/* The connections of one origin key. */
struct pool {
    struct upstream *upstream;
    struct slice key;     /* owned */
    struct list idle;     /* of connection (HTTP/1), used last first */
    struct list shared;   /* of connection (HTTP/2), that may take more requests */
    struct list openings; /* those that more requests may wait for */
    unsigned idle_count;  /* idle ones of both kinds */
    unsigned users;       /* connections and openings */
};

struct connection {
    struct list node;      /* in upstream->connections */
    struct list idle_node; /* in pool->idle, or pool->shared */
    struct pool *pool;
    struct origin *origin;    /* counted */
    struct h1_client *client; /* one of the two */
    struct h2_client *h2;
    struct upstream_request *request; /* HTTP/1: until its outcome is known */
    struct timer idle_timer;
    int64_t made_ms;
    int64_t idle_limit_ms; /* how long the origin says it keeps it; 0: it does not say */
    bool idle;             /* pool->idle_count includes it */
    bool placed;           /* origin->connections includes it */
    bool counted_active;   /* HTTP/1: origin->active includes it */
    bool alone;            /* for one client only: never kept, never shared */
};

struct upstream_request {
    struct upstream *upstream;
    struct origin *origin; /* counted */
    struct exchange *ex;   /* held */
    const struct request *out;
    struct slice upgrade;
    const struct upstream_events *events;
    void *ctx;
    struct list waiter;        /* in opening->waiters */
    struct opening *opening;   /* NULL: waits for none */
    struct connection *connection; /* HTTP/1 */
    struct h2_call *call;          /* HTTP/2 */
    struct origin *counted;    /* counted; origin->active includes the call */
    struct timer place_timer;  /* max_conns_per_host: until there is a place */
    bool waiting; /* the timer runs; origin->waiting includes it */
    bool placed;  /* origin->connections includes the one that it will open */
    struct task fail_task; /* reports a failure that was found inside a call */
    struct upstream_failure failure;
    unsigned refusals;
    bool reused;     /* on a connection that had been used before */
    bool fresh_only; /* a kept connection failed already */
    bool http_1;     /* the origin wants HTTP/1.1 for it (HTTP_1_1_REQUIRED) */
};

/* ---- upstream.c -------- */

/* Reports the failure of a request and frees it. */
void request_failed(struct upstream_request *rq, const struct upstream_failure *failure);
/* From a task: there was no memory for it. */
void request_fail_later(struct upstream_request *rq);
/* Looks for a connection (again). From the loop or a task. */
void request_attempt(struct upstream_request *rq);
/* Sends on a connection that is idle or has room. */
void request_send(struct upstream_request *rq, struct connection *c, bool reused);
/* Must it go over HTTP/1.1, whatever else the origin speaks? */
bool request_needs_http_1(const struct upstream_request *rq);
/* May it share a connection with others: is HTTP/2 what the origin speaks, or may it be? */
bool request_may_share(const struct upstream_request *rq);
/* What the codecs report; ctx is the connection. */
extern const struct h1_client_owner request_h1_owner;
extern const struct h2_client_owner request_h2_owner;

/* ---- pool.c -------- */

struct pool *pool_get(struct upstream *u, struct slice key);
/* One user less; may free it. */
void pool_leave(struct pool *p);
/* A connection over s (taken), HTTP/2 if h2; NULL: memory (s is closed). */
struct connection *connection_new(struct upstream *u, struct origin *o, struct stream *s, bool h2,
                                  bool alone);
/* The codec is gone or going; releases what is ours. */
void connection_free(struct connection *c);
void connection_count_active(struct connection *c, bool active);
/* The idle HTTP/1 connection used last, or NULL. */
struct connection *connection_take_idle(struct upstream *u, const struct origin *o);
/* An HTTP/2 connection with room, or NULL. */
struct connection *connection_with_room(struct upstream *u, const struct origin *o);
/* An HTTP/1 connection's response is complete: keeps or closes it. */
void connection_idle(struct connection *c);
/* Something about an HTTP/2 connection has changed: keeps, retires or closes it. */
void connection_changed(struct connection *c);
/* It is new and nobody needs it now. */
void connection_unused(struct connection *c);
/* It is about to be used. */
void connection_busy(struct connection *c);
/* No more requests: closes it when it is idle, now or later. */
void connection_drain(struct connection *c);
/* Ends it whatever it does; nobody hears of it. */
void connection_abort(struct connection *c);

/* ---- opening.c -------- */

/* The request waits for a new connection: one that is being opened already, or its own (it has a
 * place if the origin's are limited). False: memory. */
NODISCARD bool opening_start(struct upstream_request *rq);
/* Waits for one that is being opened and may turn out to speak HTTP/2; false: there is none. */
bool opening_join(struct upstream_request *rq);
/* An HTTP/2 connection has room: whoever waits for a new one like it may as well have this one. The
 * opening goes on. */
void opening_serve(struct connection *c);
/* Ends those that nobody waits for. */
void openings_drain(struct upstream *u);
/* The request does not wait any more. */
void opening_leave(struct upstream_request *rq);

/* Gives a place of max_conns_per_host back, if there was one. */
static inline void origin_leave_place(struct origin *o, bool *placed)
{
    if (*placed) {
        *placed = false;
        atomic_fetch_sub_explicit(&o->connections, 1, memory_order_relaxed);
    }
}

static inline bool origin_is_waited_for(const struct origin *o)
{
    return o->connections_max && atomic_load_explicit(&o->waiting, memory_order_relaxed) > 0;
}

#endif
