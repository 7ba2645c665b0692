/* Client connections: from accept over the PROXY header and TLS to the codec, and back out of the
 * worker's books. */
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/net/sock.h"
#include "proxy/net/tcp.h"
#include "proxy/server/sniff.h"
#include "proxy/server/worker.h"

#define HANDSHAKE_TIMEOUT_MS (10 * 1000)
#define LIMIT_LOOK_MS 100
#define LIMIT_TOLD_EVERY_MS (10 * 1000)
#define SHED_AT_ONCE 64

struct connection {
    struct list node; /* in worker->connections */
    struct slot *slot;
    bool tls; /* as the port was when it was accepted */
    struct fronted *fronted; /* one of these is set */
    struct tls_accept *handshake;
    struct plain *plain;
    struct h1_server *h1;
    struct h2_server *h2;
};

/* While it is not known yet whether a plain connection speaks HTTP/2. */
struct plain {
    struct sniff *sniff;
    int fd; /* owned */
    struct addr peer;
    struct addr local;
};

/* While the PROXY header is waited for. */
struct fronted {
    struct proxy_accept *accept;
    int fd; /* owned */
    struct addr peer;
};

static void drain(struct connection *c)
{
    if (c->h1) {
        h1_server_drain(c->h1);
    } else if (c->h2) {
        h2_server_drain(c->h2);
    }
}

static void slot_leave(struct slot *slot)
{
    slot->connections--;
    if (slot->connections == 0 && !slot->listener) {
        list_remove(&slot->node);
        free(slot);
    }
}

static bool at_limit(const struct worker *w)
{
    const struct server *s = w->server;
    return atomic_load_explicit(&s->connection_total, memory_order_relaxed) >=
           atomic_load_explicit(&s->connection_max, memory_order_relaxed);
}

static void tell_limit(struct worker *w)
{
    int64_t now_ms = loop_now_ms(w->loop);
    if (w->limit_told_ms && now_ms - w->limit_told_ms < LIMIT_TOLD_EVERY_MS) {
        return;
    }
    w->limit_told_ms = now_ms;
    log_event(LOG_WARN, "server", "connection limit reached: idle connections are closed, new ones"
              " wait (servers { max_connections } raises it)",
              LOG_I("limit", atomic_load(&w->server->connection_max)));
}

static void pause_listeners(struct worker *w, bool paused)
{
    w->paused = paused;
    LIST_EACH(node, &w->slots) {
        struct slot *slot = LIST_ENTRY(node, struct slot, node);
        if (slot->listener) {
            listener_pause(slot->listener, paused);
        }
    }
}

void connections_shed_idle(struct worker *w, unsigned max)
{
    LIST_EACH_SAFE(node, &w->connections) {
        struct connection *c = LIST_ENTRY(node, struct connection, node);
        bool idle = (c->h1 && h1_server_idle(c->h1)) || (c->h2 && h2_server_idle(c->h2));
        if (idle && max-- > 0) {
            drain(c);
        }
        if (max == 0) {
            return;
        }
    }
}

void connections_check_limit(struct worker *w)
{
    bool full = at_limit(w);
    if (full) {
        tell_limit(w);
        /* The others may end while nothing happens here, so it is looked at again and again. */
        if (!timer_set(&w->limit_timer, LIMIT_LOOK_MS)) {
            full = false; /* rather too many than never one again */
        }
    }
    if (full != w->paused) {
        pause_listeners(w, full);
    }
}

void connections_limit_look(struct timer *t)
{
    struct worker *w = container_of(t, struct worker, limit_timer);
    if (at_limit(w)) {
        connections_shed_idle(w, SHED_AT_ONCE);
    }
    connections_check_limit(w);
}

