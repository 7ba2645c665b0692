/* HTTP/2 towards origins: the life of a connection: turns, reading, writing, its timer, its ends.
 * See h2_client.h for the contract and h2_client_priv.h for the discipline and who owns what.
 *
 * In: a stream; requests. Out: frames to the origin; on_change and on_close to the owner. */
#include "proxy/h2/h2_client_priv.h"

#include <stdlib.h>

#define READ_BYTES ((size_t)32 * 1024)
#define READS_MAX 8
#define TICK_MIN_MS 10
#define TICK_MAX_MS 5000

/* Nothing is kept here between two calls: nghttp2 copies what it has to remember. */
static _Thread_local unsigned char input[READ_BYTES];

void h2_client_wake(struct h2_client *c)
{
    if (!c->closing) {
        loop_post(c->loop, &c->turn_task);
    }
}

void h2_client_changed(struct h2_client *c)
{
    if (!c->closing) {
        loop_post(c->loop, &c->change_task);
        h2_client_wake(c); /* the last call may be gone, and its memory can be too */
    }
}

void h2_client_charge(struct h2_client *c, int cost)
{
    if (!c->why && h2_budget_spend(&c->budget, cost, loop_now_ms(c->loop))) {
        c->why = "sent frames that bring nothing, too many of them";
        (void)nghttp2_session_terminate_session(c->session, NGHTTP2_ENHANCE_YOUR_CALM);
        h2_client_wake(c);
    }
}

/* ---- ends -------- */

static void on_close_task(struct task *t)
{
    struct h2_client *c = container_of(t, struct h2_client, close_task);
    must(list_empty(&c->calls));
    if (!c->silent) {
        c->owner.on_close(c->owner.ctx, c);
    }
    task_cancel(&c->turn_task);
    task_cancel(&c->change_task);
    timer_fini(&c->timer);
    stream_close(c->stream, c->abort);
    h2_out_fini(&c->out);
    nghttp2_session_del(c->session);
    free(c);
}

static void on_change_task(struct task *t)
{
    struct h2_client *c = container_of(t, struct h2_client, change_task);
    LIST_EACH_SAFE(node, &c->calls) { /* content that was held back may go now */
        struct h2_call *call = LIST_ENTRY(node, struct h2_call, node);
        if (call->deferred && !call->over) {
            h2_call_input(call);
        }
    }
    if (!c->closing && !c->silent) {
        c->owner.on_change(c->owner.ctx, c);
    }
}

void h2_client_close(struct h2_client *c, enum end_reason reason, const char *why, bool abort)
{
    if (c->closing) {
        return;
    }
    LIST_EACH_SAFE(node, &c->calls) {
        h2_call_over(LIST_ENTRY(node, struct h2_call, node), reason, slice_str(why));
    }
    c->closing = true;
    c->abort = abort;
    timer_clear(&c->timer);
    task_cancel(&c->turn_task);
    task_cancel(&c->change_task);
    stream_want(c->stream, 0);
    loop_post(c->loop, &c->close_task);
}

/* ---- reading -------- */

/* What nghttp2 can answer with GOAWAY it has answered; this is worse: not HTTP/2 at all, a flood,
 * memory. */
