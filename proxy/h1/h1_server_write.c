/* HTTP/1 towards clients: writing. The codec's operations (start a response, an interim one, a
 * reset), and what follows when a response is written to its end.
 *
 * In: ex->res and exchange_out. Out: bytes on the stream; the exchange finished; the next one
 * started by a task. */
#include "proxy/h1/h1_server_priv.h"

#include "proxy/h1/h1_write.h"

static struct h1_server *server_of(const struct exchange *ex)
{
    return container_of((uintptr_t)ex->codec, struct h1_server, ops);
}

/* ---- after the last byte -------- */

static void next_request(struct h1_server *c)
{
    if (!h1_in_empty(&c->in)) {
        loop_post(c->loop, &c->next_task);
        return;
    }
    h1_in_release(&c->in);
    if (c->eof) {
        server_close(c, false);
    }
}

/* Is what is left of the request small and certain enough to read past it? A client that was
 * promised 100 Continue and did not get it may or may not send its body: then it is not. */
static bool rest_is_small(const struct h1_server *c)
{
    const struct h1_body_in *b = &c->body_in;
    return b->framing == H1_LENGTH && b->left <= LINGER_BYTES && !c->eof &&
           (!c->ex->req.expect_continue || c->continue_sent || b->seen);
}

static void response_done(struct h1_server *c)
{
    struct exchange *ex = c->ex;
    ex->received_bytes = ex->req_body.pushed_bytes;
    exchange_finish(ex, END_NONE);
    server_forget_exchange(c);
    c->write_deadline_ms = 0;
    if (!c->keep || c->draining || (c->eof && !c->body_done)) {
        server_linger(c);
    } else if (!c->body_done) {
        c->dropping_rest = true;
        if (!h1_in_empty(&c->in)) {
            loop_post(c->loop, &c->next_task);
        }
    } else {
        next_request(c);
    }
}

/* The response cannot be completed. Chunked and counted ones tell by their missing end; where only
 * the end of the connection ends the body, it must not look like a proper one. */
static void response_cut(struct h1_server *c)
{
    struct exchange *ex = c->ex;
    enum h1_framing framing = c->out.framing;
    enum end_reason reason =
        exchange_out(ex)->state == BODY_ABORTED ? exchange_out(ex)->reason : END_INTERNAL;
    ex->received_bytes = ex->req_body.pushed_bytes;
    exchange_finish(ex, reason);
    server_forget_exchange(c);
    server_close(c, framing == H1_UNTIL_CLOSE || framing == H1_TUNNEL);
}

void server_check_tunnel(struct h1_server *c)
{
    if (!c->tunnel_in_done || !c->tunnel_out_done) {
        return;
    }
    struct exchange *ex = c->ex;
    ex->received_bytes = ex->req_body.pushed_bytes;
    exchange_finish(ex, END_NONE);
    server_forget_exchange(c);
    c->client_closes = true;
    c->body_done = true;
    server_linger(c);
}

static void output_done(struct h1_server *c)
{
    if (c->tunnel) {
        if (!c->tunnel_out_done) {
            c->tunnel_out_done = true;
            stream_shutdown_write(c->stream);
        }
        server_check_tunnel(c);
    } else if (c->ex) {
        response_done(c);
    } else {
        server_linger(c);
    }
}

/* ---- writing -------- */

static void note_progress(struct h1_server *c, bool progress)
{
    if (!c->blocked || c->tunnel || c->limits->write_idle_ms <= 0) {
        c->write_deadline_ms = 0;
    } else if (progress || !c->write_deadline_ms) {
        c->write_deadline_ms = loop_now_ms(c->loop) + c->limits->write_idle_ms;
    }
}

/* While lingering nothing is left here, but the stream (TLS) may hold bytes of ours. */
static void flush_lingering(struct h1_server *c)
{
    c->blocked = c->stream->ops->unsent(c->stream) > 0;
    if (!c->blocked && c->eof) {
        server_close(c, false);
    }
}

void server_write(struct h1_server *c)
{
    if (c->lingering) {
        flush_lingering(c);
        return;
    }
    uint64_t before = c->out.taken_bytes;
    enum h1_out_result r = h1_out_run(&c->out);
    c->blocked = r == H1_OUT_BLOCKED;
    if (c->ex && c->started) {
        c->ex->sent_bytes = c->out.body_bytes;
    }
    note_progress(c, c->out.taken_bytes != before);
    if (c->wait == WAIT_ANSWER && c->out.taken_bytes != before) {
        c->wait = WAIT_NONE; /* progress: the time starts anew */
    }
    switch (r) {
    case H1_OUT_WAIT:
    case H1_OUT_BLOCKED:
        return;
    case H1_OUT_DONE:
        output_done(c);
        return;
    case H1_OUT_ABORTED:
        response_cut(c);
        return;
    case H1_OUT_ERROR:
        server_gone(c, END_CLIENT_GONE, true);
        return;
    }
}

