/* HTTP/2 towards clients over a stream in memory: a client of nghttp2's own, and frames by hand.
 * The service follows the rules of exchange.h as the real chain does; many exchanges at a time. */
#include "proxy/h2/h2_server.h"

#include <nghttp2/nghttp2.h>

#include "tests/unit/h1/loopback.h"

#define EXCHANGES_MAX 512

enum stub { STUB_TEXT, STUB_ECHO, STUB_HOLD, STUB_BIG };

struct echo {
    struct task task;
    struct exchange *ex;
    bool big;
    size_t left; /* where big */
};

struct reply {
    int status;
    size_t bytes;
    bool ended;
    bool trailer;
    unsigned interims;
    int64_t reset; /* -1: none */
};

struct fixture {
    struct lb_net net;
    struct lb *client;
    struct h2_server *server;
    struct h2_server_limits limits;
    enum stub stub;
    struct slice text;
    struct exchange *held[EXCHANGES_MAX];
    struct echo echoes[EXCHANGES_MAX];
    unsigned begins;
    unsigned ends;
    unsigned gone;
    enum end_reason reason;
    bool closed;

    nghttp2_session *session; /* the client's */
    size_t seen;              /* of what the server has written */
    struct reply replies[EXCHANGES_MAX]; /* by stream number / 2 */
    int64_t goaway;           /* code of the last one; -1: none */
    unsigned goaways;
    struct slice upload;
    size_t uploaded;
};

static struct fixture *fx;

/* ---- the service -------- */

static void run_echo(struct task *t)
{
    struct echo *e = container_of(t, struct echo, task);
    struct exchange *ex = e->ex;
    if (!ex || ex->finished) {
        return;
    }
    if (e->big) {
        static char block[8192];
        while (e->left > 0 && body_room(&ex->res_body) > 0) {
            assert_true(body_push_copy(&ex->res_body, slice_of(block, sizeof(block))));
            e->left -= sizeof(block);
        }
        if (e->left == 0) {
            body_end(&ex->res_body, NULL);
        }
        return;
    }
    struct iovec iov[1];
    while (body_peek(&ex->req_body, iov, 1) == 1 && body_room(&ex->res_body) > 0) {
        struct body_slice s;
        assert_true(body_take(&ex->req_body, &s));
        body_push(&ex->res_body, s.chunk, s.p, s.n);
        chunk_unref(s.chunk);
    }
    if (body_finished(&ex->req_body)) {
        body_end(&ex->res_body, &ex->req_body.trailers);
    } else if (ex->req_body.state == BODY_ABORTED && body_empty(&ex->req_body)) {
        body_abort(&ex->res_body, ex->req_body.reason);
    }
}

static void stub_begin(struct exchange *ex)
{
    assert_true(fx->begins < EXCHANGES_MAX);
    unsigned i = fx->begins++;
    fx->held[i] = ex;
    struct echo *e = &fx->echoes[i];
    *e = (struct echo){.ex = ex, .big = fx->stub == STUB_BIG, .left = (size_t)4 << 20};
    task_init(&e->task, run_echo);
    switch (fx->stub) {
    case STUB_HOLD: return;
    case STUB_TEXT:
        assert_true(exchange_simple(ex, 200, S("text/plain"), fx->text));
        break;
    case STUB_ECHO:
        body_set_consumer(&ex->req_body, &e->task);
        /* fall through */
    case STUB_BIG:
        ex->res.status = 200;
        body_set_producer(&ex->res_body, &e->task);
        break;
    }
    exchange_respond(ex);
}

static void stub_respond(struct exchange *ex)
{
    (void)exchange_start_response(ex);
}

static void stub_end(struct exchange *ex)
{
    fx->ends++;
    fx->gone += ex->gone;
    fx->reason = ex->reason;
    for (unsigned i = 0; i < fx->begins; i++) {
        if (fx->held[i] == ex) {
            fx->held[i] = NULL;
            fx->echoes[i].ex = NULL;
            body_set_consumer(&ex->req_body, NULL);
            body_set_producer(&ex->res_body, NULL);
            task_cancel(&fx->echoes[i].task);
        }
    }
    exchange_release(ex);
}