static void input_failed(struct h2_client *c, ssize_t error)
{
    if (error == NGHTTP2_ERR_NOMEM || error == NGHTTP2_ERR_CALLBACK_FAILURE) {
        h2_client_close(c, END_NO_MEMORY, "out of memory", true);
        return;
    }
    bool flood = error == NGHTTP2_ERR_FLOODED || error == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
    (void)nghttp2_session_terminate_session(
        c->session, flood ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
    c->why = flood           ? "sent frames that bring nothing, too many of them"
             : c->has_settings ? "broke the rules of HTTP/2"
                               : "does not speak HTTP/2";
}

/* False: nothing more may be read. */
static bool take_input(struct h2_client *c, const unsigned char *p, size_t n)
{
    while (n > 0) {
        nghttp2_frame_hd hd;
        bool complete;
        size_t k = h2_scan_next(&c->scan, p, n, &hd, &complete);
        if (complete) {
            h2_client_frame(c, &hd);
        }
        ssize_t used = c->why ? 0 : nghttp2_session_mem_recv(c->session, p, k);
        if (used < 0) {
            input_failed(c, used);
        }
        if (c->why || c->closing) {
            return false;
        }
        p += k;
        n -= k;
    }
    return true;
}

static void read_ended(struct h2_client *c, ssize_t n)
{
    h2_client_close(c, END_ORIGIN_GONE,
                    c->received_bytes == 0 ? "closed the connection before it answered"
                                           : "closed the connection in the middle of its answers",
                    n == STREAM_ERROR);
}

static void read_input(struct h2_client *c)
{
    for (unsigned i = 0; i < READS_MAX; i++) {
        ssize_t n = stream_read(c->stream, input, sizeof(input));
        if (n == STREAM_AGAIN) {
            return;
        }
        if (n <= 0) {
            read_ended(c, n);
            return;
        }
        c->received_bytes += (uint64_t)n;
        if (!take_input(c, input, (size_t)n) || (size_t)n < sizeof(input)) {
            return;
        }
    }
}

/* ---- writing -------- */

/* The origin may have answered before it closed (an early 413): what is there is read first. */
static void write_failed(struct h2_client *c)
{
    read_input(c);
    h2_client_close(c, END_ORIGIN_GONE, "closed the connection before it had the request", true);
}

static void flush(struct h2_client *c)
{
    for (;;) {
        if (h2_out_empty(&c->out) && !h2_gather(c->session, &c->out)) {
            h2_client_close(c, END_NO_MEMORY, "out of memory", true);
            return;
        }
        if (h2_out_empty(&c->out)) {
            /* TLS may still hold bytes of ours. */
            c->blocked = c->stream->ops->unsent(c->stream) > 0;
            return;
        }
        switch (h2_out_write(&c->out, c->stream, &c->written_bytes)) {
        case H2_OUT_ERROR:
            write_failed(c);
            return;
        case H2_OUT_BLOCKED:
            c->blocked = true;
            return;
        case H2_OUT_ALL:
            break;
        }
    }
}

/* ---- the timer -------- */

static int64_t sooner(int64_t a, int64_t b)
{
    return b > 0 && b < a ? b : a;
}

/* The shortest limit that any call has had: nothing is looked through at every turn. */
static void note_limits(struct h2_client *c, const struct h2_client_limits *l)
{
    c->shortest_ms = sooner(c->shortest_ms, l->response_header_timeout_ms);
    c->shortest_ms = sooner(c->shortest_ms, l->read_idle_ms);
    c->shortest_ms = sooner(c->shortest_ms, l->write_idle_ms);
}

/* When to look next: after a quarter of the shortest limit. 0: there is nothing to watch. */
static int64_t tick_wanted(const struct h2_client *c)
{
    if (c->call_count == 0 && c->has_settings) {
        return 0;
    }
    int64_t tick = c->shortest_ms / 4;
    return tick > TICK_MAX_MS ? TICK_MAX_MS : tick < TICK_MIN_MS ? TICK_MIN_MS : tick;
}

/* Interest, timer and memory by the state; comes last in every turn. */
static void settle(struct h2_client *c)
{
    if (c->closing) {
        return;
    }
    int64_t tick = tick_wanted(c);
    if (tick == 0) {
        timer_clear(&c->timer);
        c->tick_ms = 0;
    } else if (c->tick_ms == 0 || tick < c->tick_ms) {
        c->tick_ms = tick;
        if (!timer_set(&c->timer, tick)) {
            h2_client_close(c, END_NO_MEMORY, "out of memory", true);
            return;
        }
    }
    if (c->call_count == 0 && h2_out_empty(&c->out)) {
        h2_out_relax(&c->out);
    }
    stream_want(c->stream, STREAM_READ | (c->blocked ? STREAM_WRITE : 0u));
}

/* Is anything under way? Calls that have only their report before them do not count. */
static bool busy(const struct h2_client *c)
{
    LIST_EACH(node, &c->calls) {
        if (!LIST_ENTRY(node, struct h2_call, node)->over) {
            return true;
        }
    }
    return false;
}

static void turn(struct h2_client *c)
{
    if (c->closing) {
        return;
    }
    bool leave = (c->draining || c->goaway) && !busy(c);
    if (leave && !c->goodbye) {
        c->goodbye = true;
        (void)nghttp2_session_terminate_session(c->session, NGHTTP2_NO_ERROR);
    }
    flush(c);
    if (c->closing) {
        return;
    }
    if (c->why) {
        h2_client_close(c, END_ORIGIN_BAD, c->why, false);
    } else if (leave) {
        h2_client_close(c, END_NONE, "", false);
    } else if (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session)) {
        h2_client_close(c, END_ORIGIN_BAD,
                        c->has_settings ? "broke the rules of HTTP/2" : "does not speak HTTP/2",
                        false);
    }
    settle(c);
}

