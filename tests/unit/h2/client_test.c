/* HTTP/2 towards origins over a stream in memory: the origin is a server session of nghttp2's own,
 * or frames by hand; the test is owner, chain and client at once. */
#include "proxy/h2/h2_client.h"

#include <nghttp2/nghttp2.h>

#include "tests/unit/h1/loopback.h"

#define ASKS_MAX 160

/* One request as its owner sees it. */
struct ask {
    struct exchange *ex;
    struct request out;
    struct h2_call *call; /* NULL once its outcome is known */
    struct task body_task; /* consumer of res_body */
    bool reads;            /* it consumes what comes */
    uint64_t got_bytes;
    unsigned heads;
    unsigned failures;
    unsigned overs;
    struct h2_client_failure failure;
};

/* One stream as the origin sees it. */
struct seen {
    int32_t id;
    char method[16];
    char path[64];
    char authority[64];
    bool te;
    bool trailer;
    bool ended;
    uint64_t bytes;
    int64_t reset; /* -1: none */
    size_t left;   /* of the answer's content */
    bool trailers; /* behind it */
};

struct fixture {
    struct lb_net net;
    struct lb *origin;
    struct h2_client *client;
    struct h2_client_limits limits;
    struct ask asks[ASKS_MAX];
    unsigned ask_count;
    unsigned changes;
    unsigned interims;
    bool closed;

    nghttp2_session *session; /* the origin's */
    size_t fed;               /* of what the client has written */
    struct seen seen[ASKS_MAX];
    unsigned seen_count;
    int64_t goaway; /* code of the client's; -1: none */
    bool consume;   /* the origin gives windows */
};

static struct fixture *fx;

/* ---- the chain, the client -------- */

static void op_start(struct exchange *ex)
{
    (void)ex;
}

static void op_interim(struct exchange *ex, const struct response *interim)
{
    (void)ex;
    assert_true(interim->status >= 100 && interim->status < 200);
    fx->interims++;
}

static void op_reset(struct exchange *ex, enum end_reason reason)
{
    (void)ex;
    (void)reason;
}

static const struct exchange_codec codec = {op_start, op_interim, op_reset};
static const struct http_service service;
static const struct addr nobody;

static void on_body(struct task *t)
{
    struct ask *a = container_of(t, struct ask, body_task);
    struct iovec iov[BODY_SLICES_MAX];
    if (!a->reads) {
        return;
    }
    for (int n; (n = body_peek(&a->ex->res_body, iov, BODY_SLICES_MAX)) > 0;) {
        for (int i = 0; i < n; i++) {
            a->got_bytes += iov[i].iov_len;
            body_consume(&a->ex->res_body, iov[i].iov_len);
        }
    }
}

static struct ask *ask_new(const char *method, int64_t length)
{
    static const struct client_info client = {.peer = &nobody, .local = &nobody};
    assert_true(fx->ask_count < ASKS_MAX);
    struct ask *a = &fx->asks[fx->ask_count++];
    *a = (struct ask){.reads = true};
    a->ex = exchange_new(fx->net.loop, loop_queue(fx->net.loop), &codec, &service, &client);
    assert_non_null(a->ex);
    a->out.method_text = slice_str(method);
    a->out.method = http_method_of(a->out.method_text);
    a->out.target = S("/x?y");
    a->out.content_length = length;
    assert_true(fields_add_id(&a->out.fields, &a->ex->arena, FIELD_HOST, S("Host"), S("a.test")));
    assert_true(fields_add_id(&a->out.fields, &a->ex->arena, FIELD_TE, S("TE"), S("trailers")));
    assert_true(fields_add(&a->out.fields, &a->ex->arena, S("X-Upper"), S("Value")));
    task_init(&a->body_task, on_body);
    return a;
}

static struct ask *send_ask(struct ask *a)
{
    body_set_consumer(&a->ex->res_body, &a->body_task);
    a->call = h2_client_send(fx->client, a->ex, &a->out, &fx->limits, a);
    assert_non_null(a->call);
    return a;
}

static struct ask *ask(const char *method)
{
    return send_ask(ask_new(method, 0));
}

/* ---- the owner -------- */

