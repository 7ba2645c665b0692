/* Pools, attempts and their outcomes; see upstream.h. A connection belongs to its pool and is freed
 * where its h1_client reports its end; a request lives in its exchange's arena. */
#include "proxy/upstream/upstream.h"

#include <stdlib.h>

#include "proxy/base/log.h"
#include "proxy/base/map.h"
#include "proxy/base/mem.h"
#include "proxy/net/proxy_header.h"

/* The idle connections of one origin key. Lives while it has connections. */
struct pool {
    struct upstream *upstream;
    struct slice key; /* owned */
    struct list idle; /* of connection, used last first */
    unsigned idle_count;
    unsigned connections;
};

struct upstream {
    struct loop *loop;
    struct resolver *resolver;
    struct map pools;
    struct list connections; /* all of them, so that they can be ended */
    bool draining;
};

struct connection {
    struct list node;      /* in upstream->connections */
    struct list idle_node; /* in pool->idle */
    struct pool *pool;
    struct origin *origin; /* counted */
    struct h1_client *client;
    struct upstream_request *request; /* until its outcome is known */
    struct timer idle_timer;
    int64_t idle_limit_ms; /* how long the origin says it keeps it; 0: it does not say */
    bool placed;         /* origin->connections includes it */
    bool counted_active; /* origin->active includes it */
};

#define LIMITED_IDLE_MS 1000
#define PLACE_POLL_MS 20

struct upstream_request {
    struct upstream *upstream;
    struct origin *origin; /* counted */
    struct exchange *ex;   /* held */
    const struct request *out;
    struct slice upgrade;
    const struct upstream_events *events;
    void *ctx;
    struct dial *dial;
    struct tls_connect *tls_connect;
    struct connection *connection;
    struct timer place_timer; /* max_conns_per_host: until there is a place */
    bool waiting; /* the timer runs; origin->waiting includes it */
    bool placed;  /* origin->connections includes the one being made */
    struct task fail_task; /* reports a failure that was found inside a call */
    struct upstream_failure failure;
    bool reused;     /* on a connection that had been idle */
    bool fresh_only; /* a kept connection failed already */
};

struct upstream *upstream_new(struct loop *l, struct resolver *r)
{
    struct upstream *u = mem_zalloc(sizeof(*u));
    u->loop = l;
    u->resolver = r;
    map_init(&u->pools);
    list_init(&u->connections);
    return u;
}

struct loop *upstream_loop(const struct upstream *u)
{
    return u->loop;
}

struct resolver *upstream_resolver(const struct upstream *u)
{
    return u->resolver;
}

/* ---- pools ---------------------------------------------------------------------------------- */

static struct pool *pool_get(struct upstream *u, struct slice key)
{
    struct pool *p = map_get(&u->pools, key);
    if (p) {
        return p;
    }
    p = mem_zalloc(sizeof(*p));
    p->upstream = u;
    p->key = slice_of(mem_dup(key), key.n);
    list_init(&p->idle);
    map_put(&u->pools, p->key, p);
    return p;
}

static void pool_leave(struct pool *p)
{
    if (--p->connections > 0) {
        return;
    }
    map_del(&p->upstream->pools, p->key);
    free((void *)(uintptr_t)p->key.p);
    free(p);
}

static void leave_idle(struct connection *c)
{
    if (!list_empty(&c->idle_node)) {
        list_remove(&c->idle_node);
        c->pool->idle_count--;
    }
}

static void count_active(struct connection *c, bool active)
{
    if (active != c->counted_active) {
        c->counted_active = active;
        atomic_fetch_add_explicit(&c->origin->active, active ? 1u : ~0u, memory_order_relaxed);
    }
}

/* The h1_client is gone or going; releases what is ours. */
static void connection_free(struct connection *c)
{
    count_active(c, false);
    leave_idle(c);
    list_remove(&c->node);
    timer_fini(&c->idle_timer);
    pool_leave(c->pool);
    if (c->placed) {
        atomic_fetch_sub_explicit(&c->origin->connections, 1, memory_order_relaxed);
    }
    origin_unref(c->origin);
    free(c);
}

static void close_idle(struct connection *c)
{
    h1_client_close(c->client);
    connection_free(c);
}

