/* reverse_proxy [matcher] [<origin>...] {
 *     to <origin>...
 *     lb_policy random|round_robin|first|least_conn
 *     transport http {
 *         dial_timeout 3s
 *         response_header_timeout <duration>       (none)
 *         read_timeout <duration>                  (none; between reads of the response)
 *         max_response_header 64KiB
 *         keepalive 2m|off
 *         keepalive_idle_conns 128                 (for each worker and origin)
 *         tls; tls_server_name <name>; tls_trusted_ca_certs <file>; tls_insecure_skip_verify
 *     }
 * }
 *
 * origin: host:port, host:port1-port2 (one each), http://host[:80], https://host[:443],
 * unix//path. Forwards the request and its body as they come, the answer likewise; an Upgrade that
 * the origin accepts (a WebSocket) becomes a tunnel. Connections to origins are kept and used again.
 *
 * To the origin: hop-by-hop fields and names with "_" are removed; X-Forwarded-For, -Proto and
 * -Host say what we saw, whatever the client claimed; Via is added; Host stays the client's (for an
 * https origin it is the origin's, as in Caddy). An Upgrade to h2c is not passed on: it would be a
 * way past the routes. When a connection cannot be made, the other
 * origins are tried once each. */
#include "proxy/base/log.h"
#include "proxy/base/rand.h"
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/reverse_proxy_config.h"
#include "proxy/loop/loop.h"
#include "proxy/upstream/upstream.h"

/* One request being forwarded; in the exchange's arena. */
struct forward {
    const struct reverse_proxy *proxy;
    struct exchange *ex;
    struct request out;
    struct slice upgrade;
    struct slice client_host; /* Host as the client sent it */
    struct upstream_request *request; /* NULL: none under way */
    struct task cancel;
    uint64_t tried; /* bit i: origin i */
    const struct origin *origin;
};

/* ---- choosing ------------------------------------------------------------------------------- */

static bool was_tried(const struct forward *f, size_t i)
{
    return (f->tried >> i) & 1;
}

static size_t nth_untried(const struct forward *f, size_t n)
{
    for (size_t i = 0;; i++) {
        if (!was_tried(f, i) && n-- == 0) {
            return i;
        }
    }
}

static size_t least_busy(const struct forward *f)
{
    const struct reverse_proxy *p = f->proxy;
    size_t best = SIZE_MAX;
    unsigned best_active = 0;
    unsigned ties = 0;
    for (size_t i = 0; i < p->origin_count; i++) {
        unsigned active = atomic_load_explicit(&p->origins[i]->active, memory_order_relaxed);
        if (was_tried(f, i) || (best != SIZE_MAX && active > best_active)) {
            continue;
        }
        ties = best == SIZE_MAX || active < best_active ? 1 : ties + 1;
        if (rand_below(ties) == 0) {
            best = i;
        }
        best_active = active;
    }
    return best;
}

/* An origin that was not tried yet; there must be one. */
static size_t pick(struct forward *f)
{
    const struct reverse_proxy *p = f->proxy;
    size_t left = p->origin_count - (size_t)__builtin_popcountll(f->tried);
    switch (p->policy) {
    case POLICY_FIRST:
        return nth_untried(f, 0);
    case POLICY_ROUND_ROBIN:
        return nth_untried(f, atomic_fetch_add_explicit(&p->counters->next, 1,
                                                        memory_order_relaxed) % left);
    case POLICY_LEAST_CONN:
        return least_busy(f);
    case POLICY_RANDOM:
        break;
    }
    return nth_untried(f, left == 1 ? 0 : (size_t)rand_below(left));
}

/* ---- the request that goes out --------------------------------------------------------------- */