static void on_outcome(void *ctx, void *call_ctx, enum h2_client_outcome outcome,
                       const struct h2_client_failure *failure)
{
    struct ask *a = call_ctx;
    assert_ptr_equal(ctx, fx);
    a->call = NULL;
    if (outcome == H2_CLIENT_HEAD) {
        a->heads++;
        return;
    }
    a->failures++;
    a->failure = *failure;
}

static void on_over(void *ctx, void *call_ctx)
{
    (void)ctx;
    ((struct ask *)call_ctx)->overs++;
}

static void on_change(void *ctx, struct h2_client *c)
{
    (void)ctx;
    assert_ptr_equal(c, fx->client);
    fx->changes++;
}

static void on_close(void *ctx, struct h2_client *c)
{
    (void)ctx;
    assert_ptr_equal(c, fx->client);
    fx->client = NULL;
    fx->closed = true;
}

/* ---- the origin -------- */

static struct seen *seen_of(int32_t id)
{
    for (unsigned i = 0; i < fx->seen_count; i++) {
        if (fx->seen[i].id == id) {
            return &fx->seen[i];
        }
    }
    return NULL;
}

static int origin_begin(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
    (void)s;
    (void)user;
    struct seen *o = seen_of(frame->hd.stream_id);
    if (o) {
        o->trailer = true;
        return 0;
    }
    assert_true(fx->seen_count < ASKS_MAX);
    fx->seen[fx->seen_count++] = (struct seen){.id = frame->hd.stream_id, .reset = -1};
    return 0;
}

static void keep(char *to, size_t cap, const uint8_t *value, size_t n)
{
    assert_true(n < cap);
    memcpy(to, value, n);
    to[n] = '\0';
}

static int origin_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name,
                         size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
                         void *user)
{
    (void)s;
    (void)flags;
    (void)user;
    struct seen *o = seen_of(frame->hd.stream_id);
    struct slice n = slice_of(name, name_n);
    if (slice_eq(n, S(":method"))) {
        keep(o->method, sizeof(o->method), value, value_n);
    } else if (slice_eq(n, S(":path"))) {
        keep(o->path, sizeof(o->path), value, value_n);
    } else if (slice_eq(n, S(":authority"))) {
        keep(o->authority, sizeof(o->authority), value, value_n);
    }
    o->te |= slice_eq(n, S("te"));
    assert_false(slice_eq(n, S("host")) || slice_eq(n, S("X-Upper")));
    return 0;
}

static int origin_frame(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
    (void)s;
    (void)user;
    struct seen *o = seen_of(frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        fx->goaway = frame->goaway.error_code;
    } else if (frame->hd.type == NGHTTP2_RST_STREAM && o) {
        o->reset = frame->rst_stream.error_code;
    } else if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
               frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        o->ended = true;
    }
    return 0;
}

static int origin_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                       void *user)
{
    (void)flags;
    (void)p;
    (void)user;
    seen_of(id)->bytes += n;
    if (fx->consume) {
        assert_int_equal(nghttp2_session_consume(s, id, n), 0);
    }
    return 0;
}