static void on_timer(struct timer *t)
{
    struct h2_client *c = container_of(t, struct h2_client, timer);
    int64_t now = loop_now_ms(c->loop);
    c->tick_ms = 0;
    if (!c->has_settings && now - c->since_ms >= H2_CLIENT_HELLO_MS) {
        h2_client_close(c, END_ORIGIN_SLOW, "did not answer in time", true);
        return;
    }
    LIST_EACH_SAFE(node, &c->calls) {
        h2_call_tick(LIST_ENTRY(node, struct h2_call, node), now);
    }
    turn(c);
}

/* ---- events -------- */

static void on_event(struct stream *s, unsigned events)
{
    struct h2_client *c = s->owner;
    if (c->closing) {
        return;
    }
    if (events & STREAM_READ) {
        read_input(c);
    }
    turn(c);
}

static void on_turn_task(struct task *t)
{
    turn(container_of(t, struct h2_client, turn_task));
}

/* ---- public -------- */

struct h2_client *h2_client_new(struct stream *s, size_t head_bytes_max, unsigned streams_hint,
                                const struct h2_client_owner *owner)
{
    struct h2_client *c = calloc(1, sizeof(*c));
    if (!c) {
        stream_close(s, true);
        return NULL;
    }
    c->stream = s;
    c->loop = s->loop;
    c->owner = *owner;
    c->head_bytes_max = head_bytes_max;
    c->streams_hint = streams_hint;
    c->since_ms = loop_now_ms(c->loop);
    c->shortest_ms = H2_CLIENT_HELLO_MS < H2_CLIENT_QUEUE_MS ? H2_CLIENT_HELLO_MS
                                                             : H2_CLIENT_QUEUE_MS;
    list_init(&c->calls);
    if (!h2_client_session_open(c)) {
        nghttp2_session_del(c->session);
        free(c);
        stream_close(s, true);
        return NULL;
    }
    task_init(&c->turn_task, on_turn_task);
    task_init(&c->change_task, on_change_task);
    task_init(&c->close_task, on_close_task);
    timer_init(&c->timer, c->loop, on_timer);
    s->owner = c;
    s->on_event = on_event;
    h2_client_wake(c);
    return c;
}

unsigned h2_client_streams_said(const struct h2_client *c)
{
    return c->has_settings
               ? nghttp2_session_get_remote_settings(c->session,
                                                     NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
               : 0;
}

unsigned h2_client_room(const struct h2_client *c)
{
    if (c->closing || c->why || c->goaway || c->draining ||
        !nghttp2_session_check_request_allowed(c->session)) {
        return 0;
    }
    unsigned most = c->has_settings   ? h2_client_streams_said(c)
                    : c->streams_hint ? c->streams_hint
                                      : H2_CLIENT_CALLS_FIRST;
    most = most < H2_CLIENT_CALLS_MAX ? most : H2_CLIENT_CALLS_MAX;
    return most > c->call_count ? most - c->call_count : 0;
}

unsigned h2_client_calls(const struct h2_client *c)
{
    return c->call_count;
}

struct h2_call *h2_client_send(struct h2_client *c, struct exchange *ex, const struct request *out,
                               const struct h2_client_limits *limits, void *call_ctx)
{
    must(!c->closing);
    struct h2_call *call = h2_call_new(c, ex);
    if (!call) {
        return NULL;
    }
    call->limits = *limits;
    note_limits(c, limits);
    call->ctx = call_ctx;
    int error = h2_call_submit(call, out);
    if (error == NGHTTP2_ERR_NOMEM) {
        h2_call_over(call, END_NO_MEMORY, S("out of memory"));
    } else if (error) {
        h2_call_over(call, END_INTERNAL, S("was not sent the request: its head cannot be written"));
    }
    h2_client_wake(c);
    return call;
}

void h2_client_drain(struct h2_client *c)
{
    c->draining = true;
    h2_client_wake(c);
}

void h2_client_abort(struct h2_client *c)
{
    c->silent = true;
    h2_client_close(c, END_SHUTDOWN, "", true);
}