static bool dropped_from_request(const struct field *f)
{
    switch ((int)f->id) {
    case FIELD_HOST:
    case FIELD_EXPECT:
    case FIELD_CONTENT_LENGTH:
    case FIELD_X_FORWARDED_FOR:
    case FIELD_X_FORWARDED_PROTO:
    case FIELD_X_FORWARDED_HOST:
        return true; /* written anew */
    default:
        return (field_flags(f->id) & FIELD_HOP) != 0 ||
               (f->id == FIELD_OTHER && (slice_find(f->name, '_') != SLICE_NPOS ||
                                         slice_eq_case(f->name, S("http2-settings"))));
    }
}

/* Does a Connection field name this field (RFC 9110 section 7.6.1)? */
static bool named_by_connection(const struct request *req, const struct field *f)
{
    return fields_have_token(&req->fields, FIELD_CONNECTION, f->name);
}

static bool copy_fields(struct forward *fw, const struct request *req)
{
    bool has_connection = fields_find_id(&req->fields, FIELD_CONNECTION) != NULL;
    for (unsigned i = 0; i < req->fields.count; i++) {
        const struct field *f = &req->fields.items[i];
        if (dropped_from_request(f) || (has_connection && named_by_connection(req, f))) {
            continue;
        }
        if (!fields_add_id(&fw->out.fields, &fw->ex->arena, f->id, f->name, f->value)) {
            return false;
        }
    }
    return true;
}

static bool add_forwarded(struct forward *fw)
{
    struct exchange *ex = fw->ex;
    struct fields *out = &fw->out.fields;
    char buf[ADDR_TEXT_BYTES];
    if (addr_is_unix(ex->client.peer)) {
        return true;
    }
    struct slice host = arena_copy(&ex->arena, addr_host_text(ex->client.peer, buf));
    return host.p &&
           fields_add_id(out, &ex->arena, FIELD_X_FORWARDED_FOR, S("X-Forwarded-For"), host) &&
           fields_add_id(out, &ex->arena, FIELD_X_FORWARDED_PROTO, S("X-Forwarded-Proto"),
                         ex->req.scheme) &&
           fields_add_id(out, &ex->arena, FIELD_X_FORWARDED_HOST, S("X-Forwarded-Host"),
                         ex->req.authority);
}

/* The protocol to ask the origin for. Not HTTP/2: behind such a switch (RFC 7540 section 3.2, gone
 * from RFC 9113) a client could ask the origin for anything, past every matcher of ours. */
static struct slice wanted_upgrade(const struct request *req)
{
    const struct field *f = req->upgrade ? fields_find_id(&req->fields, FIELD_UPGRADE) : NULL;
    if (!f || fields_have_token(&req->fields, FIELD_UPGRADE, S("h2c")) ||
        fields_have_token(&req->fields, FIELD_UPGRADE, S("h2"))) {
        return S("");
    }
    return f->value;
}

static bool build_request(struct forward *fw)
{
    struct exchange *ex = fw->ex;
    const struct request *req = &ex->req;
    fw->out = *req;
    fw->out.fields = (struct fields){0};
    fw->upgrade = wanted_upgrade(req);
    bool trailers = fields_have_token(&req->fields, FIELD_TE, S("trailers"));
    return fields_add_id(&fw->out.fields, &ex->arena, FIELD_HOST, S("Host"), req->authority) &&
           copy_fields(fw, req) && add_forwarded(fw) &&
           (!trailers || fields_add_id(&fw->out.fields, &ex->arena, FIELD_TE, S("TE"),
                                       S("trailers"))) &&
           fields_add_id(&fw->out.fields, &ex->arena, FIELD_VIA, S("Via"), S("1.1 caddis"));
}

/* ---- attempts ---------------------------------------------------------------------------------- */

