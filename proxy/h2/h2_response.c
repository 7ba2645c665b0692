/* One stream's response: the codec's operations, and where nghttp2 gets the content from.
 *
 * In: ex->res, exchange_out, interim responses. Out: frames submitted to nghttp2, content handed to
 * the connection's h2_out by reference. */
#include "proxy/h2/h2_fields.h"
#include "proxy/h2/h2_priv.h"

#include "proxy/loop/loop.h"

#define NV_SPARE 4u /* :status, date, content-length */

static struct h2_stream *stream_of(const struct exchange *ex)
{
    return container_of((uintptr_t)ex->codec, struct h2_stream, ops);
}

/* ---- heads -------- */

/* What the opening handshake of a WebSocket has over HTTP/1.1 only (RFC 8441 section 5). */
static bool is_handshake(const struct field *f)
{
    return f->id == FIELD_OTHER && slice_eq_case(f->name, S("sec-websocket-accept"));
}

/* Fields as they go out, from nv on; how many, or SIZE_MAX if one must not be written (an error of
 * ours or of an origin's parser: checked once more) or memory is out. */
static size_t put_fields(nghttp2_nv *nv, struct arena *a, const struct fields *fields, bool tunnel,
                         bool *has_date)
{
    size_t n = 0;
    for (unsigned i = 0; i < fields->count; i++) {
        const struct field *f = &fields->items[i];
        if (h2_field_is_ours(f) || (tunnel && is_handshake(f))) {
            continue;
        }
        if (!h2_put_field(&nv[n++], a, f)) {
            return SIZE_MAX;
        }
        *has_date |= f->id == FIELD_DATE;
    }
    return n;
}

/* The list for a response; *n pairs; NULL: memory, or it must not be sent. Valid until the next
 * change of numbers. date: empty: none is added. */
struct numbers {
    char status[H2_NUMBER_BYTES];
    char length[H2_NUMBER_BYTES];
};

static nghttp2_nv *make_head(struct exchange *ex, const struct response *res, bool tunnel,
                             struct slice date, struct numbers *numbers, size_t *n)
{
    nghttp2_nv *nv = arena_alloc(&ex->arena, (res->fields.count + NV_SPARE) * sizeof(*nv));
    if (!nv || res->status < 100 || res->status > 999) {
        return NULL;
    }
    bool has_date = false;
    unsigned status = tunnel ? 200 : (unsigned)res->status;
    h2_set_nv(&nv[0], S(":status"), h2_put_number(numbers->status, status));
    size_t count = put_fields(nv + 1, &ex->arena, &res->fields, tunnel, &has_date);
    if (count == SIZE_MAX) {
        return NULL;
    }
    *n = count + 1;
    if (!has_date && date.n) {
        h2_set_nv(&nv[(*n)++], S("date"), date);
    }
    if (!tunnel && res->status >= 200 && res->status != 204 && res->content_length >= 0) {
        h2_set_nv(&nv[(*n)++], S("content-length"),
               h2_put_number(numbers->length, (uint64_t)res->content_length));
    }
    return nv;
}

/* ---- content -------- */

/* The trailers behind the content; false: none, END_STREAM goes with the content. */
static bool submit_trailers(struct h2_stream *s)
{
    struct exchange *ex = s->ex;
    struct fields *trailers = &exchange_out(ex)->trailers;
    fields_strip_trailers(trailers);
    if (trailers->count == 0) {
        return false;
    }
    bool unused = false;
    nghttp2_nv *nv = arena_alloc(&ex->arena, trailers->count * sizeof(*nv));
    size_t n = nv ? put_fields(nv, &ex->arena, trailers, false, &unused) : SIZE_MAX;
    return n != SIZE_MAX && n > 0 &&
           nghttp2_submit_trailer(s->server->session, s->id, nv, n) == 0;
}

static bool length_broken(const struct exchange *ex, size_t now, bool last)
{
    int64_t promised = ex->res.content_length;
    uint64_t sent = ex->sent_bytes + now;
    return !ex->res.tunnel && promised >= 0 &&
           (sent > (uint64_t)promised || (last && sent < (uint64_t)promised));
}

/* nghttp2 asks how much content the next DATA frame has (nghttp2_data_source_read_callback). */
static ssize_t read_content(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                            uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)buf;
    (void)source;
    (void)user;
    /* Not by a pointer in source: the stream may be gone before nghttp2 knows. */
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (!s || !s->ex) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    struct body *b = exchange_out(s->ex);
    size_t n = b->queued_bytes < length ? b->queued_bytes : length;
    bool last = b->state == BODY_ENDED && n == b->queued_bytes;
    if (n == 0 && b->state == BODY_OPEN) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if ((n == 0 && !last) || length_broken(s->ex, n, last)) {
        s->cut = true;
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (n > 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    }
    if (last) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (submit_trailers(s)) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        }
    }
    return (ssize_t)n;
}

int h2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t length,
                 nghttp2_data_source *source, void *user)
{
    (void)source;
    struct h2_server *c = user;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (h2_out_full(&c->out)) {
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    if (!s || !s->ex || exchange_out(s->ex)->queued_bytes < length) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* stopped between the look and now */
    }
    s->ex->sent_bytes += length;
    s->out_progress_ms = loop_now_ms(c->loop);
    if (!h2_put_data(&c->out, exchange_out(s->ex), head, length)) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (length >= H2_CRUMB_BYTES) {
        h2_budget_gain(&c->budget, H2_GAIN_CONTENT);
    }
    return 0;
}

void h2_stream_output(struct h2_stream *s)
{
    if (s->ex && s->started && s->deferred) {
        s->deferred = false;
        (void)nghttp2_session_resume_data(s->server->session, s->id);
        h2_wake(s->server);
    }
}

/* ---- ends -------- */