static void origin_open(const nghttp2_settings_entry *entries, size_t count)
{
    nghttp2_session_callbacks *k;
    nghttp2_option *o;
    assert_int_equal(nghttp2_session_callbacks_new(&k), 0);
    assert_int_equal(nghttp2_option_new(&o), 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(k, origin_begin);
    nghttp2_session_callbacks_set_on_header_callback(k, origin_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(k, origin_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(k, origin_data);
    nghttp2_option_set_no_auto_window_update(o, 1);
    assert_int_equal(nghttp2_session_server_new2(&fx->session, k, NULL, o), 0);
    assert_int_equal(nghttp2_submit_settings(fx->session, 0, entries, count), 0);
    nghttp2_session_callbacks_del(k);
    nghttp2_option_del(o);
}

/* Lets both sides talk until both are silent. */
static void talk(void)
{
    for (unsigned i = 0; i < 100000; i++) {
        const uint8_t *p;
        bool moved = false;
        for (ssize_t n; (n = nghttp2_session_mem_send(fx->session, &p)) > 0; moved = true) {
            lb_put(fx->origin, slice_of(p, (size_t)n));
        }
        lb_pump(&fx->net);
        struct slice out = slice_from(lb_written(fx->origin), fx->fed);
        if (out.n > 0) {
            fx->fed += out.n;
            moved = true;
            assert_true(nghttp2_session_mem_recv(fx->session, (const uint8_t *)out.p, out.n) >= 0);
        }
        if (!moved) {
            return;
        }
    }
    fail_msg("they never stop talking");
}

#define NV(name, value)                                                                         \
    {                                                                                           \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1,          \
            sizeof(value) - 1, 0                                                                \
    }

static ssize_t read_answer(nghttp2_session *s, int32_t id, uint8_t *buf, size_t length,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)source;
    (void)user;
    struct seen *o = seen_of(id);
    size_t n = o->left < length ? o->left : length;
    memset(buf, 'a', n);
    o->left -= n;
    if (o->left == 0) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (o->trailers) {
            nghttp2_nv sum = NV("x-sum", "1");
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            assert_int_equal(nghttp2_submit_trailer(s, id, &sum, 1), 0);
        }
    }
    return (ssize_t)n;
}

/* 200 with so much content. */
static void answer(struct seen *o, size_t bytes)
{
    nghttp2_nv head[] = {NV(":status", "200"), NV("x-origin", "yes")};
    nghttp2_data_provider content = {.read_callback = read_answer};
    o->left = bytes;
    assert_int_equal(nghttp2_submit_response(fx->session, o->id, head, 2,
                                             bytes ? &content : NULL), 0);
}

/* A head and nothing behind it yet. */
static void answer_head(struct seen *o)
{
    nghttp2_nv head[] = {NV(":status", "200")};
    assert_int_equal(nghttp2_submit_headers(fx->session, 0, o->id, NULL, head, 1, NULL), 0);
}

static void reset(struct seen *o, uint32_t code)
{
    assert_int_equal(nghttp2_submit_rst_stream(fx->session, 0, o->id, code), 0);
}

/* ---- set-up -------- */

static void client_open(unsigned hint)
{
    static struct h2_client_owner owner = {on_outcome, on_over, on_change, on_close, NULL};
    owner.ctx = fx;
    fx->origin = lb_new(&fx->net);
    fx->client = h2_client_new(&fx->origin->stream, 65536, hint, &owner);
    assert_non_null(fx->client);
}

static int setup_quiet(void **state)
{
    (void)state;
    fx = calloc(1, sizeof(*fx));
    assert_non_null(fx);
    lb_net_init(&fx->net);
    fx->limits = (struct h2_client_limits){.head_bytes_max = 65536,
                                           .fields_max = FIELDS_FROM_PEER_MAX};
    fx->goaway = -1;
    fx->consume = true;
    client_open(0);
    return 0;
}

static int setup(void **state)
{
    int r = setup_quiet(state);
    origin_open(NULL, 0);
    return r;
}

static int teardown(void **state)
{
    (void)state;
    if (fx->client) {
        h2_client_abort(fx->client);
        fx->client = NULL;
    }
    lb_pump(&fx->net);
    for (unsigned i = 0; i < fx->ask_count; i++) {
        struct ask *a = &fx->asks[i];
        body_set_consumer(&a->ex->res_body, NULL);
        task_cancel(&a->body_task);
        assert_int_equal(a->ex->holds, 1); /* everybody else has let go */
        exchange_release(a->ex);
    }
    assert_true(fx->origin->closed);
    assert_true(chunk_bytes_in_use() == 0);
    nghttp2_session_del(fx->session);
    lb_net_fini(&fx->net);
    exchange_pool_drain();
    chunk_pool_drain();
    free(fx);
    return 0;
}

/* ---- the ordinary case -------- */

static void simple(void **state)
{
    (void)state;
    struct ask *a = ask("GET");
    talk();
    struct seen *o = &fx->seen[0];
    assert_string_equal(o->method, "GET");
    assert_string_equal(o->path, "/x?y");
    assert_string_equal(o->authority, "a.test");
    assert_true(o->te && o->ended);
    answer(o, 5000);
    talk();
    assert_int_equal(a->heads, 1);
    assert_int_equal(a->overs, 1);
    assert_int_equal(a->failures, 0);
    assert_int_equal(a->ex->res.status, 200);
    assert_int_equal(a->ex->res.version, HTTP_2);
    assert_int_equal(a->ex->res.content_length, LENGTH_UNKNOWN);
    assert_int_equal(a->got_bytes, 5000);
    assert_true(body_finished(&a->ex->res_body));
    assert_int_equal(h2_client_calls(fx->client), 0);
    assert_true(fx->changes > 0);
    assert_true(chunk_bytes_in_use() == 0); /* an idle connection holds no buffer */
    assert_int_equal(fx->origin->stream.wanted, STREAM_READ);
}

static void many_at_once(void **state)
{
    (void)state;
    talk();
    assert_int_equal(h2_client_room(fx->client), H2_CLIENT_CALLS_MAX);
    for (unsigned i = 0; i < H2_CLIENT_CALLS_MAX; i++) {
        (void)ask("GET");
    }
    unsigned writes = fx->origin->writes;
    assert_int_equal(h2_client_room(fx->client), 0);
    talk();
    assert_true(fx->origin->writes - writes < 8); /* many requests in one write */
    for (unsigned i = fx->seen_count; i-- > 0;) {
        answer(&fx->seen[i], i * 10);
    }
    talk();
    for (unsigned i = 0; i < fx->ask_count; i++) {
        assert_int_equal(fx->asks[i].got_bytes, i * 10);
        assert_int_equal(fx->asks[i].overs, 1);
    }
    assert_int_equal(h2_client_room(fx->client), H2_CLIENT_CALLS_MAX);
}

static void upload_with_trailers_both_ways(void **state)
{
    (void)state;
    struct ask *a = ask_new("POST", LENGTH_UNKNOWN);
    assert_true(body_push_copy(&a->ex->req_body, S("hello")));
    send_ask(a);
    talk();
    struct seen *o = &fx->seen[0];
    assert_int_equal(o->bytes, 5);
    assert_false(o->ended);
    assert_true(body_push_copy(&a->ex->req_body, S("world")));
    struct fields trailers = {0};
    assert_true(fields_add(&trailers, &a->ex->arena, S("X-Sum"), S("1")));
    assert_true(fields_add_id(&trailers, &a->ex->arena, FIELD_HOST, S("Host"), S("evil")));
    body_end(&a->ex->req_body, &trailers);
    talk();
    assert_int_equal(o->bytes, 10);
    assert_true(o->ended && o->trailer);
    o->trailers = true;
    answer(o, 3);
    talk();
    assert_int_equal(a->got_bytes, 3);
    assert_non_null(fields_find(&a->ex->res_body.trailers, S("x-sum")));
    assert_int_equal(a->overs, 1);
}

static void in_crumbs(void **state)
{
    (void)state;
    fx->origin->read_max = fx->origin->write_max = 1;
    fx->origin->again_often = true;
    struct ask *a = ask_new("POST", 10);
    assert_true(body_push_copy(&a->ex->req_body, S("helloworld")));
    body_end(&a->ex->req_body, NULL);
    send_ask(a);
    talk();
    assert_int_equal(fx->seen[0].bytes, 10);
    answer(&fx->seen[0], 700);
    talk();
    assert_int_equal(a->got_bytes, 700);
    assert_int_equal(a->overs, 1);
}

static void head_request(void **state)
{
    (void)state;
    struct ask *a = ask("HEAD");
    talk();
    nghttp2_nv head[] = {NV(":status", "200"), NV("content-length", "77")};
    assert_int_equal(nghttp2_submit_response(fx->session, fx->seen[0].id, head, 2, NULL), 0);
    talk();
    assert_int_equal(a->ex->res.content_length, 77);
    assert_int_equal(a->overs, 1);
}

static void an_answer_that_ends_with_its_head(void **state)
{
    (void)state;
    struct ask *a = ask("GET");
    talk();
    answer(&fx->seen[0], 0);
    talk();
    assert_int_equal(a->ex->res.content_length, 0);
    assert_true(body_finished(&a->ex->res_body));
    assert_int_equal(a->heads, 1);
    assert_int_equal(a->overs, 1);
}

static void interim_answers(void **state)
{
    (void)state;
    struct ask *a = ask("GET");
    struct ask *b = ask("GET");
    talk();
    nghttp2_nv hints[] = {NV(":status", "103"), NV("link", "</a>")};
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(nghttp2_submit_headers(fx->session, 0, fx->seen[0].id, NULL, hints, 2,
                                                NULL), 0);
    }
    for (unsigned i = 0; i < 65; i++) {
        assert_int_equal(nghttp2_submit_headers(fx->session, 0, fx->seen[1].id, NULL, hints, 2,
                                                NULL), 0);
    }
    answer(&fx->seen[0], 1);
    talk();
    assert_int_equal(a->heads, 1);
    assert_int_equal(fx->interims, 3 + 64);
    assert_int_equal(b->failures, 1); /* too many */
    assert_int_equal(b->failure.reason, END_ORIGIN_BAD);
    assert_int_equal(fx->seen[1].reset, NGHTTP2_CANCEL);
}