static void on_head(void *ctx)
{
    struct forward *f = ctx;
    struct exchange *ex = f->ex;
    struct fields *fields = &ex->res.fields;
    f->request = NULL;
    ex->cancel = NULL;
    const struct field *upgrade = ex->res.tunnel ? fields_find_id(fields, FIELD_UPGRADE) : NULL;
    struct slice protocol = upgrade ? upgrade->value : S("");
    fields_strip_hop_by_hop(fields);
    if (!fields_add_id(fields, &ex->arena, FIELD_VIA, S("Via"), S("1.1 caddis")) ||
        (protocol.n &&
         !fields_add_id(fields, &ex->arena, FIELD_UPGRADE, S("Upgrade"), protocol))) {
        body_stop(&ex->res_body, END_NO_MEMORY);
        exchange_reset(ex, END_NO_MEMORY);
        return;
    }
    exchange_respond(ex);
}

static void answer_failure(struct forward *f, const struct upstream_failure *failure)
{
    struct exchange *ex = f->ex;
    ex->cancel = NULL;
    struct slice detail = arena_printf(
        &ex->arena, "The origin %.*s %s%.*s.", SLICE_ARG(f->origin->text),
        failure->unsent ? "could not be reached: " : "", SLICE_ARG(failure->detail));
    ex->error_detail = detail;
    log_event(LOG_WARN, "http.reverse_proxy", "no answer from the origin",
              LOG_S("origin", f->origin->text), LOG_S("reason", failure->detail),
              LOG_S("method", ex->req.method_text), LOG_S("host", ex->req.host),
              LOG_S("uri", ex->req.target), LOG_I("status", failure->status));
    exchange_error_page(ex, failure->status, detail);
}

static void on_failed(void *ctx, const struct upstream_failure *failure);

static const struct upstream_events events = {on_head, on_failed};

static void try_origin(struct forward *f)
{
    size_t i = pick(f);
    struct exchange *ex = f->ex;
    f->tried |= (uint64_t)1 << i;
    f->origin = f->proxy->origins[i];
    ex->origin_text = f->origin->text;
    if (f->origin->tls_client) {
        struct field *host = fields_find_id(&f->out.fields, FIELD_HOST);
        host->value = f->origin->text;
    } else {
        fields_find_id(&f->out.fields, FIELD_HOST)->value = f->client_host;
    }
    f->request = upstream_start(chain_of(ex)->upstream, f->proxy->origins[i], ex, &f->out,
                                f->upgrade, &events, f);
    if (!f->request) {
        ex->cancel = NULL;
        exchange_error_page(ex, 503, S("out of memory"));
    }
}

static void on_failed(void *ctx, const struct upstream_failure *failure)
{
    struct forward *f = ctx;
    f->request = NULL;
    bool more = (size_t)__builtin_popcountll(f->tried) < f->proxy->origin_count;
    if (failure->unsent && failure->reason != END_NO_MEMORY && more && !f->ex->gone) {
        try_origin(f);
        return;
    }
    answer_failure(f, failure);
}

static void client_gone(struct task *t)
{
    struct forward *f = container_of(t, struct forward, cancel);
    f->ex->cancel = NULL;
    if (f->request) {
        upstream_cancel(f->request);
        f->request = NULL;
    }
}

static enum handler_result proxy_request(const void *instance, struct exchange *ex)
{
    struct forward *f = ARENA_NEW(&ex->arena, struct forward);
    if (!f) {
        exchange_error_page(ex, 503, S("out of memory"));
        return HANDLER_DONE;
    }
    f->proxy = instance;
    f->ex = ex;
    f->client_host = ex->req.authority;
    task_init(&f->cancel, client_gone);
    if (!build_request(f)) {
        exchange_error_page(ex, 431, S("too many header fields"));
        return HANDLER_DONE;
    }
    ex->cancel = &f->cancel;
    try_origin(f);
    return HANDLER_WAIT;
}

static void proxy_release(void *instance)
{
    struct reverse_proxy *p = instance;
    for (size_t i = 0; i < p->origin_count; i++) {
        origin_unref(p->origins[i]);
    }
}

const struct handler_ops reverse_proxy_ops = {
    .name = "reverse_proxy", .on_request = proxy_request, .release = proxy_release};
