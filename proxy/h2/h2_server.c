/* HTTP/2 towards clients: the life of a connection: reading, turns, writing, its timer, its ends.
 * See h2_server.h for the contract and h2_priv.h for the discipline and who owns what.
 *
 * In: a stream. Out: exchanges begun on a service, many at a time; on_close at the end. */
#include "proxy/h2/h2_priv.h"

#include <stdlib.h>

#define READ_BYTES ((size_t)32 * 1024)
#define READS_MAX 8
#define TICK_MIN_MS 25
#define TICK_MAX_MS 5000
#define DEADLINE_LOOK_MS 1000 /* a quarter of it is how late a deadline may be noticed */

/* Nothing is kept here between two calls: nghttp2 copies what it has to remember. */
static _Thread_local unsigned char input[READ_BYTES];

void h2_wake(struct h2_server *c)
{
    if (!c->closing) {
        loop_post(c->loop, &c->turn_task);
    }
}

void h2_charge(struct h2_server *c, int cost)
{
    if (!c->calm && h2_budget_spend(&c->budget, cost, loop_now_ms(c->loop))) {
        c->calm = true;
        (void)nghttp2_session_terminate_session(c->session, NGHTTP2_ENHANCE_YOUR_CALM);
        h2_wake(c);
    }
}

/* ---- ends -------- */

static void end_streams(struct h2_server *c, enum end_reason reason)
{
    LIST_EACH_SAFE(node, &c->streams) {
        struct h2_stream *s = LIST_ENTRY(node, struct h2_stream, node);
        nghttp2_session_set_stream_user_data(c->session, s->id, NULL);
        h2_stream_free(s, reason);
    }
    c->head = NULL;
}

static void on_close_task(struct task *t)
{
    struct h2_server *c = container_of(t, struct h2_server, close_task);
    must(list_empty(&c->streams));
    timer_fini(&c->timer);
    task_cancel(&c->turn_task);
    stream_close(c->stream, c->abort);
    h2_out_fini(&c->out);
    nghttp2_session_del(c->session);
    c->owner.on_close(c->owner.ctx, c);
    free(c);
}

/* Ends the connection: nothing happens any more but close_task, behind the exchanges' ends. */
static void server_close(struct h2_server *c, enum end_reason reason, bool abort)
{
    if (c->closing) {
        return;
    }
    end_streams(c, reason);
    c->closing = true;
    c->abort = abort;
    timer_clear(&c->timer);
    task_cancel(&c->turn_task);
    stream_want(c->stream, 0);
    loop_post(c->loop, &c->close_task);
}

/* The session has said all it had to say, and all of it is written: our side ends, and what still
 * comes is dropped for a while. */
static void server_linger(struct h2_server *c)
{
    if (c->eof) {
        server_close(c, END_CLIENT_GONE, false);
        return;
    }
    c->lingering = true;
    c->over_since_ms = loop_now_ms(c->loop);
    h2_out_relax(&c->out);
    stream_shutdown_write(c->stream);
}

/* ---- writing -------- */

static void note_blocked(struct h2_server *c, bool blocked, uint64_t before)
{
    c->blocked = blocked;
    if (!blocked) {
        c->blocked_since_ms = 0;
    } else if (c->written_bytes != before || !c->blocked_since_ms) {
        c->blocked_since_ms = loop_now_ms(c->loop);
    }
}

static void server_flush(struct h2_server *c)
{
    for (;;) {
        if (h2_out_empty(&c->out) && !h2_gather(c->session, &c->out)) {
            server_close(c, END_NO_MEMORY, true);
            return;
        }
        if (h2_out_empty(&c->out)) {
            /* TLS may still hold bytes of ours. */
            note_blocked(c, c->stream->ops->unsent(c->stream) > 0, c->written_bytes);
            return;
        }
        uint64_t before = c->written_bytes;
        switch (h2_out_write(&c->out, c->stream, &c->written_bytes)) {
        case H2_OUT_ERROR:
            server_close(c, END_CLIENT_GONE, true);
            return;
        case H2_OUT_BLOCKED:
            note_blocked(c, true, before);
            return;
        case H2_OUT_ALL:
            break;
        }
    }
}

