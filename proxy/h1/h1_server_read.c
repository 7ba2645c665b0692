/* HTTP/1 towards clients: reading. Bytes from the stream become request heads, exchanges, body
 * slices, tunnel bytes, or are dropped when nobody wants them.
 *
 * In: readable events, room in req_body. Out: exchanges begun, req_body filled and ended. */
#include "proxy/h1/h1_server_priv.h"

/* ---- what is wanted -------- */

/* Bytes of the body can be used now. */
static bool body_takes(const struct h1_server *c)
{
    if (h1_body_in_drops(&c->body_in)) {
        return c->body_in.dropped_bytes < LINGER_BYTES;
    }
    return h1_in_empty(&c->in) && h1_body_in_has_room(&c->body_in);
}

bool server_wants_read(const struct h1_server *c)
{
    if (c->closing || c->eof || c->last_words) {
        return false;
    }
    if (c->lingering) {
        return c->lingered_bytes < LINGER_BYTES;
    }
    if (c->ex && c->tunnel) {
        return !c->tunnel_in_done && body_takes(c);
    }
    if (c->ex && !c->body_done && !c->upgrade_pending) {
        return body_takes(c);
    }
    if (c->ex || task_posted(&c->next_task)) {
        /* Nothing is needed from the client, but its leaving shall be noticed: read ahead for as
         * long as there is space in one chunk. */
        return h1_in_has_space(&c->in);
    }
    return true;
}

bool server_body_wanted(const struct h1_server *c)
{
    return c->ex && !c->body_done && !c->upgrade_pending && c->ex->req_body.wanted &&
           !h1_body_in_drops(&c->body_in) && body_takes(c);
}

/* ---- bodies -------- */

/* The clock of the least rate runs only while the client is the one waited for. */
static void count_body_wait(struct h1_server *c)
{
    int64_t now = loop_now_ms(c->loop);
    if (c->body_wait_since_ms) {
        c->body_waited_ms += now - c->body_wait_since_ms;
        c->body_wait_since_ms = 0;
    }
    if (server_body_wanted(c)) {
        c->body_wait_since_ms = now;
    }
}

static bool body_too_slow(const struct h1_server *c)
{
    if (!c->limits->body_min_rate || c->body_waited_ms < RATE_GRACE_MS) {
        return false;
    }
    uint64_t seconds = (uint64_t)c->body_waited_ms / 1000;
    return c->ex->req_body.pushed_bytes / seconds < c->limits->body_min_rate;
}

static void body_complete(struct h1_server *c)
{
    c->body_done = true;
    if (c->ex) {
        fields_strip_request_trailers(&c->body_in.trailers, &c->ex->req.fields);
        c->ex->received_bytes = c->ex->req_body.pushed_bytes;
        body_end(&c->ex->req_body, &c->body_in.trailers);
        body_set_producer(&c->ex->req_body, NULL);
        task_cancel(&c->body_task);
    }
    h1_body_in_fini(&c->body_in);
}

/* A chunked body whose framing is broken: what follows cannot be understood. */
static void body_bad(struct h1_server *c, const char *why)
{
    if (!c->ex) {
        server_linger(c);
    } else if (!c->started) {
        server_error(c, 400, why, END_CLIENT_BAD);
    } else {
        server_gone(c, END_CLIENT_BAD, true);
    }
}

static void feed_tunnel(struct h1_server *c)
{
    const char *why = NULL;
    if (c->tunnel_in_done) {
        return;
    }
    struct body *body = &c->ex->req_body;
    if (body->state == BODY_STOPPED) { /* the origin takes no more; it may still send */
        h1_in_release(&c->in);
    } else {
        (void)h1_body_in_feed(&c->body_in, &c->in, &why); /* raw bytes are never bad */
        if (!c->eof || !h1_in_empty(&c->in)) {
            return;
        }
        body_end(body, NULL);
    }
    c->tunnel_in_done = true;
    server_check_tunnel(c);
}

