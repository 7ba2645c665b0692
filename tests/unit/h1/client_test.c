/* HTTP/1 towards origins, and both codecs joined as a proxy: the test is the client on one side and
 * the origin on the other. What the client codec reports is counted by the stub service. */
#include "tests/unit/h1/fixture.h"

#define GET "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK_5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define UPGRADE "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
#define SWITCH "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: Echo\r\n\r\n"

static int setup(void **state)
{
    int r = fx_setup(state);
    fx->stub = STUB_PROXY;
    return r;
}

/* ---- the ordinary case -------- */

static void small_requests(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 3; i++) {
        fx_client_says(GET);
        assert_true(slice_eq(lb_written(fx->origin), S(GET)));
        lb_clear(fx->origin);
        fx_origin_says(OK_5);
        assert_tail(fx->client, "\r\n\r\nhello");
        assert_int_equal(fx->ends, i);
        assert_int_equal(fx->idles, i);
        assert_true(h1_client_idle(fx->oc));
        assert_true(h1_client_usable(fx->oc));
        assert_true(chunk_bytes_in_use() == 0);
    }
    assert_int_equal(fx->origins, 1);
    /* One read and one write on each side, no change of interest. */
    assert_int_equal(fx->client->reads, 3);
    assert_int_equal(fx->client->writes, 3);
    assert_int_equal(fx->client->wants, 1);
    assert_int_equal(fx->origin->reads, 3);
    assert_int_equal(fx->origin->writes, 3);
    assert_int_equal(fx->origin->wants, 1);
}

static void small_post_is_one_write(void **state)
{
    (void)state;
    fx_client_says("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_tail(fx->origin, "Content-Length: 3\r\n\r\nabc");
    assert_int_equal(fx->origin->writes, 1);
    fx_origin_says("HTTP/1.1 204 No Content\r\n\r\n");
    assert_has(fx->client, "HTTP/1.1 204 ");
    assert_int_equal(fx->idles, 1);
}

static void chunked_both_ways_with_trailers(void **state)
{
    (void)state;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "3\r\nabc\r\n0\r\nX-Up: 1\r\n\r\n");
    assert_tail(fx->origin, "3\r\nabc\r\n0\r\nX-Up: 1\r\n\r\n");
    fx_origin_says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "2\r\nde\r\n0\r\nX-Down: 2\r\nHost: evil\r\n\r\n");
    assert_tail(fx->client, "2\r\nde\r\n0\r\nX-Down: 2\r\n\r\n");
    assert_int_equal(fx->idles, 1);
    assert_int_equal(fx->reason, END_NONE);
}

static void until_close(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx_origin_says("HTTP/1.1 200 OK\r\n\r\nabc");
    assert_tail(fx->client, "3\r\nabc\r\n");
    fx_origin_says("def");
    fx->origin->fin = true;
    lb_pump(&fx->net);
    assert_tail(fx->client, "3\r\ndef\r\n0\r\n\r\n");
    assert_int_equal(fx->oc_closes, 1);
    assert_false(fx->closed); /* the client's connection is kept */
}

static void origin_http_10(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx_origin_says("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab");
    assert_tail(fx->client, "ab");
    assert_int_equal(fx->oc_closes, 1);
    assert_int_equal(fx->idles, 0);
}

static void head_request(void **state)
{
    (void)state;
    fx_client_says("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    fx_origin_says("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
    assert_has(fx->client, "Content-Length: 5000\r\n");
    assert_tail(fx->client, "\r\n\r\n");
    assert_int_equal(fx->idles, 1);
    assert_int_equal(fx->ends, 1);
}

static void pipelined_through(void **state)
{
    (void)state;
    fx_client_says(GET GET GET);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(fx->begins, i);
        fx_origin_says(OK_5);
    }
    assert_int_equal(fx->ends, 3);
    assert_int_equal(fx->origins, 1);
}

