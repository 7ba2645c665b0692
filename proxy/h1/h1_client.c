/* HTTP/1 towards origins: the life of a connection, its timer, its reports, and requests. See
 * h1_client.h for the contract and h1_client_priv.h for who owns what.
 *
 * In: a stream; a request and its body. Out: bytes to the origin; reports to the owner, always from
 * report_task. */
#include "proxy/h1/h1_client_priv.h"

#include <stdlib.h>

#include "proxy/h1/h1_write.h"

/* ---- interest and time -------- */

static enum client_wait current_wait(const struct h1_client *c)
{
    if (c->blocked && c->limits.write_idle_ms > 0 &&
        (c->state == CLIENT_HEAD || c->state == CLIENT_BODY)) {
        return CLIENT_WAIT_WRITE;
    }
    switch (c->state) {
    case CLIENT_HEAD:
        /* While the request body is what we wait for, the origin owes nothing. */
        return c->out_done || c->blocked || c->broken ? CLIENT_WAIT_HEAD : CLIENT_WAIT_NONE;
    case CLIENT_BODY:
        return client_wants_read(c) ? CLIENT_WAIT_BODY : CLIENT_WAIT_NONE;
    case CLIENT_IDLE:
    case CLIENT_TUNNEL:
    case CLIENT_OVER:
        break;
    }
    return CLIENT_WAIT_NONE;
}

/* False: memory. */
static bool set_timer(struct h1_client *c)
{
    enum client_wait w = current_wait(c);
    if (w == c->wait) {
        return true;
    }
    c->wait = w;
    int64_t limit = w == CLIENT_WAIT_HEAD   ? c->limits.response_header_timeout_ms
                    : w == CLIENT_WAIT_BODY ? c->limits.read_idle_ms
                    : w == CLIENT_WAIT_WRITE ? c->limits.write_idle_ms
                                             : 0;
    if (limit <= 0) {
        timer_clear(&c->timer);
        return true;
    }
    return timer_set(&c->timer, limit);
}

void client_restart_wait(struct h1_client *c)
{
    c->wait = CLIENT_WAIT_NONE;
    timer_clear(&c->timer);
}

void client_settle(struct h1_client *c)
{
    if (c->state == CLIENT_OVER) {
        return;
    }
    if (!set_timer(c)) {
        client_over(c, END_NO_MEMORY, "out of memory");
        return;
    }
    unsigned want = client_wants_read(c) ? STREAM_READ : 0;
    if (c->blocked) {
        want |= STREAM_WRITE;
    }
    stream_want(c->stream, want);
}

static void on_timer(struct timer *t)
{
    struct h1_client *c = container_of(t, struct h1_client, timer);
    if (c->wait == CLIENT_WAIT_WRITE && c->state != CLIENT_OVER) {
        c->abort = true;
        client_over(c, END_ORIGIN_SLOW, "took nothing more of the request");
        return;
    }
    if (c->state == CLIENT_HEAD) {
        client_over(c, END_ORIGIN_SLOW, "did not answer in time");
    } else if (c->state == CLIENT_BODY) {
        client_over(c, END_ORIGIN_SLOW, "stopped sending in the middle of the response");
    }
}

/* ---- events and tasks -------- */

static void on_event(struct stream *s, unsigned events)
{
    struct h1_client *c = s->owner;
    if (c->state == CLIENT_OVER) {
        return;
    }
    if (events & STREAM_WRITE && c->blocked) {
        client_write(c);
    }
    if (events & STREAM_READ && c->state != CLIENT_OVER) {
        client_readable(c);
    }
    client_settle(c);
}

static void on_req_task(struct task *t)
{
    struct h1_client *c = container_of(t, struct h1_client, req_task);
    if (!c->ex || c->state == CLIENT_OVER) {
        return;
    }
    /* An aborted body is looked at even while the origin takes nothing. */
    if (!c->blocked || c->ex->req_body.state == BODY_ABORTED) {
        client_write(c);
    }
    client_settle(c);
}

static void on_res_task(struct task *t)
{
    struct h1_client *c = container_of(t, struct h1_client, res_task);
    if (!c->ex || (c->state != CLIENT_BODY && c->state != CLIENT_TUNNEL)) {
        return;
    }
    if (c->ex->res_body.state == BODY_STOPPED) {
        c->abort = c->state == CLIENT_TUNNEL;
        client_over(c, END_NOT_WANTED, "the response was not wanted any more");
        return;
    }
    client_feed(c);
    client_settle(c);
}

/* ---- reports and the end -------- */

static void let_go(struct h1_client *c)
{
    struct exchange *ex = c->ex;
    if (!ex) {
        return;
    }
    if (c->body_attached) {
        body_set_consumer(&ex->req_body, NULL);
        c->body_attached = false;
    }
    if (ex->res_body.producer == &c->res_task) {
        body_set_producer(&ex->res_body, NULL);
    }
    if (ex->source == &c->source) {
        ex->source = NULL;
    }
    task_cancel(&c->req_task);
    task_cancel(&c->res_task);
    h1_out_cancel(&c->out);
    h1_body_in_fini(&c->body_in);
    c->ex = NULL;
    exchange_release(ex);
}

