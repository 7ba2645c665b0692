/* The stream that speaks FastCGI, on a loopback socket that takes and gives bytes in all sorts of
 * pieces: what goes out and what comes in is the same, no event is missed, and an end is an end. */
#include "../h1/loopback.h"

#include "proxy/fcgi/fcgi_stream.h"
#include "proxy/fcgi/fcgi_write.h"

#define BODY_BYTES 70000u

struct peer {
    struct lb_net net;
    struct lb *lb;
    struct stream *s;
    struct dstr request; /* what is to be written */
    size_t written;
    size_t write_step; /* bytes given in one vector */
    size_t read_step;
    struct dstr got;
    ssize_t end; /* what the last read returned below 1, but for AGAIN */
    bool ended;
    bool write_failed;
};

static void write_some(struct peer *p)
{
    while (p->written < p->request.n) {
        size_t left = p->request.n - p->written;
        size_t n = left < p->write_step ? left : p->write_step;
        struct iovec iov[2] = {{p->request.p + p->written, n / 2 + 1},
                               {p->request.p + p->written + n / 2 + 1, n - n / 2 - 1}};
        ssize_t r = stream_writev(p->s, iov, iov[1].iov_len ? 2 : 1, false);
        if (r == STREAM_AGAIN) {
            return;
        }
        if (r < 0) {
            p->write_failed = true;
            p->written = p->request.n;
            return;
        }
        p->written += (size_t)r;
    }
}

static void read_some(struct peer *p)
{
    char buf[20000];
    ssize_t r = stream_read(p->s, buf, p->read_step);
    if (r > 0) {
        dstr_append(&p->got, slice_of(buf, (size_t)r));
    } else if (r != STREAM_AGAIN) {
        p->ended = true;
        p->end = r;
    }
}

static void want(struct peer *p)
{
    stream_want(p->s, (p->ended ? 0u : STREAM_READ) |
                          (p->written < p->request.n ? STREAM_WRITE : 0u));
}

static void on_event(struct stream *s, unsigned events)
{
    struct peer *p = s->owner;
    if (events & STREAM_WRITE) {
        write_some(p);
    }
    if ((events & STREAM_READ) && !p->ended) {
        read_some(p);
    }
    want(p);
}

static void start(struct peer *p, size_t write_step, size_t read_step)
{
    *p = (struct peer){.write_step = write_step, .read_step = read_step};
    lb_net_init(&p->net);
    p->lb = lb_new(&p->net);
    dstr_init(&p->request, 1 << 20);
    dstr_init(&p->got, 1 << 20);
    p->s = fcgi_stream_new(&p->lb->stream, S("loopback"), false);
    assert_non_null(p->s);
    p->s->owner = p;
    p->s->on_event = on_event;
}

static void stop(struct peer *p)
{
    stream_close(p->s, false);
    assert_true(p->lb->closed);
    dstr_fini(&p->request);
    dstr_fini(&p->got);
    lb_net_fini(&p->net);
}

static void send_request(struct peer *p)
{
    dstr_printf(&p->request, "POST / HTTP/1.1\r\nA: b\r\nContent-Length: %u\r\n\r\n", BODY_BYTES);
    for (unsigned i = 0; i < BODY_BYTES; i++) {
        dstr_byte(&p->request, (char)i);
    }
    write_some(p);
    want(p);
}

/* The records that came out: their STDIN content is the body, and an empty one is the last. */
static void check_written(const struct peer *p)
{
    struct slice s = lb_written(p->lb);
    size_t body = 0;
    unsigned last = 0;
    while (s.n) {
        assert_true(s.n >= FCGI_HEADER_BYTES);
        size_t n = (size_t)(unsigned char)s.p[4] << 8 | (unsigned char)s.p[5];
        assert_true(s.n >= FCGI_HEADER_BYTES + n);
        last = n == 0 ? (unsigned)s.p[1] : 0;
        for (size_t i = 0; s.p[1] == FCGI_STDIN && i < n; i++) {
            assert_int_equal(s.p[FCGI_HEADER_BYTES + i], (char)body++);
        }
        s = slice_from(s, FCGI_HEADER_BYTES + n);
    }
    assert_int_equal(body, BODY_BYTES);
    assert_int_equal(last, FCGI_STDIN);
}

static void put_response(struct peer *p, bool end)
{
    static const char head[] = "\1\6\0\1\0\10\0\0A: head\n\1\6\0\1\0\1\2\0\n\0\0"
                               "\1\7\0\1\0\2\0\0oh";
    char piece[1000];
    struct dstr header;
    dstr_init(&header, 100);
    memset(piece, 'r', sizeof(piece));
    lb_put(p->lb, slice_of(head, sizeof(head) - 1));
    fcgi_write_header(&header, FCGI_STDOUT, sizeof(piece));
    for (unsigned i = 0; i < 50; i++) {
        lb_put(p->lb, dstr_slice(&header));
        lb_put(p->lb, slice_of(piece, sizeof(piece)));
    }
    if (end) {
        lb_put(p->lb, slice_of("\1\3\0\1\0\10\0\0\0\0\0\0\0\0\0\0", 16));
    }
    dstr_fini(&header);
}

static const size_t steps[] = {20000, 1000, 17, 1};

/* No end of the socket: the record is the end. */
static void test_pieces(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4 * 4 * 2; i++) {
        struct peer p;
        start(&p, steps[i % 4], steps[i / 4 % 4]);
        p.lb->write_max = i & 1 ? 0 : steps[i / 4 % 4];
        p.lb->read_max = steps[i % 4];
        p.lb->again_often = i >= 16;
        put_response(&p, true);
        send_request(&p);
        lb_pump(&p.net);
        check_written(&p);
        assert_true(p.ended);
        assert_int_equal(p.end, 0);
        static const char head[] = "HTTP/1.1 200 OK\r\nA: head\r\nConnection: close\r\n\r\nrrr";
        assert_int_equal(p.got.n, sizeof(head) - 4 + 50000);
        assert_memory_equal(p.got.p, head, sizeof(head) - 1);
        stop(&p);
    }
}

static void test_ends(void **state)
{
    static const struct {
        bool fin, reset, bad;
        ssize_t end;
    } rows[] = {{true, false, false, STREAM_TRUNCATED},
                {false, true, false, STREAM_ERROR},
                {false, false, true, STREAM_ERROR}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct peer p;
        start(&p, 20000, 20000);
        put_response(&p, false);
        p.lb->fin = rows[i].fin;
        p.lb->reset = rows[i].reset;
        if (rows[i].bad) {
            lb_put(p.lb, slice_of("\1\11\0\1\0\0\0\0", 8));
        }
        want(&p);
        lb_pump(&p.net);
        assert_true(p.ended);
        assert_int_equal(p.end, rows[i].end);
        assert_true(p.got.n > 50000); /* what came before is there */
        stop(&p);
    }
}

static void test_what_cannot_be_said(void **state)
{
    static const char *const bad[] = {
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n\r\nmore than was announced",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct peer p;
        start(&p, 20000, 20000);
        dstr_append(&p.request, slice_str(bad[i]));
        write_some(&p);
        assert_true(p.write_failed);
        stop(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_what_cannot_be_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
