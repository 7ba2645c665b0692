/* What nghttp2 reports about one connection to an origin, and how its session is set up.
 *
 * In: callbacks from nghttp2_session_mem_recv and _mem_send. Out: calls of the call's functions,
 * points in the budget. Nothing here writes or frees. */
#include "proxy/h2/h2_client_priv.h"

static struct h2_call *call_of(nghttp2_session *session, int32_t id)
{
    return id ? nghttp2_session_get_stream_user_data(session, id) : NULL;
}

/* ---- what comes in -------- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    struct h2_call *call =
        frame->hd.type == NGHTTP2_HEADERS ? call_of(session, frame->hd.stream_id) : NULL;
    if (call) {
        h2_call_section(call);
    }
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    (void)flags;
    (void)user;
    struct h2_call *call = call_of(session, frame->hd.stream_id);
    return call ? h2_call_field(call, slice_of(name, name_n), slice_of(value, value_n)) : 0;
}

/* A field that nghttp2 would only leave out (a control byte in its value, white space around it):
 * the response is malformed (RFC 9113 section 8.2.1). */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_n, const uint8_t *value,
                             size_t value_n, uint8_t flags, void *user)
{
    (void)name;
    (void)name_n;
    (void)value;
    (void)value_n;
    (void)flags;
    (void)user;
    struct h2_call *call = call_of(session, frame->hd.stream_id);
    if (call) {
        h2_call_fail(call, NGHTTP2_PROTOCOL_ERROR, END_ORIGIN_BAD,
                     "sent a malformed HTTP/2 response");
    }
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

void h2_client_frame(struct h2_client *c, const nghttp2_frame_hd *hd)
{
    switch (hd->type) {
    case NGHTTP2_DATA:
        if (hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM)) {
            h2_client_charge(c, H2_COST_EMPTY);
        } else if (hd->length >= H2_CRUMB_BYTES) {
            h2_budget_gain(&c->budget, H2_GAIN_CONTENT);
        }
        break;
    case NGHTTP2_CONTINUATION:
        h2_client_charge(c, hd->length == 0 ? H2_COST_EMPTY : H2_COST_CONTROL);
        break;
    case NGHTTP2_SETTINGS:
        h2_client_charge(c, hd->flags & NGHTTP2_FLAG_ACK ? H2_COST_CONTROL : H2_COST_SETTINGS);
        break;
    case NGHTTP2_PUSH_PROMISE:
        h2_client_charge(c, H2_COST_BAD); /* we have said that we want none */
        break;
    case NGHTTP2_HEADERS:
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_WINDOW_UPDATE:
        break;
    default:
        h2_client_charge(c, H2_COST_CONTROL);
        break;
    }
}

static void settings_received(struct h2_client *c, const nghttp2_frame *frame)
{
    if (!(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
        c->has_settings = true;
        h2_client_changed(c);
    }
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_client *c = user;
    struct h2_call *call = call_of(session, frame->hd.stream_id);
    bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (call) {
            h2_call_section_end(call, ended);
        }
        break;
    case NGHTTP2_DATA:
        if (call && ended) {
            h2_call_ended(call);
        } else if (!ended && frame->hd.length > 0 && frame->data.padlen >= frame->hd.length) {
            h2_client_charge(c, H2_COST_EMPTY); /* nothing but padding */
        }
        break;
    case NGHTTP2_RST_STREAM:
        if (call) {
            call->theirs = true;
        }
        break;
    case NGHTTP2_SETTINGS:
        settings_received(c, frame);
        break;
    case NGHTTP2_GOAWAY:
        c->goaway = true;
        h2_client_changed(c);
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
    (void)user;
    struct h2_call *call = call_of(session, id);
    if (call) {
        h2_call_data(call, (const char *)p, n);
    } else {
        (void)nghttp2_session_consume_connection(session, n);
    }
    return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *user)
{
    (void)session;
    (void)frame;
    (void)error;
    h2_client_charge(user, H2_COST_BAD);
    return 0;
}

/* ---- what goes out -------- */

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    struct h2_call *call = call_of(session, frame->hd.stream_id);
    if (!call || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)) {
        return 0;
    }
    call->sent = true;
    call->request_done = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    h2_call_waits(call);
    return 0;
}

/* A head that could not be sent: the origin takes no more streams, or it is too large. */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error,
                             void *user)
{
    (void)session;
    struct h2_client *c = user;
    struct h2_call *call =
        frame->hd.type == NGHTTP2_HEADERS ? h2_call_find(c, frame->hd.stream_id) : NULL;
    if (call && error == NGHTTP2_ERR_START_STREAM_NOT_ALLOWED) {
        call->failure.refused = true;
        h2_call_over(call, END_ORIGIN_GONE, S("is about to close and did not take the request"));
    } else if (call) {
        h2_call_over(call, END_INTERNAL, S("was not sent the request head, which is too long"));
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)user;
    struct h2_call *call = call_of(session, id);
    if (call) {
        h2_call_closed(call, code);
    }
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
    nghttp2_session_callbacks_set_send_data_callback(k, h2_call_send_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(k, on_stream_close);
}

static bool say_hello(struct h2_client *c)
{
    size_t list = c->head_bytes_max;
    const nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_CALL_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, list < UINT32_MAX ? (uint32_t)list : UINT32_MAX},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    return nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, entries, ARRAY_LEN(entries)) ==
               0 &&
           nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
                                                 H2_CLIENT_WINDOW) == 0;
}

bool h2_client_session_open(struct h2_client *c)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *options = NULL;
    bool ok = nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&options) == 0;
    if (ok) {
        set_callbacks(callbacks);
        h2_common_options(options);
        nghttp2_option_set_max_reserved_remote_streams(options, 0);
        ok = nghttp2_session_client_new2(&c->session, callbacks, c, options) == 0 && say_hello(c);
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(options);
    return ok;
}
