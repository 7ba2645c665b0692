/* New connections: dialing, the PROXY header, TLS. What comes out speaks HTTP/1 or HTTP/2, and with
 * TLS that is known only afterwards: requests for an origin that may speak HTTP/2 wait together for
 * one connection instead of opening one each. See upstream_priv.h for who owns what. */
#include <stdlib.h>

#include "proxy/fcgi/fcgi_stream.h"
#include "proxy/net/proxy_header.h"
#include "proxy/upstream/upstream_priv.h"

struct opening {
    struct list all;  /* in upstream->openings */
    struct list node; /* in pool->openings while others may join */
    struct pool *pool;
    struct origin *origin; /* counted */
    struct dial *dial;
    struct tls_connect *tls_connect;
    struct list waiters; /* of upstream_request, the first that came first */
    unsigned waiter_count;
    bool placed;      /* origin->connections includes it */
    bool http_1_only; /* only that is offered */
};

/* ---- its life -------------------------------------------------------------------------------- */

static void add_waiter(struct opening *o, struct upstream_request *rq)
{
    rq->opening = o;
    list_push_back(&o->waiters, &rq->waiter);
    o->waiter_count++;
}

static struct upstream_request *next_waiter(struct list *waiters)
{
    if (list_empty(waiters)) {
        return NULL;
    }
    struct upstream_request *rq = LIST_ENTRY(waiters->next, struct upstream_request, waiter);
    list_remove(&rq->waiter);
    rq->opening = NULL;
    return rq;
}

/* The waiters have moved elsewhere. */
static void opening_free(struct opening *o)
{
    list_remove(&o->all);
    list_remove(&o->node);
    origin_leave_place(o->origin, &o->placed);
    origin_unref(o->origin);
    pool_leave(o->pool);
    free(o);
}

/* The waiters of an opening that is over, in a list of their own: whatever they do next, they do
 * not meet it again. */
static void take_waiters(struct opening *o, struct list *waiters)
{
    list_init(waiters);
    while (!list_empty(&o->waiters)) {
        struct list *node = o->waiters.next;
        LIST_ENTRY(node, struct upstream_request, waiter)->opening = NULL;
        list_remove(node);
        list_push_back(waiters, node);
    }
}

/* Nobody waits for it. */
static void opening_cancel(struct opening *o)
{
    if (o->dial) {
        dial_cancel(o->dial);
    }
    if (o->tls_connect) {
        tls_connect_cancel(o->tls_connect);
    }
    opening_free(o);
}

void opening_leave(struct upstream_request *rq)
{
    struct opening *o = rq->opening;
    list_remove(&rq->waiter);
    if (!o) {
        return;
    }
    rq->opening = NULL;
    if (--o->waiter_count == 0) {
        opening_cancel(o);
    }
}

void openings_drain(struct upstream *u)
{
    LIST_EACH_SAFE(node, &u->openings) {
        struct opening *o = LIST_ENTRY(node, struct opening, all);
        if (o->waiter_count == 0) {
            opening_cancel(o);
        }
    }
}

/* ---- outcomes -------------------------------------------------------------------------------- */

static void opening_failed(struct opening *o, const struct upstream_failure *failure)
{
    struct list waiters;
    take_waiters(o, &waiters);
    opening_free(o);
    for (struct upstream_request *rq; (rq = next_waiter(&waiters)) != NULL;) {
        request_failed(rq, failure);
    }
}

static void out_of_memory(struct opening *o)
{
    struct upstream_failure f = {503, true, END_NO_MEMORY, S("out of memory")};
    opening_failed(o, &f);
}

/* The first waiter gets the connection; so do the others as long as it has room, or they look
 * again: by now it is known what the origin speaks. */
static void opened(struct opening *o, struct stream *s, bool h2)
{
    bool alone = o->origin->proxy_version > 0 || o->origin->fastcgi;
    struct connection *c = connection_new(o->pool->upstream, o->origin, s, h2, alone);
    if (!c) {
        out_of_memory(o);
        return;
    }
    struct list waiters;
    c->placed = o->placed;
    o->placed = false;
    take_waiters(o, &waiters);
    opening_free(o);
    struct upstream_request *first = next_waiter(&waiters);
    if (!first) { /* another connection had room for them all */
        connection_unused(c);
        return;
    }
    request_send(first, c, false);
    for (struct upstream_request *rq; (rq = next_waiter(&waiters)) != NULL;) {
        if (h2 && h2_client_room(c->h2) > 0) {
            request_send(rq, c, false);
        } else {
            request_attempt(rq);
        }
    }
}

