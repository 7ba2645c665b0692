/* reverse_proxy [matcher] [<origin>...] {
 *     to <origin>...
 *     dynamic a <name> <port> | srv <name> | multi { ... }        (reverse_proxy_dynamic.c)
 *     header_up [+|-]<field> [<value>|<regexp> <replacement>]     (field_rules.h; to the origin)
 *     header_down [+|-]<field> [<value>|<regexp> <replacement>]   (to the client)
 *     trusted_proxies private_ranges|<range>...
 *     lb_policy random|random_choose <n>|first|round_robin|weighted_round_robin <weight>...|
 *               least_conn|ip_hash|client_ip_hash|uri_hash|query <key>|header <field>|
 *               cookie [<name> [<secret>]] [{ fallback <policy>; max_age <duration> }]
 *     lb_retries <n>; lb_try_duration <duration>; lb_try_interval 250ms
 *     lb_retry_match <matcher> | { <matchers> }
 *     fail_duration <duration>; max_fails 1; unhealthy_status <status>...
 *     unhealthy_latency <duration>; unhealthy_request_count <n>
 *     health_uri <path>; health_port <port>; health_upstream <host:port>; health_method GET
 *     health_headers { <field> <value> }; health_request_body <text>; health_body <regexp>
 *     health_follow_redirects; health_interval 30s; health_timeout 5s; health_passes 1
 *     health_fails 1; health_status 2xx
 *     method <method>; rewrite <path?query>        (GET and HEAD drop the body)
 *     @<name> status <code>|<n>xx... | header [!]<field> [<value>...] | { both }
 *     replace_status [@<name>] <status>            (the first of these two that fits the answer)
 *     handle_response [@<name>] { <directives>; copy_response [<status>];
 *                                 copy_response_headers { include|exclude <field>... } }
 *     request_buffers <size>                       (up to 10MiB; collected before an origin is
 *                                                   asked; a whole body gets a
 *                                                   Content-Length and can be sent again)
 *     response_buffers <size>                      (up to 10MiB; before the client is answered)
 *     flush_interval <duration>|-1                 (accepted; everything is passed on at once)
 *     stream_timeout <duration>                    (none; the longest that a tunnel lives)
 *     stream_close_delay <duration>                (unset: a reload ends no tunnel; set: they end
 *                                                   so long after it)
 *     verbose_logs                                 (a debug line for each answer)
 *     transport http {
 *         dial_timeout 3s
 *         response_header_timeout <duration>       (none)
 *         read_timeout <duration>                  (none; between reads of the response)
 *         write_timeout <duration>                 (none; while the origin takes nothing)
 *         max_response_header 64KiB
 *         keepalive 2m|off                         (no longer than the origin's Keep-Alive says)
 *         max_conns_per_host <n>                   (none; over all workers; requests wait)
 *         keepalive_idle_conns 128                 (for each worker and origin; also _per_host)
 *         local_address <ip[:port]>                (where connections come from)
 *         resolvers <ip[:port]>...                 (the system's)
 *         dial_fallback_delay 250ms                (to the next address; negative: only on failure)
 *         proxy_protocol v1|v2                     (then each connection is one client's: not kept)
 *         versions 1.1 2                           (1.1, 2, h2c; 2: over TLS, if the origin
 *                                                   chooses it; in the plain 1.1, or h2c if given)
 *         tls; tls_server_name <name>; tls_trust_pool file <file>...; tls_insecure_skip_verify
 *         tls_client_auth <certificate> <key>; tls_except_ports <port>...
 *         tls_timeout <duration>                   (dial_timeout; of the handshake)
 *         tls_curves x25519mlkem768|x25519|secp256r1|secp384r1|secp521r1...
 *     }
 * }
 *
 * origin: host:port, host:port1-port2 (one each), http://host[:80], https://host[:443],
 * h2c://host[:80], unix//path, unix+h2c//path, {placeholder}:port (reverse_proxy_named.c). Forwards
 * the request and its body as they come, the answer likewise; an Upgrade that the origin accepts (a
 * WebSocket; always asked for over HTTP/1.1) becomes a tunnel. Connections to origins are kept and
 * used again.
 *
 * To the origin: hop-by-hop fields and names with "_" are removed; X-Forwarded-For, -Proto and
 * -Host say what we saw, whatever the client claimed (behind a trusted proxy they are kept, and the
 * peer is added); Via is added; Host stays the client's (for an https origin it is the origin's, as
 * in Caddy).
 *
 * Attempts: an origin is chosen among those that are usable (health.h). When nothing of the request
 * reached it, the other usable ones are tried at once, each once. When none is left, or an answer
 * failed after the request was sent (GET without a body, or what lb_retry_match says:
 * reverse_proxy_retry.c), there is another round: as long as lb_try_duration lasts and lb_retries
 * allow, lb_try_interval apart. No usable origin at all: 503. */
