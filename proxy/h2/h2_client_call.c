/* One call: its life, its reports, and its response.
 *
 * In: what h2_client_session.c reports, the tasks of both bodies, the clock. Out: ex->res,
 * res_body, interim responses; outcomes to the owner, always from report_task; window credit as
 * content is consumed. */
#include <stdlib.h>

#include "proxy/h2/h2_client_priv.h"

enum { WAIT_NONE, WAIT_STREAM, WAIT_WRITE, WAIT_HEAD, WAIT_BODY };

/* ---- reports and the end -------- */

static void credit(struct h2_call *call)
{
    struct h2_client *c = call->client;
    const struct body *b = &call->ex->res_body;
    bool dropped = call->over || !call->has_head || b->state == BODY_STOPPED;
    uint64_t upto = dropped ? call->received_bytes : b->consumed_bytes;
    if (upto <= call->credited_bytes) {
        return;
    }
    size_t n = (size_t)(upto - call->credited_bytes);
    call->credited_bytes = upto;
    (void)nghttp2_session_consume_connection(c->session, n);
    if (!dropped && !call->ended) {
        (void)nghttp2_session_consume_stream(c->session, call->id, n);
    }
    h2_client_wake(c);
}

static void call_free(struct h2_call *call)
{
    struct h2_client *c = call->client;
    struct exchange *ex = call->ex;
    list_remove(&call->node);
    c->call_count--;
    task_cancel(&call->req_task);
    task_cancel(&call->res_task);
    task_cancel(&call->report_task);
    chunk_unref(call->gather);
    arena_fini(&call->interim_arena);
    free(call);
    exchange_release(ex);
    h2_client_changed(c);
}

/* nghttp2 and both bodies forget the call. */
static void let_go(struct h2_call *call)
{
    struct exchange *ex = call->ex;
    call->over = true;
    if (call->id) {
        nghttp2_session_set_stream_user_data(call->client->session, call->id, NULL);
    }
    credit(call);
    if (ex->res_body.producer == &call->res_task) {
        body_set_producer(&ex->res_body, NULL);
    }
    task_cancel(&call->res_task);
    if (ex->source == &call->source) {
        ex->source = NULL;
    }
    chunk_unref(call->gather);
    call->gather = NULL;
    h2_client_wake(call->client);
}

void h2_call_over(struct h2_call *call, enum end_reason reason, struct slice detail)
{
    struct h2_client *c = call->client;
    if (call->over) {
        return;
    }
    if (call->has_head) {
        body_abort(&call->ex->res_body, reason); /* no-op where it has ended */
        h2_call_detach(call, reason == END_NONE ? END_NOT_WANTED : reason);
        call->report_over = true;
    } else {
        h2_call_detach(call, END_NONE); /* the request body is free for another try */
        call->failure.reason = reason;
        call->failure.detail = detail;
        call->failure.nothing_sent = !call->sent || call->failure.refused;
        call->failure.no_byte_received = c->received_bytes == call->client_received_before;
        call->report_failed = true;
    }
    let_go(call);
    loop_post(c->loop, &call->report_task);
}

void h2_call_fail(struct h2_call *call, uint32_t code, enum end_reason reason, const char *detail)
{
    if (!call->over) {
        (void)nghttp2_submit_rst_stream(call->client->session, NGHTTP2_FLAG_NONE, call->id, code);
        h2_call_over(call, reason, slice_str(detail));
    }
}

static void on_report(struct task *t)
{
    struct h2_call *call = container_of(t, struct h2_call, report_task);
    const struct h2_client_owner *owner = &call->client->owner;
    bool silent = call->client->silent;
    if (call->report_head) {
        call->report_head = false;
        if (!silent) {
            owner->on_outcome(owner->ctx, call->ctx, H2_CLIENT_HEAD, NULL);
        }
    }
    if (!call->report_failed && !call->report_over) {
        return;
    }
    if (!silent && call->report_failed) {
        owner->on_outcome(owner->ctx, call->ctx, H2_CLIENT_FAILED, &call->failure);
    } else if (!silent) {
        owner->on_over(owner->ctx, call->ctx);
    }
    call_free(call);
}

/* The response is not wanted after all. */
static void drop_response(struct response_source *source)
{
    h2_call_fail(container_of(source, struct h2_call, source), NGHTTP2_CANCEL, END_NOT_WANTED,
                 "the response was not wanted any more");
}