static void tls_done(void *ctx, struct stream *s, const char *why)
{
    struct opening *o = ctx;
    o->tls_connect = NULL;
    if (!s) {
        bool slow = slice_eq(slice_str(why), S(TLS_TOO_SLOW));
        struct upstream_failure f = {slow ? 504 : 502, true,
                                     slow ? END_ORIGIN_SLOW : END_ORIGIN_BAD, slice_str(why)};
        opening_failed(o, &f);
        return;
    }
    bool h2 = slice_eq(s->tls->alpn, S("h2"));
    if (!o->http_1_only) {
        atomic_store_explicit(&o->origin->speaks, h2 ? ORIGIN_SPEAKS_2 : ORIGIN_SPEAKS_1,
                              memory_order_relaxed);
    }
    if (!h2 && o->origin->versions == ORIGIN_HTTP_2 && !o->http_1_only) {
        stream_close(s, false);
        struct upstream_failure f = {502, true, END_ORIGIN_BAD,
                                     S("it does not speak HTTP/2, and `versions` allows no other")};
        opening_failed(o, &f);
        return;
    }
    opened(o, s, h2);
}

/* The first bytes of a fresh connection, which is empty: either it takes them all or it is broken.
 * They name the client (behind trusted proxies the one these name), or nobody for a check of ours.
 */
static bool send_proxy_header(const struct opening *o, struct stream *s)
{
    char header[PROXY_HEADER_V1_MAX + 1];
    const struct exchange *ex =
        LIST_ENTRY(o->waiters.next, struct upstream_request, waiter)->ex;
    bool ours = ex->client_addr->len == 0;
    size_t n = proxy_header_write(o->origin->proxy_version, ours ? NULL : ex->client_addr,
                                  ours ? NULL : ex->client.local, header);
    struct iovec iov = {header, n};
    return stream_writev(s, &iov, 1, true) == (ssize_t)n;
}

static void dialed(void *ctx, enum dial_result result, struct stream *s, struct slice detail)
{
    struct opening *o = ctx;
    struct origin *origin = o->origin;
    o->dial = NULL;
    if (result != DIAL_OK) {
        int status = result == DIAL_TIMEOUT ? 504 : result == DIAL_LOCAL ? 503 : 502;
        struct upstream_failure f = {
            status, true, result == DIAL_TIMEOUT ? END_ORIGIN_SLOW : END_ORIGIN_GONE, detail};
        opening_failed(o, &f);
        return;
    }
    if (origin->proxy_version && !send_proxy_header(o, s)) {
        stream_close(s, true);
        struct upstream_failure f = {502, true, END_ORIGIN_GONE, S("reset before the request")};
        opening_failed(o, &f);
        return;
    }
    if (origin->fastcgi) {
        s = fcgi_stream_new(s, origin->text, origin->fastcgi_stderr);
        if (!s) {
            out_of_memory(o);
            return;
        }
    }
    if (!origin->tls_client) {
        opened(o, s, (origin->versions & ORIGIN_H2C) && !o->http_1_only);
        return;
    }
    struct slice name = origin->server_name.n ? origin->server_name : origin->host;
    o->tls_connect = tls_connect_start(origin->tls_client, s, name,
                                       o->http_1_only ? S("http/1.1") : S(""),
                                       origin->tls_timeout_ms, tls_done, o);
    if (!o->tls_connect) {
        out_of_memory(o);
    }
}

/* ---- an older connection has room ------------------------------------------------------------ */

void opening_serve(struct connection *c)
{
    LIST_EACH_SAFE(node, &c->pool->openings) {
        struct opening *o = LIST_ENTRY(node, struct opening, node);
        LIST_EACH_SAFE(waiter, &o->waiters) {
            struct upstream_request *rq = LIST_ENTRY(waiter, struct upstream_request, waiter);
            if (rq->fresh_only || h2_client_room(c->h2) == 0) {
                continue;
            }
            list_remove(waiter);
            rq->opening = NULL;
            o->waiter_count--;
            request_send(rq, c, true);
        }
    }
}

/* ---- beginning ------------------------------------------------------------------------------- */

bool opening_join(struct upstream_request *rq)
{
    struct pool *p = request_may_share(rq) ? map_get(&rq->upstream->pools, rq->origin->key) : NULL;
    if (!p) {
        return false;
    }
    LIST_EACH(node, &p->openings) {
        struct opening *o = LIST_ENTRY(node, struct opening, node);
        if (o->waiter_count < OPENING_WAITERS_MAX) {
            add_waiter(o, rq);
            return true;
        }
    }
    return false;
}

bool opening_start(struct upstream_request *rq)
{
    struct upstream *u = rq->upstream;
    struct origin *origin = rq->origin;
    struct opening *o = calloc(1, sizeof(*o));
    struct pool *pool = o ? pool_get(u, origin->key) : NULL;
    if (!pool) {
        free(o);
        return false;
    }
    list_init(&o->node);
    list_init(&o->waiters);
    struct dial_target t = {origin->host, origin->port, origin->unix_path, origin->resolvers,
                            origin->fallback_delay_ms, &origin->local};
    o->dial = dial_start_to(u->loop, u->resolver, &t, origin->dial_timeout_ms, dialed, o);
    if (!o->dial) {
        pool_leave(pool);
        free(o);
        return false;
    }
    list_push_back(&u->openings, &o->all);
    o->pool = pool;
    o->origin = origin_ref(origin);
    o->http_1_only = request_needs_http_1(rq);
    o->placed = rq->placed;
    rq->placed = false;
    add_waiter(o, rq);
    if (request_may_share(rq)) {
        list_push_back(&o->pool->openings, &o->node);
    }
    return true;
}
