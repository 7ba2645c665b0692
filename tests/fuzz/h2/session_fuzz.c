/* Bytes from a client into a whole HTTP/2 connection: nghttp2, our frame scanner, heads, bodies,
 * answers, ends. The first byte chooses what the service does and how the bytes are cut; the
 * preface and an empty SETTINGS are put in front. What must hold: nothing crashes, every exchange
 * that began ends once, and no memory stays. */
#include <stdlib.h>

#include "proxy/h2/h2_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct end {
    struct stream stream; /* first */
    struct addr addr;
    struct slice in;
    size_t read_max;
    bool fin;
    bool closed;
};

static struct {
    unsigned mode;
    unsigned begun;
    unsigned ended;
    bool over;
} world;

static ssize_t end_read(struct stream *s, void *buf, size_t n)
{
    struct end *e = (struct end *)(void *)s;
    if (e->in.n == 0) {
        return e->fin ? 0 : STREAM_AGAIN;
    }
    n = n < e->in.n ? n : e->in.n;
    n = n < e->read_max ? n : e->read_max;
    memcpy(buf, e->in.p, n);
    e->in = slice_from(e->in, n);
    return (ssize_t)n;
}

static ssize_t end_writev(struct stream *s, const struct iovec *iov, int count, bool more)
{
    (void)s;
    (void)more;
    ssize_t n = 0;
    volatile char sum = 0;
    for (int i = 0; i < count; i++) {
        const char *p = iov[i].iov_base;
        for (size_t k = 0; k < iov[i].iov_len; k++) {
            sum = (char)(sum + p[k]); /* every byte must be there */
        }
        n += (ssize_t)iov[i].iov_len;
    }
    return n;
}

static void end_want(struct stream *s, unsigned events)
{
    (void)s;
    (void)events;
}

static void end_shutdown(struct stream *s)
{
    (void)s;
}

static void end_close(struct stream *s, bool abort)
{
    (void)abort;
    ((struct end *)(void *)s)->closed = true;
}

static size_t end_unsent(const struct stream *s)
{
    (void)s;
    return 0;
}

static int end_fd(const struct stream *s)
{
    (void)s;
    return -1;
}

static const struct stream_ops ops = {end_read,     end_writev, end_want, end_shutdown,
                                      end_close, end_unsent, end_fd};

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
    struct end e = {.stream = {.ops = &ops, .loop = loop}};
    e.stream.peer = e.stream.local = &e.addr;
    e.read_max = data[0] & 8 ? 3 : 65536;
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
