/* The proxy as a whole: workers, each a thread with a loop, and the configuration they run.
 *
 * Applying a configuration is two steps: everything that can fail (sockets) first, then a commit
 * that cannot: each worker switches in its own time and the caller returns when all have. No
 * connection is closed by it unless its listener is gone. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "proxy/net/resolve.h"
#include "proxy/server/config.h"
#include "proxy/tls/tls_server.h"
#include "store/challenge.h"

struct server;

struct server_setup {
    unsigned workers;
    struct certs *certs;                /* borrowed */
    struct challenge_table *challenges; /* borrowed */
    struct jobs *jobs;                  /* borrowed */
    struct jobs *slow_jobs;             /* borrowed; for what takes seconds */
    struct resolver *resolver;          /* borrowed */
    /* Gives a listening socket for worker i at the address (mode: of a Unix socket's file; the
     * server owns the descriptor), or -1, errno and err. A call for an address that is bound
     * already gives another descriptor of the same socket, so that nothing waiting is lost. */
    int (*listen)(void *ctx, const struct addr *a, unsigned mode, unsigned worker,
                  struct err *err);
    /* The address is not configured any more and its sockets were closed here. */
    void (*unlisten)(void *ctx, const struct addr *a);
    void *ctx;
};

struct server *server_new(const struct server_setup *setup, struct err *err);
/* Runs config from now on (takes a reference). Errors (a port in use) go to diags with the address
 * that asked for it; then nothing has changed. The first call starts the threads. */
NODISCARD bool server_apply(struct server *s, struct config *config, struct cf_diags *diags);
/* Stops accepting, lets exchanges finish for at most grace_ms, ends the threads. */
void server_stop(struct server *s, int64_t grace_ms);
/* After server_stop, and after the jobs were freed (they may still send to the loops). */
void server_free(struct server *s);
/* Connections open now, over all workers. */
unsigned server_connections(const struct server *s);

#endif
