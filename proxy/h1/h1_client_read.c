/* HTTP/1 towards origins: reading. Bytes from the stream become interim responses, the response
 * head, slices of its body, tunnel bytes.
 *
 * In: readable events, room in res_body. Out: ex->res, res_body, interim responses to the client's
 * codec; what it means for the connection is told to h1_client.c. */
#include "proxy/h1/h1_client_priv.h"

bool client_wants_read(const struct h1_client *c)
{
    switch (c->state) {
    case CLIENT_IDLE:
    case CLIENT_HEAD:
        return true;
    case CLIENT_BODY:
    case CLIENT_TUNNEL:
        return !c->in_done && h1_in_empty(&c->in) && body_room(&c->ex->res_body) > 0;
    case CLIENT_OVER:
        break;
    }
    return false;
}

/* ---- bodies -------- */

void client_feed(struct h1_client *c)
{
    if (c->in_done) {
        return;
    }
    const char *why = NULL;
    switch (h1_body_in_feed(&c->body_in, &c->in, &why)) {
    case H1_BODY_IN_END:
        client_complete(c);
        return;
    case H1_BODY_IN_BAD:
        client_over(c, END_ORIGIN_BAD, why);
        return;
    case H1_BODY_IN_MORE:
    case H1_BODY_IN_FULL:
        return;
    }
}

/* ---- heads -------- */

/* "HTTP/1.1 1xx": seen before the whole head is, so that it can have memory of its own. */
static bool looks_interim(struct slice in)
{
    return in.n > 12 && in.p[9] == '1' && !(in.p[10] == '0' && in.p[11] == '1');
}

/* One interim response (RFC 9110 section 15.2): passed on at once, then forgotten. */
static enum h1_result read_interim(struct h1_client *c, struct h1_bad *bad)
{
    struct arena arena;
    arena_init(&arena, EXCHANGE_ARENA_MAX);
    struct response interim = {0};
    struct h1_head head;
    enum h1_result r = h1_parse_response(h1_in_bytes(&c->in), &c->scan, &c->limits.head,
                                         c->method, &arena, &interim, &head, bad);
    if (r == H1_DONE) {
        c->in.pos += head.head_bytes;
        c->scan = (struct h1_scan){0};
        if (++c->interims > INTERIM_MAX) {
            *bad = (struct h1_bad){502, "too many interim responses"};
            r = H1_BAD;
        } else {
            fields_strip_hop_by_hop(&interim.fields);
            exchange_send_interim(c->ex, &interim);
        }
    }
    arena_fini(&arena);
    return r;
}

static bool switched_as_asked(const struct h1_client *c)
{
    const struct field *f = fields_find_id(&c->ex->res.fields, FIELD_UPGRADE);
    return c->ex->res.status == 101 && c->upgrade.n > 0 && f && f->value.n > 0 &&
           slice_list_has(c->upgrade, f->value);
}

static void start_body(struct h1_client *c)
{
    struct exchange *ex = c->ex;
    uint64_t length = ex->res.content_length > 0 ? (uint64_t)ex->res.content_length : 0;
    h1_body_in_init(&c->body_in, c->head.framing, length, &ex->res_body, &ex->arena);
    body_set_producer(&ex->res_body, &c->res_task);
    task_cancel(&c->res_task); /* what was before is known: we are the first */
    ex->source = &c->source;
    client_report_head(c);
    if (c->head.framing == H1_TUNNEL) {
        ex->res.tunnel = true;
        client_start_tunnel(c);
        if (c->state != CLIENT_TUNNEL) {
            return;
        }
    } else {
        c->state = CLIENT_BODY;
    }
    client_feed(c);
}

static enum h1_result read_final(struct h1_client *c, struct h1_bad *bad)
{
    struct exchange *ex = c->ex;
    enum h1_result r = h1_parse_response(h1_in_bytes(&c->in), &c->scan, &c->limits.head,
                                         c->method, &ex->arena, &ex->res, &c->head, bad);
    if (r != H1_DONE) {
        return r;
    }
    if (c->head.framing == H1_TUNNEL && !switched_as_asked(c)) {
        *bad = (struct h1_bad){502, "switched to a protocol that was not asked for"};
        return H1_BAD;
    }
    if (!exchange_pin(ex, c->in.chunk)) {
        *bad = (struct h1_bad){502, "too many attempts"};
        return H1_BAD;
    }
    c->in.pos += c->head.head_bytes;
    start_body(c);
    return H1_DONE;
}