static void idle_expired(struct timer *t)
{
    struct connection *c = container_of(t, struct connection, idle_timer);
    if (!list_empty(&c->idle_node)) {
        close_idle(c);
    }
}

static struct connection *take_idle(struct upstream *u, struct origin *o)
{
    struct pool *p = map_get(&u->pools, o->key);
    while (p && !list_empty(&p->idle)) {
        struct connection *c = LIST_ENTRY(p->idle.next, struct connection, idle_node);
        if (h1_client_usable(c->client)) {
            leave_idle(c);
            return c;
        }
        bool last = p->connections == 1;
        close_idle(c);
        p = last ? NULL : p;
    }
    return NULL;
}

/* ---- outcomes -------------------------------------------------------------------------------- */

static void leave_place(struct origin *o, bool *placed)
{
    if (*placed) {
        *placed = false;
        atomic_fetch_sub_explicit(&o->connections, 1, memory_order_relaxed);
    }
}

static void end_waiting(struct upstream_request *rq)
{
    if (rq->waiting) {
        rq->waiting = false;
        timer_fini(&rq->place_timer);
        atomic_fetch_sub_explicit(&rq->origin->waiting, 1, memory_order_relaxed);
    }
}

static void request_free(struct upstream_request *rq)
{
    end_waiting(rq);
    leave_place(rq->origin, &rq->placed);
    task_cancel(&rq->fail_task);
    origin_unref(rq->origin);
    exchange_release(rq->ex); /* its arena holds rq */
}

static void report_failure(struct upstream_request *rq, const struct upstream_failure *failure)
{
    rq->events->on_failed(rq->ctx, failure);
    request_free(rq);
}

static void run_fail_task(struct task *t)
{
    struct upstream_request *rq = container_of(t, struct upstream_request, fail_task);
    report_failure(rq, &rq->failure);
}

static void fail_later(struct upstream_request *rq, int status, enum end_reason reason,
                       struct slice detail)
{
    rq->failure = (struct upstream_failure){status, true, reason, detail};
    loop_post(rq->upstream->loop, &rq->fail_task);
}

static void start_attempt(struct upstream_request *rq);

static int failure_status(enum end_reason reason)
{
    return reason == END_ORIGIN_SLOW ? 504
           : reason == END_NO_MEMORY ? 503
           : reason == END_TOO_LARGE ? 413
                                     : 502;
}

/* May the request go out again after a kept connection failed? */
static bool safe_to_resend(const struct upstream_request *rq, const struct h1_client_failure *f)
{
    if (!rq->reused || f->reason != END_ORIGIN_GONE || rq->ex->gone ||
        rq->ex->req_body.consumed_bytes > 0) {
        return false;
    }
    return f->nothing_sent || (f->no_byte_received && http_method_idempotent(rq->out->method));
}

/* Keep-Alive: timeout=5, max=100. A second less than it says: its end may be under way already. */
static int64_t keep_alive_hint(const struct fields *fields)
{
    const struct field *f = fields_find_id(fields, FIELD_KEEP_ALIVE);
    struct slice rest = f ? f->value : (struct slice){NULL, 0};
    struct slice item;
    while (slice_cut(&rest, ',', &item)) {
        struct slice value = slice_trim(item);
        struct slice name;
        uint64_t seconds;
        if (slice_cut(&value, '=', &name) && slice_eq_case(slice_trim(name), S("timeout")) &&
            slice_u64(slice_trim(value), 1000 * 1000, &seconds)) {
            return seconds > 1 ? ((int64_t)seconds - 1) * 1000 : 500;
        }
    }
    return 0;
}

static void on_outcome(void *ctx, struct h1_client *client, enum h1_client_outcome outcome,
                       const struct h1_client_failure *f)
{
    (void)client;
    struct connection *c = ctx;
    struct upstream_request *rq = c->request;
    c->request = NULL;
    rq->connection = NULL;
    if (outcome == H1_CLIENT_HEAD) {
        c->idle_limit_ms = keep_alive_hint(&rq->ex->res.fields);
        rq->events->on_head(rq->ctx);
        request_free(rq);
        return;
    }
    connection_free(c);
    if (safe_to_resend(rq, f)) {
        rq->fresh_only = true;
        exchange_clear_response(rq->ex);
        start_attempt(rq);
        return;
    }
    struct upstream_failure failure = {failure_status(f->reason), f->nothing_sent, f->reason,
                                       slice_str(f->detail)};
    report_failure(rq, &failure);
}

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

