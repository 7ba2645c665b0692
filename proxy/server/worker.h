/* One worker: a thread, its loop, its listeners, its client connections, its origin pools. Private
 * to proxy/server. Everything but the messages belongs to the worker's own thread. */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include <pthread.h>

#include "proxy/net/listener.h"
#include "proxy/server/server.h"
#include "proxy/upstream/upstream.h"

/* A configuration as one worker runs it; counted by this worker's exchanges. */
struct worker_config {
    struct worker *worker;
    struct config *config; /* counted */
    unsigned pins;         /* exchanges, and one while it is the current one */
    struct list exchanges; /* of chain pins: who must let go when it is replaced */
};

/* One address this worker listens on. Lives while it is configured or has connections. */
struct slot {
    struct list node; /* in worker->slots */
    struct worker *worker;
    struct addr addr;
    int fd; /* owned; -1 once it is gone from the configuration */
    struct listener *listener;
    const struct port_table *table; /* of the current configuration; NULL once gone */
    const struct server_options *server; /* as table */
    struct h1_server_limits limits; /* copied, so that connections may point here */
    struct h2_server_limits h2_limits;
    unsigned protocols; /* enum protocols, for new connections */
    unsigned connections;
};

struct worker {
    unsigned index;
    pthread_t thread;
    struct loop *loop;
    struct server *server;
    struct upstream *upstream;
    struct worker_config *current;
    struct list slots;
    struct list connections;
    unsigned connection_count;
    struct background *running; /* of the current configuration; the first worker's only */
    bool paused;   /* at the server's connection limit */
    struct timer limit_timer; /* while paused: room is made, and looked for */
    int64_t limit_told_ms;    /* when the log last heard of it; 0: never */
    bool draining; /* no new connections; the loop ends with the last one */
    struct timer deadline;
    _Atomic unsigned published_count; /* connection_count, for other threads */
};

/* What a new configuration means for one worker. Made by server.c, consumed by the worker. */
struct worker_listener {
    struct addr addr;
    int fd; /* a new socket, or -1: keep the one that is there */
    const struct binding *binding; /* of the update's configuration */
};

struct worker_update {
    struct message message;
    struct worker *worker;
    struct config *config; /* counted */
    struct worker_listener *listeners; /* owned; every address of the configuration */
    size_t listener_count;
    void (*applied)(void *ctx); /* called on the worker's thread when it runs the new one */
    void *ctx;
};

struct server {
    struct server_setup setup;
    struct tls_server *tls;
    struct worker *workers;
    unsigned worker_count;
    struct config *config; /* the one that was applied last; counted */
    bool started;
    _Atomic unsigned connection_total; /* over all workers */
    _Atomic unsigned connection_max;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned waiting_for;
};

/* NULL and err on failure. */
bool worker_init(struct worker *w, struct server *s, unsigned index, struct err *err);
bool worker_start(struct worker *w, struct err *err);
void worker_send_update(struct worker *w, struct worker_update *u);
void worker_send_drain(struct worker *w, int64_t grace_ms);
void worker_join(struct worker *w);
/* After the thread has ended (or was never started). */
void worker_fini(struct worker *w);

/* ---- connections (connection.c) -------------------------------------------------------------- */

void connection_accept(void *slot, int fd, const struct addr *peer);
/* Asks every connection of the slot (NULL: of the worker) to end when its exchange has; idle ones
 * end now. */
void connections_drain(struct worker *w, const struct slot *slot);
void connections_abort(struct worker *w);
/* Closes up to max connections that are idle between requests, the oldest first. */
void connections_shed_idle(struct worker *w, unsigned max);
/* Pauses the listeners, or lets them go on, by connection_count and connection_max. */
void connections_check_limit(struct worker *w);
void connections_limit_look(struct timer *t); /* limit_timer's */

/* ---- exchanges (dispatch.c) ------------------------------------------------------------------ */

extern const struct http_service dispatch_service;
void worker_config_unpin(struct worker_config *wc);
/* The worker_config was replaced: its exchanges whose response has begun let go of it. */
void dispatch_release_begun(struct worker_config *wc);

#endif