static void count(struct worker *w, int by)
{
    w->connection_count = (unsigned)((int)w->connection_count + by);
    atomic_store_explicit(&w->published_count, w->connection_count, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->server->connection_total, (unsigned)by, memory_order_relaxed);
    if (by > 0 || w->paused) {
        connections_check_limit(w);
    }
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

static void on_h2_close(void *ctx, struct h2_server *h2)
{
    (void)h2;
    connection_end(ctx);
}

static void serve(struct connection *c, struct stream *s, bool http2)
{
    struct slot *slot = c->slot;
    struct slice scheme = s->tls ? S("https") : S("http");
    bool tls = s->tls != NULL;
    if (http2) {
        struct h2_server_owner owner = {on_h2_close, c};
        c->h2 = h2_server_new(s, &slot->h2_limits, &dispatch_service, scheme, slot, S(""), &owner);
    } else {
        struct h1_server_owner owner = {on_h1_close, c};
        c->h1 = h1_server_new(s, &slot->limits, &dispatch_service, scheme, slot, &owner);
    }
    if (!c->h1 && !c->h2) {
        connection_end(c);
        return;
    }
    if (slot->worker->draining || !slot->table || slot->table->tls != tls) {
        drain(c);
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
    serve(c, s, slice_eq(s->tls->alpn, S("h2")));
}

static void start_plain(struct connection *c, int fd, const struct addr *peer,
                        const struct addr *local, bool http2)
{
    struct stream *s = tcp_stream_new(c->slot->worker->loop, fd, peer, local);
    if (!s) {
        connection_end(c);
        return;
    }
    serve(c, s, http2);
}

static void on_sniffed(void *ctx, bool http2)
{
    struct connection *c = ctx;
    struct plain p = *c->plain;
    free(c->plain);
    c->plain = NULL;
    start_plain(c, p.fd, &p.peer, &p.local, http2);
}

/* False: memory. */
static bool sniff(struct connection *c, int fd, const struct addr *peer, const struct addr *local)
{
    struct plain *p = calloc(1, sizeof(*p));
    if (!p) {
        return false;
    }
    *p = (struct plain){.fd = fd, .peer = *peer, .local = *local};
    p->sniff = sniff_start(c->slot->worker->loop, fd, c->slot->limits.header_timeout_ms,
                           on_sniffed, c);
    if (!p->sniff) {
        free(p);
        return false;
    }
    c->plain = p;
    return true;
}

/* Of the site that a handshake's name, or the address it came to, belongs to. */
static struct tls_choice choose_site(void *ctx, struct slice server_name, const struct addr *local)
{
    const struct connection *c = ctx;
    const struct port_table *table = c->slot->table;
    char text[ADDR_TEXT_BYTES];
    struct tls_choice choice = {.no_h2 = !(c->slot->protocols & PROTOCOL_H2)};
    if (!table) {
        return choice;
    }
    struct slice name = server_name;
    const struct site *site = NULL;
    if (!name.n && local->len && !addr_is_unix(local)) {
        site = port_table_find(table, addr_host_text(local, text), false);
    }
    if (!site) {
        name = name.n ? name : c->slot->worker->current->config->options->default_sni;
        site = port_table_find(table, name, true);
    }
    if (site) {
        choice.policy = site->policy;
        choice.on_demand = site->settings.tls.on_demand;
    }
    return choice;
}

/* told_local: where the connection went according to a PROXY header; or NULL, or len 0. */
static void start(struct connection *c, int fd, const struct addr *peer,
                  const struct addr *told_local)
{
    struct worker *w = c->slot->worker;
    struct addr local;
    if (told_local && told_local->len) {
        local = *told_local;
    } else {
        sock_local(fd, &local);
    }
    if (c->tls) {
        c->handshake = tls_accept_start(w->server->tls, w->loop, fd, peer, &local,
                                        HANDSHAKE_TIMEOUT_MS, choose_site, on_handshake, c);
        if (!c->handshake) {
            connection_end(c);
        }
        return;
    }
    if (!(c->slot->protocols & PROTOCOL_H2C)) {
        start_plain(c, fd, peer, &local, false);
    } else if (!sniff(c, fd, peer, &local)) {
        close(fd);
        connection_end(c);
    }
}

static void on_proxy_header(void *ctx, const struct addr *source, const struct addr *destination,
                            const char *why)
{
    struct connection *c = ctx;
    struct fronted f = *c->fronted;
    free(c->fronted);
    c->fronted = NULL;
    if (why) {
        char buf[ADDR_TEXT_BYTES];
        log_event(LOG_DEBUG, "server", "connection refused", LOG_Z("reason", why),
                  LOG_S("from", addr_text(&f.peer, buf)));
        close(f.fd);
        connection_end(c);
        return;
    }
    start(c, f.fd, source->len ? source : &f.peer, destination);
}

/* Waits for the PROXY header, if the peer may bring one. False: memory. */
static bool front(struct connection *c, int fd, const struct addr *peer)
{
    const struct proxy_policy *policy = c->slot->server ? c->slot->server->proxy : NULL;
    enum proxy_trust trust = policy ? proxy_policy_trust(policy, peer) : PROXY_SKIP;
    if (trust == PROXY_SKIP) {
        start(c, fd, peer, NULL);
        return true;
    }
    struct fronted *f = calloc(1, sizeof(*f));
    if (!f) {
        return false;
    }
    f->fd = fd;
    f->peer = *peer;
    f->accept = proxy_accept_start(c->slot->worker->loop, fd, trust, policy->timeout_ms,
                                   on_proxy_header, c);
    if (!f->accept) {
        free(f);
        return false;
    }
    c->fronted = f;
    return true;
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
    c->tls = slot->table && slot->table->tls;
    if (!front(c, fd, peer)) {
        close(fd);
        connection_end(c);
    }
}

/* Ends what has no codec yet. False: it has one. */
static bool abort_early(struct connection *c)
{
    if (c->fronted) {
        proxy_accept_cancel(c->fronted->accept);
        close(c->fronted->fd);
        free(c->fronted);
    } else if (c->handshake) {
        tls_accept_cancel(c->handshake);
    } else if (c->plain) {
        sniff_cancel(c->plain->sniff);
        close(c->plain->fd);
        free(c->plain);
    } else {
        return false;
    }
    connection_end(c);
    return true;
}

void connections_drain(struct worker *w, const struct slot *slot)
{
    LIST_EACH_SAFE(node, &w->connections) {
        struct connection *c = LIST_ENTRY(node, struct connection, node);
        /* At the end nobody waits for clients that have not even said hello. */
        if ((slot && c->slot != slot) || (w->draining && abort_early(c))) {
            continue;
        }
        drain(c);
    }
}

void connections_abort(struct worker *w)
{
    LIST_EACH_SAFE(node, &w->connections) {
        struct connection *c = LIST_ENTRY(node, struct connection, node);
        if (abort_early(c)) {
            continue;
        }
        if (c->h1) {
            h1_server_abort(c->h1, END_SHUTDOWN);
        } else if (c->h2) {
            h2_server_abort(c->h2, END_SHUTDOWN);
        }
    }
}