static bool is_waited_for(const struct origin *o)
{
    return o->connections_max && atomic_load_explicit(&o->waiting, memory_order_relaxed) > 0;
}

static void on_idle(void *ctx, struct h1_client *client)
{
    struct connection *c = ctx;
    struct pool *p = c->pool;
    count_active(c, false);
    if (p->upstream->draining || c->origin->proxy_version ||
        p->idle_count >= c->origin->keepalive_max || is_waited_for(c->origin) ||
        !timer_set(&c->idle_timer, idle_limit(c))) {
        h1_client_close(client);
        connection_free(c);
        return;
    }
    list_push_front(&p->idle, &c->idle_node);
    p->idle_count++;
}

static void on_close(void *ctx, struct h1_client *client)
{
    (void)client;
    connection_free(ctx);
}

/* ---- attempts -------------------------------------------------------------------------------- */

static struct connection *connection_new(struct upstream *u, struct origin *o, struct stream *s)
{
    struct connection *c = calloc(1, sizeof(*c));
    if (!c) {
        stream_close(s, true);
        return NULL;
    }
    struct h1_client_owner owner = {on_outcome, on_idle, on_close, c};
    c->client = h1_client_new(s, &owner);
    if (!c->client) {
        free(c);
        return NULL;
    }
    c->pool = pool_get(u, o->key);
    c->pool->connections++;
    c->origin = origin_ref(o);
    list_push_back(&u->connections, &c->node);
    list_init(&c->idle_node);
    timer_init(&c->idle_timer, u->loop, idle_expired);
    return c;
}

static void send_on(struct upstream_request *rq, struct connection *c, bool reused)
{
    timer_clear(&c->idle_timer);
    count_active(c, true);
    c->request = rq;
    rq->connection = c;
    rq->reused = reused;
    h1_client_send(c->client, rq->ex, rq->out, rq->upgrade, &rq->origin->limits);
}

static void use_stream(struct upstream_request *rq, struct stream *s)
{
    struct connection *c = connection_new(rq->upstream, rq->origin, s);
    if (!c) {
        fail_later(rq, 503, END_NO_MEMORY, S("out of memory"));
        return;
    }
    c->placed = rq->placed;
    rq->placed = false;
    send_on(rq, c, false);
}

static void tls_done(void *ctx, struct stream *s, const char *why)
{
    struct upstream_request *rq = ctx;
    rq->tls_connect = NULL;
    if (!s) {
        bool slow = slice_eq(slice_str(why), S(TLS_TOO_SLOW));
        struct upstream_failure f = {slow ? 504 : 502, true,
                                     slow ? END_ORIGIN_SLOW : END_ORIGIN_BAD, slice_str(why)};
        report_failure(rq, &f);
        return;
    }
    use_stream(rq, s);
}

/* The first bytes of a fresh connection, which is empty: either it takes them all or it is broken.
 * They name the client (behind trusted proxies the one these name), or nobody for a check of ours.
 */
static bool send_proxy_header(const struct upstream_request *rq, struct stream *s)
{
    char header[PROXY_HEADER_V1_MAX + 1];
    const struct exchange *ex = rq->ex;
    bool ours = ex->client_addr->len == 0;
    size_t n = proxy_header_write(rq->origin->proxy_version, ours ? NULL : ex->client_addr,
                                  ours ? NULL : ex->client.local, header);
    struct iovec iov = {header, n};
    return stream_writev(s, &iov, 1, true) == (ssize_t)n;
}

static void dialed(void *ctx, enum dial_result result, struct stream *s, struct slice detail)
{
    struct upstream_request *rq = ctx;
    rq->dial = NULL;
    if (result != DIAL_OK) {
        int status = result == DIAL_TIMEOUT ? 504 : result == DIAL_LOCAL ? 503 : 502;
        struct upstream_failure f = {
            status, true, result == DIAL_TIMEOUT ? END_ORIGIN_SLOW : END_ORIGIN_GONE, detail};
        report_failure(rq, &f);
        return;
    }
    if (rq->origin->proxy_version && !send_proxy_header(rq, s)) {
        stream_close(s, true);
        struct upstream_failure f = {502, true, END_ORIGIN_GONE, S("reset before the request")};
        report_failure(rq, &f);
        return;
    }
    if (!rq->origin->tls_client) {
        use_stream(rq, s);
        return;
    }
    rq->tls_connect = tls_connect_start(rq->origin->tls_client, s, rq->origin->host,
                                        rq->origin->dial_timeout_ms, tls_done, rq);
    if (!rq->tls_connect) {
        fail_later(rq, 503, END_NO_MEMORY, S("out of memory"));
    }
}