/* ---- windows -------- */

static void a_client_that_does_not_read(void **state)
{
    (void)state;
    struct ask *a = ask_new("GET", 0);
    a->reads = false;
    send_ask(a);
    struct ask *b = ask("GET");
    talk();
    answer(&fx->seen[0], 1 << 20);
    answer(&fx->seen[1], 1 << 20);
    talk();
    assert_int_equal(a->ex->res_body.queued_bytes, 128 * 1024);
    assert_true(chunk_bytes_in_use() < 256 * 1024);
    assert_int_equal(b->got_bytes, 1 << 20); /* which stalls nobody else */
    assert_int_equal(b->overs, 1);
    a->reads = true;
    loop_post(fx->net.loop, &a->body_task);
    talk();
    assert_int_equal(a->got_bytes, 1 << 20);
    assert_int_equal(a->overs, 1);
}

static void an_origin_that_does_not_read(void **state)
{
    (void)state;
    fx->consume = false;
    struct ask *a = ask_new("POST", LENGTH_UNKNOWN);
    send_ask(a);
    talk();
    for (unsigned i = 0; i < 100 && body_room(&a->ex->req_body) > 0; i++) {
        static char block[16384];
        assert_true(body_push_copy(&a->ex->req_body, slice_of(block, sizeof(block))));
        talk();
    }
    assert_int_equal(fx->seen[0].bytes, 65535);
    assert_int_equal(body_room(&a->ex->req_body), 0);
    assert_true(chunk_bytes_in_use() < 512 * 1024);
    (void)ask("GET"); /* needs no window */
    talk();
    assert_int_equal(fx->seen_count, 2);
}

