/* The connections of a worker to its origins, by origin key: which are idle, which have room, how
 * long they are kept. See upstream_priv.h for who owns what. */
#include <stdlib.h>

#include "proxy/upstream/upstream_priv.h"

struct pool *pool_get(struct upstream *u, struct slice key)
{
    struct pool *p = map_get(&u->pools, key);
    if (!p) {
        p = calloc(1, sizeof(*p));
        char *copy = malloc(key.n + 1);
        if (!p || !copy || !map_reserve(&u->pools)) {
            free(p);
            free(copy);
            return NULL;
        }
        memcpy(copy, key.p, key.n);
        p->upstream = u;
        p->key = slice_of(copy, key.n);
        list_init(&p->idle);
        list_init(&p->shared);
        list_init(&p->openings);
        map_put(&u->pools, p->key, p);
    }
    p->users++;
    return p;
}

void pool_leave(struct pool *p)
{
    if (--p->users > 0) {
        return;
    }
    map_del(&p->upstream->pools, p->key);
    free((void *)(uintptr_t)p->key.p);
    free(p);
}

/* ---- connections ----------------------------------------------------------------------------- */

static void leave_idle(struct connection *c)
{
    if (c->idle) {
        c->idle = false;
        c->pool->idle_count--;
    }
}

void connection_count_active(struct connection *c, bool active)
{
    if (active != c->counted_active) {
        c->counted_active = active;
        atomic_fetch_add_explicit(&c->origin->active, active ? 1u : ~0u, memory_order_relaxed);
    }
}

void connection_free(struct connection *c)
{
    connection_count_active(c, false);
    leave_idle(c);
    list_remove(&c->idle_node);
    list_remove(&c->node);
    timer_fini(&c->idle_timer);
    pool_leave(c->pool);
    origin_leave_place(c->origin, &c->placed);
    origin_unref(c->origin);
    free(c);
}

/* No more requests; an HTTP/2 connection ends when those under way have ended, and says so. */
static void retire(struct connection *c)
{
    leave_idle(c);
    list_remove(&c->idle_node);
    timer_clear(&c->idle_timer);
    h2_client_drain(c->h2);
}

static void close_idle(struct connection *c)
{
    if (c->h2) {
        retire(c);
    } else {
        h1_client_close(c->client);
        connection_free(c);
    }
}

void connection_drain(struct connection *c)
{
    if (c->h2 || c->idle) {
        close_idle(c);
    }
}

static void idle_expired(struct timer *t)
{
    struct connection *c = container_of(t, struct connection, idle_timer);
    if (c->idle) {
        close_idle(c);
    }
}

struct connection *connection_new(struct upstream *u, struct origin *o, struct stream *s, bool h2,
                                  bool alone)
{
    struct connection *c = calloc(1, sizeof(*c));
    struct pool *pool = c ? pool_get(u, o->key) : NULL;
    if (!pool) {
        free(c);
        stream_close(s, true);
        return NULL;
    }
    if (h2) {
        struct h2_client_owner owner = request_h2_owner;
        owner.ctx = c;
        unsigned hint = atomic_load_explicit(&o->streams, memory_order_relaxed);
        c->h2 = h2_client_new(s, o->limits.head.head_bytes_max, hint, &owner);
    } else {
        struct h1_client_owner owner = request_h1_owner;
        owner.ctx = c;
        c->client = h1_client_new(s, &owner);
    }
    if (!c->h2 && !c->client) {
        pool_leave(pool);
        free(c);
        return NULL;
    }
    c->pool = pool;
    c->origin = origin_ref(o);
    c->made_ms = loop_now_ms(u->loop);
    c->alone = alone;
    list_push_back(&u->connections, &c->node);
    list_init(&c->idle_node);
    timer_init(&c->idle_timer, u->loop, idle_expired);
    if (h2 && !alone) {
        list_push_front(&c->pool->shared, &c->idle_node);
    }
    return c;
}

struct connection *connection_take_idle(struct upstream *u, const struct origin *o)
{
    struct pool *p = map_get_hashed(&u->pools, o->key, o->key_hash);
    while (p && !list_empty(&p->idle)) {
        struct connection *c = LIST_ENTRY(p->idle.next, struct connection, idle_node);
        if (h1_client_usable(c->client)) {
            return c;
        }
        bool last = p->users == 1;
        close_idle(c);
        p = last ? NULL : p;
    }
    return NULL;
}

struct connection *connection_with_room(struct upstream *u, const struct origin *o)
{
    struct pool *p = map_get_hashed(&u->pools, o->key, o->key_hash);
    if (!p) {
        return NULL;
    }
    LIST_EACH(node, &p->shared) {
        struct connection *c = LIST_ENTRY(node, struct connection, idle_node);
        if (h2_client_room(c->h2) > 0) {
            return c;
        }
    }
    return NULL;
}

void connection_busy(struct connection *c)
{
    timer_clear(&c->idle_timer);
    leave_idle(c);
    if (!c->h2) {
        list_remove(&c->idle_node);
    }
}

void connection_abort(struct connection *c)
{
    if (c->h2) {
        h2_client_abort(c->h2);
    } else {
        h1_client_cancel(c->client);
    }
    connection_free(c);
}

/* ---- how long they are kept ------------------------------------------------------------------ */

/* How long an idle connection is kept: what is configured, but no longer than the origin says.
 * Where the number of connections is limited another worker may be waiting for the place of this
 * one. */
static int64_t idle_limit(const struct connection *c)
{
    int64_t limit = c->origin->keepalive_idle_ms;
    if (c->idle_limit_ms && c->idle_limit_ms < limit) {
        limit = c->idle_limit_ms;
    }
    bool limited = c->origin->connections_max > 0;
    return limited && limit > LIMITED_IDLE_MS ? LIMITED_IDLE_MS : limit;
}

/* An idle connection is kept; false: it is not to be, or there is no memory. */
static bool keep(struct connection *c)
{
    struct pool *p = c->pool;
    if (p->upstream->draining || c->alone || p->idle_count >= c->origin->keepalive_max ||
        !timer_set(&c->idle_timer, idle_limit(c))) {
        return false;
    }
    c->idle = true;
    p->idle_count++;
    return true;
}

void connection_idle(struct connection *c)
{
    connection_count_active(c, false);
    if (origin_is_waited_for(c->origin) || !keep(c)) {
        close_idle(c);
        return;
    }
    list_push_front(&c->pool->idle, &c->idle_node);
}

void connection_changed(struct connection *c)
{
    unsigned said = h2_client_streams_said(c->h2);
    int64_t age_ms = loop_now_ms(c->pool->upstream->loop) - c->made_ms;
    if (said) {
        atomic_store_explicit(&c->origin->streams, said, memory_order_relaxed);
    }
    if (c->pool->upstream->draining ||
        (origin_is_waited_for(c->origin) && age_ms >= LIMITED_IDLE_MS)) {
        retire(c);
        return;
    }
    if (!c->alone) {
        opening_serve(c);
    }
    if (h2_client_calls(c->h2) > 0) {
        connection_busy(c);
    } else if (!c->idle && !keep(c)) {
        retire(c);
    }
}

void connection_unused(struct connection *c)
{
    if (c->h2) {
        connection_changed(c);
    } else {
        connection_idle(c);
    }
}
