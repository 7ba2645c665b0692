/* A worker's thread: taking over a configuration, its listeners, its end; see worker.h. */
#include "proxy/server/worker.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/handler/access_log.h"
#include "proxy/handler/encode_coder.h"
#include "proxy/net/pipe.h"
#include "proxy/net/sock.h"

/* Descriptors that are not client connections: listeners, files, the store, the CA. */
#define DESCRIPTORS_RESERVED 256u
#define SHED_IN_SHORTAGE 16

/* ---- configurations -------------------------------------------------------------------------- */

static struct worker_config *adopt_config(struct worker *w, struct config *config)
{
    struct worker_config *wc = mem_zalloc(sizeof(*wc));
    wc->worker = w;
    wc->config = config;
    wc->pins = 1;
    list_init(&wc->exchanges);
    return wc;
}

/* Half of the descriptors may be needed for origins. */
static unsigned connection_limit(const struct options *o)
{
    struct rlimit files;
    uint64_t descriptors = getrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_cur : 1024;
    uint64_t usable = descriptors > 2 * DESCRIPTORS_RESERVED ? descriptors - DESCRIPTORS_RESERVED
                                                             : descriptors / 2;
    uint64_t max = o->max_connections ? o->max_connections : usable / 2;
    return max < 1 ? 1 : max > UINT32_MAX / 2 ? UINT32_MAX / 2 : (unsigned)max;
}

/* ---- listeners ------------------------------------------------------------------------------- */

static struct slot *find_slot(struct worker *w, const struct addr *a)
{
    LIST_EACH(node, &w->slots) {
        struct slot *slot = LIST_ENTRY(node, struct slot, node);
        if (slot->listener && addr_eq(&slot->addr, a)) {
            return slot;
        }
    }
    return NULL;
}

static void on_shortage(void *ctx)
{
    struct slot *slot = ctx;
    connections_shed_idle(slot->worker, SHED_IN_SHORTAGE);
}

static struct slot *add_slot(struct worker *w, const struct addr *a, int fd)
{
    struct slot *slot = mem_zalloc(sizeof(*slot));
    struct listener_events events = {connection_accept, on_shortage, slot};
    slot->worker = w;
    slot->addr = *a;
    slot->fd = fd;
    slot->listener = listener_new(w->loop, fd, &events);
    listener_pause(slot->listener, w->paused);
    list_push_back(&w->slots, &slot->node);
    return slot;
}

/* Accepts what is waiting, then closes; connections go on until their exchange has ended. */
static void remove_slot(struct slot *slot)
{
    struct worker *w = slot->worker;
    listener_drain(slot->listener);
    listener_free(slot->listener);
    slot->listener = NULL;
    slot->table = NULL;
    slot->server = NULL;
    close(slot->fd);
    slot->fd = -1;
    if (slot->connections == 0) {
        list_remove(&slot->node);
        free(slot);
        return;
    }
    connections_drain(w, slot);
}

static void remove_unlisted(struct worker *w, const struct worker_update *u)
{
    LIST_EACH_SAFE(node, &w->slots) {
        struct slot *slot = LIST_ENTRY(node, struct slot, node);
        bool listed = false;
        for (size_t i = 0; i < u->listener_count; i++) {
            listed = listed || addr_eq(&u->listeners[i].addr, &slot->addr);
        }
        if (!listed && slot->listener) {
            remove_slot(slot);
        }
    }
}

/* ---- what runs without requests -------------------------------------------------------------- */

static void stop_backgrounds(struct worker *w)
{
    for (struct background *b = w->running; b; b = b->next) {
        b->stop(b);
    }
    w->running = NULL;
}

static void start_backgrounds(struct worker *w, struct background *first)
{
    stop_backgrounds(w);
    if (w->index != 0 || w->draining) {
        return;
    }
    w->running = first;
    for (struct background *b = first; b; b = b->next) {
        b->start(b, w->upstream);
    }
}

static void configure_slot(struct slot *slot, const struct binding *b)
{
    const struct server_options *s = b->server;
    slot->table = b->table;
    slot->server = s;
    slot->limits = s->limits;
    slot->h2_limits = server_options_h2(s);
    slot->protocols = b->protocols;
    if (!addr_is_unix(&slot->addr)) {
        sock_keepalive(slot->fd, s->keepalive_idle_s, s->keepalive_interval_s, s->keepalive_count);
    }
}

