/* Bytes from a client into a whole HTTP/2 connection: nghttp2, our frame scanner, heads, bodies,
 * answers, ends. The first byte chooses what the service does and how the bytes are cut; the
 * preface and an empty SETTINGS are put in front. What must hold: nothing crashes, every exchange
 * that began ends once, and no memory stays. */
#include <stdlib.h>

#include "proxy/h2/h2_server.h"
#include "tests/fuzz/h2/end.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    unsigned mode;
    unsigned begun;
    unsigned ended;
    bool over;
} world;

static void begin(struct exchange *ex)
{
    struct iovec unused;
    world.begun++;
    must(ex->req.method_text.n > 0 && ex->req.target.n > 0 && ex->req.host.n > 0);
    (void)body_peek(&ex->req_body, &unused, 1);
    switch (world.mode & 3) {
    case 0:
        return; /* never answered */
    case 1:
        body_stop(&ex->req_body, END_NOT_WANTED);
        break;
    default:
        break;
    }
    if (ex->req.upgrade && (world.mode & 4)) {
        ex->res.status = 101;
        ex->res.tunnel = true;
        must(body_push_copy(&ex->res_body, S("raw")));
    } else if (!exchange_simple(ex, 200, S("text/plain"), S("a few bytes of text"))) {
        abort();
    }
    exchange_respond(ex);
}

static void respond(struct exchange *ex)
{
    (void)exchange_start_response(ex);
}

static void end(struct exchange *ex)
{
    world.ended++;
    exchange_release(ex);
}

static void on_close(void *ctx, struct h2_server *c)
{
    (void)ctx;
    (void)c;
    world.over = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_service service = {begin, respond, end};
    static const struct h2_server_owner owner = {on_close, NULL};
    static const struct h2_server_limits limits = {
        .head_bytes_max = 4096, .fields_max = 30, .streams_max = 8};
    static struct loop *loop;
    if (!loop) {
        loop = loop_new(NULL);
    }
    if (size < 1) {
        return 0;
    }
    memset(&world, 0, sizeof(world));
    world.mode = data[0];
    struct slice hello = S("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0");
    struct end e;
    end_init(&e, loop, data[0] & 8 ? 3 : 65536);
    struct h2_server *c = h2_server_new(&e.stream, &limits, &service, S("http"), NULL,
                                        data[0] & 16 ? S("") : hello, &owner);
    if (!c) {
        return 0;
    }
    e.in = slice_of(data + 1, size - 1);
    struct run_queue *q = loop_queue(loop);
    run_queue_run(q);
    while (!world.over && e.in.n > 0 && (e.stream.wanted & STREAM_READ)) {
        e.stream.on_event(&e.stream, STREAM_READ);
        run_queue_run(q);
    }
    if (!world.over && (data[0] & 32)) {
        h2_server_drain(c);
        run_queue_run(q);
    }
    if (!world.over) {
        h2_server_abort(c, END_SHUTDOWN);
        run_queue_run(q);
    }
    must(world.over && e.closed && world.begun == world.ended && chunk_bytes_in_use() == 0);
    return 0;
}