void h2_stream_reset(struct h2_stream *s, uint32_t code)
{
    (void)nghttp2_submit_rst_stream(s->server->session, NGHTTP2_FLAG_NONE, s->id, code);
    h2_wake(s->server);
}

void h2_stream_bare(struct h2_stream *s, int status)
{
    must(!s->ex && !s->started);
    char digits[H2_NUMBER_BYTES];
    nghttp2_nv nv[2];
    h2_set_nv(&nv[0], S(":status"), h2_put_number(digits, (unsigned)status));
    h2_set_nv(&nv[1], S("content-length"), S("0"));
    s->started = true;
    if (nghttp2_submit_response(s->server->session, s->id, nv, 2, NULL) != 0) {
        h2_stream_reset(s, NGHTTP2_INTERNAL_ERROR);
    }
    h2_wake(s->server);
}

/* The whole answer is out. A client that still sends is told to stop, without an error (RFC 9113
 * section 8.1); of a tunnel the other direction goes on. */
void h2_stream_response_done(struct h2_stream *s)
{
    s->response_done = true;
    if (s->tunnel && !s->request_done) {
        return;
    }
    h2_stream_finish(s, END_NONE, false);
    if (!s->request_done) {
        h2_stream_reset(s, NGHTTP2_NO_ERROR);
    }
}

/* ---- the codec's operations -------- */

static void answer_instead(struct h2_stream *s, int status, enum end_reason reason)
{
    h2_stream_finish(s, reason, true);
    h2_stream_bare(s, status);
}

/* A WebSocket's client takes any 2xx for success: an origin that answered without switching must
 * not look like one that did. */
static bool tunnel_mismatch(const struct exchange *ex)
{
    return ex->res.tunnel ? !ex->req.upgrade
                          : ex->req.upgrade && ex->res.status >= 200 && ex->res.status < 300;
}

static bool ends_with_head(const struct exchange *ex)
{
    const struct body *b = exchange_out(ex);
    return !ex->res.tunnel && (!http_status_has_body(exchange_client_method(ex), ex->res.status) ||
                               (body_finished(b) && b->trailers.count == 0));
}

static void op_start_response(struct exchange *ex)
{
    struct h2_stream *s = stream_of(ex);
    struct h2_server *c = s->server;
    struct numbers numbers;
    size_t n;
    if (tunnel_mismatch(ex)) {
        answer_instead(s, 502, END_ORIGIN_BAD);
        return;
    }
    nghttp2_nv *nv =
        make_head(ex, &ex->res, ex->res.tunnel, loop_http_date(c->loop), &numbers, &n);
    if (!nv) {
        answer_instead(s, 500, END_INTERNAL);
        return;
    }
    bool bare = ends_with_head(ex);
    nghttp2_data_provider content = {.source = {.ptr = NULL}, .read_callback = read_content};
    if (nghttp2_submit_response(c->session, s->id, nv, n, bare ? NULL : &content) != 0) {
        h2_stream_finish(s, END_NO_MEMORY, false);
        h2_stream_reset(s, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    if (fields_have_token(&ex->res.fields, FIELD_CONNECTION, S("close"))) {
        h2_server_drain(c); /* somebody wants the client on a new connection */
    }
    s->started = true;
    c->deadlines |= ex->write_deadline_ms > 0;
    s->tunnel = ex->res.tunnel;
    s->out_progress_ms = loop_now_ms(c->loop);
    if (!bare) {
        struct iovec unused;
        body_set_consumer(exchange_out(ex), &s->out_task);
        task_cancel(&s->out_task);            /* nghttp2 looks by itself the first time */
        (void)body_peek(exchange_out(ex), &unused, 1); /* somebody waits */
    }
    h2_wake(c);
}

static void op_send_interim(struct exchange *ex, const struct response *interim)
{
    struct h2_stream *s = stream_of(ex);
    struct numbers numbers;
    size_t n;
    if (s->started || s->interims >= H2_INTERIM_MAX || interim->status < 100 ||
        interim->status > 199 || interim->status == 101 ||
        (interim->status == 100 && s->continue_sent)) {
        return;
    }
    nghttp2_nv *nv = make_head(ex, interim, false, slice_of(NULL, 0), &numbers, &n);
    if (nv && nghttp2_submit_headers(s->server->session, NGHTTP2_FLAG_NONE, s->id, NULL, nv, n,
                                     NULL) == 0) {
        s->interims++;
        s->continue_sent = s->continue_sent || interim->status == 100;
        h2_wake(s->server);
    }
}

void h2_stream_maybe_continue(struct h2_stream *s)
{
    const struct exchange *ex = s->ex;
    if (ex->req.expect_continue && !s->continue_sent && !s->started && !s->request_done &&
        ex->req_body.wanted && s->received_bytes == 0) {
        struct response r = {.status = 100, .content_length = LENGTH_UNKNOWN};
        op_send_interim(s->ex, &r);
    }
}

static uint32_t code_of(enum end_reason reason)
{
    switch (reason) {
    case END_CLIENT_GONE:
    case END_CLIENT_SLOW: return NGHTTP2_CANCEL;
    case END_CLIENT_BAD: return NGHTTP2_PROTOCOL_ERROR;
    case END_TOO_LARGE:
    case END_NOT_WANTED: return NGHTTP2_NO_ERROR;
    default: return NGHTTP2_INTERNAL_ERROR;
    }
}

static void op_reset(struct exchange *ex, enum end_reason reason)
{
    struct h2_stream *s = stream_of(ex);
    h2_stream_finish(s, reason, false);
    h2_stream_reset(s, code_of(reason));
}

const struct exchange_codec h2_stream_ops = {
    .start_response = op_start_response,
    .send_interim = op_send_interim,
    .reset = op_reset,
};