/* ---- the graceful end -------- */

/* First a GOAWAY that refuses nothing, then, when everything that was on its way has arrived, the
 * one that does (RFC 9113 section 6.8). */
static void drain_step(struct h2_server *c)
{
    if (!c->draining || c->goaway_sent) {
        return;
    }
    bool due = c->notice_ms && loop_now_ms(c->loop) - c->notice_ms >= H2_NOTICE_MS;
    if (c->stream_count == 0 && (due || !c->notice_ms)) {
        c->goaway_sent = true;
        (void)nghttp2_session_terminate_session(c->session, NGHTTP2_NO_ERROR);
    } else if (!c->notice_ms) {
        c->notice_ms = loop_now_ms(c->loop);
        (void)nghttp2_submit_shutdown_notice(c->session);
        (void)nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
    } else if (due) {
        c->goaway_sent = true;
        (void)nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(c->session),
                                    NGHTTP2_NO_ERROR, NULL, 0);
    }
}

/* ---- the timer -------- */

static int64_t sooner(int64_t a, int64_t b)
{
    return b > 0 && b < a ? b : a;
}

static bool only_tunnels(const struct h2_server *c)
{
    LIST_EACH(node, &c->streams) {
        if (!LIST_ENTRY(node, struct h2_stream, node)->tunnel) {
            return false;
        }
    }
    return true;
}

/* The shortest time limit that applies now; INT64_MAX: none. */
static int64_t shortest_limit(const struct h2_server *c)
{
    const struct h2_server_limits *l = c->limits;
    int64_t least = INT64_MAX;
    bool waiting = c->stream_count > 0 && !only_tunnels(c);
    if (c->head_since_ms || !c->has_settings) {
        least = sooner(least, l->header_timeout_ms);
    }
    if (c->notice_ms && !c->goaway_sent) {
        least = sooner(least, H2_NOTICE_MS);
    }
    if (waiting) {
        least = sooner(least, l->body_idle_ms);
        least = sooner(least, l->body_min_rate ? H2_RATE_GRACE_MS : 0);
        least = sooner(least, c->deadlines ? DEADLINE_LOOK_MS : 0);
    }
    if (waiting || (c->blocked && c->stream_count == 0)) {
        least = sooner(least, l->write_idle_ms);
    }
    return least;
}

/* When to look next: after a quarter of the shortest time limit; an idle connection only when its
 * time is up. 0: there is nothing to watch (tunnels only). */
static int64_t tick_wanted(const struct h2_server *c)
{
    if (c->over_since_ms) {
        return H2_LINGER_MS / 4;
    }
    int64_t tick = shortest_limit(c) / 4;
    tick = tick > TICK_MAX_MS ? TICK_MAX_MS : tick < TICK_MIN_MS ? TICK_MIN_MS : tick;
    if (shortest_limit(c) != INT64_MAX) {
        return tick;
    }
    if (c->stream_count > 0 || c->limits->idle_timeout_ms <= 0) {
        return 0;
    }
    int64_t left = c->idle_since_ms + c->limits->idle_timeout_ms - loop_now_ms(c->loop);
    return left > 1 ? left : 1;
}

/* Interest, timer and memory by the state; comes last in every event and task. */
static void settle(struct h2_server *c)
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
            server_close(c, END_NO_MEMORY, true);
            return;
        }
    }
    if (c->stream_count == 0 && h2_out_empty(&c->out)) {
        h2_out_relax(&c->out);
    }
    bool reads = !c->eof && (c->lingering ? c->lingered_bytes < H2_LINGER_BYTES : !c->over);
    stream_want(c->stream, (reads ? STREAM_READ : 0u) | (c->blocked ? STREAM_WRITE : 0u));
}