void h2_call_cancel(struct h2_call *call)
{
    if (!call->over) {
        (void)nghttp2_submit_rst_stream(call->client->session, NGHTTP2_FLAG_NONE, call->id,
                                        NGHTTP2_CANCEL);
        if (call->has_head) {
            body_abort(&call->ex->res_body, END_NOT_WANTED);
        }
        h2_call_detach(call, END_NONE);
        let_go(call);
    }
    call_free(call);
}

static const char *code_text(uint32_t code)
{
    return code == NGHTTP2_NO_ERROR ? "NO_ERROR" : nghttp2_http2_strerror(code);
}

void h2_call_closed(struct h2_call *call, uint32_t code)
{
    struct arena *a = &call->ex->arena;
    if (call->theirs) {
        call->failure.refused = code == NGHTTP2_REFUSED_STREAM;
        call->failure.wants_http_1 = code == NGHTTP2_HTTP_1_1_REQUIRED;
        h2_call_over(call, END_ORIGIN_GONE,
                     arena_printf(a, "reset the request (%s)", code_text(code)));
    } else if (code == NGHTTP2_REFUSED_STREAM) {
        call->failure.refused = true; /* nghttp2 says so of streams that a GOAWAY leaves out */
        h2_call_over(call, END_ORIGIN_GONE, S("is about to close and did not take the request"));
    } else if (code == NGHTTP2_INTERNAL_ERROR) { /* a callback of ours said no */
        h2_call_over(call, END_INTERNAL, S("was not sent the whole request"));
    } else {
        h2_call_over(call, END_ORIGIN_BAD, S("sent a malformed HTTP/2 response"));
    }
}

/* ---- tasks -------- */

static void on_req_task(struct task *t)
{
    h2_call_input(container_of(t, struct h2_call, req_task));
}

static void on_res_task(struct task *t)
{
    struct h2_call *call = container_of(t, struct h2_call, res_task);
    const struct body *b = &call->ex->res_body;
    if (b->state == BODY_STOPPED) {
        h2_call_fail(call, NGHTTP2_CANCEL, END_NOT_WANTED, "the response was not wanted any more");
        return;
    }
    if (body_empty(b)) { /* streams may be silent for long */
        chunk_unref(call->gather);
        call->gather = NULL;
    }
    credit(call);
}

struct h2_call *h2_call_new(struct h2_client *c, struct exchange *ex)
{
    struct h2_call *call = calloc(1, sizeof(*call));
    if (!call) {
        return NULL;
    }
    exchange_hold(ex);
    call->client = c;
    call->ex = ex;
    call->client_received_before = c->received_bytes;
    call->wait = WAIT_STREAM;
    call->since_ms = loop_now_ms(c->loop);
    call->source.drop = drop_response;
    arena_init(&call->interim_arena, EXCHANGE_ARENA_MAX);
    task_init(&call->req_task, on_req_task);
    task_init(&call->res_task, on_res_task);
    task_init(&call->report_task, on_report);
    list_push_back(&c->calls, &call->node);
    c->call_count++;
    return call;
}

struct h2_call *h2_call_find(const struct h2_client *c, int32_t id)
{
    LIST_EACH(node, &c->calls) {
        struct h2_call *call = LIST_ENTRY(node, struct h2_call, node);
        if (call->id == id && !call->over) {
            return call;
        }
    }
    return NULL;
}

/* ---- field sections -------- */

void h2_call_section(struct h2_call *call)
{
    call->head = (struct h2_head){0};
    call->res = (struct response){.content_length = LENGTH_UNKNOWN};
    call->since_ms = loop_now_ms(call->client->loop);
}

/* :status comes first: an interim head has memory of its own. */
static struct arena *arena_for(struct h2_call *call)
{
    return call->res.status / 100 == 1 ? &call->interim_arena : &call->ex->arena;
}