/* ---- ends -------- */

static void an_early_answer(void **state)
{
    (void)state;
    struct ask *a = ask_new("POST", LENGTH_UNKNOWN);
    assert_true(body_push_copy(&a->ex->req_body, S("hello")));
    send_ask(a);
    talk();
    answer(&fx->seen[0], 10);
    talk();
    assert_int_equal(a->overs, 1);
    assert_true(body_finished(&a->ex->res_body));
    assert_int_equal(a->ex->req_body.state, BODY_STOPPED);
    assert_int_equal(a->ex->req_body.reason, END_NOT_WANTED);
    assert_int_equal(fx->seen[0].reset, NGHTTP2_NO_ERROR);
    assert_true(h2_client_room(fx->client) > 0);
}

static void refused(void **state)
{
    (void)state;
    struct ask *a = ask("POST");
    struct ask *b = ask("POST");
    struct ask *c = ask("POST");
    talk();
    reset(&fx->seen[0], NGHTTP2_REFUSED_STREAM);
    reset(&fx->seen[1], NGHTTP2_INTERNAL_ERROR);
    reset(&fx->seen[2], NGHTTP2_HTTP_1_1_REQUIRED);
    talk();
    assert_true(a->failures == 1 && a->failure.refused && a->failure.nothing_sent);
    assert_int_equal(a->failure.reason, END_ORIGIN_GONE);
    assert_true(b->failures == 1 && !b->failure.refused && !b->failure.nothing_sent);
    assert_false(b->failure.no_byte_received);
    assert_true(slice_eq(b->failure.detail, S("reset the request (INTERNAL_ERROR)")));
    assert_true(c->failures == 1 && c->failure.wants_http_1);
    assert_true(h2_client_room(fx->client) > 0);
}

static void goaway(void **state)
{
    (void)state;
    struct ask *a = ask("GET");
    struct ask *b = ask("POST");
    talk();
    assert_int_equal(nghttp2_submit_goaway(fx->session, 0, fx->seen[0].id, 0, NULL, 0), 0);
    talk();
    assert_true(b->failures == 1 && b->failure.refused && b->failure.nothing_sent);
    assert_int_equal(h2_client_room(fx->client), 0);
    assert_false(fx->closed);
    answer(&fx->seen[0], 5);
    talk();
    assert_int_equal(a->got_bytes, 5);
    assert_int_equal(a->overs, 1);
    assert_true(fx->closed); /* nothing is left for it to do, and it says so */
    assert_true(slice_ends(lb_written(fx->origin),
                           S("\0\0\10\7\0\0\0\0\0\0\0\0\0\0\0\0\0")));
}

