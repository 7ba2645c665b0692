/* One stream's request: its fields, its content, its end, and how long we wait for it.
 *
 * In: what h2_session.c reports. Out: an exchange begun on the service, req_body filled and ended;
 * window credit as the content is consumed. */
#include <stdlib.h>

#include "proxy/h2/h2_priv.h"

/* Past so many times the limit a field section is not even decoded for our sake any more. */
#define HOPELESS 4

/* One of its exchanges has deadlines: the connection looks more often from now on. */
static void note_deadlines(struct h2_stream *s)
{
    s->server->deadlines |= s->ex->body_deadline_ms || s->ex->write_deadline_ms;
}

static void on_body_task(struct task *t)
{
    struct h2_stream *s = container_of(t, struct h2_stream, body_task);
    if (s->ex) {
        note_deadlines(s);
        h2_stream_maybe_continue(s);
        if (body_empty(&s->ex->req_body)) { /* tunnels are silent most of the time */
            chunk_unref(s->gather);
            s->gather = NULL;
        }
    }
    h2_stream_credit(s);
    h2_wake(s->server);
}

static void on_out_task(struct task *t)
{
    h2_stream_output(container_of(t, struct h2_stream, out_task));
}

struct h2_stream *h2_stream_new(struct h2_server *c, int32_t id)
{
    struct h2_stream *s = calloc(1, sizeof(*s));
    if (!s) {
        return NULL;
    }
    s->ops = h2_stream_ops;
    s->server = c;
    s->id = id;
    s->ex = exchange_new(c->loop, loop_queue(c->loop), &s->ops, c->service, &c->client);
    if (!s->ex) {
        free(s);
        return NULL;
    }
    list_init(&s->fresh);
    list_push_back(&c->streams, &s->node);
    task_init(&s->body_task, on_body_task);
    task_init(&s->out_task, on_out_task);
    c->stream_count++;
    return s;
}

void h2_stream_finish(struct h2_stream *s, enum end_reason reason, bool gone)
{
    struct exchange *ex = s->ex;
    if (!ex) {
        return;
    }
    s->ex = NULL;
    list_remove(&s->fresh);
    task_cancel(&s->body_task);
    task_cancel(&s->out_task);
    if (!s->begun) {
        exchange_release(ex);
    } else {
        ex->received_bytes = ex->req_body.pushed_bytes;
        if (gone) {
            exchange_client_gone(ex, reason);
        } else {
            exchange_finish(ex, reason);
        }
    }
    chunk_unref(s->gather);
    s->gather = NULL;
    h2_stream_credit(s);
}

void h2_stream_free(struct h2_stream *s, enum end_reason reason)
{
    struct h2_server *c = s->server;
    h2_stream_finish(s, reason, reason != END_NONE && !s->cut);
    task_cancel(&s->body_task);
    task_cancel(&s->out_task);
    list_remove(&s->node);
    free(s);
    if (--c->stream_count == 0) {
        c->idle_since_ms = loop_now_ms(c->loop);
    }
    h2_wake(c);
}

/* ---- fields -------- */