static void one_byte_at_a_time(void **state)
{
    (void)state;
    fx->client->read_max = fx->client->write_max = 1;
    fx->client->again_often = true;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    fx->origin->read_max = fx->origin->write_max = 1;
    fx->origin->again_often = true;
    fx_client_says("3\r\nabc\r\n5\r\ndefgh\r\n0\r\nX-Up: 1\r\n\r\n");
    struct slice sent = fx_body(fx->origin);
    assert_true(slice_ends(sent, S("0\r\nX-Up: 1\r\n\r\n")));
    fx_origin_says("HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\nX-Down: 2\r\n\r\n");
    assert_has(fx->client, "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n");
    assert_tail(fx->client, "0\r\nX-Down: 2\r\n\r\n");
    assert_int_equal(fx->idles, 1);
    assert_int_equal(fx->ends, 1);
    assert_true(chunk_bytes_in_use() == 0);
}

/* However the bytes are cut, both sides get the same ones. */
static void any_cut_gives_the_same(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 3, 5, 7, 16, 61, 100, 1000};
    static struct dstr to_origin;
    static struct dstr to_client;
    dstr_init(&to_origin, 1 << 20);
    dstr_init(&to_client, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        fx->client->read_max = sizes[i];
        fx->client->write_max = sizes[(i + 3) % ARRAY_LEN(sizes)];
        fx->client->again_often = i % 2;
        lb_clear(fx->client);
        fx_client_says("PUT /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789");
        fx->origin->read_max = sizes[(i + 5) % ARRAY_LEN(sizes)];
        fx_origin_says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nDate: x\r\n"
                       "X: y\r\nContent-Length: 12\r\n\r\nabcdefghijkl");
        assert_int_equal(fx->idles, i + 1);
        if (i == 0) {
            dstr_append(&to_origin, lb_written(fx->origin));
            dstr_append(&to_client, lb_written(fx->client));
            assert_true(to_origin.n > 50 && to_client.n > 50);
        }
        assert_true(slice_eq(lb_written(fx->origin), dstr_slice(&to_origin)));
        assert_true(slice_eq(lb_written(fx->client), dstr_slice(&to_client)));
        lb_clear(fx->origin);
        fx->origin->write_max = sizes[(i + 7) % ARRAY_LEN(sizes)];
    }
    dstr_fini(&to_origin);
    dstr_fini(&to_client);
}

/* ---- large bodies -------- */

static void large_both_ways(void **state)
{
    (void)state;
    const size_t n = 3000000;
    lb_put(fx->client, S("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n"));
    fx_many(fx->client, 'u', n);
    lb_pump(&fx->net);
    assert_true(fx_body(fx->origin).n == n);
    lb_put(fx->origin, S("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n"));
    fx_many(fx->origin, 'd', n);
    lb_pump(&fx->net);
    assert_true(fx_body(fx->client).n == n);
    assert_int_equal(fx->idles, 1);
    assert_true(fx->received_bytes == n && fx->sent_bytes == n);
}

static void odd_sizes_both_ways(void **state)
{
    (void)state;
    const size_t n = 300000;
    lb_put(fx->client, S("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"));
    fx_many(fx->client, 'u', n);
    fx->client->read_max = 1777;
    fx->client->write_max = 913;
    fx->client->again_often = true;
    lb_pump(&fx->net);
    assert_true(fx_body(fx->origin).n == n);
    fx->origin->read_max = 3001;
    lb_put(fx->origin, S("HTTP/1.1 200 OK\r\n\r\n"));
    fx_many(fx->origin, 'd', n);
    fx->origin->fin = true;
    lb_pump(&fx->net);
    assert_true(fx_chunked_bytes(fx_body(fx->client)) == n);
}

static void slow_client_stops_the_origin(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx->client->out_room = 100;
    lb_put(fx->origin, S("HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n"));
    fx_many(fx->origin, 'd', 4000000);
    lb_pump(&fx->net);
    assert_false(fx->origin->stream.wanted & STREAM_READ);
    assert_true(chunk_bytes_in_use() <= BODY_LIMIT_BYTES + 4 * CHUNK_BYTES);
    assert_true(fx->origin->in_pos < 300000);
    fx->client->out_room = SIZE_MAX;
    lb_pump(&fx->net);
    assert_true(fx_body(fx->client).n == 4000000);
    assert_int_equal(fx->idles, 1);
}