static void streams_are_the_origins_to_limit(void **state)
{
    (void)state;
    const nghttp2_settings_entry two = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2};
    origin_open(&two, 1);
    assert_int_equal(h2_client_room(fx->client), 100);
    struct ask *first = ask("GET");
    for (unsigned i = 0; i < 4; i++) {
        (void)ask("GET"); /* on their way before the limit is known */
    }
    talk();
    assert_int_equal(h2_client_streams_said(fx->client), 2);
    assert_int_equal(h2_client_room(fx->client), 0);
    assert_int_equal(first->failures, 0);
    unsigned refusals = 0;
    for (unsigned i = 0; i < 5; i++) {
        refusals += fx->asks[i].failures && fx->asks[i].failure.refused;
    }
    assert_int_equal(refusals, 3);
}

static void a_hint_holds_until_the_settings(void **state)
{
    (void)state;
    h2_client_abort(fx->client);
    lb_pump(&fx->net);
    client_open(3);
    (void)ask("GET");
    assert_int_equal(h2_client_room(fx->client), 2);
    origin_open(NULL, 0);
    talk();
    assert_int_equal(h2_client_room(fx->client), H2_CLIENT_CALLS_MAX - 1);
}

static void the_connection_ends(void **state)
{
    (void)state;
    struct ask *a = ask("GET");
    struct ask *b = ask("GET");
    talk();
    answer_head(&fx->seen[0]);
    talk();
    assert_int_equal(a->heads, 1);
    fx->origin->fin = true;
    lb_pump(&fx->net);
    assert_int_equal(a->overs, 1);
    assert_int_equal(a->ex->res_body.state, BODY_ABORTED);
    assert_int_equal(a->ex->res_body.reason, END_ORIGIN_GONE);
    assert_int_equal(b->failures, 1);
    assert_int_equal(b->failure.reason, END_ORIGIN_GONE);
    assert_false(b->failure.nothing_sent);
    assert_true(fx->closed);
}

static void a_stale_connection(void **state)
{
    (void)state;
    talk();
    struct ask *a = ask("GET");
    lb_pump(&fx->net);
    fx->origin->reset = true;
    lb_pump(&fx->net);
    assert_true(a->failures == 1 && a->failure.no_byte_received && !a->failure.nothing_sent);
    assert_true(fx->closed);
}

static void a_write_that_fails(void **state)
{
    (void)state;
    talk();
    fx->origin->write_fails = true;
    struct ask *a = ask("GET");
    lb_pump(&fx->net);
    assert_int_equal(a->failures, 1);
    assert_int_equal(a->failure.reason, END_ORIGIN_GONE);
    assert_true(fx->closed);
}

static void not_http_2(void **state)
{
    (void)state;
    struct ask *a = ask("GET");
    lb_pump(&fx->net);
    lb_put(fx->origin, S("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"));
    lb_pump(&fx->net);
    assert_int_equal(a->failures, 1);
    assert_int_equal(a->failure.reason, END_ORIGIN_BAD);
    assert_true(slice_eq(a->failure.detail, S("does not speak HTTP/2")));
    assert_true(fx->closed);
}

static void a_flood_of_pings(void **state)
{
    (void)state;
    struct ask *a = ask("GET");
    talk();
    for (unsigned i = 0; i < 1100; i++) {
        lb_put(fx->origin, S("\0\0\10\6\0\0\0\0\0abcdefgh"));
    }
    lb_pump(&fx->net);
    assert_int_equal(a->failures, 1);
    assert_int_equal(a->failure.reason, END_ORIGIN_BAD);
    assert_true(fx->closed);
}

/* ---- given up -------- */

static void cancelled(void **state)
{
    (void)state;
    struct ask *a = ask("GET");
    h2_call_cancel(a->call); /* before anything of it was written */
    struct ask *b = ask("GET");
    talk();
    assert_int_equal(fx->seen_count, 1);
    h2_call_cancel(b->call);
    talk();
    assert_int_equal(fx->seen[0].reset, NGHTTP2_CANCEL);
    assert_int_equal(a->failures + a->heads + b->failures + b->heads, 0);
    assert_int_equal(h2_client_calls(fx->client), 0);
}