void server_feed(struct h1_server *c)
{
    if (c->tunnel) {
        feed_tunnel(c);
        return;
    }
    if (c->body_done || c->upgrade_pending) {
        return;
    }
    if (!h1_in_empty(&c->in)) {
        const char *why = NULL;
        switch (h1_body_in_feed(&c->body_in, &c->in, &why)) {
        case H1_BODY_IN_END:
            body_complete(c);
            return;
        case H1_BODY_IN_BAD:
            body_bad(c, why);
            return;
        case H1_BODY_IN_MORE:
        case H1_BODY_IN_FULL:
            break;
        }
    }
    if (c->ex && c->limits->body_min_rate) {
        count_body_wait(c);
        if (body_too_slow(c) && !c->started) {
            server_error(c, 408, "the request body came too slowly", END_CLIENT_SLOW);
        }
    }
}

/* ---- heads -------- */

static void prepare_body(struct h1_server *c, const struct h1_head *head)
{
    struct exchange *ex = c->ex;
    c->upgrade_pending = ex->req.upgrade;
    if (ex->req.upgrade) {
        const struct field *f = fields_find_id(&ex->req.fields, FIELD_UPGRADE);
        c->upgrade = f ? f->value : slice_of(NULL, 0);
    }
    bool none = head->framing == H1_NO_BODY ||
                (head->framing == H1_LENGTH && ex->req.content_length == 0);
    c->body_done = none && !c->upgrade_pending;
    if (c->body_done) {
        body_end(&ex->req_body, NULL);
        return;
    }
    enum h1_framing framing = c->upgrade_pending ? H1_TUNNEL : head->framing;
    uint64_t length = ex->req.content_length > 0 ? (uint64_t)ex->req.content_length : 0;
    h1_body_in_init(&c->body_in, framing, length, &ex->req_body, &ex->arena);
    body_set_producer(&ex->req_body, &c->body_task);
    task_cancel(&c->body_task); /* what was before is known: we are the first */
}

static void begin_exchange(struct h1_server *c, struct exchange *ex, const struct h1_head *head)
{
    ex->req.scheme = c->scheme;
    if (!exchange_pin(ex, c->in.chunk)) {
        must(!"a new exchange has room for a pin");
    }
    c->in.pos += head->head_bytes;
    c->scan = (struct h1_scan){0};
    c->ex = ex;
    c->had_request = true;
    c->keep = head->keep_alive;
    c->client_closes = !head->keep_alive;
    c->started = false;
    c->continue_sent = false;
    c->body_wait_since_ms = 0;
    c->body_waited_ms = 0;
    c->tunnel_in_done = false;
    c->tunnel_out_done = false;
    prepare_body(c, head);
    exchange_begin(ex);
    server_feed(c);
}

static void try_head(struct h1_server *c)
{
    struct slice in = h1_in_bytes(&c->in);
    if (in.n == 0) {
        return;
    }
    struct exchange *ex =
        exchange_new(c->loop, loop_queue(c->loop), &c->ops, c->service, &c->client);
    if (!ex) {
        server_error(c, 503, "out of memory", END_NO_MEMORY);
        return;
    }
    struct h1_head head;
    struct h1_bad bad;
    switch (h1_parse_request(in, &c->scan, &c->limits->head, &ex->arena, &ex->req, &head, &bad)) {
    case H1_DONE:
        begin_exchange(c, ex, &head);
        return;
    case H1_MORE:
        exchange_release(ex);
        return;
    case H1_BAD:
        exchange_release(ex);
        c->body_done = false; /* whatever follows, it is not read */
        server_error(c, bad.status, bad.why, END_CLIENT_BAD);
        return;
    }
}

void server_process(struct h1_server *c)
{
    if (c->dropping_rest) {
        const char *why = NULL;
        if (h1_body_in_feed(&c->body_in, &c->in, &why) != H1_BODY_IN_END) {
            return;
        }
        body_complete(c);
        c->dropping_rest = false;
    }
    if (c->ex) {
        server_feed(c);
        return;
    }
    if (c->last_words || task_posted(&c->next_task)) {
        return;
    }
    try_head(c);
    if (c->closing || c->ex || c->last_words || c->lingering) {
        return;
    }
    if (c->eof) {
        server_close(c, false); /* no whole head will come any more */
    } else if (h1_in_empty(&c->in)) {
        h1_in_release(&c->in);
    }
}