static void read_heads(struct h1_client *c)
{
    while (c->state == CLIENT_HEAD && !h1_in_empty(&c->in)) {
        struct h1_bad bad = {502, ""};
        enum h1_result r = looks_interim(h1_in_bytes(&c->in)) ? read_interim(c, &bad)
                                                              : read_final(c, &bad);
        if (r == H1_MORE) {
            return;
        }
        if (r == H1_BAD) {
            exchange_clear_response(c->ex);
            client_over(c, END_ORIGIN_BAD, bad.why);
        }
    }
}

/* ---- reading -------- */

/* The origin's side has ended (n is 0) or the stream has failed. */
static void read_ended(struct h1_client *c, ssize_t n)
{
    switch (c->state) {
    case CLIENT_IDLE:
        client_over(c, END_NONE, "");
        return;
    case CLIENT_HEAD:
        client_over(c, END_ORIGIN_GONE,
                    !c->received ? "closed the connection before it answered"
                                 : "closed the connection in the middle of the response head");
        return;
    case CLIENT_BODY:
        if (n == 0 && c->body_in.framing == H1_UNTIL_CLOSE) {
            c->head.keep_alive = false;
            client_complete(c);
        } else {
            client_over(c, END_ORIGIN_GONE, "closed the connection in the middle of the response");
        }
        return;
    case CLIENT_TUNNEL:
        if (n == 0) {
            c->in_done = true;
            body_end(&c->ex->res_body, NULL);
            client_check_tunnel(c);
        } else {
            c->abort = true;
            client_over(c, END_ORIGIN_GONE, "the tunnel was cut off");
        }
        return;
    case CLIENT_OVER:
        return;
    }
}

/* Nothing may come on an idle connection but its end. TLS tickets do not count: the stream keeps
 * them to itself. */
static void read_idle(struct h1_client *c)
{
    char byte;
    if (stream_read(c->stream, &byte, 1) != STREAM_AGAIN) {
        client_over(c, END_NONE, "");
    }
}

static void process(struct h1_client *c)
{
    if (c->state == CLIENT_HEAD) {
        read_heads(c);
    } else {
        client_feed(c);
    }
}

static void note_bytes(struct h1_client *c)
{
    c->received = true;
    if (c->wait == CLIENT_WAIT_BODY) {
        client_restart_wait(c);
    }
}

/* Large content between plain sockets. Once an event: the body has room again only when its
 * consumer has emptied the pipe. False: it has to be read. */
static bool pipe_through(struct h1_client *c)
{
    bool no_pipe;
    if (c->state != CLIENT_BODY || !client_wants_read(c) ||
        !h1_body_in_wants_pipe(&c->body_in, c->stream)) {
        return false;
    }
    ssize_t n = h1_body_in_pipe(&c->body_in, c->stream, &no_pipe);
    if (n > 0) {
        note_bytes(c);
        client_feed(c); /* the end, if this was the last of it */
    } else if (n != STREAM_AGAIN) {
        read_ended(c, n);
    }
    return !no_pipe;
}

void client_readable(struct h1_client *c)
{
    if (c->state == CLIENT_IDLE) {
        read_idle(c);
        return;
    }
    if (pipe_through(c)) {
        return;
    }
    for (unsigned i = 0; i < READS_MAX && client_wants_read(c); i++) {
        if (!h1_in_prepare(&c->in, c->limits.head.head_bytes_max)) {
            client_over(c, END_NO_MEMORY, "out of memory");
            return;
        }
        size_t room = chunk_room(c->in.chunk);
        ssize_t n = stream_read(c->stream, chunk_end(c->in.chunk), room);
        if (n == STREAM_AGAIN) {
            break;
        }
        if (n <= 0) {
            read_ended(c, n);
            return;
        }
        c->in.chunk->fill += (uint32_t)n;
        note_bytes(c);
        process(c);
        if ((size_t)n < room || (c->state != CLIENT_BODY && c->state != CLIENT_TUNNEL)) {
            break;
        }
    }
    if (c->state == CLIENT_TUNNEL && h1_in_empty(&c->in)) {
        h1_in_release(&c->in); /* tunnels are silent most of the time */
    }
}