static const struct http_service service = {stub_begin, stub_respond, stub_end};

static void on_close(void *ctx, struct h2_server *c)
{
    (void)ctx;
    assert_ptr_equal(c, fx->server);
    fx->server = NULL;
    fx->closed = true;
}

/* ---- the client -------- */

static struct reply *reply_of(int32_t id)
{
    assert_true(id / 2 < EXCHANGES_MAX);
    return &fx->replies[id / 2];
}

static int client_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name,
                         size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
                         void *user)
{
    (void)s;
    (void)flags;
    (void)user;
    struct reply *r = reply_of(frame->hd.stream_id);
    uint64_t status = 0;
    if (slice_eq(slice_of(name, name_n), S(":status"))) {
        assert_true(slice_u64(slice_of(value, value_n), 999, &status));
        r->interims += status < 200;
        r->status = (int)status;
    }
    r->trailer |= slice_eq(slice_of(name, name_n), S("x-sum"));
    return 0;
}

static int client_frame(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
    (void)s;
    (void)user;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        fx->goaway = frame->goaway.error_code;
        fx->goaways++;
    } else if (frame->hd.type == NGHTTP2_RST_STREAM) {
        reply_of(frame->hd.stream_id)->reset = frame->rst_stream.error_code;
    } else if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
               frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        reply_of(frame->hd.stream_id)->ended = true;
    }
    return 0;
}

static int client_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                       void *user)
{
    (void)s;
    (void)flags;
    (void)p;
    (void)user;
    reply_of(id)->bytes += n;
    return 0;
}

static void client_open(bool own_windows)
{
    nghttp2_session_callbacks *k;
    nghttp2_option *o;
    assert_int_equal(nghttp2_session_callbacks_new(&k), 0);
    assert_int_equal(nghttp2_option_new(&o), 0);
    nghttp2_session_callbacks_set_on_header_callback(k, client_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(k, client_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(k, client_data);
    nghttp2_option_set_no_auto_window_update(o, own_windows);
    assert_int_equal(nghttp2_session_client_new2(&fx->session, k, NULL, o), 0);
    assert_int_equal(nghttp2_submit_settings(fx->session, 0, NULL, 0), 0);
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
            lb_put(fx->client, slice_of(p, (size_t)n));
        }
        lb_pump(&fx->net);
        struct slice out = slice_from(lb_written(fx->client), fx->seen);
        if (out.n > 0) {
            fx->seen += out.n;
            moved = true;
            assert_true(nghttp2_session_mem_recv(fx->session, (const uint8_t *)out.p, out.n) >= 0);
        }
        if (!moved) {
            return;
        }
    }
    fail_msg("they never stop talking");
}

static ssize_t read_upload(nghttp2_session *s, int32_t id, uint8_t *buf, size_t length,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)s;
    (void)id;
    (void)source;
    (void)user;
    size_t n = fx->upload.n - fx->uploaded;
    n = n < length ? n : length;
    memcpy(buf, fx->upload.p + fx->uploaded, n);
    fx->uploaded += n;
    if (fx->uploaded == fx->upload.n) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_nv sum = {(uint8_t *)(uintptr_t) "x-sum", (uint8_t *)(uintptr_t) "1", 5, 1, 0};
        assert_int_equal(nghttp2_submit_trailer(s, id, &sum, 1), 0);
    }
    return (ssize_t)n;
}

#define NV(name, value)                                                                         \
    {                                                                                           \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1,          \
            sizeof(value) - 1, 0                                                                \
    }

