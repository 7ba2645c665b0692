/* HTTP/1 towards clients, alone: scripts of bytes in, bytes out, with a service that answers by
 * itself. */
#include "proxy/h1/h1_server_priv.h"
#include "tests/unit/h1/fixture.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET_CLOSE "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

static void use(enum stub stub)
{
    fx->stub = stub;
}

/* ---- keep-alive -------- */

static void keeps_the_connection(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 3; i++) {
        lb_clear(fx->client);
        fx_client_says(GET);
        assert_true(slice_starts(lb_written(fx->client), S("HTTP/1.1 200 OK\r\n")));
        assert_has(fx->client, "Content-Length: 5\r\n");
        assert_has(fx->client, "Date: ");
        assert_has_not(fx->client, "Connection:");
        assert_tail(fx->client, "\r\n\r\nhello");
        assert_int_equal(fx->ends, i);
        assert_int_equal(fx->reason, END_NONE);
        assert_true(fx->sent_bytes == 5);
        assert_true(chunk_bytes_in_use() == 0); /* idle connections hold nothing */
        assert_true(h1_server_idle(fx->server));
    }
    /* One read, one write and no change of interest for a request. */
    assert_int_equal(fx->client->reads, 3);
    assert_int_equal(fx->client->writes, 3);
    assert_int_equal(fx->client->wants, 1);
}

static void closes_when_asked(void **state)
{
    (void)state;
    fx_client_says(GET_CLOSE);
    assert_has(fx->client, "Connection: close\r\n");
    assert_tail(fx->client, "hello");
    assert_true(fx->closed);
    assert_false(fx->client->aborted);
}

static void http_10_closes(void **state)
{
    (void)state;
    fx_client_says("GET / HTTP/1.0\r\n\r\n");
    assert_has(fx->client, "Connection: close\r\n");
    assert_tail(fx->client, "hello");
    assert_true(fx->closed);
}

static void http_10_keeps_when_asked(void **state)
{
    (void)state;
    fx_client_says("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_has(fx->client, "Connection: keep-alive\r\n");
    assert_false(fx->closed);
    fx_client_says("GET / HTTP/1.0\r\n\r\n");
    assert_int_equal(fx->begins, 2);
    assert_true(fx->closed);
}

static void http_10_unknown_length(void **state)
{
    (void)state;
    use(STUB_ECHO);
    fx_client_says("POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc");
    assert_has_not(fx->client, "Transfer-Encoding");
    assert_has(fx->client, "Connection: close\r\n");
    assert_tail(fx->client, "\r\n\r\nabc");
    lb_pump(&fx->net);
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_false(fx->client->aborted);
}

static void pipelining(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        lb_put(fx->client, S(GET));
    }
    lb_put(fx->client, S(GET_CLOSE GET));
    lb_pump(&fx->net);
    assert_int_equal(fx->begins, 1001); /* nothing after Connection: close */
    assert_int_equal(lb_times(fx->client, "200 OK"), 1001);
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
}

static void pipelined_requests_wait_for_the_answer(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(GET);
    /* A lot more arrives: one buffer full is read, the rest stays outside. */
    for (unsigned i = 0; i < 4000; i++) {
        lb_put(fx->client, S(GET));
    }
    lb_pump(&fx->net);
    assert_int_equal(fx->begins, 1);
    assert_true(chunk_bytes_in_use() <= 2 * CHUNK_BYTES);
    assert_true(fx->client->in.n - fx->client->in_pos > 60000);
    assert_false(fx->client->stream.wanted & STREAM_READ);
    fx->stub = STUB_TEXT;
    stub_answer(fx->ex);
    lb_pump(&fx->net);
    assert_int_equal(fx->begins, 4001);
    assert_int_equal(lb_times(fx->client, "200 OK"), 4001);
}

static void half_close_gets_all_answers(void **state)
{
    (void)state;
    lb_put(fx->client, S(GET GET GET));
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_int_equal(lb_times(fx->client, "200 OK"), 3);
    assert_true(fx->closed);
    assert_false(fx->client->aborted);
}

