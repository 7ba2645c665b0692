/* Requests to origins: attempts and their outcomes; see upstream.h, and upstream_priv.h for who
 * owns what. */
#include "proxy/upstream/upstream_priv.h"

#include <stdlib.h>

#include "proxy/base/mem.h"

#define PLACE_POLL_MS 20

struct upstream *upstream_new(struct loop *l, struct resolver *r)
{
    struct upstream *u = mem_zalloc(sizeof(*u));
    u->loop = l;
    u->resolver = r;
    map_init(&u->pools);
    list_init(&u->connections);
    list_init(&u->openings);
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

/* ---- the end of a request -------------------------------------------------------------------- */

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
    origin_leave_place(rq->origin, &rq->placed);
    task_cancel(&rq->fail_task);
    origin_unref(rq->origin);
    exchange_release(rq->ex); /* its arena holds rq */
}

void request_failed(struct upstream_request *rq, const struct upstream_failure *failure)
{
    rq->events->on_failed(rq->ctx, failure);
    request_free(rq);
}

static void run_fail_task(struct task *t)
{
    struct upstream_request *rq = container_of(t, struct upstream_request, fail_task);
    request_failed(rq, &rq->failure);
}

void request_fail_later(struct upstream_request *rq)
{
    rq->failure = (struct upstream_failure){503, true, END_NO_MEMORY, S("out of memory")};
    loop_post(rq->upstream->loop, &rq->fail_task);
}

static int failure_status(enum end_reason reason)
{
    return reason == END_ORIGIN_SLOW ? 504
           : reason == END_NO_MEMORY ? 503
           : reason == END_TOO_LARGE ? 413
                                     : 502;
}

/* The response's head is there; what follows needs no request any more. */
static void report_head(struct upstream_request *rq)
{
    rq->events->on_head(rq->ctx);
    request_free(rq);
}

static void report_failure(struct upstream_request *rq, enum end_reason reason, bool unsent,
                           struct slice detail)
{
    struct upstream_failure failure = {failure_status(reason), unsent, reason, detail};
    request_failed(rq, &failure);
}

static void send_again(struct upstream_request *rq)
{
    exchange_clear_response(rq->ex);
    request_attempt(rq);
}

/* Is there a client to send it again for, and the whole of it? Then its body is as it was. */
static bool can_resend(const struct upstream_request *rq)
{
    return !rq->ex->gone && body_rewind(&rq->ex->req_body);
}

/* May the request go out again, once, after a kept connection failed (RFC 9110 section 9.2.2)? */
static bool safe_to_resend(const struct upstream_request *rq, enum end_reason reason,
                           bool nothing_sent, bool no_byte_received)
{
    return rq->reused && !rq->fresh_only && reason == END_ORIGIN_GONE &&
           (nothing_sent || (no_byte_received && http_method_idempotent(rq->out->method))) &&
           can_resend(rq);
}

/* ---- HTTP/1 ---------------------------------------------------------------------------------- */

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

static void h1_outcome(void *ctx, struct h1_client *client, enum h1_client_outcome outcome,
                       const struct h1_client_failure *f)
{
    (void)client;
    struct connection *c = ctx;
    struct upstream_request *rq = c->request;
    c->request = NULL;
    rq->connection = NULL;
    if (outcome == H1_CLIENT_HEAD) {
        c->idle_limit_ms = keep_alive_hint(&rq->ex->res.fields);
        report_head(rq);
        return;
    }
    connection_free(c);
    if (safe_to_resend(rq, f->reason, f->nothing_sent, f->no_byte_received)) {
        rq->fresh_only = true;
        send_again(rq);
        return;
    }
    report_failure(rq, f->reason, f->nothing_sent, slice_str(f->detail));
}

static void h1_idle(void *ctx, struct h1_client *client)
{
    (void)client;
    connection_idle(ctx);
}

static void h1_closed(void *ctx, struct h1_client *client)
{
    (void)client;
    connection_free(ctx);
}

const struct h1_client_owner request_h1_owner = {h1_outcome, h1_idle, h1_closed, NULL};

/* ---- HTTP/2 ---------------------------------------------------------------------------------- */

static void count_call(struct upstream_request *rq)
{
    rq->counted = origin_ref(rq->origin);
    atomic_fetch_add_explicit(&rq->counted->active, 1, memory_order_relaxed);
}

static void uncount_call(struct upstream_request *rq)
{
    if (rq->counted) {
        atomic_fetch_sub_explicit(&rq->counted->active, 1, memory_order_relaxed);
        origin_unref(rq->counted);
        rq->counted = NULL;
    }
}

/* The origin has said that it did nothing with the request (RFC 9113 section 8.7), or wants it in
 * another version. */
static bool refused(struct upstream_request *rq, const struct h2_client_failure *f)
{
    bool other_version = f->wants_http_1 && !rq->http_1 && (rq->origin->versions & ORIGIN_HTTP_1);
    if (!(other_version || (f->refused && rq->refusals < REFUSALS_MAX)) || !can_resend(rq)) {
        return false;
    }
    rq->http_1 = rq->http_1 || other_version;
    rq->refusals++;
    return true;
}