static void the_answer_is_not_wanted(void **state)
{
    (void)state;
    struct ask *a = ask("GET");
    struct ask *b = ask("GET");
    talk();
    answer_head(&fx->seen[0]);
    answer_head(&fx->seen[1]);
    talk();
    body_stop(&a->ex->res_body, END_CLIENT_GONE);
    exchange_clear_response(b->ex); /* an answer of our own instead */
    talk();
    assert_int_equal(fx->seen[0].reset, NGHTTP2_CANCEL);
    assert_int_equal(fx->seen[1].reset, NGHTTP2_CANCEL);
    assert_int_equal(a->overs, 1);
    assert_int_equal(b->overs, 1);
    assert_null(b->ex->source);
}

static void the_request_is_cut_off(void **state)
{
    (void)state;
    struct ask *a = ask_new("POST", 100);
    assert_true(body_push_copy(&a->ex->req_body, S("hello")));
    send_ask(a);
    talk();
    body_abort(&a->ex->req_body, END_CLIENT_BAD);
    talk();
    assert_int_equal(fx->seen[0].reset, NGHTTP2_CANCEL);
    assert_int_equal(a->failures, 1);
    assert_int_equal(a->failure.reason, END_CLIENT_BAD);
}

static void drained(void **state)
{
    (void)state;
    struct ask *a = ask("GET");
    talk();
    h2_client_drain(fx->client);
    talk();
    assert_int_equal(h2_client_room(fx->client), 0);
    assert_false(fx->closed);
    answer(&fx->seen[0], 3);
    talk();
    assert_int_equal(a->overs, 1);
    assert_true(fx->closed);
    assert_int_equal(fx->goaway, NGHTTP2_NO_ERROR);
    assert_false(fx->origin->aborted);
}

static void aborted(void **state)
{
    (void)state;
    struct ask *a = ask("GET");
    struct ask *b = ask("GET");
    talk();
    answer_head(&fx->seen[0]);
    talk();
    h2_client_abort(fx->client);
    fx->client = NULL;
    lb_pump(&fx->net);
    assert_int_equal(a->overs + b->failures, 0); /* nobody hears of it */
    assert_int_equal(a->ex->res_body.state, BODY_ABORTED);
    assert_true(fx->origin->closed);
}

/* ---- time -------- */

static void slow(void **state)
{
    (void)state;
    fx->limits.response_header_timeout_ms = 40;
    fx->limits.read_idle_ms = 40;
    struct ask *a = ask("GET");
    struct ask *b = ask("GET");
    talk();
    answer_head(&fx->seen[1]);
    talk();
    assert_int_equal(b->heads, 1);
    bool done = false;
    for (unsigned i = 0; i < 200 && !(a->failures && b->overs); i++) {
        (void)lb_run_until(&fx->net, &done, 50);
    }
    talk();
    assert_int_equal(a->failures, 1);
    assert_int_equal(a->failure.reason, END_ORIGIN_SLOW);
    assert_int_equal(b->ex->res_body.state, BODY_ABORTED);
    assert_int_equal(b->ex->res_body.reason, END_ORIGIN_SLOW);
    assert_int_equal(fx->seen[0].reset, NGHTTP2_CANCEL);
    assert_int_equal(fx->seen[1].reset, NGHTTP2_CANCEL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TEST_QUIET(f) cmocka_unit_test_setup_teardown(f, setup_quiet, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(simple),
        TEST(many_at_once),
        TEST(upload_with_trailers_both_ways),
        TEST(in_crumbs),
        TEST(head_request),
        TEST(an_answer_that_ends_with_its_head),
        TEST(interim_answers),
        TEST(a_client_that_does_not_read),
        TEST(an_origin_that_does_not_read),
        TEST(an_early_answer),
        TEST(refused),
        TEST(goaway),
        TEST_QUIET(streams_are_the_origins_to_limit),
        TEST_QUIET(a_hint_holds_until_the_settings),
        TEST(the_connection_ends),
        TEST(a_stale_connection),
        TEST(a_write_that_fails),
        TEST(not_http_2),
        TEST(a_flood_of_pings),
        TEST(cancelled),
        TEST(the_answer_is_not_wanted),
        TEST(the_request_is_cut_off),
        TEST(drained),
        TEST(aborted),
        TEST(slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