static int refuse_field(struct h2_stream *s, uint32_t code)
{
    (void)nghttp2_submit_rst_stream(s->server->session, NGHTTP2_FLAG_NONE, s->id, code);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int too_much(struct h2_stream *s)
{
    if (s->in_trailers || s->head.bytes / HOPELESS > s->server->limits->head_bytes_max) {
        h2_charge(s->server, H2_COST_REFUSED);
        return refuse_field(s, NGHTTP2_ENHANCE_YOUR_CALM);
    }
    s->refusal = 431;
    return 0;
}

int h2_stream_field(struct h2_stream *s, struct slice name, struct slice value)
{
    const struct h2_server_limits *l = s->server->limits;
    struct h2_head_limits limits = {l->head_bytes_max, l->fields_max};
    struct exchange *ex = s->ex;
    if (!ex) {
        return 0;
    }
    enum h2_field_result r =
        s->in_trailers
            ? h2_trailer_field(&s->head, &limits, &ex->arena, &s->trailers, name, value)
            : h2_head_field(&s->head, &limits, &ex->arena, &ex->req, name, value);
    switch (r) {
    case H2_FIELD_OK: return 0;
    case H2_FIELD_TOO_MUCH: return too_much(s);
    case H2_FIELD_NO_MEMORY: break;
    }
    return refuse_field(s, NGHTTP2_INTERNAL_ERROR);
}

/* ---- the head -------- */

/* By RFC 9218 answers of the same urgency are sent one after the other. That is for clients that
 * know it: where the request has no priority, a small answer must not wait for a huge one. */
static void share_fairly(const struct h2_stream *s)
{
    static const nghttp2_extpri fair = {NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
    if (!fields_find(&s->ex->req.fields, S("priority"))) {
        (void)nghttp2_session_change_extpri_stream_priority(s->server->session, s->id, &fair, 0);
    }
}

void h2_stream_head(struct h2_stream *s, bool ended)
{
    struct h2_server *c = s->server;
    struct exchange *ex = s->ex;
    const char *why = NULL;
    s->request_done = ended;
    if (!ex || c->calm) {
        return;
    }
    int status = s->refusal;
    if (!status) {
        status = h2_head_finish(&s->head, &ex->arena, &ex->req, c->scheme, ended, &why);
    }
    if (status) {
        h2_charge(c, H2_COST_REFUSED);
        h2_stream_finish(s, END_CLIENT_BAD, true);
        h2_stream_bare(s, status);
        return;
    }
    share_fairly(s);
    s->body_progress_ms = loop_now_ms(c->loop);
    list_push_back(&c->fresh, &s->fresh);
    if (ended) {
        body_end(&ex->req_body, NULL);
    }
}

void h2_stream_begin(struct h2_stream *s)
{
    list_remove(&s->fresh);
    s->begun = true;
    if (!s->request_done) {
        body_set_producer(&s->ex->req_body, &s->body_task);
        task_cancel(&s->body_task); /* what was before is known */
    }
    exchange_begin(s->ex);
}

/* ---- content -------- */

void h2_stream_data(struct h2_stream *s, const char *p, size_t n)
{
    s->received_bytes += n;
    s->body_progress_ms = loop_now_ms(s->server->loop);
    if (s->ex && !h2_push_content(&s->ex->req_body, &s->gather, p, n)) {
        h2_stream_finish(s, END_NO_MEMORY, true);
        h2_stream_reset(s, NGHTTP2_INTERNAL_ERROR);
    }
    if (!s->ex || s->ex->req_body.state == BODY_STOPPED) {
        h2_stream_credit(s);
    }
}

void h2_stream_ended(struct h2_stream *s)
{
    s->request_done = true;
    if (!s->ex) {
        return;
    }
    fields_strip_trailers(&s->trailers);
    body_end(&s->ex->req_body, &s->trailers);
    if (s->tunnel && s->response_done) {
        h2_stream_finish(s, END_NONE, false);
    }
}

/* Bytes that nobody will consume any more count as consumed for the connection; a stream whose
 * content is not wanted gets no window, so that its client stops. */
void h2_stream_credit(struct h2_stream *s)
{
    struct h2_server *c = s->server;
    bool dropped = !s->ex || s->ex->req_body.state == BODY_STOPPED;
    uint64_t upto = dropped ? s->received_bytes : s->ex->req_body.consumed_bytes;
    if (upto <= s->credited_bytes) {
        return;
    }
    size_t n = (size_t)(upto - s->credited_bytes);
    s->credited_bytes = upto;
    c->uncredited_bytes -= n;
    (void)nghttp2_session_consume_connection(c->session, n);
    if (!dropped && !s->request_done) {
        (void)nghttp2_session_consume_stream(c->session, s->id, n);
    }
    h2_wake(c);
}

/* ---- waiting for it -------- */

bool h2_stream_body_wanted(const struct h2_stream *s)
{
    return s->ex && s->begun && !s->request_done && !s->tunnel && !s->ex->req.upgrade &&
           s->ex->req_body.wanted && s->ex->req_body.state == BODY_OPEN &&
           body_empty(&s->ex->req_body) &&
           s->server->uncredited_bytes < H2_CONNECTION_WINDOW / 2;
}

static void body_too_slow(struct h2_stream *s)
{
    bool started = s->started;
    h2_stream_finish(s, END_CLIENT_SLOW, true);
    if (started) {
        h2_stream_reset(s, NGHTTP2_CANCEL);
    } else {
        h2_stream_bare(s, 408);
    }
}

/* The clock of the least rate runs only while the client is the one waited for. */
static bool rate_too_low(struct h2_stream *s, int64_t now_ms, bool wanted)
{
    if (s->body_wait_since_ms) {
        s->body_waited_ms += now_ms - s->body_wait_since_ms;
    }
    s->body_wait_since_ms = wanted ? now_ms : 0;
    uint64_t least = s->server->limits->body_min_rate;
    return least && wanted && s->body_waited_ms >= H2_RATE_GRACE_MS &&
           s->received_bytes / ((uint64_t)s->body_waited_ms / 1000) < least;
}

/* Does the client leave a window for the content there is? */
static bool has_window(const struct h2_stream *s)
{
    nghttp2_session *session = s->server->session;
    return nghttp2_session_get_remote_window_size(session) > 0 &&
           nghttp2_session_get_stream_remote_window_size(session, s->id) > 0;
}

static bool is_past(int64_t deadline_ms, int64_t now_ms)
{
    return deadline_ms && now_ms >= deadline_ms;
}

void h2_stream_tick(struct h2_stream *s, int64_t now_ms)
{
    const struct h2_server_limits *l = s->server->limits;
    if (!s->ex || s->tunnel) {
        return;
    }
    bool wanted = h2_stream_body_wanted(s);
    note_deadlines(s);
    if (!wanted) {
        s->body_progress_ms = now_ms;
    }
    if (rate_too_low(s, now_ms, wanted) ||
        (wanted && l->body_idle_ms > 0 && now_ms - s->body_progress_ms >= l->body_idle_ms) ||
        (wanted && is_past(s->ex->body_deadline_ms, now_ms))) {
        body_too_slow(s);
        return;
    }
    bool stalled = s->started && !s->deferred && !body_empty(exchange_out(s->ex)) && !has_window(s);
    if (!stalled) {
        s->out_progress_ms = now_ms;
    }
    if ((stalled && l->write_idle_ms > 0 && now_ms - s->out_progress_ms >= l->write_idle_ms) ||
        is_past(s->ex->write_deadline_ms, now_ms)) {
        h2_stream_finish(s, END_CLIENT_SLOW, true);
        h2_stream_reset(s, NGHTTP2_CANCEL);
    }
}