static void slow_origin_stops_the_client(void **state)
{
    (void)state;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n");
    fx->origin->out_room = 100;
    fx_many(fx->client, 'u', 4000000);
    lb_pump(&fx->net);
    assert_false(fx->client->stream.wanted & STREAM_READ);
    assert_true(chunk_bytes_in_use() <= BODY_LIMIT_BYTES + 4 * CHUNK_BYTES);
    fx->origin->out_room = SIZE_MAX;
    lb_pump(&fx->net);
    assert_true(fx_body(fx->origin).n == 4000000);
    fx_origin_says(OK_5);
    assert_int_equal(fx->idles, 1);
}

/* ---- 1xx and Expect -------- */

static void continue_comes_from_us(void **state)
{
    (void)state;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                   "Content-Length: 3\r\n\r\n");
    assert_true(slice_eq(lb_written(fx->client), S("HTTP/1.1 100 Continue\r\n\r\n")));
    fx_origin_says("HTTP/1.1 100 Continue\r\n\r\n"); /* a second one is not passed on */
    fx_client_says("abc");
    fx_origin_says(OK_5);
    assert_int_equal(lb_times(fx->client, "100 Continue"), 1);
    assert_tail(fx->client, "hello");
}

static void too_many_interims(void **state)
{
    (void)state;
    fx_client_says(GET);
    for (unsigned i = 0; i < 65; i++) {
        lb_put(fx->origin, S("HTTP/1.1 103 Early Hints\r\n\r\n"));
    }
    lb_pump(&fx->net);
    assert_int_equal(lb_times(fx->client, "HTTP/1.1 103"), 64);
    assert_has(fx->client, "HTTP/1.1 502 ");
    assert_int_equal(fx->failure.reason, END_ORIGIN_BAD);
}

/* ---- early answers -------- */