static int32_t request(bool upload)
{
    nghttp2_nv get[] = {NV(":method", "GET"), NV(":scheme", "http"), NV(":path", "/"),
                        NV(":authority", "a")};
    nghttp2_nv post[] = {NV(":method", "POST"), NV(":scheme", "http"), NV(":path", "/"),
                         NV(":authority", "a")};
    nghttp2_data_provider content = {.read_callback = read_upload};
    int32_t id = nghttp2_submit_request(fx->session, NULL, upload ? post : get, 4,
                                        upload ? &content : NULL, NULL);
    assert_true(id > 0);
    reply_of(id)->reset = -1;
    return id;
}

/* ---- set-up -------- */

static int setup(void **state)
{
    (void)state;
    static const struct h2_server_owner owner = {on_close, NULL};
    fx = calloc(1, sizeof(*fx));
    assert_non_null(fx);
    lb_net_init(&fx->net);
    fx->limits = (struct h2_server_limits){
        .head_bytes_max = 65536, .fields_max = FIELDS_FROM_PEER_MAX, .streams_max = 100};
    fx->text = S("hello");
    fx->goaway = -1;
    fx->client = lb_new(&fx->net);
    fx->server = h2_server_new(&fx->client->stream, &fx->limits, &service, S("http"), NULL, S(""),
                               &owner);
    assert_non_null(fx->server);
    client_open(false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (fx->server) {
        h2_server_abort(fx->server, END_SHUTDOWN);
    }
    lb_pump(&fx->net);
    assert_int_equal(fx->begins, fx->ends);
    assert_true(fx->client->closed);
    assert_true(chunk_bytes_in_use() == 0);
    nghttp2_session_del(fx->session);
    lb_net_fini(&fx->net);
    exchange_pool_drain();
    chunk_pool_drain();
    free(fx);
    return 0;
}

/* ---- tests -------- */

static void simple(void **state)
{
    (void)state;
    int32_t id = request(false);
    talk();
    assert_int_equal(reply_of(id)->status, 200);
    assert_int_equal(reply_of(id)->bytes, 5);
    assert_true(reply_of(id)->ended);
    assert_int_equal(fx->reason, END_NONE);
    assert_true(h2_server_idle(fx->server));
    assert_int_equal(chunk_bytes_in_use(), 0); /* an idle connection holds no buffer */
}

static void many_in_one_write(void **state)
{
    (void)state;
    talk();
    unsigned before = fx->client->writes;
    for (unsigned i = 0; i < 50; i++) {
        (void)request(false);
    }
    talk();
    assert_int_equal(fx->ends, 50);
    for (int32_t id = 1; id < 100; id += 2) {
        assert_int_equal(reply_of(id)->bytes, 5);
        assert_true(reply_of(id)->ended);
    }
    assert_true(fx->client->writes - before <= 3);
}

static void echo_with_trailers(void **state)
{
    (void)state;
    fx->stub = STUB_ECHO;
    size_t n = (size_t)3 << 20;
    char *bytes = calloc(1, n);
    assert_non_null(bytes);
    fx->upload = slice_of(bytes, n);
    int32_t id = request(true);
    talk();
    free(bytes);
    assert_int_equal(reply_of(id)->bytes, n);
    assert_true(reply_of(id)->ended && reply_of(id)->trailer);
    assert_int_equal(fx->reason, END_NONE);
}

static void stuttering_stream(void **state)
{
    (void)state;
    fx->stub = STUB_ECHO;
    fx->client->read_max = 7;
    fx->client->write_max = 11;
    fx->client->again_often = true;
    char bytes[20000] = {0};
    fx->upload = slice_of(bytes, sizeof(bytes));
    int32_t id = request(true);
    talk();
    assert_int_equal(reply_of(id)->bytes, sizeof(bytes));
    assert_true(reply_of(id)->ended && reply_of(id)->trailer);
}

static void upload_nobody_reads(void **state)
{
    (void)state;
    fx->stub = STUB_HOLD;
    size_t n = (size_t)3 << 20;
    char *bytes = calloc(1, n);
    assert_non_null(bytes);
    fx->upload = slice_of(bytes, n);
    int32_t id = request(true);
    talk();
    assert_true(fx->uploaded < 300 * 1024);
    assert_true(chunk_bytes_in_use() < 300 * 1024);
    fx->stub = STUB_TEXT;
    int32_t other = request(false);
    talk();
    assert_true(reply_of(other)->ended); /* it stalls nobody else */
    /* An early answer: the rest is not wanted, without an error. */
    assert_true(exchange_simple(fx->held[0], 413, S("text/plain"), S("no")));
    exchange_respond(fx->held[0]);
    talk();
    free(bytes);
    assert_int_equal(reply_of(id)->status, 413);
    assert_true(reply_of(id)->ended);
    assert_int_equal(reply_of(id)->reset, NGHTTP2_NO_ERROR);
}

static void client_that_does_not_read(void **state)
{
    (void)state;
    fx->stub = STUB_BIG;
    fx->client->out_room = 1000;
    talk();
    for (unsigned i = 0; i < 10; i++) {
        (void)request(false);
    }
    talk();
    assert_true(chunk_bytes_in_use() < 4 * 1024 * 1024);
    unsigned begun = fx->begins;
    fx->client->out_room = SIZE_MAX;
    talk();
    assert_true(begun <= fx->begins);
    assert_int_equal(fx->ends, 10);
    for (int32_t id = 1; id < 20; id += 2) {
        assert_int_equal(reply_of(id)->bytes, 4 << 20);
    }
}

static void small_answer_beside_a_huge_one(void **state)
{
    (void)state;
    fx->stub = STUB_BIG;
    assert_int_equal(nghttp2_session_set_local_window_size(fx->session, 0, 0, 1 << 24), 0);
    int32_t huge = request(false);
    fx->client->out_room = 100 * 1000;
    talk();
    fx->stub = STUB_TEXT;
    int32_t small = request(false);
    fx->client->out_room = 300 * 1000;
    talk();
    assert_true(reply_of(small)->ended);
    assert_false(reply_of(huge)->ended);
    fx->client->out_room = SIZE_MAX;
    talk();
    assert_true(reply_of(huge)->ended);
}

static void aborted_response(void **state)
{
    (void)state;
    fx->stub = STUB_HOLD;
    int32_t id = request(false);
    talk();
    struct exchange *ex = fx->held[0];
    ex->res.status = 200;
    assert_true(body_push_copy(&ex->res_body, S("partial")));
    exchange_respond(ex);
    talk();
    assert_int_equal(reply_of(id)->bytes, 7);
    body_abort(&ex->res_body, END_ORIGIN_GONE);
    talk();
    assert_int_equal(reply_of(id)->reset, NGHTTP2_INTERNAL_ERROR);
    assert_false(reply_of(id)->ended);
    assert_int_equal(fx->reason, END_ORIGIN_GONE);
}

static void promised_length_is_kept(void **state)
{
    (void)state;
    fx->stub = STUB_HOLD;
    int32_t id = request(false);
    talk();
    struct exchange *ex = fx->held[0];
    ex->res.status = 200;
    ex->res.content_length = 10;
    assert_true(body_push_copy(&ex->res_body, S("12345")));
    body_end(&ex->res_body, NULL);
    exchange_respond(ex);
    talk();
    assert_false(reply_of(id)->ended);
    assert_int_equal(reply_of(id)->reset, NGHTTP2_INTERNAL_ERROR);
}

static void reset_in_the_same_read(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        int32_t id = request(false);
        /* HEADERS first, else nghttp2 sends neither. */
        const uint8_t *p;
        for (ssize_t n; (n = nghttp2_session_mem_send(fx->session, &p)) > 0;) {
            lb_put(fx->client, slice_of(p, (size_t)n));
        }
        assert_int_equal(nghttp2_submit_rst_stream(fx->session, 0, id, NGHTTP2_CANCEL), 0);
    }
    talk();
    assert_int_equal(fx->begins, 0);
    assert_int_equal(fx->goaway, -1);
}