static void destroy(struct h1_client *c)
{
    let_go(c);
    timer_fini(&c->timer);
    stream_close(c->stream, c->abort);
    h1_in_release(&c->in);
    h1_body_in_fini(&c->body_in);
    h1_out_fini(&c->out);
    task_cancel(&c->req_task);
    task_cancel(&c->res_task);
    task_cancel(&c->report_task);
    free(c);
}

static void on_report(struct task *t)
{
    struct h1_client *c = container_of(t, struct h1_client, report_task);
    if (c->report_head && !c->silent) {
        c->report_head = false;
        c->owner.on_outcome(c->owner.ctx, c, H1_CLIENT_HEAD, NULL);
    }
    /* The owner may have given it up just now: then it is silent, and OVER. */
    if (c->state == CLIENT_OVER) {
        if (!c->silent && c->report_failed) {
            c->owner.on_outcome(c->owner.ctx, c, H1_CLIENT_FAILED, &c->failure);
        } else if (!c->silent) {
            c->owner.on_close(c->owner.ctx, c);
        }
        destroy(c);
    } else if (c->report_idle) {
        c->report_idle = false;
        c->owner.on_idle(c->owner.ctx, c);
    }
}

static void end_events(struct h1_client *c)
{
    c->state = CLIENT_OVER;
    c->blocked = false;
    timer_clear(&c->timer);
    stream_want(c->stream, 0);
    loop_post(c->loop, &c->report_task);
}

void client_over(struct h1_client *c, enum end_reason reason, const char *detail)
{
    if (c->state == CLIENT_OVER) {
        return;
    }
    if (c->state == CLIENT_HEAD) {
        c->report_failed = true;
        c->failure = (struct h1_client_failure){
            .reason = reason,
            .detail = detail,
            .nothing_sent = c->out.taken_bytes == 0,
            .no_byte_received = !c->received,
        };
        /* The exchange stays held for the report; its request body is free for another try. */
        if (c->body_attached) {
            body_set_consumer(&c->ex->req_body, NULL);
            c->body_attached = false;
        }
    } else if (c->ex) {
        body_abort(&c->ex->res_body, reason); /* no-op where it has ended */
        if (c->body_attached) {
            body_stop(&c->ex->req_body, reason == END_NONE ? END_NOT_WANTED : reason);
        }
        let_go(c);
    }
    end_events(c);
}

void client_report_head(struct h1_client *c)
{
    c->report_head = true;
    loop_post(c->loop, &c->report_task);
}

/* The response is not wanted after all; the connection cannot be used for another one. */
static void drop_response(struct response_source *source)
{
    struct h1_client *c = container_of(source, struct h1_client, source);
    client_over(c, END_NOT_WANTED, "the response was not wanted any more");
}

void client_complete(struct h1_client *c)
{
    struct exchange *ex = c->ex;
    body_end(&ex->res_body, &c->body_in.trailers);
    if (c->body_attached && !c->out_done) {
        body_stop(&ex->req_body, END_NOT_WANTED);
    }
    bool reuse = c->head.keep_alive && c->out_done && !c->broken && h1_in_empty(&c->in);
    let_go(c);
    h1_in_release(&c->in);
    if (!reuse) {
        end_events(c);
        return;
    }
    c->state = CLIENT_IDLE;
    c->upgrade = slice_of(NULL, 0);
    c->idle_since_ms = loop_now_ms(c->loop);
    c->report_idle = true;
    loop_post(c->loop, &c->report_task);
}

/* ---- requests -------- */

void client_check_tunnel(struct h1_client *c)
{
    if (c->state == CLIENT_TUNNEL && c->in_done && c->out_done) {
        client_over(c, END_NONE, "");
    }
}

static void request_written(struct h1_client *c)
{
    c->out_done = true;
    if (c->state == CLIENT_TUNNEL) {
        stream_shutdown_write(c->stream);
        client_check_tunnel(c);
    }
}

/* A write failed. The origin may have answered before it closed (an early 413): what is there is
 * read first, and the end of it decides. */
static void write_broken(struct h1_client *c)
{
    c->broken = true;
    if (c->state == CLIENT_TUNNEL) {
        c->out_done = true;
        body_stop(&c->ex->req_body, END_ORIGIN_GONE);
        client_check_tunnel(c);
    }
}

static void request_cut(struct h1_client *c)
{
    const struct body *b = &c->ex->req_body;
    enum end_reason reason = b->state == BODY_OPEN || b->state == BODY_ENDED ? END_INTERNAL
                                                                            : b->reason;
    c->abort = true;
    client_over(c, reason, "the request was cut off");
}