/* The session has nothing more to say once it wants neither to read nor to write. */
static void check_over(struct h2_server *c)
{
    if (c->closing || c->lingering) {
        return;
    }
    if (!c->over && (c->calm || !nghttp2_session_want_read(c->session)) &&
        !nghttp2_session_want_write(c->session)) {
        c->over = true;
        c->over_since_ms = loop_now_ms(c->loop);
        end_streams(c, END_CLIENT_BAD);
    }
    if (c->over && h2_out_empty(&c->out) && !c->blocked) {
        server_linger(c);
    }
}

/* A request is begun only when all that came with it has been looked at and nothing of ours is
 * stuck: not for a client that does not read its answers. */
static void begin_fresh(struct h2_server *c)
{
    if (c->blocked || c->over || c->calm) {
        return;
    }
    LIST_EACH_SAFE(node, &c->fresh) {
        h2_stream_begin(LIST_ENTRY(node, struct h2_stream, fresh));
    }
}

static void turn(struct h2_server *c)
{
    if (c->closing) {
        return;
    }
    if (c->lingering) {
        c->blocked = c->stream->ops->unsent(c->stream) > 0;
        if (!c->blocked && c->eof) {
            server_close(c, END_CLIENT_GONE, false);
        }
        settle(c);
        return;
    }
    if (c->calm) {
        end_streams(c, END_CLIENT_BAD);
    }
    drain_step(c);
    server_flush(c);
    if (!c->closing) {
        begin_fresh(c);
        check_over(c);
    }
    settle(c);
}

static void tick_streams(struct h2_server *c, int64_t now)
{
    LIST_EACH_SAFE(node, &c->streams) {
        h2_stream_tick(LIST_ENTRY(node, struct h2_stream, node), now);
    }
}

static bool passed(int64_t since, int64_t limit, int64_t now)
{
    return since && limit > 0 && now - since >= limit;
}

static void on_timer(struct timer *t)
{
    struct h2_server *c = container_of(t, struct h2_server, timer);
    const struct h2_server_limits *l = c->limits;
    int64_t now = loop_now_ms(c->loop);
    c->tick_ms = 0;
    if (c->over_since_ms) {
        if (passed(c->over_since_ms, c->lingering ? H2_LINGER_MS : H2_FLUSH_MS, now)) {
            server_close(c, END_CLIENT_SLOW, !c->lingering);
        }
    } else if (passed(c->blocked_since_ms, l->write_idle_ms, now) &&
               (c->stream_count == 0 || !only_tunnels(c))) {
        server_close(c, END_CLIENT_SLOW, true);
    } else if (passed(c->head_since_ms, l->header_timeout_ms, now) ||
               (!c->has_settings && passed(c->idle_since_ms, l->header_timeout_ms, now))) {
        (void)nghttp2_session_terminate_session(c->session, NGHTTP2_NO_ERROR);
    } else if (c->stream_count == 0 && passed(c->idle_since_ms, l->idle_timeout_ms, now)) {
        (void)nghttp2_session_terminate_session(c->session, NGHTTP2_NO_ERROR);
    } else {
        tick_streams(c, now);
    }
    turn(c);
}

/* ---- reading -------- */

/* What nghttp2 can answer with GOAWAY it has answered; this is worse: not HTTP/2 at all, a flood,
 * memory. */
static void input_failed(struct h2_server *c, ssize_t error)
{
    if (error == NGHTTP2_ERR_NOMEM || error == NGHTTP2_ERR_CALLBACK_FAILURE) {
        server_close(c, END_NO_MEMORY, true);
        return;
    }
    bool flood = error == NGHTTP2_ERR_FLOODED || error == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
    (void)nghttp2_session_terminate_session(
        c->session, flood ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
    c->calm = true;
}

#define PRIORITY_BYTES 5

static void frame_begins(struct h2_server *c, const nghttp2_frame_hd *hd)
{
    bool priority = hd->type == NGHTTP2_PRIORITY && hd->length == PRIORITY_BYTES;
    c->priority_id = priority ? hd->stream_id : 0;
    c->priority_on = 0;
    c->priority_have = 0;
    h2_session_frame(c, hd);
}

/* nghttp2 skips PRIORITY frames, which have no meaning any more; that no stream may depend on
 * itself holds all the same (RFC 7540 section 5.3.1). */
static void look_at_priority(struct h2_server *c, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n && c->priority_have < sizeof(c->priority_on); i++) {
        c->priority_on = c->priority_on << 8 | p[i];
        c->priority_have++;
    }
    if (c->priority_have == sizeof(c->priority_on) &&
        (c->priority_on & 0x7fffffff) == (uint32_t)c->priority_id) {
        (void)nghttp2_session_terminate_session(c->session, NGHTTP2_PROTOCOL_ERROR);
        c->priority_id = 0;
    }
}