static void early_413(void **state)
{
    (void)state;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
    fx_origin_says("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    assert_has(fx->client, "HTTP/1.1 413 ");
    assert_has(fx->client, "Connection: close\r\n");
    assert_tail(fx->client, "no");
    assert_int_equal(fx->oc_closes, 1); /* half a request lies on that connection */
    assert_int_equal(fx->reason, END_NONE);
    assert_true(fx->client->shut);
}

static void early_413_and_broken_pipe(void **state)
{
    (void)state;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
    fx->origin->write_fails = true;
    lb_put(fx->origin, S("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"));
    fx->origin->fin = true;
    /* The write fails before the answer is read. */
    fx_many(fx->client, 'x', 1000);
    lb_pump(&fx->net);
    assert_has(fx->client, "HTTP/1.1 413 ");
    assert_tail(fx->client, "no");
    assert_int_equal(fx->failures, 0);
}

static void broken_pipe_without_an_answer(void **state)
{
    (void)state;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
    fx->origin->reset = true;
    lb_pump(&fx->net);
    assert_int_equal(fx->failures, 1);
    assert_int_equal(fx->failure.reason, END_ORIGIN_GONE);
    assert_true(fx->failure.no_byte_received);
    assert_false(fx->failure.nothing_sent);
    assert_has(fx->client, "HTTP/1.1 502 ");
}

static void response_while_the_request_goes_on(void **state)
{
    (void)state;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    fx_origin_says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (unsigned i = 0; i < 3; i++) {
        fx_client_says("4\r\nping\r\n");
        assert_tail(fx->origin, "4\r\nping\r\n");
        fx_origin_says("4\r\npong\r\n");
        assert_tail(fx->client, "4\r\npong\r\n");
    }
    fx_client_says("0\r\n\r\n");
    assert_tail(fx->origin, "0\r\n\r\n");
    fx_origin_says("0\r\n\r\n");
    assert_tail(fx->client, "0\r\n\r\n");
    assert_int_equal(fx->idles, 1);
}

/* ---- origins that fail -------- */

static void closes_before_the_answer(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx->origin->fin = true;
    lb_pump(&fx->net);
    assert_int_equal(fx->failures, 1);
    assert_true(fx->failure.no_byte_received);
    assert_has(fx->client, "HTTP/1.1 502 ");
    assert_false(fx->closed);
}

static void closes_in_the_head(void **state)
{
    (void)state;
    fx_client_says(GET);
    lb_put(fx->origin, S("HTTP/1.1 200 OK\r\nConte"));
    fx->origin->fin = true;
    lb_pump(&fx->net);
    assert_int_equal(fx->failures, 1);
    assert_false(fx->failure.no_byte_received);
    assert_has(fx->client, "HTTP/1.1 502 ");
}

static void broken_before_the_first_byte(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx_origin_says(OK_5);
    fx->origin->write_fails = true; /* the kept connection is stale */
    lb_clear(fx->client);
    fx_client_says(GET);
    assert_int_equal(fx->failures, 0);
    fx->origin->fin = true;
    lb_pump(&fx->net);
    assert_int_equal(fx->failures, 1);
    assert_true(fx->failure.nothing_sent);
    assert_true(fx->failure.no_byte_received);
}

static void not_http(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx_origin_says("SSH-2.0-OpenSSH\r\n");
    assert_int_equal(fx->failure.reason, END_ORIGIN_BAD);
    assert_has(fx->client, "HTTP/1.1 502 ");
}

static void ambiguous_length(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx_origin_says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_int_equal(fx->failure.reason, END_ORIGIN_BAD);
    assert_has(fx->client, "HTTP/1.1 502 ");
    assert_has_not(fx->client, "chunked");
}

static void cut_body(void **state)
{
    (void)state;
    fx_client_says(GET);
    lb_put(fx->origin, S("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"));
    fx->origin->fin = true;
    lb_pump(&fx->net);
    assert_tail(fx->client, "\r\n\r\nabc");
    assert_true(fx->closed);
    assert_int_equal(fx->reason, END_ORIGIN_GONE);
    assert_int_equal(fx->oc_closes, 1);
}

static void cut_chunked_body(void **state)
{
    (void)state;
    fx_client_says(GET);
    lb_put(fx->origin, S("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"));
    fx->origin->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_has_not(fx->client, "0\r\n\r\n");
    assert_int_equal(fx->reason, END_ORIGIN_GONE);
}

static void truncated_until_close(void **state)
{
    (void)state;
    fx_client_says(GET);
    lb_put(fx->origin, S("HTTP/1.1 200 OK\r\n\r\nabc"));
    fx->origin->cut = true; /* TLS without close_notify: not an end */
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_has_not(fx->client, "0\r\n\r\n");
    assert_int_equal(fx->reason, END_ORIGIN_GONE);
}

static void bad_chunk(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx_origin_says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX");
    assert_true(fx->closed);
    assert_int_equal(fx->reason, END_ORIGIN_BAD);
}

static void slow_head(void **state)
{
    (void)state;
    fx->client_limits.response_header_timeout_ms = 40;
    fx_client_says(GET);
    assert_true(lb_run_until(&fx->net, &fx->failure.no_byte_received, 3000));
    assert_int_equal(fx->failure.reason, END_ORIGIN_SLOW);
    lb_pump(&fx->net);
    assert_has(fx->client, "HTTP/1.1 504 ");
}

static void slow_request_is_not_the_origins_fault(void **state)
{
    (void)state;
    fx->client_limits.response_header_timeout_ms = 20;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    bool never = false;
    assert_false(lb_run_until(&fx->net, &never, 120));
    assert_int_equal(fx->failures, 0);
    fx_client_says("def");
    fx_origin_says(OK_5);
    assert_tail(fx->client, "hello");
}

static void slow_response_body(void **state)
{
    (void)state;
    fx->client_limits.read_idle_ms = 40;
    fx_client_says(GET);
    fx_origin_says("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
    assert_true(lb_run_until(&fx->net, &fx->closed, 3000));
    assert_int_equal(fx->reason, END_ORIGIN_SLOW);
}

/* ---- kept connections -------- */

static void bytes_behind_the_response(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx_origin_says(OK_5 "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
    assert_tail(fx->client, "hello");
    assert_int_equal(fx->idles, 0);
    assert_int_equal(fx->oc_closes, 1);
}

static void bytes_while_idle(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx_origin_says(OK_5);
    assert_int_equal(fx->idles, 1);
    fx_origin_says("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
    assert_int_equal(fx->oc_closes, 1);
    fx_client_says(GET);
    assert_int_equal(fx->origins, 2);
    fx_origin_says(OK_5);
    assert_has_not(fx->client, "forged");
}

static void closed_while_idle(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx_origin_says(OK_5);
    fx->origin->fin = true;
    lb_pump(&fx->net);
    assert_int_equal(fx->oc_closes, 1);
    assert_true(fx->origin->closed);
}

static void origin_says_close(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx_origin_says("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(fx->oc_closes, 1);
    assert_false(fx->closed); /* the client's own connection is another matter */
    assert_has_not(fx->client, "Connection: close");
}

static void owner_closes_an_idle_one(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx_origin_says(OK_5);
    h1_client_close(fx->oc);
    fx->oc = NULL;
    lb_pump(&fx->net);
    assert_true(fx->origin->closed);
    assert_int_equal(fx->oc_closes, 0);
}

/* ---- clients that leave -------- */

static void client_leaves_before_the_answer(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx->client->reset = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_true(fx->origin->closed);
    assert_int_equal(fx->oc_closes + fx->failures, 0); /* cancelled: no word */
}

static void client_leaves_in_its_body(void **state)
{
    (void)state;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->origin->closed);
    assert_true(fx->origin->aborted); /* the origin can tell */
    assert_int_equal(fx->reason, END_CLIENT_GONE);
}

static void client_leaves_in_the_response(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx_origin_says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    fx->client->reset = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_true(fx->origin->closed);
    assert_int_equal(fx->oc_closes, 1);
    assert_int_equal(fx->reason, END_CLIENT_GONE);
}

/* ---- tunnels -------- */

static void tunnel(void **state)
{
    (void)state;
    fx_client_says(UPGRADE "one");
    assert_has(fx->origin, "Connection: Upgrade\r\nUpgrade: echo\r\n");
    assert_has_not(fx->origin, "one"); /* not before the origin has agreed */
    fx_origin_says(SWITCH "1");
    assert_has(fx->client, "HTTP/1.1 101 Switching\r\n");
    assert_has(fx->client, "Upgrade: ");
    assert_tail(fx->client, "\r\n\r\n1");
    assert_tail(fx->origin, "one");
    fx_client_says("two");
    assert_tail(fx->origin, "onetwo");
    fx_origin_says("2");
    assert_tail(fx->client, "12");
    assert_true(chunk_bytes_in_use() <= 2 * CHUNK_BYTES); /* the two heads */
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->origin->shut);
    fx_origin_says("bye"); /* the other half goes on */
    assert_tail(fx->client, "12bye");
    fx->origin->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_int_equal(fx->reason, END_NONE);
    assert_int_equal(fx->oc_closes, 1);
    assert_false(fx->client->aborted);
}

static void tunnel_half_closed_before_it_began(void **state)
{
    (void)state;
    lb_put(fx->client, S(UPGRADE "all"));
    fx->client->fin = true;
    lb_pump(&fx->net);
    fx_origin_says(SWITCH);
    assert_tail(fx->origin, "\r\n\r\nall");
    assert_true(fx->origin->shut);
    lb_put(fx->origin, S("answer"));
    fx->origin->fin = true;
    lb_pump(&fx->net);
    assert_tail(fx->client, "answer");
    assert_true(fx->closed);
    assert_int_equal(fx->reason, END_NONE);
}

static void tunnel_ended_by_the_origin_first(void **state)
{
    (void)state;
    fx_client_says(UPGRADE);
    fx_origin_says(SWITCH);
    fx->origin->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->client->shut);
    fx_client_says("late");
    assert_tail(fx->origin, "late");
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_true(fx->origin->closed);
    assert_int_equal(fx->reason, END_NONE);
}

static void tunnel_reset_by_the_client(void **state)
{
    (void)state;
    fx_client_says(UPGRADE);
    fx_origin_says(SWITCH);
    fx->client->reset = true;
    lb_pump(&fx->net);
    assert_true(fx->origin->closed);
    assert_true(fx->origin->aborted);
}

static void tunnel_reset_by_the_origin(void **state)
{
    (void)state;
    fx_client_says(UPGRADE);
    fx_origin_says(SWITCH);
    fx->origin->reset = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_true(fx->client->aborted);
    assert_int_equal(fx->reason, END_ORIGIN_GONE);
}

static void tunnel_large_and_slow(void **state)
{
    (void)state;
    fx_client_says(UPGRADE);
    fx_origin_says(SWITCH);
    lb_clear(fx->client);
    fx->client->write_max = 5000;
    fx->origin->write_max = 7001;
    fx->client->again_often = true;
    fx_many(fx->client, 'u', 2000000);
    fx_many(fx->origin, 'd', 2000000);
    lb_pump(&fx->net);
    assert_true(lb_written(fx->client).n == 2000000);
    fx->client->fin = true;
    fx->origin->fin = true;
    lb_pump(&fx->net);
    assert_true(fx_body(fx->origin).n == 2000000);
    assert_true(fx->closed);
    assert_int_equal(fx->reason, END_NONE);
}

static void upgrade_declined(void **state)
{
    (void)state;
    fx_client_says(UPGRADE);
    fx_origin_says(OK_5);
    assert_tail(fx->client, "hello");
    assert_int_equal(fx->idles, 1);
    fx_client_says(GET);
    fx_origin_says(OK_5);
    assert_int_equal(fx->ends, 2);
}

static void switched_unasked(void **state)
{
    (void)state;
    fx_client_says(GET);
    fx_origin_says(SWITCH);
    assert_int_equal(fx->failure.reason, END_ORIGIN_BAD);
    assert_has(fx->client, "HTTP/1.1 502 ");
    assert_has_not(fx->client, "101");
}

static void switched_to_another_protocol(void **state)
{
    (void)state;
    fx_client_says(UPGRADE);
    fx_origin_says("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n");
    assert_int_equal(fx->failure.reason, END_ORIGIN_BAD);
    assert_has(fx->client, "HTTP/1.1 502 ");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(small_requests),
        T(small_post_is_one_write),
        T(chunked_both_ways_with_trailers),
        T(until_close),
        T(origin_http_10),
        T(head_request),
        T(pipelined_through),
        T(one_byte_at_a_time),
        T(any_cut_gives_the_same),
        T(large_both_ways),
        T(odd_sizes_both_ways),
        T(slow_client_stops_the_origin),
        T(slow_origin_stops_the_client),
        T(continue_comes_from_us),
        T(too_many_interims),
        T(early_413),
        T(early_413_and_broken_pipe),
        T(broken_pipe_without_an_answer),
        T(response_while_the_request_goes_on),
        T(closes_before_the_answer),
        T(closes_in_the_head),
        T(broken_before_the_first_byte),
        T(not_http),
        T(ambiguous_length),
        T(cut_body),
        T(cut_chunked_body),
        T(truncated_until_close),
        T(bad_chunk),
        T(slow_head),
        T(slow_request_is_not_the_origins_fault),
        T(slow_response_body),
        T(bytes_behind_the_response),
        T(bytes_while_idle),
        T(closed_while_idle),
        T(origin_says_close),
        T(owner_closes_an_idle_one),
        T(client_leaves_before_the_answer),
        T(client_leaves_in_its_body),
        T(client_leaves_in_the_response),
        T(tunnel),
        T(tunnel_half_closed_before_it_began),
        T(tunnel_ended_by_the_origin_first),
        T(tunnel_reset_by_the_client),
        T(tunnel_reset_by_the_origin),
        T(tunnel_large_and_slow),
        T(upgrade_declined),
        T(switched_unasked),
        T(switched_to_another_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
