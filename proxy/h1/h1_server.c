/* HTTP/1 towards clients: the life of a connection, its timer, its ends. See h1_server.h for the
 * contract and h1_server_priv.h for who owns what.
 *
 * In: a stream. Out: exchanges begun on a service, one at a time; on_close at the end. */
#include "proxy/h1/h1_server_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/h1/h1_write.h"

/* ---- deadlines -------- */

static enum server_wait current_wait(const struct h1_server *c)
{
    if (c->lingering) {
        return c->blocked ? WAIT_FLUSH : WAIT_LINGER;
    }
    if (c->ex) {
        if (c->tunnel) {
            return WAIT_NONE;
        }
        if (c->eof) {
            return c->blocked ? WAIT_NONE : WAIT_ANSWER;
        }
        return server_body_wanted(c) ? WAIT_BODY : WAIT_NONE;
    }
    if (c->last_words || task_posted(&c->next_task)) {
        return WAIT_NONE;
    }
    if (c->dropping_rest) {
        return WAIT_REST;
    }
    if (!h1_in_empty(&c->in)) {
        return WAIT_HEAD;
    }
    return c->had_request ? WAIT_IDLE : WAIT_FIRST;
}

/* How long; 0: for ever. */
static int64_t wait_limit_ms(const struct h1_server *c, enum server_wait w)
{
    switch (w) {
    case WAIT_FIRST:
    case WAIT_HEAD: return c->limits->header_timeout_ms;
    case WAIT_IDLE: return c->limits->idle_timeout_ms;
    case WAIT_BODY: return c->limits->body_idle_ms;
    case WAIT_ANSWER: return EOF_WAIT_MS;
    case WAIT_FLUSH: return c->limits->write_idle_ms;
    case WAIT_REST:
    case WAIT_LINGER: return LINGER_MS;
    case WAIT_NONE: break;
    }
    return 0;
}

/* The earlier of two moments, of which 0 is none. */
static int64_t sooner(int64_t a, int64_t b)
{
    return !a || (b && b < a) ? b : a;
}

/* When the response must have been written; 0: any time. */
static int64_t write_latest_ms(const struct h1_server *c)
{
    return sooner(c->write_deadline_ms, c->ex && !c->tunnel ? c->ex->write_deadline_ms : 0);
}

static void set_wait(struct h1_server *c)
{
    enum server_wait w = current_wait(c);
    int64_t latest = w == WAIT_BODY ? c->ex->body_deadline_ms : 0;
    if (w == c->wait) {
        c->read_deadline_ms = sooner(c->read_deadline_ms, latest);
        return;
    }
    /* The first head's time runs from the connection's start, not from its first byte. */
    if (!(c->wait == WAIT_FIRST && w == WAIT_HEAD)) {
        int64_t limit = wait_limit_ms(c, w);
        c->read_deadline_ms = sooner(limit > 0 ? loop_now_ms(c->loop) + limit : 0, latest);
    }
    c->wait = w;
}

/* False: memory. */
static bool arm_timer(struct h1_server *c)
{
    int64_t at = sooner(c->read_deadline_ms, write_latest_ms(c));
    if (at == c->armed_ms) {
        return true;
    }
    c->armed_ms = at;
    if (!at) {
        timer_clear(&c->timer);
        return true;
    }
    int64_t now = loop_now_ms(c->loop);
    return timer_set(&c->timer, at > now ? at - now : 0);
}

void server_settle(struct h1_server *c)
{
    if (c->closing) {
        return;
    }
    set_wait(c);
    if (!arm_timer(c)) {
        server_gone(c, END_NO_MEMORY, true);
        return;
    }
    unsigned want = server_wants_read(c) ? STREAM_READ : 0;
    if (c->blocked) {
        want |= STREAM_WRITE;
    }
    stream_want(c->stream, want);
}

static void read_timed_out(struct h1_server *c)
{
    switch (c->wait) {
    case WAIT_HEAD:
        server_error(c, 408, "the request head took too long", END_CLIENT_SLOW);
        return;
    case WAIT_BODY:
        if (!c->started) {
            server_error(c, 408, "the request body took too long", END_CLIENT_SLOW);
        } else {
            server_gone(c, END_CLIENT_SLOW, true);
        }
        return;
    case WAIT_ANSWER:
        server_gone(c, END_CLIENT_GONE, false);
        return;
    case WAIT_FLUSH:
        server_close(c, true);
        return;
    case WAIT_NONE:
        return;
    case WAIT_FIRST: /* not a byte came: nobody waits for an answer */
    case WAIT_IDLE:
    case WAIT_REST:
    case WAIT_LINGER:
        server_close(c, false);
        return;
    }
}