/* ---- no content -------- */

static void head_has_no_content(void **state)
{
    (void)state;
    fx_client_says("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_has(fx->client, "Content-Length: 5\r\n");
    assert_tail(fx->client, "\r\n\r\n");
    fx_client_says(GET);
    assert_int_equal(fx->ends, 2);
}

static void head_of_unknown_length(void **state)
{
    (void)state;
    use(STUB_ECHO);
    fx_client_says("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_has_not(fx->client, "Content-Length");
    assert_tail(fx->client, "\r\n\r\n");
    assert_int_equal(fx->ends, 1);
    assert_false(fx->closed);
}

static void no_content_204_and_304(void **state)
{
    (void)state;
    fx->text = S("");
    fx->status = 204;
    fx_client_says(GET);
    assert_has(fx->client, "HTTP/1.1 204 ");
    assert_has_not(fx->client, "Content-Length");
    lb_clear(fx->client);
    fx->status = 304;
    fx_client_says(GET);
    assert_has(fx->client, "HTTP/1.1 304 ");
    assert_has_not(fx->client, "Transfer-Encoding");
    assert_int_equal(fx->ends, 2);
    assert_false(fx->closed);
}

/* ---- request bodies -------- */

static void body_of_known_length(void **state)
{
    (void)state;
    use(STUB_ECHO);
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello ");
    assert_int_equal(fx->ends, 0);
    fx_client_says("world" GET);
    assert_has(fx->client, "Transfer-Encoding: chunked\r\n");
    assert_int_equal(fx->ends, 2);
    assert_has(fx->client, "6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n");
}

static void chunked_both_ways_with_trailers(void **state)
{
    (void)state;
    use(STUB_ECHO);
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 12\r\nContent-Length: 3\r\n\r\n" GET);
    assert_int_equal(fx->ends, 2);
    assert_has(fx->client, "6\r\nhello!\r\n0\r\nX-Sum: 12\r\n\r\nHTTP/1.1 200");
}

static void one_byte_at_a_time(void **state)
{
    (void)state;
    use(STUB_ECHO);
    fx->client->read_max = 1;
    fx->client->write_max = 1;
    fx->client->again_often = true;
    fx_client_says("\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "5\r\nhello\r\n3\r\nyou\r\n0\r\nX-Sum: 12\r\n\r\n");
    assert_int_equal(fx->ends, 1);
    assert_has(fx->client, "Connection: close\r\n"); /* answered before the body was there */
    assert_tail(fx->client, "0\r\nX-Sum: 12\r\n\r\n");
    assert_true(chunk_bytes_in_use() == 0);
}

static void large_body_both_ways(void **state)
{
    (void)state;
    use(STUB_ECHO);
    const size_t n = 5000000;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n");
    fx_many(fx->client, 'x', n);
    lb_pump(&fx->net);
    assert_true(fx_chunked_bytes(fx_body(fx->client)) == n);
    assert_int_equal(fx->ends, 1);
    assert_true(fx->sent_bytes == n);
    assert_true(fx->received_bytes == n);
}

static void stalled_reader_bounds_memory(void **state)
{
    (void)state;
    use(STUB_ECHO);
    fx->client->out_room = 1000;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n");
    fx_many(fx->client, 'x', 5000000);
    lb_pump(&fx->net);
    assert_true(chunk_bytes_in_use() <= 2 * (BODY_LIMIT_BYTES + 3 * CHUNK_BYTES));
    assert_false(fx->client->stream.wanted & STREAM_READ);
    assert_true(fx->client->in.n - fx->client->in_pos > 4000000);
    fx->client->out_room = SIZE_MAX;
    lb_pump(&fx->net);
    assert_true(fx_chunked_bytes(fx_body(fx->client)) == 5000000);
}

static void tiny_chunks_bound_memory(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (unsigned i = 0; i < 100000; i++) {
        lb_put(fx->client, S("1\r\nx\r\n"));
    }
    lb_put(fx->client, S("0\r\n\r\n"));
    lb_pump(&fx->net);
    assert_true(chunk_bytes_in_use() <= 3 * CHUNK_BYTES);
    fx->stub = STUB_SINK;
    body_set_consumer(&fx->ex->req_body, &fx->body_task);
    lb_pump(&fx->net);
    assert_true(fx->sunk == 100000);
    assert_tail(fx->client, "100000");
    assert_int_equal(fx->ends, 1);
}

/* ---- 100-continue -------- */

#define EXPECT "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"

static void continue_when_wanted(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(EXPECT);
    assert_true(lb_written(fx->client).n == 0); /* nobody has asked for the body */
    fx->stub = STUB_SINK;
    body_set_consumer(&fx->ex->req_body, &fx->body_task);
    lb_pump(&fx->net);
    assert_true(slice_eq(lb_written(fx->client), S("HTTP/1.1 100 Continue\r\n\r\n")));
    fx_client_says("abc");
    assert_int_equal(lb_times(fx->client, "100 Continue"), 1);
    assert_has(fx->client, "HTTP/1.1 200 OK");
    assert_false(fx->closed);
}

static void no_continue_when_the_body_is_there(void **state)
{
    (void)state;
    use(STUB_SINK);
    fx_client_says(EXPECT "abc");
    assert_has_not(fx->client, "100 Continue");
    assert_has(fx->client, "HTTP/1.1 200 OK");
}

static void no_continue_for_http_10(void **state)
{
    (void)state;
    use(STUB_SINK);
    fx_client_says("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_true(lb_written(fx->client).n == 0);
    fx_client_says("abc");
    assert_has_not(fx->client, "100 Continue");
    assert_has(fx->client, "HTTP/1.1 200 OK");
}

static void expectation_refused(void **state)
{
    (void)state;
    fx->status = 417;
    fx_client_says(EXPECT);
    assert_has_not(fx->client, "100 Continue");
    assert_has(fx->client, "HTTP/1.1 417 ");
    assert_has(fx->client, "Connection: close\r\n"); /* it may or may not send the body */
    assert_true(fx->client->shut);
    assert_false(fx->closed);
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
}

/* ---- early answers -------- */

static void early_answer_small_rest(void **state)
{
    (void)state;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    assert_has(fx->client, "200 OK");
    assert_has_not(fx->client, "Connection: close");
    assert_int_equal(fx->ends, 1);
    fx_many(fx->client, 'x', 1000);
    fx_client_says(GET);
    assert_int_equal(fx->ends, 2); /* the rest was read and dropped */
    assert_true(chunk_bytes_in_use() == 0);
}

static void early_answer_large_rest(void **state)
{
    (void)state;
    fx->status = 413;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
    assert_has(fx->client, "HTTP/1.1 413 ");
    assert_has(fx->client, "Connection: close\r\n");
    assert_true(fx->client->shut);
    assert_false(fx->client->closed);
    fx_many(fx->client, 'x', 1000000);
    lb_pump(&fx->net);
    assert_true(fx->client->in_pos < 64 * 1024 + 8192 + 200); /* a bounded amount is read */
    assert_false(fx->client->stream.wanted & STREAM_READ);
    assert_true(chunk_bytes_in_use() == 0);
    assert_true(lb_run_until(&fx->net, &fx->closed, 5000)); /* and for a bounded time */
    assert_false(fx->client->aborted);
}

static void early_answer_to_chunked(void **state)
{
    (void)state;
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
    assert_has(fx->client, "Connection: close\r\n");
    assert_int_equal(fx->ends, 1);
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
}

/* ---- what must not pass -------- */

static void malformed_head(void **state)
{
    (void)state;
    fx_client_says("GET / HTTP/1.1\r\nHost : a\r\n\r\n" GET);
    assert_has(fx->client, "HTTP/1.1 400 Bad Request\r\n");
    assert_has(fx->client, "Connection: close\r\n");
    assert_int_equal(lb_times(fx->client, "HTTP/1.1 "), 1);
    assert_int_equal(fx->begins, 0);
    assert_true(fx->client->shut);
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
}

static void head_too_large(void **state)
{
    (void)state;
    lb_put(fx->client, S("GET / HTTP/1.1\r\nHost: a\r\nX: "));
    fx_many(fx->client, 'x', 200000);
    lb_pump(&fx->net);
    assert_has(fx->client, "HTTP/1.1 431 ");
    assert_int_equal(fx->begins, 0);
}

static void head_of_60k_passes(void **state)
{
    (void)state;
    fx->client->read_max = 1000;
    lb_put(fx->client, S("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX: "));
    fx_many(fx->client, 'x', 60000);
    use(STUB_ECHO);
    fx_client_says("\r\n\r\nabc" GET);
    assert_int_equal(fx->ends, 2);
    assert_has(fx->client, "3\r\nabc\r\n0\r\n\r\n");
    assert_true(chunk_bytes_in_use() == 0);
}

static void malformed_chunk_before_the_answer(void **state)
{
    (void)state;
    use(STUB_SINK);
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    fx_client_says("xyz\r\n");
    assert_has(fx->client, "HTTP/1.1 400 ");
    assert_int_equal(fx->ends, 1);
    assert_int_equal(fx->reason, END_CLIENT_BAD);
}

static void malformed_chunk_after_the_answer(void **state)
{
    (void)state;
    use(STUB_ECHO);
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_has(fx->client, "3\r\nabc\r\n");
    fx_client_says("zz\r\n");
    assert_true(fx->closed);
    assert_int_equal(fx->reason, END_CLIENT_BAD);
    assert_has_not(fx->client, "0\r\n\r\n");
}

/* ---- clients that leave -------- */

static void leaves_while_idle(void **state)
{
    (void)state;
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_int_equal(fx->begins, 0);
}

static void leaves_in_the_head(void **state)
{
    (void)state;
    lb_put(fx->client, S("GET / HT"));
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_true(lb_written(fx->client).n == 0);
}

static void leaves_in_the_body(void **state)
{
    (void)state;
    use(STUB_SINK);
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_true(fx->gone);
    assert_int_equal(fx->reason, END_CLIENT_GONE);
}

static void resets_while_waiting(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(GET);
    fx->client->reset = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_int_equal(fx->reason, END_CLIENT_GONE);
    assert_true(fx->gone);
}

static void half_closes_and_is_answered(void **state)
{
    (void)state;
    use(STUB_HOLD);
    lb_put(fx->client, S(GET));
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_false(fx->closed);
    stub_answer(fx->ex);
    lb_pump(&fx->net);
    assert_tail(fx->client, "hello");
    assert_true(fx->closed);
    assert_int_equal(fx->reason, END_NONE);
}

static void half_closes_and_is_not_answered(void **state)
{
    (void)state;
    use(STUB_HOLD);
    lb_put(fx->client, S(GET));
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(lb_run_until(&fx->net, &fx->closed, 9000));
    assert_int_equal(fx->reason, END_CLIENT_GONE);
}

static void leaves_while_being_answered(void **state)
{
    (void)state;
    fx->client->write_max = 3;
    fx->client->out_room = 10;
    fx_client_says(GET);
    assert_int_equal(fx->ends, 0);
    fx->client->reset = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_int_equal(fx->reason, END_CLIENT_GONE);
}

/* ---- responses that fail -------- */

static void start_held(int64_t length)
{
    struct exchange *ex = fx->ex;
    ex->res.status = 200;
    ex->res.reason = S("OK");
    ex->res.content_length = length;
    exchange_respond(ex);
    lb_pump(&fx->net);
}

static void held_body(const char *text)
{
    assert_true(body_push_copy(&fx->ex->res_body, slice_str(text)));
    lb_pump(&fx->net);
}

static void streams_at_once(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(GET);
    start_held(LENGTH_UNKNOWN);
    assert_tail(fx->client, "\r\n\r\n");
    held_body("data: 1\n\n");
    assert_tail(fx->client, "9\r\ndata: 1\n\n\r\n");
    held_body("data: 2\n\n");
    assert_tail(fx->client, "9\r\ndata: 2\n\n\r\n");
    body_end(&fx->ex->res_body, NULL);
    lb_pump(&fx->net);
    assert_tail(fx->client, "0\r\n\r\n");
    assert_int_equal(fx->ends, 1);
}

static void aborted_chunked_has_no_end(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(GET);
    start_held(LENGTH_UNKNOWN);
    held_body("abc");
    body_abort(&fx->ex->res_body, END_ORIGIN_GONE);
    lb_pump(&fx->net);
    assert_tail(fx->client, "3\r\nabc\r\n");
    assert_true(fx->closed);
    assert_int_equal(fx->reason, END_ORIGIN_GONE);
}

static void aborted_length_is_short(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(GET);
    start_held(10);
    assert_true(body_push_copy(&fx->ex->res_body, S("abc")));
    body_abort(&fx->ex->res_body, END_ORIGIN_GONE);
    lb_pump(&fx->net);
    assert_tail(fx->client, "\r\n\r\nabc");
    assert_true(fx->closed);
    assert_int_equal(fx->reason, END_ORIGIN_GONE);
}

static void aborted_until_close_is_reset(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says("GET / HTTP/1.0\r\n\r\n");
    start_held(LENGTH_UNKNOWN);
    held_body("abc");
    body_abort(&fx->ex->res_body, END_ORIGIN_GONE);
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_true(fx->client->aborted);
}

static void shorter_than_promised(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(GET GET);
    start_held(10);
    held_body("abc");
    body_end(&fx->ex->res_body, NULL);
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_int_equal(fx->begins, 1);
    assert_int_equal(fx->reason, END_INTERNAL);
}

static void longer_than_promised(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(GET);
    start_held(3);
    held_body("abcdef");
    assert_tail(fx->client, "\r\n\r\nabc");
    assert_int_equal(fx->ends, 1);
    assert_false(fx->closed);
}

static void reset_before_the_response(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(GET);
    exchange_reset(fx->ex, END_INTERNAL);
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_true(lb_written(fx->client).n == 0);
    assert_int_equal(fx->ends, 1);
}

static void head_that_would_split(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(GET);
    assert_true(fields_add(&fx->ex->res.fields, &fx->ex->arena, S("X"), S("a\r\nY: b")));
    start_held(0);
    assert_has(fx->client, "HTTP/1.1 500 ");
    assert_has_not(fx->client, "Y: b");
    assert_int_equal(fx->reason, END_INTERNAL);
}

/* ---- interim responses -------- */

static void early_hints(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(GET);
    struct field items[] = {{S("Link"), S("</a>"), FIELD_OTHER, 0}};
    struct response hints = {.status = 103, .reason = S("Early Hints"), .fields = {items, 1, 1}};
    fx->client->write_max = 7;
    exchange_send_interim(fx->ex, &hints);
    for (unsigned i = 0; i < 10; i++) { /* more than are queued */
        exchange_send_interim(fx->ex, &hints);
    }
    stub_answer(fx->ex);
    lb_pump(&fx->net);
    assert_true(slice_starts(lb_written(fx->client),
                             S("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 ")));
    assert_tail(fx->client, "hello");
    assert_int_equal(lb_times(fx->client, "HTTP/1.1 200 OK\r\n"), 1);
    assert_int_equal(fx->ends, 1);
}

/* ---- tunnels -------- */

#define UPGRADE "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

static void start_tunnel(void)
{
    fx->ex->res.status = 101;
    fx->ex->res.reason = S("Switching Protocols");
    fx->ex->res.tunnel = true;
    exchange_respond(fx->ex);
    fx->stub = STUB_ECHO;
    body_set_consumer(&fx->ex->req_body, &fx->body_task);
    body_set_producer(&fx->ex->res_body, &fx->body_task);
    lb_pump(&fx->net);
}

static void tunnel_with_half_close(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(UPGRADE "first");
    start_tunnel();
    assert_has(fx->client, "Connection: Upgrade\r\nUpgrade: echo\r\n");
    assert_tail(fx->client, "\r\n\r\nfirst");
    assert_true(h1_server_in_tunnel(fx->server));
    assert_true(chunk_bytes_in_use() == CHUNK_BYTES); /* only what the head lies in */
    fx_client_says("second");
    assert_tail(fx->client, "firstsecond");
    h1_server_drain(fx->server); /* tunnels go on */
    fx_client_says("third");
    assert_tail(fx->client, "secondthird");
    fx->client->fin = true;
    lb_pump(&fx->net); /* the echo ends as well */
    assert_true(fx->closed);
    assert_false(fx->client->aborted);
    assert_int_equal(fx->reason, END_NONE);
}

static void tunnel_ended_by_the_other_side(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(UPGRADE);
    start_tunnel();
    body_end(&fx->ex->res_body, NULL);
    lb_pump(&fx->net);
    assert_true(fx->client->shut);
    assert_false(fx->closed);
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_int_equal(fx->reason, END_NONE);
}

static void tunnel_reset(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(UPGRADE);
    start_tunnel();
    fx->client->reset = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_int_equal(fx->reason, END_CLIENT_GONE);
}

static void upgrade_declined(void **state)
{
    (void)state;
    fx_client_says(UPGRADE GET);
    assert_int_equal(lb_times(fx->client, "200 OK"), 2);
    assert_int_equal(fx->ends, 2);
}

/* ---- time -------- */

static void restart(void)
{
    h1_server_abort(fx->server, END_SHUTDOWN);
    lb_pump(&fx->net);
    fx_open();
}

static void slow_head(void **state)
{
    (void)state;
    fx->limits.header_timeout_ms = 500; /* a busy machine may take its time before the look */
    restart();
    int64_t deadline = fx->server->read_deadline_ms;
    bool never = false;
    assert_false(lb_run_until(&fx->net, &never, 10));
    fx_client_says("GET / HT");
    assert_true(deadline > 0 && fx->server->read_deadline_ms == deadline); /* from the start */
    assert_false(fx->client->shut);
    assert_true(lb_run_until(&fx->net, &fx->client->shut, 3000));
    assert_has(fx->client, "HTTP/1.1 408 ");
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
}

static void silent_connection(void **state)
{
    (void)state;
    fx->limits.header_timeout_ms = 50;
    restart();
    assert_true(lb_run_until(&fx->net, &fx->closed, 3000));
    assert_true(lb_written(fx->client).n == 0);
}

static void idle_connection(void **state)
{
    (void)state;
    fx->limits.idle_timeout_ms = 50;
    fx->limits.header_timeout_ms = 60000;
    restart();
    fx_client_says(GET);
    assert_false(fx->closed);
    assert_true(lb_run_until(&fx->net, &fx->closed, 3000));
    assert_has_not(fx->client, "408");
    assert_false(fx->client->aborted);
}

static void slow_body(void **state)
{
    (void)state;
    fx->limits.body_idle_ms = 50;
    use(STUB_SINK);
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    assert_true(lb_run_until(&fx->net, &fx->client->shut, 3000));
    assert_has(fx->client, "HTTP/1.1 408 ");
    assert_int_equal(fx->reason, END_CLIENT_SLOW);
}

static void body_below_the_least_rate(void **state)
{
    (void)state;
    fx->limits.body_min_rate = 100;
    use(STUB_SINK);
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    fx_client_says("abc");
    assert_non_null(fx->ex); /* not judged in its first minute */
    fx->server->body_waited_ms = RATE_GRACE_MS;
    fx_many(fx->client, 'x', 6000);
    fx_client_says("abc");
    assert_non_null(fx->ex); /* 100 bytes a second */
    fx->server->body_waited_ms = 2 * RATE_GRACE_MS;
    fx_client_says("abc");
    assert_has(fx->client, "HTTP/1.1 408 ");
    assert_int_equal(fx->reason, END_CLIENT_SLOW);
}

static void unwanted_body_is_not_slow(void **state)
{
    (void)state;
    fx->limits.body_idle_ms = 30;
    use(STUB_HOLD);
    fx_client_says("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    bool never = false;
    assert_false(lb_run_until(&fx->net, &never, 150));
    assert_non_null(fx->ex);
    assert_false(fx->closed);
}

static void slow_reader(void **state)
{
    (void)state;
    fx->limits.write_idle_ms = 50;
    fx->client->out_room = 20;
    fx_client_says(GET);
    assert_true(lb_run_until(&fx->net, &fx->closed, 3000));
    assert_true(fx->client->aborted);
    assert_int_equal(fx->reason, END_CLIENT_SLOW);
}

/* ---- shutting down -------- */

static void drain_idle(void **state)
{
    (void)state;
    fx_client_says(GET);
    h1_server_drain(fx->server);
    assert_false(fx->closed); /* not inside the call */
    lb_pump(&fx->net);
    assert_true(fx->closed);
}

static void drain_busy(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(GET);
    h1_server_drain(fx->server);
    lb_pump(&fx->net);
    assert_false(fx->closed);
    stub_answer(fx->ex);
    lb_pump(&fx->net);
    assert_has(fx->client, "Connection: close\r\n");
    assert_tail(fx->client, "hello");
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->closed);
}

static void abort_busy(void **state)
{
    (void)state;
    use(STUB_HOLD);
    fx_client_says(GET);
    h1_server_abort(fx->server, END_SHUTDOWN);
    assert_false(fx->closed);
    lb_pump(&fx->net);
    assert_true(fx->closed);
    assert_true(fx->client->aborted);
    assert_int_equal(fx->reason, END_SHUTDOWN);
}

static void close_waits_for_unsent_bytes(void **state)
{
    (void)state;
    fx->client->hidden_unsent = 100; /* TLS holds some of the answer */
    fx_client_says(GET_CLOSE);
    fx->client->fin = true;
    lb_pump(&fx->net);
    assert_true(fx->client->shut);
    assert_false(fx->closed);
    fx->client->hidden_unsent = 0;
    lb_pump(&fx->net);
    assert_true(fx->closed);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(keeps_the_connection),
        T(closes_when_asked),
        T(http_10_closes),
        T(http_10_keeps_when_asked),
        T(http_10_unknown_length),
        T(pipelining),
        T(pipelined_requests_wait_for_the_answer),
        T(half_close_gets_all_answers),
        T(head_has_no_content),
        T(head_of_unknown_length),
        T(no_content_204_and_304),
        T(body_of_known_length),
        T(chunked_both_ways_with_trailers),
        T(one_byte_at_a_time),
        T(large_body_both_ways),
        T(stalled_reader_bounds_memory),
        T(tiny_chunks_bound_memory),
        T(continue_when_wanted),
        T(no_continue_when_the_body_is_there),
        T(no_continue_for_http_10),
        T(expectation_refused),
        T(early_answer_small_rest),
        T(early_answer_large_rest),
        T(early_answer_to_chunked),
        T(malformed_head),
        T(head_too_large),
        T(head_of_60k_passes),
        T(malformed_chunk_before_the_answer),
        T(malformed_chunk_after_the_answer),
        T(leaves_while_idle),
        T(leaves_in_the_head),
        T(leaves_in_the_body),
        T(resets_while_waiting),
        T(half_closes_and_is_answered),
        T(half_closes_and_is_not_answered),
        T(leaves_while_being_answered),
        T(streams_at_once),
        T(aborted_chunked_has_no_end),
        T(aborted_length_is_short),
        T(aborted_until_close_is_reset),
        T(shorter_than_promised),
        T(longer_than_promised),
        T(reset_before_the_response),
        T(head_that_would_split),
        T(early_hints),
        T(tunnel_with_half_close),
        T(tunnel_ended_by_the_other_side),
        T(tunnel_reset),
        T(upgrade_declined),
        T(slow_head),
        T(silent_connection),
        T(idle_connection),
        T(slow_body),
        T(body_below_the_least_rate),
        T(unwanted_body_is_not_slow),
        T(slow_reader),
        T(drain_idle),
        T(drain_busy),
        T(abort_busy),
        T(close_waits_for_unsent_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
