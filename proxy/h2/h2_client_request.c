/* One call's request: its head, and where nghttp2 gets the content from.
 *
 * In: a struct request, req_body. Out: frames submitted to nghttp2, content handed to the
 * connection's h2_out by reference. */
#include "proxy/h2/h2_client_priv.h"
#include "proxy/h2/h2_fields.h"
#include "proxy/http/chars.h"

#define NV_SPARE 5u /* :method, :scheme, :authority, :path, content-length */

/* ---- the head -------- */

static bool target_valid(struct slice target)
{
    for (size_t i = 0; i < target.n; i++) {
        if (!http_is_target(target.p[i])) {
            return false;
        }
    }
    return target.n > 0;
}

/* Not sent, or said otherwise; of TE only the one value is allowed (RFC 9113 section 8.2.2). */
static bool left_out(const struct field *f)
{
    return h2_field_is_ours(f) || f->id == FIELD_HOST ||
           (f->id == FIELD_TE && !slice_eq_case(slice_trim(f->value), S("trailers")));
}

/* As HTTP/1 does: these say something even without content (RFC 9110 section 8.6). */
static bool says_length(const struct request *out)
{
    return out->content_length > 0 ||
           (out->content_length == 0 && (out->method == METHOD_POST || out->method == METHOD_PUT ||
                                         out->method == METHOD_PATCH));
}

static bool put_pseudo(const struct h2_call *call, const struct request *out, nghttp2_nv *nv,
                       size_t *n)
{
    const struct field *host = fields_find_id(&out->fields, FIELD_HOST);
    if (!field_name_valid(out->method_text) || !target_valid(out->target) ||
        (host && !field_value_valid(host->value))) {
        return false;
    }
    h2_set_nv(&nv[(*n)++], S(":method"), out->method_text);
    h2_set_nv(&nv[(*n)++], S(":scheme"), call->client->stream->tls ? S("https") : S("http"));
    if (host) {
        h2_set_nv(&nv[(*n)++], S(":authority"), slice_trim(host->value));
    }
    h2_set_nv(&nv[(*n)++], S(":path"), out->target);
    return true;
}

/* NULL: memory, or it must not be sent. */
static nghttp2_nv *make_head(const struct h2_call *call, const struct request *out,
                             struct arena *a, char length[H2_NUMBER_BYTES], size_t *n)
{
    nghttp2_nv *nv = arena_alloc(a, (out->fields.count + NV_SPARE) * sizeof(*nv));
    *n = 0;
    if (!nv || !put_pseudo(call, out, nv, n)) {
        return NULL;
    }
    for (unsigned i = 0; i < out->fields.count; i++) {
        const struct field *f = &out->fields.items[i];
        if (!left_out(f) && !h2_put_field(&nv[(*n)++], a, f)) {
            return NULL;
        }
    }
    if (says_length(out)) {
        h2_set_nv(&nv[(*n)++], S("content-length"),
                  h2_put_number(length, (uint64_t)out->content_length));
    }
    return nv;
}

/* ---- content -------- */

/* The trailers behind the content; false: none, END_STREAM goes with the content. */
static bool submit_trailers(struct h2_call *call)
{
    struct exchange *ex = call->ex;
    struct fields *trailers = &ex->req_body.trailers;
    fields_strip_request_trailers(trailers, &ex->req.fields);
    if (trailers->count == 0) {
        return false;
    }
    nghttp2_nv *nv = arena_alloc(&ex->arena, trailers->count * sizeof(*nv));
    size_t n = 0;
    for (unsigned i = 0; nv && i < trailers->count; i++) {
        if (!h2_field_is_ours(&trailers->items[i]) &&
            !h2_put_field(&nv[n++], &ex->arena, &trailers->items[i])) {
            return false;
        }
    }
    return n > 0 && nghttp2_submit_trailer(call->client->session, call->id, nv, n) == 0;
}

/* Is what is taken now (last: and nothing behind it) another length than was promised? */
static bool length_broken(const struct h2_call *call, size_t now, bool last)
{
    uint64_t sent = call->request_sent + now;
    return call->request_length >= 0 &&
           (sent > (uint64_t)call->request_length ||
            (last && sent < (uint64_t)call->request_length));
}

/* Content that was sent is gone for good, so it waits until the origin is known to take the stream:
 * for its SETTINGS, if no earlier connection has told its limit, and for the calls in front of it
 * to end, if these are as many as it allows (then it is about to be refused). An origin may also
 * let such a stream be (RFC 9113 section 5.1.2), so that h2_call_tick ends the waiting. */