void server_maybe_continue(struct h1_server *c)
{
    const struct exchange *ex = c->ex;
    if (!ex->req.expect_continue || c->continue_sent || c->started || c->body_done ||
        c->upgrade_pending || ex->req.version == HTTP_1_0 || !ex->req_body.wanted ||
        c->body_in.seen) {
        return;
    }
    static const struct slice text = S_INIT("HTTP/1.1 100 Continue\r\n\r\n");
    struct chunk *head = chunk_new(text.n);
    if (!head) {
        return; /* a client waits for it only so long */
    }
    memcpy(head->data, text.p, text.n);
    head->fill = (uint32_t)text.n;
    c->continue_sent = true;
    if (h1_out_interim(&c->out, head) && !c->blocked) {
        server_write(c);
    }
}

/* ---- the codec's operations -------- */

/* How the body is delimited (RFC 9112 section 6.3). */
static enum h1_framing body_framing(const struct exchange *ex)
{
    if (ex->res.tunnel) {
        return H1_TUNNEL;
    }
    if (!http_status_has_body(exchange_client_method(ex), ex->res.status)) {
        return H1_NO_BODY;
    }
    if (ex->res.content_length >= 0) {
        return H1_LENGTH;
    }
    return ex->req.version == HTTP_1_0 ? H1_UNTIL_CLOSE : H1_CHUNKED;
}

/* The protocol of a 101: the origin's choice where the chain kept it, else the client's wish. */
static struct slice upgrade_protocol(const struct h1_server *c)
{
    if (!c->ex->res.tunnel) {
        return slice_of(NULL, 0);
    }
    const struct field *f = fields_find_id(&c->ex->res.fields, FIELD_UPGRADE);
    return f ? f->value : c->upgrade;
}

static bool write_head(struct h1_server *c, enum h1_framing framing)
{
    struct exchange *ex = c->ex;
    bool close_framed = framing == H1_UNTIL_CLOSE;
    c->keep = c->keep && !c->draining && !close_framed && (c->body_done || rest_is_small(c)) &&
              !fields_have_token(&ex->res.fields, FIELD_CONNECTION, S("close"));
    enum h1_persist persist = !c->keep && !ex->res.tunnel    ? H1_CLOSE
                              : ex->req.version == HTTP_1_0 ? H1_KEEP_AND_SAY_SO
                                                            : H1_KEEP;
    struct chunk *head = h1_write_response(&ex->res, framing, persist, upgrade_protocol(c),
                                           loop_http_date(c->loop));
    if (!head) {
        return false;
    }
    uint64_t length = ex->res.content_length > 0 ? (uint64_t)ex->res.content_length : 0;
    h1_out_start(&c->out, head, framing, length, exchange_out(ex));
    return true;
}

/* The bytes behind the head of an upgrade request: a tunnel's first, or the next request. */
static void settle_upgrade(struct h1_server *c)
{
    c->upgrade_pending = false;
    if (c->ex->res.tunnel) {
        c->tunnel = true;
        return;
    }
    h1_body_in_fini(&c->body_in);
    c->body_done = true;
    body_set_producer(&c->ex->req_body, NULL);
    body_end(&c->ex->req_body, NULL);
}

static void op_start_response(struct exchange *ex)
{
    struct h1_server *c = server_of(ex);
    must(c->ex == ex && !c->started);
    if (ex->res.tunnel && !c->upgrade_pending) {
        server_error(c, 502, "the protocol was switched without being asked", END_ORIGIN_BAD);
        server_settle(c);
        return;
    }
    if (c->upgrade_pending) {
        settle_upgrade(c);
    }
    enum h1_framing framing = body_framing(ex);
    if (!write_head(c, framing)) {
        c->tunnel = false;
        server_error(c, 500, "the response head cannot be written", END_INTERNAL);
        server_settle(c);
        return;
    }
    c->started = true;
    if (framing != H1_NO_BODY) {
        body_set_consumer(exchange_out(ex), &c->out_task);
        exchange_out(ex)->takes_pipe = h1_out_takes_pipe(&c->out);
        task_cancel(&c->out_task); /* we look now */
    }
    if (!c->blocked) { /* an interim head may still be on its way */
        server_write(c);
    }
    if (c->tunnel && !c->closing && c->ex) {
        server_feed(c); /* what came behind the request */
    }
    server_settle(c);
}

static void op_send_interim(struct exchange *ex, const struct response *interim)
{
    struct h1_server *c = server_of(ex);
    if (c->started || ex->req.version == HTTP_1_0 ||
        (interim->status == 100 && c->continue_sent)) {
        return;
    }
    struct chunk *head = h1_write_response(interim, H1_NO_BODY, H1_KEEP, slice_of(NULL, 0),
                                           slice_of(NULL, 0));
    if (!head) {
        return;
    }
    c->continue_sent = c->continue_sent || interim->status == 100;
    if (h1_out_interim(&c->out, head) && !c->blocked) {
        server_write(c);
    }
    server_settle(c);
}

static void op_reset(struct exchange *ex, enum end_reason reason)
{
    struct h1_server *c = server_of(ex);
    bool started = c->started;
    ex->received_bytes = ex->req_body.pushed_bytes;
    exchange_finish(ex, reason);
    server_forget_exchange(c);
    server_close(c, started);
}

const struct exchange_codec h1_server_ops = {
    .start_response = op_start_response,
    .send_interim = op_send_interim,
    .reset = op_reset,
};