static void apply_update(struct message *m)
{
    struct worker_update *u = container_of(m, struct worker_update, message);
    struct worker *w = u->worker;
    struct worker_config *old = w->current;
    w->current = adopt_config(w, u->config);
    atomic_store(&w->server->connection_max, connection_limit(u->config->options));
    for (size_t i = 0; i < u->listener_count; i++) {
        const struct worker_listener *l = &u->listeners[i];
        struct slot *slot = l->fd >= 0 ? add_slot(w, &l->addr, l->fd) : find_slot(w, &l->addr);
        must(slot);
        /* A request on a plain connection must not reach what is for TLS now. */
        bool switched = slot->table && slot->table->tls != l->binding->table->tls;
        configure_slot(slot, l->binding);
        if (switched) {
            connections_drain(w, slot);
        }
    }
    start_backgrounds(w, u->config->backgrounds);
    remove_unlisted(w, u);
    connections_check_limit(w);
    if (old) {
        dispatch_release_begun(old);
        worker_config_unpin(old);
    }
    u->applied(u->ctx);
    free(u->listeners);
    free(u);
}

void worker_send_update(struct worker *w, struct worker_update *u)
{
    u->worker = w;
    u->message.deliver = apply_update;
    loop_send(w->loop, &u->message);
}

/* ---- the end --------------------------------------------------------------------------------- */

struct drain {
    struct message message;
    struct worker *worker;
    int64_t grace_ms;
};

static void deadline_passed(struct timer *t)
{
    struct worker *w = container_of(t, struct worker, deadline);
    log_event(LOG_WARN, "server", "grace period is over; closing what is left",
              LOG_I("connections", w->connection_count));
    connections_abort(w);
    loop_stop(w->loop);
}

static void apply_drain(struct message *m)
{
    struct drain *d = container_of(m, struct drain, message);
    struct worker *w = d->worker;
    w->draining = true;
    stop_backgrounds(w);
    LIST_EACH_SAFE(node, &w->slots) {
        struct slot *slot = LIST_ENTRY(node, struct slot, node);
        if (slot->listener) {
            remove_slot(slot);
        }
    }
    connections_drain(w, NULL);
    upstream_drain(w->upstream);
    if (w->connection_count == 0) {
        loop_stop(w->loop);
    } else if (!timer_set(&w->deadline, d->grace_ms)) {
        deadline_passed(&w->deadline);
    }
    free(d);
}

void worker_send_drain(struct worker *w, int64_t grace_ms)
{
    struct drain *d = mem_zalloc(sizeof(*d));
    d->worker = w;
    d->grace_ms = grace_ms > 0 ? grace_ms : 1;
    d->message.deliver = apply_drain;
    loop_send(w->loop, &d->message);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    loop_run(w->loop);
    stop_backgrounds(w);
    connections_abort(w);
    run_queue_run(loop_queue(w->loop)); /* what the aborts have posted */
    upstream_drain(w->upstream);
    run_queue_run(loop_queue(w->loop));
    access_log_drain();
    exchange_pool_drain();
    coder_pool_drain();
    chunk_pool_drain();
    pipe_pool_drain();
    return NULL;
}

bool worker_init(struct worker *w, struct server *s, unsigned index, struct err *err)
{
    w->index = index;
    w->server = s;
    w->loop = loop_new(err);
    if (!w->loop) {
        return false;
    }
    list_init(&w->slots);
    list_init(&w->connections);
    timer_init(&w->deadline, w->loop, deadline_passed);
    timer_init(&w->limit_timer, w->loop, connections_limit_look);
    w->upstream = upstream_new(w->loop, s->setup.resolver);
    return true;
}

bool worker_start(struct worker *w, struct err *err)
{
    int rc = pthread_create(&w->thread, NULL, worker_main, w);
    return rc == 0 || err_errno(err, rc, "a worker thread cannot be started");
}

void worker_join(struct worker *w)
{
    pthread_join(w->thread, NULL);
}

void worker_fini(struct worker *w)
{
    upstream_free(w->upstream);
    if (w->current) {
        worker_config_unpin(w->current);
    }
    timer_fini(&w->deadline);
    timer_fini(&w->limit_timer);
    loop_free(w->loop);
}