static void on_timer(struct timer *t)
{
    struct h1_server *c = container_of(t, struct h1_server, timer);
    c->armed_ms = 0;
    int64_t now = loop_now_ms(c->loop);
    if (write_latest_ms(c) && now >= write_latest_ms(c)) {
        server_gone(c, END_CLIENT_SLOW, true);
    } else if (c->read_deadline_ms && now >= c->read_deadline_ms) {
        c->read_deadline_ms = 0;
        read_timed_out(c);
    }
    server_settle(c);
}

/* ---- events -------- */

static void on_event(struct stream *s, unsigned events)
{
    struct h1_server *c = s->owner;
    if (c->closing) {
        return;
    }
    if (events & STREAM_WRITE && c->blocked) {
        server_write(c);
    }
    if (events & STREAM_READ && !c->closing) {
        server_readable(c);
    }
    server_settle(c);
}

static void on_body_task(struct task *t)
{
    struct h1_server *c = container_of(t, struct h1_server, body_task);
    if (c->closing || !c->ex) {
        return;
    }
    server_maybe_continue(c);
    if (!c->closing && c->ex) {
        server_feed(c);
    }
    server_settle(c);
}

static void on_out_task(struct task *t)
{
    struct h1_server *c = container_of(t, struct h1_server, out_task);
    if (c->closing || !c->ex || !c->started || c->blocked) {
        return;
    }
    server_write(c);
    server_settle(c);
}

static void on_next_task(struct task *t)
{
    struct h1_server *c = container_of(t, struct h1_server, next_task);
    if (c->closing) {
        return;
    }
    server_process(c);
    server_settle(c);
}

/* ---- ends -------- */

static void on_close_task(struct task *t)
{
    struct h1_server *c = container_of(t, struct h1_server, close_task);
    must(!c->ex);
    timer_fini(&c->timer);
    stream_close(c->stream, c->abort);
    h1_in_release(&c->in);
    h1_body_in_fini(&c->body_in);
    h1_out_fini(&c->out);
    task_cancel(&c->body_task);
    task_cancel(&c->out_task);
    task_cancel(&c->next_task);
    c->owner.on_close(c->owner.ctx, c);
    free(c);
}

void server_close(struct h1_server *c, bool abort)
{
    if (c->closing) {
        return;
    }
    must(!c->ex);
    c->closing = true;
    c->abort = abort;
    timer_clear(&c->timer);
    stream_want(c->stream, 0);
    loop_post(c->loop, &c->close_task);
}

void server_forget_exchange(struct h1_server *c)
{
    c->ex = NULL;
    c->started = false;
    c->tunnel = false;
    c->upgrade_pending = false;
    c->upgrade = slice_of(NULL, 0);
    h1_body_in_forget(&c->body_in);
    h1_out_cancel(&c->out);
    task_cancel(&c->body_task);
    task_cancel(&c->out_task);
}

void server_gone(struct h1_server *c, enum end_reason reason, bool abort)
{
    if (c->closing) {
        return;
    }
    if (c->ex) {
        c->ex->received_bytes = c->ex->req_body.pushed_bytes;
        exchange_client_gone(c->ex, reason);
        server_forget_exchange(c);
    }
    server_close(c, abort);
}

void server_linger(struct h1_server *c)
{
    bool flushed = c->stream->ops->unsent(c->stream) == 0;
    bool all_read = c->client_closes && c->body_done && h1_in_empty(&c->in);
    if (flushed && (c->eof || all_read)) {
        server_close(c, false);
        return;
    }
    h1_in_release(&c->in);
    c->lingering = true;
    c->last_words = false;
    c->dropping_rest = false;
    c->blocked = !flushed;
    c->write_deadline_ms = 0;
    if (!c->tunnel_out_done) { /* it did that itself */
        stream_shutdown_write(c->stream);
    }
}