/* False: nothing more may be read now. */
static bool take_input(struct h2_server *c, const unsigned char *p, size_t n)
{
    while (n > 0) {
        nghttp2_frame_hd hd;
        bool complete;
        size_t k = h2_scan_next(&c->scan, p, n, &hd, &complete);
        if (complete) {
            frame_begins(c, &hd);
        } else if (c->priority_id && c->scan.head_have == 0) {
            look_at_priority(c, p, k);
        }
        if (c->calm) {
            return false;
        }
        ssize_t used = nghttp2_session_mem_recv(c->session, p, k);
        if (used < 0) {
            input_failed(c, used);
        }
        if (c->calm || c->closing) {
            return false;
        }
        p += k;
        n -= k;
    }
    return true;
}

static void read_ended(struct h2_server *c, ssize_t n)
{
    c->eof = true;
    if (!(n == 0 && c->lingering && c->blocked)) {
        server_close(c, END_CLIENT_GONE, n == STREAM_ERROR);
    }
}

static void read_input(struct h2_server *c)
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
        if (c->over || c->calm) {
            c->lingered_bytes += (uint64_t)n;
        } else if (!take_input(c, input, (size_t)n)) {
            return;
        }
        if ((size_t)n < sizeof(input)) {
            return;
        }
    }
}

static void on_event(struct stream *s, unsigned events)
{
    struct h2_server *c = s->owner;
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
    turn(container_of(t, struct h2_server, turn_task));
}

/* ---- public -------- */

struct h2_server *h2_server_new(struct stream *s, const struct h2_server_limits *limits,
                                const struct http_service *service, struct slice scheme,
                                const void *listener, struct slice received,
                                const struct h2_server_owner *owner)
{
    struct h2_server *c = calloc(1, sizeof(*c));
    if (!c) {
        stream_close(s, true);
        return NULL;
    }
    c->stream = s;
    c->loop = s->loop;
    c->limits = limits;
    c->service = service;
    c->scheme = scheme;
    c->client = (struct client_info){s->peer, s->local, s->tls, listener};
    c->owner = *owner;
    list_init(&c->streams);
    list_init(&c->fresh);
    c->idle_since_ms = loop_now_ms(c->loop);
    c->scan.left = NGHTTP2_CLIENT_MAGIC_LEN;
    if (!h2_session_open(c)) {
        nghttp2_session_del(c->session);
        free(c);
        stream_close(s, true);
        return NULL;
    }
    task_init(&c->turn_task, on_turn_task);
    task_init(&c->close_task, on_close_task);
    timer_init(&c->timer, c->loop, on_timer);
    s->owner = c;
    s->on_event = on_event;
    h2_wake(c);
    if (received.n) {
        (void)take_input(c, (const unsigned char *)received.p, received.n);
    }
    settle(c);
    return c;
}

void h2_server_drain(struct h2_server *c)
{
    c->draining = true;
    h2_wake(c);
}

void h2_server_abort(struct h2_server *c, enum end_reason reason)
{
    if (c->closing) {
        return;
    }
    end_streams(c, reason);
    (void)nghttp2_session_terminate_session(c->session, NGHTTP2_NO_ERROR);
    if (!c->lingering && !c->over) {
        server_flush(c); /* as much of the GOAWAY as the socket takes */
    }
    server_close(c, reason, c->blocked);
}

bool h2_server_idle(const struct h2_server *c)
{
    return !c->closing && c->stream_count == 0;
}