/* Room for one more connection (max_conns_per_host)? */
static bool take_place(struct upstream_request *rq)
{
    struct origin *o = rq->origin;
    if (!o->connections_max || rq->placed) {
        return true;
    }
    rq->placed = true;
    if (atomic_fetch_add_explicit(&o->connections, 1, memory_order_relaxed) >=
        o->connections_max) {
        leave_place(o, &rq->placed);
    }
    return rq->placed;
}

static void look_for_place(struct timer *t)
{
    struct upstream_request *rq = container_of(t, struct upstream_request, place_timer);
    end_waiting(rq);
    start_attempt(rq);
}

static void wait_for_place(struct upstream_request *rq)
{
    timer_init(&rq->place_timer, rq->upstream->loop, look_for_place);
    if (!timer_set(&rq->place_timer, PLACE_POLL_MS)) {
        timer_fini(&rq->place_timer);
        fail_later(rq, 503, END_NO_MEMORY, S("out of memory"));
        return;
    }
    rq->waiting = true;
    atomic_fetch_add_explicit(&rq->origin->waiting, 1, memory_order_relaxed);
}

static void start_attempt(struct upstream_request *rq)
{
    bool fresh = rq->fresh_only || rq->origin->proxy_version;
    struct connection *c = fresh ? NULL : take_idle(rq->upstream, rq->origin);
    if (c) {
        send_on(rq, c, true);
        return;
    }
    if (!take_place(rq)) {
        wait_for_place(rq);
        return;
    }
    struct origin *o = rq->origin;
    struct dial_target t = {o->host, o->port, o->unix_path, o->resolvers, o->fallback_delay_ms};
    rq->dial = dial_start_to(rq->upstream->loop, rq->upstream->resolver, &t, o->dial_timeout_ms,
                             dialed, rq);
    if (!rq->dial) {
        fail_later(rq, 503, END_NO_MEMORY, S("out of memory"));
    }
}

struct upstream_request *upstream_start(struct upstream *u, struct origin *o, struct exchange *ex,
                                        const struct request *out, struct slice upgrade,
                                        const struct upstream_events *events, void *ctx)
{
    struct upstream_request *rq = ARENA_NEW(&ex->arena, struct upstream_request);
    if (!rq) {
        return NULL;
    }
    rq->upstream = u;
    rq->origin = origin_ref(o);
    rq->ex = ex;
    exchange_hold(ex);
    rq->out = out;
    rq->upgrade = upgrade;
    rq->events = events;
    rq->ctx = ctx;
    task_init(&rq->fail_task, run_fail_task);
    start_attempt(rq);
    return rq;
}

void upstream_cancel(struct upstream_request *rq)
{
    if (rq->dial) {
        dial_cancel(rq->dial);
    }
    if (rq->tls_connect) {
        tls_connect_cancel(rq->tls_connect);
    }
    if (rq->connection) {
        struct connection *c = rq->connection;
        h1_client_cancel(c->client);
        connection_free(c);
    }
    request_free(rq);
}

/* ---- the end --------------------------------------------------------------------------------- */

void upstream_drain(struct upstream *u)
{
    u->draining = true;
    LIST_EACH_SAFE(node, &u->connections) {
        struct connection *c = LIST_ENTRY(node, struct connection, node);
        if (!list_empty(&c->idle_node)) {
            close_idle(c);
        }
    }
}

void upstream_free(struct upstream *u)
{
    upstream_drain(u);
    LIST_EACH_SAFE(node, &u->connections) {
        struct connection *c = LIST_ENTRY(node, struct connection, node);
        must(!c->request);
        h1_client_cancel(c->client);
        connection_free(c);
    }
    map_fini(&u->pools);
    free(u);
}