/* The whole error response in one chunk; NULL: memory. */
static struct chunk *error_page(struct h1_server *c, int status, const char *why)
{
    char text[256];
    struct slice reason = http_reason(status);
    int n = snprintf(text, sizeof(text), "%d %.*s\n\n%s\n", status, SLICE_ARG(reason), why);
    struct field items[] = {
        {S("Content-Type"), S("text/plain; charset=utf-8"), FIELD_CONTENT_TYPE, 0},
        {S("Cache-Control"), S("no-store"), FIELD_CACHE_CONTROL, 0},
    };
    size_t text_bytes = n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    struct response res = {
        .status = status,
        .version = HTTP_1_1,
        .reason = reason,
        .fields = {items, ARRAY_LEN(items), ARRAY_LEN(items)},
        .content_length = (int64_t)text_bytes,
    };
    struct chunk *page = h1_write_response(&res, H1_LENGTH, H1_CLOSE, slice_of(NULL, 0),
                                           loop_http_date(c->loop));
    if (page && chunk_room(page) < text_bytes) {
        chunk_unref(page);
        page = NULL;
    }
    if (page) {
        memcpy(chunk_end(page), text, text_bytes);
        page->fill += (uint32_t)text_bytes;
    }
    return page;
}

void server_error(struct h1_server *c, int status, const char *why, enum end_reason reason)
{
    must(!c->started);
    struct chunk *page = error_page(c, status, why);
    if (c->ex) {
        c->ex->received_bytes = c->ex->req_body.pushed_bytes;
        exchange_client_gone(c->ex, reason);
        server_forget_exchange(c);
    }
    if (!page) {
        server_close(c, false);
        return;
    }
    c->keep = false;
    c->client_closes = false;
    c->last_words = true;
    c->dropping_rest = false;
    h1_out_start(&c->out, page, H1_NO_BODY, 0, NULL);
    server_write(c);
}

/* ---- public -------- */

struct h1_server *h1_server_new(struct stream *s, const struct h1_server_limits *limits,
                                const struct http_service *service, struct slice scheme,
                                const void *listener, const struct h1_server_owner *owner)
{
    struct h1_server *c = malloc(sizeof(*c));
    if (!c) {
        stream_close(s, true);
        return NULL;
    }
    memset(c, 0, sizeof(*c));
    c->ops = h1_server_ops;
    c->stream = s;
    c->loop = s->loop;
    c->limits = limits;
    c->service = service;
    c->scheme = scheme;
    c->client = (struct client_info){s->peer, s->local, s->tls, listener};
    c->owner = *owner;
    task_init(&c->body_task, on_body_task);
    task_init(&c->out_task, on_out_task);
    task_init(&c->next_task, on_next_task);
    task_init(&c->close_task, on_close_task);
    timer_init(&c->timer, c->loop, on_timer);
    h1_out_init(&c->out, s);
    c->body_done = true;
    s->owner = c;
    s->on_event = on_event;
    server_settle(c);
    return c;
}

void h1_server_set_service(struct h1_server *c, const struct http_service *service,
                           const struct h1_server_limits *limits, const void *listener)
{
    c->service = service;
    c->limits = limits;
    c->client.listener = listener;
}

void h1_server_drain(struct h1_server *c)
{
    c->draining = true;
    if (h1_server_idle(c)) {
        server_close(c, false);
    } else if (c->wait == WAIT_HEAD) {
        /* A head that is on its way may come; one that is dribbled in holds nobody up. */
        int64_t at = loop_now_ms(c->loop) + DRAIN_HEAD_MS;
        c->read_deadline_ms = c->read_deadline_ms && c->read_deadline_ms < at ? c->read_deadline_ms
                                                                              : at;
        (void)arm_timer(c); /* without memory for it the end comes at the grace period's */
    }
}

void h1_server_abort(struct h1_server *c, enum end_reason reason)
{
    server_gone(c, reason, true);
}

bool h1_server_idle(const struct h1_server *c)
{
    return !c->closing && !c->ex && !c->last_words && !c->lingering && !c->dropping_rest &&
           h1_in_empty(&c->in) && !task_posted(&c->next_task);
}

bool h1_server_in_tunnel(const struct h1_server *c)
{
    return c->tunnel;
}