static void reset_after_begin(void **state)
{
    (void)state;
    fx->stub = STUB_HOLD;
    int32_t id = request(false);
    talk();
    assert_int_equal(fx->begins, 1);
    assert_int_equal(nghttp2_submit_rst_stream(fx->session, 0, id, NGHTTP2_CANCEL), 0);
    talk();
    assert_int_equal(fx->ends, 1);
    assert_int_equal(fx->gone, 1);
    assert_int_equal(fx->reason, END_CLIENT_GONE);
    assert_non_null(fx->server);
}

static void resets_end_the_connection(void **state)
{
    (void)state;
    fx->stub = STUB_HOLD;
    for (unsigned i = 0; i < 250 && fx->server; i++) {
        int32_t id = request(false);
        talk();
        (void)nghttp2_submit_rst_stream(fx->session, 0, id, NGHTTP2_CANCEL);
        talk();
        if (fx->goaways) {
            break;
        }
    }
    assert_int_equal(fx->goaway, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(fx->begins >= 150 && fx->begins <= 210);
}

static void interim_and_reset(void **state)
{
    (void)state;
    fx->stub = STUB_HOLD;
    int32_t id = request(false);
    talk();
    struct response hints = {.status = 103, .content_length = LENGTH_UNKNOWN};
    for (unsigned i = 0; i < 100; i++) { /* only so many */
        exchange_send_interim(fx->held[0], &hints);
    }
    talk();
    assert_true(reply_of(id)->interims > 0 && reply_of(id)->interims <= 16);
    exchange_reset(fx->held[0], END_ORIGIN_GONE);
    talk();
    assert_int_equal(reply_of(id)->reset, NGHTTP2_INTERNAL_ERROR);
}

static void connection_lost(void **state)
{
    (void)state;
    fx->stub = STUB_HOLD;
    (void)request(false);
    (void)request(false);
    talk();
    fx->client->reset = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_int_equal(fx->gone, 2);
}

static void drain(void **state)
{
    (void)state;
    fx->stub = STUB_HOLD;
    int32_t id = request(false);
    talk();
    h2_server_drain(fx->server);
    talk();
    assert_int_equal(fx->goaways, 2); /* the second follows the PING's answer */
    assert_int_equal(fx->goaway, NGHTTP2_NO_ERROR);
    assert_true(exchange_simple(fx->held[0], 200, S("text/plain"), S("late")));
    exchange_respond(fx->held[0]);
    talk();
    assert_true(reply_of(id)->ended);
    assert_true(fx->client->shut);
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
}

static void drain_idle(void **state)
{
    (void)state;
    talk();
    h2_server_drain(fx->server);
    talk();
    assert_int_equal(fx->goaways, 1);
    assert_true(fx->client->shut);
}

static void writes_fail(void **state)
{
    (void)state;
    talk();
    fx->client->write_fails = true;
    (void)request(false);
    talk();
    assert_true(fx->closed);
}

static void idle_timeout(void **state)
{
    (void)state;
    fx->limits.idle_timeout_ms = 120;
    talk();
    (void)request(false);
    talk();
    bool *shut = &fx->client->shut;
    assert_true(lb_run_until(&fx->net, shut, 5000));
    talk();
    assert_int_equal(fx->goaway, NGHTTP2_NO_ERROR);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(simple),
        T(many_in_one_write),
        T(echo_with_trailers),
        T(stuttering_stream),
        T(upload_nobody_reads),
        T(client_that_does_not_read),
        T(small_answer_beside_a_huge_one),
        T(aborted_response),
        T(promised_length_is_kept),
        T(reset_in_the_same_read),
        T(reset_after_begin),
        T(resets_end_the_connection),
        T(interim_and_reset),
        T(connection_lost),
        T(drain),
        T(drain_idle),
        T(writes_fail),
        T(idle_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