#include "proxy/base/log.h"
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/reverse_proxy_forward.h"
#include "proxy/upstream/named.h"

static void try_origin(struct forward *f);
static bool another_round(struct forward *f);
static void begin_round(struct forward *f);

/* What was looked up is let go of. */
static void release_round(struct forward *f)
{
    if (f->dynamic) {
        dynamic_release(f->dynamic);
        f->origin_count = 0;
        f->prepared_for = NULL; /* another origin may come to stand at its address */
    }
}

/* No more attempts. */
static void release_origins(struct forward *f)
{
    release_round(f);
    if (f->named || f->named_dynamic) {
        named_release(f);
        f->origin_count = 0;
    }
}

/* ---- answers of our own ---------------------------------------------------------------------- */

static void fail(struct forward *f, int status, struct slice detail)
{
    release_origins(f);
    f->ex->cancel = NULL;
    (void)chain_error(f->ex, status, detail);
}

static void answer_failure(struct forward *f, const struct upstream_failure *failure)
{
    struct exchange *ex = f->ex;
    if (failure->reason == END_TOO_LARGE) {
        fail(f, 413, S("the request body is larger than this server allows"));
        return;
    }
    struct slice detail = arena_printf(
        &ex->arena, "The origin %.*s %s%.*s.", SLICE_ARG(f->origin->text),
        failure->unsent                        ? "could not be reached: "
        : failure->reason == END_ORIGIN_BAD ? "sent a bad answer: "
                                               : "",
        SLICE_ARG(failure->detail));
    log_event(LOG_WARN, "http.handlers.reverse_proxy", "no answer from the origin",
              LOG_S("origin", f->origin->text), LOG_S("reason", failure->detail),
              LOG_S("method", ex->req.method_text), LOG_S("host", ex->req.host),
              LOG_S("uri", ex->req.target), LOG_I("status", failure->status));
    fail(f, failure->status, detail);
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* The origin's answer is not for the client: whoever produces it stops. */
static void drop_response(struct exchange *ex)
{
    ex->res.fields.count = 0;
    ex->res.content_length = 0;
    ex->res.tunnel = false;
}

static bool finish_fields(struct forward *f, enum rules_result *rules)
{
    struct exchange *ex = f->ex;
    struct fields *fields = &ex->res.fields;
    const struct field *upgrade = ex->res.tunnel ? fields_find_id(fields, FIELD_UPGRADE) : NULL;
    struct slice protocol = upgrade ? upgrade->value : S("");
    fields_strip_hop_by_hop(fields);
    if (!fields_add_id(fields, &ex->arena, FIELD_VIA, S("Via"), S("1.1 caddis")) ||
        (f->set_cookie.n &&
         !fields_add_id(fields, &ex->arena, FIELD_SET_COOKIE, S("Set-Cookie"), f->set_cookie))) {
        return false;
    }
    *rules = field_rules_apply(&f->proxy->header_down, fields, ex);
    return !protocol.n ||
           fields_add_id(fields, &ex->arena, FIELD_UPGRADE, S("Upgrade"), protocol);
}

static void judge_answer(struct forward *f)
{
    const struct health_policy *p = &f->origin->health.policy;
    int64_t now = loop_now_ms(f->ex->loop);
    if (status_set_has(&p->unhealthy_status, f->ex->res.status) ||
        (p->unhealthy_latency_ms && now - f->attempt_ms >= p->unhealthy_latency_ms)) {
        health_count_failure(&f->origin->health, now);
    }
}

static void send_collected(struct forward *f)
{
    struct exchange *ex = f->ex;
    enum rules_result rules = RULES_DONE;
    if (!finish_fields(f, &rules) || rules == RULES_NO_MEMORY) {
        body_stop(&ex->res_body, END_NO_MEMORY);
        exchange_reset(ex, END_NO_MEMORY);
        return;
    }
    if (rules == RULES_LIMIT) {
        drop_response(ex);
        ex->res.status = 500;
        ex->res.reason = http_reason(500);
        ex->error_detail = S("a regular expression of header_down hit its limit");
    }
    if (ex->res.tunnel && f->proxy->tunnels) {
        tunnel_watch(ex, f->proxy->tunnels);
    }
    exchange_respond(ex);
}

/* ---- response_buffers ------------------------------------------------------------------------ */

static void end_collecting(struct forward *f)
{
    f->collects_response = false;
    task_cancel(&f->finished);
    f->ex->ended = NULL;
}

/* Broken before anything was sent: that can still be said with a status. */
static void response_collected(struct body_buffer *b)
{
    struct forward *f = container_of(b, struct forward_buffer, buffer)->forward;
    struct exchange *ex = f->ex;
    end_collecting(f);
    if (ex->finished) {
        /* nobody is left to be answered */
    } else if (b->no_memory) {
        (void)chain_error(ex, 503, S("out of memory"));
    } else if (b->body->state == BODY_ABORTED) {
        enum end_reason reason = b->body->reason;
        ex->error_detail = slice_str(end_reason_text(reason));
        (void)chain_error(ex, reason == END_ORIGIN_SLOW ? 504 : 502, ex->error_detail);
    } else {
        send_collected(f);
    }
    exchange_release(ex);
}

/* The client is gone, or the server stops. */
static void collecting_in_vain(struct task *t)
{
    struct forward *f = container_of(t, struct forward, finished);
    body_buffer_cancel(&f->response_buffer->buffer);
    end_collecting(f);
    exchange_release(f->ex);
}

static void send_answer(struct forward *f)
{
    struct exchange *ex = f->ex;
    bool body = !ex->res.tunnel && ex->res.content_length != 0 &&
                http_status_has_body(ex->req.method, ex->res.status);
    if (!f->proxy->response_buffer_bytes || !body || ex->finished) {
        send_collected(f);
        return;
    }
    f->response_buffer = forward_collect(f, &ex->res_body, f->proxy->response_buffer_bytes,
                                         response_collected);
    if (!f->response_buffer) {
        (void)chain_error(ex, 503, S("out of memory"));
        return;
    }
    f->collects_response = true;
    task_init(&f->finished, collecting_in_vain);
    ex->ended = &f->finished;
}

/* ---- handle_response, replace_status --------------------------------------------------------- */

void reverse_proxy_set_status(struct exchange *ex, int status)
{
    bool body = http_status_has_body(METHOD_GET, status) ||
                !http_status_has_body(METHOD_GET, ex->res.status);
    ex->res.status = status;
    ex->res.reason = http_reason(status);
    if (!body) {
        ex->res.content_length = LENGTH_UNKNOWN; /* there is none: the codec writes no body */
    }
}

/* What placeholders and copy_response_headers say of the answer outlives it. False: memory. */
static bool remember_answer(struct forward *f)
{
    struct exchange *ex = f->ex;
    fields_strip_hop_by_hop(&ex->res.fields);
    ex->forward = f;
    ex->origin_status = ex->res.status;
    ex->origin_fields.count = 0;
    for (unsigned i = 0; i < ex->res.fields.count; i++) {
        const struct field *from = &ex->res.fields.items[i];
        struct slice name = arena_copy(&ex->arena, from->name);
        struct slice value = arena_copy(&ex->arena, from->value);
        if (!name.p || !value.p ||
            !fields_add_id(&ex->origin_fields, &ex->arena, from->id, name, value)) {
            return false;
        }
    }
    return true;
}

/* True: a handle_response has taken over. */
static bool apply_rules(struct forward *f)
{
    struct exchange *ex = f->ex;
    const struct response_rule *rule = f->proxy->response_rules;
    while (rule && rule->matcher &&
           !response_matches(rule->matcher, ex->res.status, &ex->res.fields)) {
        rule = rule->next;
    }
    if (!rule || ex->res.tunnel) {
        return false;
    }
    if (!remember_answer(f)) {
        (void)chain_error(ex, 503, S("out of memory"));
        return true;
    }
    if (!rule->status) {
        chain_run(ex, &rule->route);
        return true;
    }
    uint64_t status;
    if (!slice_u64(template_eval(rule->status, ex), 599, &status) || status < 200) {
        (void)chain_error(ex, 500, S("replace_status was given no status"));
        return true;
    }
    reverse_proxy_set_status(ex, (int)status);
    return false;
}

void reverse_proxy_copy(struct exchange *ex, int status)
{
    struct forward *f = ex->forward;
    if (!f || !ex->res.status) {
        (void)chain_error(ex, 500, S("there is no response to copy any more"));
        return;
    }
    if (status) {
        reverse_proxy_set_status(ex, status);
    }
    send_answer(f);
}

static void on_head(void *ctx)
{
    struct forward *f = ctx;
    struct exchange *ex = f->ex;
    f->request = NULL;
    ex->cancel = NULL;
    if (ex->finished) {
        release_origins(f);
        return; /* and the configuration may be gone */
    }
    ex->origin_answered_ms = loop_now_ms(ex->loop);
    judge_answer(f);
    release_origins(f);
    if (retry_looks_at_answers(f) && remember_answer(f) && retry_after_answer(f) &&
        another_round(f)) {
        exchange_clear_response(ex);
        ex->cancel = &f->cancel;
        return;
    }
    if (f->out.method == METHOD_HEAD && exchange_client_method(ex) != METHOD_HEAD) {
        ex->res.content_length = 0; /* of a body that does not come */
    }
    if (f->proxy->verbose) {
        log_event(LOG_DEBUG, "http.handlers.reverse_proxy", "answered",
                  LOG_S("origin", ex->origin_text), LOG_I("status", ex->res.status),
                  LOG_I("retries", f->retries), LOG_I("ms", loop_now_ms(ex->loop) - f->attempt_ms));
    }
    if (!apply_rules(f)) {
        send_answer(f);
    }
}

/* ---- attempts -------------------------------------------------------------------------------- */

static void on_failed(void *ctx, const struct upstream_failure *failure);

static const struct upstream_events events = {on_head, on_failed};

static void end_wait(struct forward *f)
{
    if (f->waiting) {
        f->waiting = false;
        timer_fini(&f->wait);
        exchange_release(f->ex);
    }
}

static void wait_over(struct timer *t)
{
    struct forward *f = container_of(t, struct forward, wait);
    struct exchange *ex = f->ex;
    exchange_hold(ex);
    end_wait(f);
    if (!ex->finished) {
        begin_round(f);
    } else {
        release_origins(f);
    }
    exchange_release(ex);
}

/* Is there to be another round? Then it has been begun, or is waited for. */
static bool another_round(struct forward *f)
{
    int64_t interval = f->proxy->retry.try_interval_ms;
    if (!retry_is_left(f)) {
        return false;
    }
    f->retries++;
    /* Without an interval too it is a later turn: nothing is called back inside a call. */
    timer_init(&f->wait, f->ex->loop, wait_over);
    if (!timer_set(&f->wait, interval > 0 ? interval : 1)) {
        timer_fini(&f->wait);
        return false;
    }
    f->waiting = true;
    exchange_hold(f->ex);
    return true;
}

/* Bit i: origin i may be taken for this attempt. */
static uint64_t usable_origins(const struct forward *f)
{
    int64_t now = loop_now_ms(f->ex->loop);
    uint64_t usable = 0;
    for (size_t i = 0; i < f->origin_count; i++) {
        if ((f->tried >> i) & 1) {
            continue;
        }
        unsigned active = atomic_load_explicit(&f->origins[i]->active, memory_order_relaxed);
        if (health_usable(&f->origins[i]->health, active, now)) {
            usable |= (uint64_t)1 << i;
        }
    }
    return usable;
}

/* The cookie that brings this client back to the same origin (Caddy's attributes). */
static void set_cookie(struct forward *f, size_t i)
{
    const struct balance *b = &f->proxy->balance;
    struct exchange *ex = f->ex;
    bool secure = ex->client.tls != NULL;
    const struct field *proto = fields_find_id(&ex->req.fields, FIELD_X_FORWARDED_PROTO);
    secure = secure || (ex->peer_trusted && proto && slice_eq_case(proto->value, S("https")));
    f->set_cookie = arena_printf(&ex->arena, "%.*s=%.*s; Path=/", SLICE_ARG(b->name),
                                 SLICE_ARG(b->cookies[i]));
    if (b->cookie_max_age_s) {
        f->set_cookie = arena_printf(&ex->arena, "%.*s; Max-Age=%lld", SLICE_ARG(f->set_cookie),
                                     (long long)b->cookie_max_age_s);
    }
    if (secure) {
        f->set_cookie = arena_printf(&ex->arena, "%.*s; Secure; SameSite=None",
                                     SLICE_ARG(f->set_cookie));
    }
}

/* False: no origin is usable. */
static bool choose(struct forward *f, uint64_t usable)
{
    const struct reverse_proxy *p = f->proxy;
    bool new_cookie = false;
    size_t i = balance_choose(&p->balance, f->origins, f->origin_count, usable, f->ex,
                              &new_cookie);
    if (i == BALANCE_NONE) {
        return false;
    }
    f->set_cookie = S("");
    if (new_cookie) {
        set_cookie(f, i);
    }
    f->tried |= (uint64_t)1 << i;
    f->origin = f->origins[i];
    bool lasts = !f->dynamic && !f->named; /* as long as the configuration */
    f->ex->origin_text = lasts ? f->origin->text : arena_copy(&f->ex->arena, f->origin->text);
    return true;
}

/* What placeholders say of the attempt that begins. */
static void note_attempt(struct forward *f)
{
    struct exchange *ex = f->ex;
    const struct health *h = &f->origin->health;
    if (f->retries != ex->origin_retries) {
        f->prepared_for = NULL; /* header_up may name the number */
    }
    ex->origin_started_ms = f->started_ms;
    ex->origin_attempt_ms = loop_now_ms(ex->loop);
    ex->origin_answered_ms = 0;
    ex->origin_retries = f->retries;
    ex->origin_requests = atomic_load_explicit(&f->origin->active, memory_order_relaxed);
    ex->origin_requests_max = h->policy.request_count_max;
    ex->origin_fails = health_failures(h, ex->origin_attempt_ms);
}

static void try_origin(struct forward *f)
{
    struct exchange *ex = f->ex;
    if (!choose(f, usable_origins(f))) {
        if (!another_round(f)) {
            fail(f, 503, S("no origin is available"));
        }
        return;
    }
    note_attempt(f);
    enum rules_result rules = forward_prepare(f);
    if (rules != RULES_DONE) {
        bool limit = rules == RULES_LIMIT;
        fail(f, limit ? 500 : 503,
             limit ? S("a regular expression of header_up hit its limit") : S("out of memory"));
        return;
    }
    if (f->refused) {
        fail(f, f->refused, f->refused_why);
        return;
    }
    f->attempt_ms = loop_now_ms(ex->loop);
    f->request = upstream_start(chain_of(ex)->upstream, f->origin, ex, &f->out, f->upgrade,
                                &events, f);
    if (!f->request) {
        fail(f, 503, S("out of memory"));
    }
}

/* ---- origins that are looked up -------------------------------------------------------------- */

static void with_origins(struct forward *f)
{
    if (f->dynamic && f->dynamic->count) {
        f->origins = f->dynamic->origins;
        f->origin_count = f->dynamic->count;
    }
    try_origin(f);
}

static void looked_up(struct dynamic_request *dr)
{
    struct forward *f = dr->owner;
    struct exchange *ex = f->ex;
    f->looking_up = false;
    if (ex->finished) {
        release_origins(f);
    } else {
        with_origins(f);
    }
    exchange_release(ex);
}

/* With what is configured, or with what the name servers say. */
static void begin_round(struct forward *f)
{
    const struct reverse_proxy *p = f->proxy;
    struct upstream *u = chain_of(f->ex)->upstream;
    struct dynamic *dynamic = p->named_dynamics ? named_dynamic(f) : p->dynamic;
    release_round(f);
    f->tried = 0;
    f->origins = p->origins;
    f->origin_count = p->origin_count;
    if ((p->named && !named_origins(f) && !dynamic) ||
        (p->named_dynamics && !dynamic && !p->origin_count)) {
        fail(f, 502, S("the request names no origin that it could be forwarded to"));
        return;
    }
    if (dynamic && !f->dynamic) {
        f->dynamic = ARENA_NEW(&f->ex->arena, struct dynamic_request);
    }
    if (dynamic && f->dynamic &&
        !dynamic_start(dynamic, upstream_resolver(u), f->ex->loop, f->dynamic, looked_up, f)) {
        f->looking_up = true;
        exchange_hold(f->ex);
        return;
    }
    with_origins(f);
}

static void on_failed(void *ctx, const struct upstream_failure *failure)
{
    struct forward *f = ctx;
    f->request = NULL;
    if (f->ex->finished) {
        release_origins(f);
        return; /* and the configuration may be gone */
    }
    if (failure->unsent && f->dynamic) {
        dynamic_distrust(f->dynamic->dynamic);
    }
    bool ours = failure->reason == END_NO_MEMORY || failure->status == 503;
    if (!ours && failure->reason != END_CLIENT_GONE && failure->reason != END_CLIENT_BAD &&
        failure->reason != END_CLIENT_SLOW) {
        health_count_failure(&f->origin->health, loop_now_ms(f->ex->loop));
    }
    if (failure->unsent && failure->reason != END_NO_MEMORY) {
        if (usable_origins(f)) {
            try_origin(f);
            return;
        }
        if (another_round(f)) {
            return;
        }
    } else if (!ours && retry_after_failure(f) && another_round(f)) {
        return;
    }
    answer_failure(f, failure);
}

/* ---- request_buffers ------------------------------------------------------------------------- */

/* A body that is here as a whole has a length, whatever its framing was, and can be sent again. One
 * that broke off is passed on as it is: the codec has an answer for its client. */
static void request_collected(struct body_buffer *b)
{
    struct forward *f = container_of(b, struct forward_buffer, buffer)->forward;
    struct exchange *ex = f->ex;
    f->collects_request = false;
    if (ex->finished) {
        /* nobody is left to be answered */
    } else if (b->no_memory) {
        fail(f, 503, S("out of memory"));
    } else if (b->body->state == BODY_STOPPED && b->body->reason == END_TOO_LARGE) {
        fail(f, 413, S("the request body is larger than this server allows"));
    } else {
        if (body_buffer_whole(b) && b->body->trailers.count == 0) {
            f->out.content_length = (int64_t)b->bytes;
        }
        begin_round(f);
    }
    exchange_release(ex);
}

static void client_gone(struct task *t)
{
    struct forward *f = container_of(t, struct forward, cancel);
    f->ex->cancel = NULL;
    if (f->collects_request) {
        f->collects_request = false;
        body_buffer_cancel(&f->request_buffer->buffer);
        exchange_release(f->ex); /* not the last hold, as below */
    }
    if (f->request) {
        upstream_cancel(f->request);
        f->request = NULL;
    }
    release_origins(f);
    end_wait(f);
    if (f->looking_up) {
        f->looking_up = false;
        exchange_release(f->ex); /* not the last hold: whoever posted this task has one */
    }
}

static enum handler_result proxy_request(const void *instance, struct exchange *ex)
{
    struct forward *f = ARENA_NEW(&ex->arena, struct forward);
    if (!f) {
        (void)chain_error(ex, 503, S("out of memory"));
    }
    f->proxy = instance;
    f->ex = ex;
    f->started_ms = loop_now_ms(ex->loop);
    task_init(&f->cancel, client_gone);
    enum rules_result built = forward_build(f);
    if (built != RULES_DONE) {
        bool target = built == RULES_LIMIT;
        return chain_error(ex, target ? 500 : 431,
                           target ? S("rewrite gave no target") : S("too many header fields"));
    }
    if (ex->res.status) {
        exchange_clear_response(ex); /* inside a handle_response: what it looked at goes */
    }
    if (f->out.content_length != 0 && !body_rewind(&ex->req_body)) {
        return chain_error(ex, 502, S("the request body was sent to another origin already"));
    }
    ex->cancel = &f->cancel;
    size_t collected = forward_collected_bytes(f);
    if (collected) {
        f->request_buffer = forward_collect(f, &ex->req_body, collected, request_collected);
        f->collects_request = f->request_buffer != NULL;
        if (!f->collects_request) {
            fail(f, 503, S("out of memory"));
        }
    } else {
        begin_round(f);
    }
    return HANDLER_WAIT;
}

static void proxy_release(void *instance)
{
    struct reverse_proxy *p = instance;
    for (size_t i = 0; i < p->origin_count; i++) {
        health_checker_free(p->checkers[i]);
        origin_unref(p->origins[i]);
    }
    dynamic_unref(p->dynamic);
    named_free(p->named);
    named_free(p->named_dynamics);
    origin_unref(p->dynamic_like);
    tunnel_policy_unref(p->tunnels);
}

const struct handler_ops reverse_proxy_ops = {
    .name = "reverse_proxy",
    .nature = HANDLER_ANSWERS,
    .on_request = proxy_request,
    .release = proxy_release,
};