void client_write(struct h1_client *c)
{
    if (c->broken || c->out_done) {
        return;
    }
    uint64_t before = c->out.taken_bytes;
    enum h1_out_result r = h1_out_run(&c->out);
    c->blocked = r == H1_OUT_BLOCKED;
    if ((c->wait == CLIENT_WAIT_HEAD || c->wait == CLIENT_WAIT_WRITE) &&
        c->out.taken_bytes != before) {
        client_restart_wait(c);
    }
    switch (r) {
    case H1_OUT_BLOCKED:
        if (c->ex->req_body.state == BODY_ABORTED) {
            request_cut(c);
        }
        return;
    case H1_OUT_WAIT:
        return;
    case H1_OUT_DONE:
        request_written(c);
        return;
    case H1_OUT_ABORTED:
        request_cut(c);
        return;
    case H1_OUT_ERROR:
        write_broken(c);
        return;
    }
}

static void attach_body(struct h1_client *c)
{
    c->body_attached = true;
    body_set_consumer(&c->ex->req_body, &c->req_task);
    c->ex->req_body.takes_pipe = h1_out_takes_pipe(&c->out);
    task_cancel(&c->req_task); /* we look now */
}

void client_start_tunnel(struct h1_client *c)
{
    c->state = CLIENT_TUNNEL;
    c->out_done = false;
    c->in_done = false;
    h1_out_start_tunnel(&c->out, &c->ex->req_body);
    attach_body(c);
    client_write(c);
}

static enum h1_framing request_framing(const struct request *out, struct slice upgrade)
{
    if (upgrade.n > 0 || out->content_length == 0) {
        return H1_NO_BODY;
    }
    return out->content_length > 0 ? H1_LENGTH : H1_CHUNKED;
}

static void begin_request(struct h1_client *c, struct exchange *ex,
                          const struct h1_client_limits *limits, struct slice upgrade)
{
    exchange_hold(ex);
    c->ex = ex;
    c->limits = *limits;
    c->upgrade = upgrade;
    c->scan = (struct h1_scan){0};
    c->interims = 0;
    c->report_idle = false;
    c->out_done = false;
    c->in_done = false;
    c->received = false;
    c->wait = CLIENT_WAIT_NONE;
    c->out.taken_bytes = 0;
}

void h1_client_send(struct h1_client *c, struct exchange *ex, const struct request *out,
                    struct slice upgrade, const struct h1_client_limits *limits)
{
    must(!c->ex && !c->silent);
    begin_request(c, ex, limits, upgrade);
    if (c->state == CLIENT_OVER) { /* it broke while idle; the owner has not heard of it yet */
        c->report_failed = true;
        c->failure = (struct h1_client_failure){END_ORIGIN_GONE,
                                                "closed the connection before it answered",
                                                true, true};
        return;
    }
    c->state = CLIENT_HEAD;
    c->method = out->method;
    enum h1_framing framing = request_framing(out, upgrade);
    struct chunk *head = h1_write_request(out, framing, true, upgrade);
    if (!head) {
        client_over(c, END_INTERNAL, "the request head cannot be written");
        return;
    }
    uint64_t length = out->content_length > 0 ? (uint64_t)out->content_length : 0;
    h1_out_start(&c->out, head, framing, length, &ex->req_body);
    if (framing != H1_NO_BODY) {
        attach_body(c);
    }
    client_write(c);
    client_settle(c);
}

/* ---- the owner's other calls -------- */

struct h1_client *h1_client_new(struct stream *s, const struct h1_client_owner *owner)
{
    struct h1_client *c = malloc(sizeof(*c));
    if (!c) {
        stream_close(s, true);
        return NULL;
    }
    memset(c, 0, sizeof(*c));
    c->stream = s;
    c->loop = s->loop;
    c->owner = *owner;
    c->state = CLIENT_IDLE;
    c->idle_since_ms = loop_now_ms(c->loop);
    task_init(&c->req_task, on_req_task);
    task_init(&c->res_task, on_res_task);
    task_init(&c->report_task, on_report);
    timer_init(&c->timer, c->loop, on_timer);
    h1_out_init(&c->out, s);
    c->source.drop = drop_response;
    s->owner = c;
    s->on_event = on_event;
    client_settle(c);
    return c;
}

void h1_client_set_owner(struct h1_client *c, const struct h1_client_owner *owner)
{
    c->owner = *owner;
}

static void give_up(struct h1_client *c)
{
    c->silent = true;
    c->report_head = false;
    c->report_idle = false;
    if (c->ex) {
        if (c->ex->res_body.producer == &c->res_task) {
            body_abort(&c->ex->res_body, END_NOT_WANTED);
        }
        c->abort = c->state == CLIENT_TUNNEL || (c->body_attached && !c->out_done);
        let_go(c);
    }
    if (c->state != CLIENT_OVER) {
        end_events(c);
    }
}

void h1_client_cancel(struct h1_client *c)
{
    give_up(c);
}

void h1_client_close(struct h1_client *c)
{
    must(!c->ex);
    give_up(c);
}

bool h1_client_idle(const struct h1_client *c)
{
    return c->state == CLIENT_IDLE;
}

bool h1_client_usable(struct h1_client *c)
{
    return c->state == CLIENT_IDLE && h1_in_empty(&c->in);
}

int64_t h1_client_idle_since_ms(const struct h1_client *c)
{
    return c->idle_since_ms;
}
