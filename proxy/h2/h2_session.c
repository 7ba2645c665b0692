/* What nghttp2 reports about one connection, and how its session is set up.
 *
 * In: callbacks from nghttp2_session_mem_recv and _mem_send. Out: calls of the stream's functions,
 * points in the budget. Nothing here writes, and no stream is freed but in on_stream_close. */
#include "proxy/h2/h2_priv.h"

static struct h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* ---- field sections -------- */

static void note_opened(struct h2_server *c, int32_t id)
{
    if (id > c->last_id + 2) {
        c->skipped_id = c->last_id;
        c->skipped_to = id;
    }
    c->last_id = id;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_server *c = user;
    if (frame->hd.type != NGHTTP2_HEADERS) {
        return 0;
    }
    c->head_since_ms = loop_now_ms(c->loop);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        c->head = stream_of(session, frame->hd.stream_id);
        if (c->head) {
            c->head->in_trailers = true;
            c->head->head.bytes = 0;
            c->head->head.count = 0;
        }
        return 0;
    }
    note_opened(c, frame->hd.stream_id);
    c->head = h2_stream_new(c, frame->hd.stream_id);
    if (!c->head) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, c->head);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    (void)session;
    (void)flags;
    struct h2_server *c = user;
    if (!c->head || c->head->id != frame->hd.stream_id || c->calm) {
        return 0;
    }
    return h2_stream_field(c->head, slice_of(name, name_n), slice_of(value, value_n));
}

/* A field that nghttp2 would only leave out (a control byte in its value, white space around it):
 * the request is malformed (RFC 9113 section 8.2.1). */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_n, const uint8_t *value,
                             size_t value_n, uint8_t flags, void *user)
{
    (void)session;
    (void)frame;
    (void)name;
    (void)name_n;
    (void)value;
    (void)value_n;
    (void)flags;
    (void)user;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* ---- frames -------- */

static bool reset_by_us(const struct h2_server *c, int32_t id)
{
    if (c->reset_count > H2_RESETS_KEPT) {
        return true; /* perhaps: so many are not all remembered */
    }
    for (unsigned i = 0; i < c->reset_count; i++) {
        if (c->resets[i] == id) {
            return true;
        }
    }
    return false;
}

/* nghttp2 lets frames for closed streams pass in silence. That is right where we have closed them;
 * a client that has done so itself breaks the protocol (RFC 9113 section 5.1), and so does one that
 * opens a stream below the newest (5.1.1). */
static void check_closed(nghttp2_session *session, struct h2_server *c, const nghttp2_frame_hd *hd)
{
    int32_t id = hd->stream_id;
    if (id > c->last_id || id % 2 == 0 || nghttp2_session_find_stream(session, id) ||
        reset_by_us(c, id)) {
        return;
    }
    bool never = id > c->skipped_id && id < c->skipped_to;
    (void)nghttp2_session_terminate_session(session, never ? NGHTTP2_PROTOCOL_ERROR
                                                           : NGHTTP2_STREAM_CLOSED);
}

void h2_session_frame(struct h2_server *c, const nghttp2_frame_hd *hd)
{
    nghttp2_session *session = c->session;
    switch (hd->type) {
    case NGHTTP2_DATA:
        check_closed(session, c, hd);
        if (hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM)) {
            h2_charge(c, H2_COST_EMPTY);
        }
        break;
    case NGHTTP2_CONTINUATION:
        h2_charge(c, hd->length == 0 ? H2_COST_EMPTY : H2_COST_CONTROL);
        break;
    case NGHTTP2_SETTINGS:
        h2_charge(c, hd->flags & NGHTTP2_FLAG_ACK ? H2_COST_CONTROL : H2_COST_SETTINGS);
        break;
    case NGHTTP2_HEADERS:
        check_closed(session, c, hd);
        break;
    case NGHTTP2_PRIORITY:
        if (hd->stream_id == 0) { /* nghttp2 looks at none of these any more */
            (void)nghttp2_session_terminate_session(session, NGHTTP2_PROTOCOL_ERROR);
        }
        h2_charge(c, H2_COST_CONTROL);
        break;
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_WINDOW_UPDATE:
        break;
    default:
        h2_charge(c, H2_COST_CONTROL);
        break;
    }
}

static void headers_received(struct h2_server *c, struct h2_stream *s, const nghttp2_frame *frame)
{
    bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    c->head_since_ms = 0;
    c->head = NULL;
    if (!s) {
        return;
    }
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        h2_stream_head(s, ended);
    } else if (ended) {
        h2_stream_ended(s);
    }
}

/* The client takes its request back: honest where it has seen the beginning of the answer, costly
 * where all was in vain (CVE-2023-44487). */
static void reset_received(struct h2_server *c, const struct h2_stream *s)
{
    if (!s || !s->started) {
        h2_charge(c, H2_COST_RESET);
    }
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_server *c = user;
    struct h2_stream *s = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id) : NULL;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        headers_received(c, s, frame);
        break;
    case NGHTTP2_DATA:
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
            if (s) {
                h2_stream_ended(s);
            }
        } else if (frame->hd.length > 0 && frame->data.padlen >= frame->hd.length) {
            h2_charge(c, H2_COST_EMPTY); /* nothing but padding */
        }
        break;
    case NGHTTP2_RST_STREAM:
        reset_received(c, s);
        break;
    case NGHTTP2_SETTINGS:
        c->has_settings = true;
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) && c->notice_ms) {
            c->notice_ms = 1; /* long ago: the second GOAWAY is due */
        }
        break;
    default:
        break;
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *user)
{
    (void)flags;
    struct h2_server *c = user;
    struct h2_stream *s = stream_of(session, id);
    if (!s) {
        (void)nghttp2_session_consume_connection(session, n);
        return 0;
    }
    c->uncredited_bytes += n;
    h2_stream_data(s, (const char *)p, n);
    return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *user)
{
    (void)session;
    struct h2_server *c = user;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        c->head_since_ms = 0;
        c->head = NULL;
    }
    h2_charge(c, error == NGHTTP2_ERR_REFUSED_STREAM ? H2_COST_REFUSED : H2_COST_BAD);
    return 0;
}