static void h2_outcome(void *ctx, void *call_ctx, enum h2_client_outcome outcome,
                       const struct h2_client_failure *f)
{
    (void)ctx;
    struct upstream_request *rq = call_ctx;
    rq->call = NULL;
    if (outcome == H2_CLIENT_HEAD) {
        report_head(rq);
        return;
    }
    uncount_call(rq);
    if (refused(rq, f)) {
        send_again(rq);
        return;
    }
    if (!f->refused &&
        safe_to_resend(rq, f->reason, f->nothing_sent, f->no_byte_received)) {
        rq->fresh_only = true;
        send_again(rq);
        return;
    }
    bool unsent = f->nothing_sent && can_resend(rq);
    report_failure(rq, f->reason, unsent, f->detail);
}

static void h2_over(void *ctx, void *call_ctx)
{
    (void)ctx;
    uncount_call(call_ctx);
}

static void h2_changed(void *ctx, struct h2_client *client)
{
    (void)client;
    connection_changed(ctx);
}

static void h2_closed(void *ctx, struct h2_client *client)
{
    (void)client;
    connection_free(ctx);
}

const struct h2_client_owner request_h2_owner = {h2_outcome, h2_over, h2_changed, h2_closed, NULL};

static void send_h2(struct upstream_request *rq, struct connection *c)
{
    const struct h1_client_limits *l = &rq->origin->limits;
    struct h2_client_limits limits = {
        .head_bytes_max = l->head.head_bytes_max,
        .fields_max = l->head.fields_max,
        .response_header_timeout_ms = l->response_header_timeout_ms,
        .read_idle_ms = l->read_idle_ms,
        .write_idle_ms = l->write_idle_ms,
    };
    rq->call = h2_client_send(c->h2, rq->ex, rq->out, &limits, rq);
    if (rq->call) {
        count_call(rq);
    } else {
        request_fail_later(rq);
    }
}

/* ---- attempts -------------------------------------------------------------------------------- */

void request_send(struct upstream_request *rq, struct connection *c, bool reused)
{
    connection_busy(c);
    rq->reused = reused;
    if (c->h2) {
        send_h2(rq, c);
        return;
    }
    connection_count_active(c, true);
    c->request = rq;
    rq->connection = c;
    h1_client_send(c->client, rq->ex, rq->out, rq->upgrade, &rq->origin->limits);
}

/* Upgrades are always asked for over HTTP/1.1, on a connection of their own if need be: every
 * origin that has WebSockets has them there, RFC 8441 few. */
bool request_needs_http_1(const struct upstream_request *rq)
{
    return rq->upgrade.n > 0 || rq->http_1;
}

bool request_may_share(const struct upstream_request *rq)
{
    const struct origin *o = rq->origin;
    if (request_needs_http_1(rq) || o->proxy_version) {
        return false;
    }
    if (!o->tls_client) {
        return (o->versions & ORIGIN_H2C) != 0;
    }
    return (o->versions & ORIGIN_HTTP_2) &&
           atomic_load_explicit(&o->speaks, memory_order_relaxed) != ORIGIN_SPEAKS_1;
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
        origin_leave_place(o, &rq->placed);
    }
    return rq->placed;
}

static void look_for_place(struct timer *t)
{
    struct upstream_request *rq = container_of(t, struct upstream_request, place_timer);
    end_waiting(rq);
    request_attempt(rq);
}

static void wait_for_place(struct upstream_request *rq)
{
    timer_init(&rq->place_timer, rq->upstream->loop, look_for_place);
    if (!timer_set(&rq->place_timer, PLACE_POLL_MS)) {
        timer_fini(&rq->place_timer);
        request_fail_later(rq);
        return;
    }
    rq->waiting = true;
    atomic_fetch_add_explicit(&rq->origin->waiting, 1, memory_order_relaxed);
}

/* A request that may go over HTTP/2 takes no kept HTTP/1 connection: these are for upgrades, and
 * gRPC does not work there. */
static struct connection *find_connection(const struct upstream_request *rq)
{
    if (rq->fresh_only || rq->origin->proxy_version) {
        return NULL;
    }
    return request_may_share(rq) ? connection_with_room(rq->upstream, rq->origin)
                                 : connection_take_idle(rq->upstream, rq->origin);
}

void request_attempt(struct upstream_request *rq)
{
    struct connection *c = find_connection(rq);
    if (c) {
        request_send(rq, c, true);
    } else if (opening_join(rq)) {
        return; /* it gets what comes out of that */
    } else if (!take_place(rq)) {
        wait_for_place(rq);
    } else if (!opening_start(rq)) {
        request_fail_later(rq);
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
    list_init(&rq->waiter);
    task_init(&rq->fail_task, run_fail_task);
    request_attempt(rq);
    return rq;
}

void upstream_cancel(struct upstream_request *rq)
{
    opening_leave(rq);
    if (rq->connection) {
        connection_abort(rq->connection);
    }
    if (rq->call) {
        h2_call_cancel(rq->call);
        uncount_call(rq);
    }
    request_free(rq);
}

/* ---- the end --------------------------------------------------------------------------------- */

void upstream_drain(struct upstream *u)
{
    u->draining = true;
    openings_drain(u);
    LIST_EACH_SAFE(node, &u->connections) {
        connection_drain(LIST_ENTRY(node, struct connection, node));
    }
}

void upstream_free(struct upstream *u)
{
    upstream_drain(u);
    LIST_EACH_SAFE(node, &u->connections) {
        struct connection *c = LIST_ENTRY(node, struct connection, node);
        must(!c->request);
        connection_abort(c);
    }
    map_fini(&u->pools);
    free(u);
}
