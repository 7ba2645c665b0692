/* Client connections: from accept over TLS to the codec, and back out of the worker's books. */
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/net/sock.h"
#include "proxy/net/tcp.h"
#include "proxy/server/worker.h"

#define HANDSHAKE_TIMEOUT_MS (10 * 1000)

struct connection {
    struct list node; /* in worker->connections */
    struct slot *slot;
    struct tls_accept *handshake; /* one of the two is set */
    struct h1_server *h1;
};

static void slot_leave(struct slot *slot)
{
    slot->connections--;
    if (slot->connections == 0 && !slot->listener) {
        list_remove(&slot->node);
        free(slot);
    }
}

void connections_check_limit(struct worker *w)
{
    bool full = w->connection_count >= w->connection_max;
    if (full != w->paused) {
        w->paused = full;
        LIST_EACH(node, &w->slots) {
            struct slot *slot = LIST_ENTRY(node, struct slot, node);
            if (slot->listener) {
                listener_pause(slot->listener, full);
            }
        }
        if (full) {
            log_event(LOG_WARN, "server", "connection limit reached; new ones wait",
                      LOG_I("limit", w->connection_max));
        }
    }
}

static void count(struct worker *w, int by)
{
    w->connection_count = (unsigned)((int)w->connection_count + by);
    atomic_store_explicit(&w->published_count, w->connection_count, memory_order_relaxed);
    connections_check_limit(w);
}

static void connection_end(struct connection *c)
{
    struct worker *w = c->slot->worker;
    list_remove(&c->node);
    slot_leave(c->slot);
    count(w, -1);
    free(c);
    if (w->draining && w->connection_count == 0) {
        loop_stop(w->loop);
    }
}

static void on_h1_close(void *ctx, struct h1_server *h1)
{
    (void)h1;
    connection_end(ctx);
}

static void serve(struct connection *c, struct stream *s)
{
    struct h1_server_owner owner = {on_h1_close, c};
    struct slot *slot = c->slot;
    c->h1 = h1_server_new(s, &slot->limits, &dispatch_service, s->tls ? S("https") : S("http"),
                          slot, &owner);
    if (!c->h1) {
        connection_end(c);
        return;
    }
    if (slot->worker->draining || !slot->table || slot->table->tls != (s->tls != NULL)) {
        h1_server_drain(c->h1);
    }
}

static void on_handshake(void *ctx, struct stream *s, const char *why)
{
    struct connection *c = ctx;
    c->handshake = NULL;
    if (!s) {
        log_event(LOG_DEBUG, "tls", "handshake failed", LOG_Z("reason", why));
        connection_end(c);
        return;
    }
    serve(c, s);
}

static void start(struct connection *c, int fd, const struct addr *peer)
{
    struct worker *w = c->slot->worker;
    struct addr local;
    sock_local(fd, &local);
    if (c->slot->table && c->slot->table->tls) {
        c->handshake = tls_accept_start(w->server->tls, w->loop, fd, peer, &local,
                                        HANDSHAKE_TIMEOUT_MS, on_handshake, c);
        if (!c->handshake) {
            connection_end(c);
        }
        return;
    }
    struct stream *s = tcp_stream_new(w->loop, fd, peer, &local);
    if (!s) {
        connection_end(c);
        return;
    }
    serve(c, s);
}

void connection_accept(void *ctx, int fd, const struct addr *peer)
{
    struct slot *slot = ctx;
    struct connection *c = calloc(1, sizeof(*c));
    if (!c) {
        close(fd);
        return;
    }
    c->slot = slot;
    slot->connections++;
    list_push_back(&slot->worker->connections, &c->node);
    count(slot->worker, 1);
    start(c, fd, peer);
}

void connections_drain(struct worker *w, const struct slot *slot)
{
    LIST_EACH_SAFE(node, &w->connections) {
        struct connection *c = LIST_ENTRY(node, struct connection, node);
        if (c->h1 && (!slot || c->slot == slot)) {
            h1_server_drain(c->h1);
        }
    }
}

void connections_abort(struct worker *w)
{
    LIST_EACH_SAFE(node, &w->connections) {
        struct connection *c = LIST_ENTRY(node, struct connection, node);
        if (c->handshake) {
            tls_accept_cancel(c->handshake);
            connection_end(c);
        } else if (c->h1) {
            h1_server_abort(c->h1, END_SHUTDOWN);
        }
    }
}