/* ---- reading -------- */

/* The client's side has ended (n is 0) or the stream has failed. */
static void read_ended(struct h1_server *c, ssize_t n)
{
    c->eof = true;
    if (!c->ex) {
        if (n == 0 && c->lingering && c->blocked) {
            return; /* our own last bytes are still on their way */
        }
        if (!task_posted(&c->next_task) || n != 0) {
            server_close(c, n == STREAM_ERROR);
        }
        return;
    }
    if (n != 0) {
        server_gone(c, END_CLIENT_GONE, n == STREAM_ERROR);
    } else if (c->tunnel) {
        feed_tunnel(c);
    } else if (!c->body_done && !c->upgrade_pending && !h1_body_in_drops(&c->body_in)) {
        server_gone(c, END_CLIENT_GONE, false);
    }
    /* Otherwise the request is complete: it gets its answer (and so do those pipelined behind
     * it), for a while if there is none yet. */
}

static void read_lingering(struct h1_server *c)
{
    char scratch[8192];
    while (c->lingered_bytes < LINGER_BYTES) {
        ssize_t n = stream_read(c->stream, scratch, sizeof(scratch));
        if (n == STREAM_AGAIN) {
            return;
        }
        if (n <= 0) {
            read_ended(c, n);
            return;
        }
        c->lingered_bytes += (uint64_t)n;
        if ((size_t)n < sizeof(scratch)) {
            return;
        }
    }
}

/* READ although nothing was wanted: only a broken connection is of interest. Reads only where no
 * byte can be lost. */
static void probe(struct h1_server *c)
{
    char byte;
    if (c->eof && stream_read(c->stream, &byte, 1) == STREAM_ERROR) {
        server_gone(c, END_CLIENT_GONE, true);
    }
}

/* Another read in the same event only where there may be a lot. */
static bool reads_on(const struct h1_server *c)
{
    return !c->closing && c->ex && (c->tunnel || (!c->body_done && !c->upgrade_pending)) &&
           server_wants_read(c);
}

static void note_bytes(struct h1_server *c)
{
    if (c->wait == WAIT_BODY) { /* progress: the time starts anew, or ends */
        c->wait = WAIT_NONE;
        c->read_deadline_ms = 0;
    }
}

/* Large content between plain sockets. Once an event: the body has room again only when its
 * consumer has emptied the pipe. False: it has to be read. */
static bool pipe_through(struct h1_server *c)
{
    bool no_pipe;
    if (!c->ex || c->tunnel || c->body_done || c->upgrade_pending ||
        !h1_body_in_wants_pipe(&c->body_in, c->stream)) {
        return false;
    }
    ssize_t n = h1_body_in_pipe(&c->body_in, c->stream, &no_pipe);
    if (n > 0) {
        note_bytes(c);
        if (c->body_in.left == 0) {
            body_complete(c);
        } else {
            server_feed(c);
        }
    } else if (n != STREAM_AGAIN) {
        read_ended(c, n);
    }
    return !no_pipe;
}

void server_readable(struct h1_server *c)
{
    if (c->lingering) {
        read_lingering(c);
        return;
    }
    if (!server_wants_read(c)) {
        probe(c);
        return;
    }
    if (pipe_through(c)) {
        return;
    }
    for (unsigned i = 0; i < READS_MAX; i++) {
        if (!h1_in_prepare(&c->in, c->limits->head.head_bytes_max)) {
            server_gone(c, END_NO_MEMORY, true);
            return;
        }
        size_t room = chunk_room(c->in.chunk);
        ssize_t n = stream_read(c->stream, chunk_end(c->in.chunk), room);
        if (n <= 0) {
            if (n != STREAM_AGAIN) {
                read_ended(c, n);
            } else if (!c->ex && h1_in_empty(&c->in)) {
                h1_in_release(&c->in);
            }
            return;
        }
        c->in.chunk->fill += (uint32_t)n;
        note_bytes(c);
        server_process(c);
        if ((size_t)n < room || !reads_on(c)) {
            break;
        }
    }
    if (c->tunnel && h1_in_empty(&c->in)) {
        h1_in_release(&c->in); /* tunnels are silent most of the time */
    }
}