static bool held_back(const struct h2_call *call)
{
    const struct h2_client *c = call->client;
    if (call->taken) {
        return false;
    }
    if (!c->has_settings) {
        return c->streams_hint == 0;
    }
    unsigned most = h2_client_streams_said(c);
    unsigned in_front = 0;
    if (c->call_count <= most) {
        return false;
    }
    LIST_EACH(node, &c->calls) { /* in the order of their streams */
        const struct h2_call *other = LIST_ENTRY(node, struct h2_call, node);
        if (other == call) {
            break;
        }
        in_front += !other->over;
    }
    return in_front >= most;
}

/* nghttp2 asks how much content the next DATA frame has (nghttp2_data_source_read_callback). A body
 * that was cut off has posted req_task, which resets the stream. */
static ssize_t read_content(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                            uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)buf;
    (void)source;
    (void)user;
    struct h2_call *call = nghttp2_session_get_stream_user_data(session, id);
    if (!call || !call->body_attached) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    struct body *b = &call->ex->req_body;
    size_t n = b->queued_bytes < length ? b->queued_bytes : length;
    bool last = b->state == BODY_ENDED && n == b->queued_bytes;
    bool ready = n > 0 || last;
    if (!ready || held_back(call)) {
        call->deferred = true;
        call->held = ready;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (length_broken(call, n, last)) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (n > 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    }
    if (last) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (submit_trailers(call)) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        }
    }
    return (ssize_t)n;
}

int h2_call_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                      size_t length, nghttp2_data_source *source, void *user)
{
    (void)source;
    struct h2_client *c = user;
    struct h2_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (h2_out_full(&c->out)) {
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    if (!call || !call->body_attached || call->ex->req_body.queued_bytes < length) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* stopped between the look and now */
    }
    call->request_sent += length;
    call->since_ms = loop_now_ms(c->loop);
    if (!h2_put_data(&c->out, &call->ex->req_body, head, length)) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (length >= H2_CRUMB_BYTES) {
        h2_budget_gain(&c->budget, H2_GAIN_CONTENT);
    }
    return 0;
}

bool h2_call_stalled(const struct h2_call *call)
{
    nghttp2_session *session = call->client->session;
    if (!call->body_attached || !call->sent || call->request_done || call->deferred ||
        body_empty(&call->ex->req_body)) {
        return false;
    }
    return call->client->blocked || nghttp2_session_get_remote_window_size(session) <= 0 ||
           nghttp2_session_get_stream_remote_window_size(session, call->id) <= 0;
}

/* An aborted body is looked at even while the origin takes nothing. */
void h2_call_input(struct h2_call *call)
{
    const struct body *b = &call->ex->req_body;
    if (!call->body_attached || call->request_done) {
        return;
    }
    if (b->state == BODY_ABORTED || b->state == BODY_STOPPED) {
        h2_call_fail(call, NGHTTP2_CANCEL, b->reason, "the request was cut off");
    } else if (call->deferred) {
        call->deferred = call->held = false;
        (void)nghttp2_session_resume_data(call->client->session, call->id);
        h2_client_wake(call->client);
    }
}

void h2_call_detach(struct h2_call *call, enum end_reason reason)
{
    if (!call->body_attached) {
        return;
    }
    call->body_attached = call->held = false;
    body_set_consumer(&call->ex->req_body, NULL);
    task_cancel(&call->req_task);
    if (reason != END_NONE) {
        body_stop(&call->ex->req_body, reason);
    }
}

/* ---- the whole -------- */

int h2_call_submit(struct h2_call *call, const struct request *out)
{
    struct arena arena; /* nghttp2 copies; many attempts must not fill the exchange's */
    char length[H2_NUMBER_BYTES];
    size_t n;
    nghttp2_data_provider content = {.source = {.ptr = NULL}, .read_callback = read_content};
    bool has_body = out->content_length != 0;
    arena_init(&arena, EXCHANGE_ARENA_MAX);
    nghttp2_nv *nv = make_head(call, out, &arena, length, &n);
    int32_t id = nv ? nghttp2_submit_request(call->client->session, NULL, nv, n,
                                             has_body ? &content : NULL, call)
                    : NGHTTP2_ERR_INVALID_ARGUMENT;
    arena_fini(&arena);
    if (id < 0) {
        return id;
    }
    call->id = id;
    call->method = out->method;
    call->request_length = out->content_length;
    if (has_body) {
        struct iovec unused;
        call->body_attached = true;
        body_set_consumer(&call->ex->req_body, &call->req_task);
        task_cancel(&call->req_task); /* nghttp2 looks by itself the first time */
        (void)body_peek(&call->ex->req_body, &unused, 1); /* somebody waits for it */
    }
    return 0;
}