/* ---- what goes out -------- */

static void note_reset(struct h2_server *c, const nghttp2_frame *frame)
{
    c->resets[c->reset_count % H2_RESETS_KEPT] = frame->hd.stream_id;
    if (c->reset_count <= H2_RESETS_KEPT) {
        c->reset_count++;
    }
    switch (frame->rst_stream.error_code) {
    case NGHTTP2_NO_ERROR:
    case NGHTTP2_CANCEL:
    case NGHTTP2_INTERNAL_ERROR:
        break;
    default:
        h2_charge(c, H2_COST_BAD); /* whatever it was, the client made us do it */
        break;
    }
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_server *c = user;
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        note_reset(c, frame);
        return 0;
    }
    if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        struct h2_stream *s = stream_of(session, frame->hd.stream_id);
        if (s) {
            h2_stream_response_done(s);
        }
    }
    return 0;
}

/* A head that could not be sent (too large, memory): nothing else will end its stream. */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error,
                             void *user)
{
    (void)session;
    struct h2_server *c = user;
    if (frame->hd.type == NGHTTP2_HEADERS && error != NGHTTP2_ERR_STREAM_CLOSED &&
        error != NGHTTP2_ERR_STREAM_CLOSING) {
        (void)nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                        NGHTTP2_INTERNAL_ERROR);
    }
    return 0;
}

/* How much content the next frame carries. Windows of a few bytes would make us send the content in
 * crumbs: that is paid for. */
static ssize_t frame_length(nghttp2_session *session, uint8_t type, int32_t id,
                            int32_t connection_window, int32_t stream_window, uint32_t frame_max,
                            void *user)
{
    (void)session;
    (void)type;
    (void)id;
    struct h2_server *c = user;
    int32_t window = connection_window < stream_window ? connection_window : stream_window;
    if (window < H2_CRUMB_BYTES) {
        h2_charge(c, H2_COST_DRIBBLE);
    }
    uint32_t most = frame_max < CHUNK_BYTES ? frame_max : (uint32_t)CHUNK_BYTES;
    return window < (int32_t)most ? window : (ssize_t)most;
}

static enum end_reason reason_of(const struct h2_stream *s, uint32_t code)
{
    if (s->cut && s->ex && exchange_out(s->ex)->state == BODY_ABORTED) {
        return exchange_out(s->ex)->reason;
    }
    switch (code) {
    case NGHTTP2_NO_ERROR:
        return s->response_done && s->request_done ? END_NONE : END_CLIENT_GONE;
    case NGHTTP2_PROTOCOL_ERROR:
    case NGHTTP2_FLOW_CONTROL_ERROR:
    case NGHTTP2_STREAM_CLOSED:
        return END_CLIENT_BAD;
    case NGHTTP2_INTERNAL_ERROR:
        return END_INTERNAL;
    default:
        return END_CLIENT_GONE;
    }
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct h2_server *c = user;
    struct h2_stream *s = stream_of(session, id);
    if (!s) {
        return 0;
    }
    nghttp2_session_set_stream_user_data(session, id, NULL);
    if (c->head == s) {
        c->head = NULL;
        c->head_since_ms = 0;
    }
    if (s->response_done && s->request_done && code == NGHTTP2_NO_ERROR) {
        h2_budget_gain(&c->budget, H2_GAIN_ANSWERED);
    }
    h2_stream_free(s, reason_of(s, code));
    return 0;
}

/* ---- set-up -------- */

static void set_callbacks(nghttp2_session_callbacks *k)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(k, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(k, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(k, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(k, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(k, on_data);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(k, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(k, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(k, on_frame_not_send);
    nghttp2_session_callbacks_set_data_source_read_length_callback(k, frame_length);
    nghttp2_session_callbacks_set_send_data_callback(k, h2_send_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(k, on_stream_close);
}

static void set_options(nghttp2_option *o)
{
    h2_common_options(o);
    nghttp2_option_set_builtin_recv_extension_type(o, NGHTTP2_PRIORITY_UPDATE);
}

static bool say_hello(struct h2_server *c)
{
    size_t list = c->limits->head_bytes_max;
    const nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->limits->streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, list < UINT32_MAX ? (uint32_t)list : UINT32_MAX},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    return nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, entries, ARRAY_LEN(entries)) ==
               0 &&
           nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
                                                 H2_CONNECTION_WINDOW) == 0;
}

bool h2_session_open(struct h2_server *c)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *options = NULL;
    bool ok = nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&options) == 0;
    if (ok) {
        set_callbacks(callbacks);
        set_options(options);
        ok = nghttp2_session_server_new2(&c->session, callbacks, c, options) == 0 && say_hello(c);
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(options);
    return ok;
}