int h2_call_field(struct h2_call *call, struct slice name, struct slice value)
{
    struct h2_head_limits limits = {call->limits.head_bytes_max, call->limits.fields_max};
    enum h2_field_result r =
        call->has_head ? h2_trailer_field(&call->head, &limits, &call->ex->arena,
                                          &call->trailers, name, value)
                       : h2_response_field(&call->head, &limits, arena_for(call), &call->res, name,
                                           value);
    switch (r) {
    case H2_FIELD_OK:
        return 0;
    case H2_FIELD_TOO_MUCH:
        h2_call_fail(call, NGHTTP2_CANCEL, END_ORIGIN_BAD, "the header is too long");
        break;
    case H2_FIELD_NO_MEMORY:
        h2_call_fail(call, NGHTTP2_CANCEL, END_NO_MEMORY, "out of memory");
        break;
    }
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* One interim response (RFC 9110 section 15.2): passed on at once, then forgotten. */
static void take_interim(struct h2_call *call)
{
    if (++call->interims > H2_CLIENT_INTERIM_MAX) {
        h2_call_fail(call, NGHTTP2_CANCEL, END_ORIGIN_BAD, "too many interim responses");
        return;
    }
    fields_strip_hop_by_hop(&call->res.fields);
    exchange_send_interim(call->ex, &call->res);
    arena_fini(&call->interim_arena);
}

static void take_final(struct h2_call *call)
{
    struct exchange *ex = call->ex;
    ex->res = call->res;
    call->has_head = true;
    body_set_producer(&ex->res_body, &call->res_task);
    task_cancel(&call->res_task); /* what was before is known: we are the first */
    ex->source = &call->source;
    call->report_head = true;
    loop_post(call->client->loop, &call->report_task);
}

void h2_call_section_end(struct h2_call *call, bool ended)
{
    const char *why;
    if (!call->has_head) {
        if (!h2_response_finish(&call->res, call->method, ended, &why)) {
            h2_call_fail(call, NGHTTP2_PROTOCOL_ERROR, END_ORIGIN_BAD, why);
            return;
        }
        if (call->res.status < 200) {
            take_interim(call);
            return;
        }
        take_final(call);
    }
    if (ended) {
        h2_call_ended(call);
    }
}

/* ---- content -------- */

void h2_call_data(struct h2_call *call, const char *p, size_t n)
{
    call->received_bytes += n;
    call->since_ms = loop_now_ms(call->client->loop);
    if (!h2_push_content(&call->ex->res_body, &call->gather, p, n)) {
        h2_call_fail(call, NGHTTP2_CANCEL, END_NO_MEMORY, "out of memory");
    } else if (call->ex->res_body.state != BODY_OPEN) {
        credit(call);
    }
}

/* The whole answer is there. An origin that has not read the whole request is told that the rest
 * does not come (RFC 9113 section 8.1). */
void h2_call_ended(struct h2_call *call)
{
    call->ended = true;
    fields_strip_trailers(&call->trailers);
    body_end(&call->ex->res_body, &call->trailers);
    h2_budget_gain(&call->client->budget, H2_GAIN_ANSWERED);
    if (call->body_attached && !call->request_done) {
        (void)nghttp2_submit_rst_stream(call->client->session, NGHTTP2_FLAG_NONE, call->id,
                                        NGHTTP2_NO_ERROR);
    }
    h2_call_over(call, END_NONE, S(""));
}

/* ---- waiting -------- */

static int current_wait(const struct h2_call *call)
{
    if (!call->sent || call->held) {
        return WAIT_STREAM;
    }
    bool stalled = h2_call_stalled(call);
    if (stalled && call->limits.write_idle_ms > 0) {
        return WAIT_WRITE;
    }
    if (!call->has_head) {
        /* While the request body is what we wait for, the origin owes nothing. */
        return call->request_done || !call->body_attached || stalled ? WAIT_HEAD : WAIT_NONE;
    }
    return body_room(&call->ex->res_body) > 0 ? WAIT_BODY : WAIT_NONE;
}

static int64_t limit_of(const struct h2_call *call, int wait)
{
    switch (wait) {
    case WAIT_STREAM: return H2_CLIENT_QUEUE_MS;
    case WAIT_WRITE: return call->limits.write_idle_ms;
    case WAIT_HEAD: return call->limits.response_header_timeout_ms;
    case WAIT_BODY: return call->limits.read_idle_ms;
    default: return 0;
    }
}

void h2_call_waits(struct h2_call *call)
{
    int wait = current_wait(call);
    if (wait != call->wait) {
        call->wait = wait;
        call->since_ms = loop_now_ms(call->client->loop);
    }
}

void h2_call_tick(struct h2_call *call, int64_t now_ms)
{
    static const char *const words[] = {
        [WAIT_NONE] = "",
        [WAIT_STREAM] = "takes no further request for now",
        [WAIT_WRITE] = "took nothing more of the request",
        [WAIT_HEAD] = "did not answer in time",
        [WAIT_BODY] = "stopped sending in the middle of the response",
    };
    if (call->over) {
        return;
    }
    h2_call_waits(call);
    int64_t limit = limit_of(call, call->wait);
    if (call->wait == WAIT_NONE || limit <= 0 || now_ms - call->since_ms < limit) {
        return;
    }
    if (call->held) {
        call->taken = true;
        h2_call_input(call);
    } else {
        h2_call_fail(call, NGHTTP2_CANCEL, END_ORIGIN_SLOW, words[call->wait]);
    }
}
