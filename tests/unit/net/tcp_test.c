/* Streams over socket pairs and loopback TCP: results, events, closing from inside an event. */
#include "proxy/net/tcp.h"
#include "tests/unit/net/helper.h"

struct side {
    struct fixture *f;
    struct stream *s;
    unsigned seen;
    int calls;
    bool closes;
};

static void on_event(struct stream *s, unsigned events)
{
    struct side *side = s->owner;
    side->seen |= events;
    side->calls++;
    if (side->closes) {
        stream_close(s, false);
        side->s = NULL;
    }
    loop_stop(side->f->loop);
}

static void wrap(struct fixture *f, struct side *side, int fd)
{
    struct addr none = {.len = 0};
    *side = (struct side){.f = f, .s = tcp_stream_new(f->loop, fd, &none, NULL)};
    assert_non_null(side->s);
    side->s->on_event = on_event;
    side->s->owner = side;
    assert_int_equal(side->s->ops->raw_fd(side->s), fd);
}

/* Two ends of a TCP connection. */
static void connect_pair(struct fixture *f, struct side side[2])
{
    struct addr a;
    struct addr peer;
    bool pending;
    int listening = listen_on(S("127.0.0.1"), &a);
    int client = sock_connect(&a, NULL, &pending);
    int served;
    assert_true(client >= 0);
    while ((served = sock_accept(listening, &peer)) < 0) {
        assert_int_equal(errno, EAGAIN);
    }
    close(listening);
    wrap(f, &side[0], client);
    wrap(f, &side[1], served);
}

static ssize_t write_text(struct side *side, struct slice a, struct slice b, bool more)
{
    struct iovec iov[2] = {{(void *)(uintptr_t)a.p, a.n}, {(void *)(uintptr_t)b.p, b.n}};
    return stream_writev(side->s, iov, b.n ? 2 : 1, more);
}

static void bytes_and_a_clean_end(void **state UNUSED)
{
    struct fixture f;
    struct side side[2];
    char buf[64];
    fixture_init(&f);
    connect_pair(&f, side);
    assert_int_equal(stream_read(side[1].s, buf, sizeof(buf)), STREAM_AGAIN);
    stream_want(side[1].s, STREAM_READ);
    assert_int_equal(write_text(&side[0], S("hello, "), S("world"), false), 12);
    assert_int_equal(side[0].s->ops->unsent(side[0].s), 0);
    fixture_run(&f);
    assert_int_equal(side[1].seen, STREAM_READ);
    assert_int_equal(stream_read(side[1].s, buf, sizeof(buf)), 12);
    assert_memory_equal(buf, "hello, world", 12);
    stream_shutdown_write(side[0].s);
    fixture_run(&f);
    assert_int_equal(stream_read(side[1].s, buf, sizeof(buf)), 0);
    assert_int_equal(write_text(&side[1], S("half-closed"), S(""), false), 11);
    stream_want(side[1].s, 0);
    stream_want(side[0].s, STREAM_READ);
    fixture_run(&f);
    assert_int_equal(stream_read(side[0].s, buf, sizeof(buf)), 11);
    stream_close(side[0].s, false);
    stream_close(side[1].s, false);
    fixture_fini(&f);
}

static void more_holds_back_until_the_rest(void **state UNUSED)
{
    struct fixture f;
    struct side side[2];
    char buf[64];
    fixture_init(&f);
    connect_pair(&f, side);
    assert_int_equal(write_text(&side[0], S("head "), S(""), true), 5);
    assert_int_equal(write_text(&side[0], S("body"), S(""), false), 4);
    stream_want(side[1].s, STREAM_READ);
    fixture_run(&f);
    assert_int_equal(stream_read(side[1].s, buf, sizeof(buf)), 9); /* one segment */
    stream_close(side[0].s, false);
    stream_close(side[1].s, false);
    fixture_fini(&f);
}

static void full_then_writable(void **state UNUSED)
{
    struct fixture f;
    struct side side[2];
    static char block[65536];
    size_t sent = 0;
    size_t got = 0;
    ssize_t n;
    fixture_init(&f);
    connect_pair(&f, side);
    while ((n = write_text(&side[0], slice_of(block, sizeof(block)), S(""), false)) > 0) {
        sent += (size_t)n;
    }
    assert_int_equal(n, STREAM_AGAIN);
    stream_want(side[0].s, STREAM_WRITE);
    while (got < sent) {
        n = stream_read(side[1].s, block, sizeof(block));
        if (n > 0) {
            got += (size_t)n;
        } else {
            assert_int_equal(n, STREAM_AGAIN);
        }
    }
    fixture_run(&f);
    assert_int_equal(side[0].seen, STREAM_WRITE);
    assert_true(write_text(&side[0], S("x"), S(""), false) == 1);
    stream_close(side[0].s, false);
    stream_close(side[1].s, false);
    fixture_fini(&f);
}

static void abort_is_a_reset(void **state UNUSED)
{
    struct fixture f;
    struct side side[2];
    char buf[64];
    fixture_init(&f);
    connect_pair(&f, side);
    stream_want(side[1].s, STREAM_READ);
    stream_close(side[0].s, true);
    fixture_run(&f);
    assert_int_equal(stream_read(side[1].s, buf, sizeof(buf)), STREAM_ERROR);
    assert_int_equal(write_text(&side[1], S("x"), S(""), false), STREAM_ERROR); /* no SIGPIPE */
    stream_close(side[1].s, false);
    fixture_fini(&f);
}

static void a_reset_reaches_one_who_only_writes(void **state UNUSED)
{
    struct fixture f;
    struct side side[2];
    static char block[65536];
    fixture_init(&f);
    connect_pair(&f, side);
    while (write_text(&side[1], slice_of(block, sizeof(block)), S(""), false) > 0) {
    }
    stream_want(side[1].s, STREAM_WRITE);
    stream_close(side[0].s, true);
    fixture_run(&f);
    assert_int_equal(side[1].seen, STREAM_WRITE);
    assert_int_equal(write_text(&side[1], S("x"), S(""), false), STREAM_ERROR);
    stream_close(side[1].s, false);
    fixture_fini(&f);
}

static void closing_from_inside_an_event(void **state UNUSED)
{
    struct fixture f;
    struct side side[2];
    fixture_init(&f);
    connect_pair(&f, side);
    side[1].closes = true;
    stream_want(side[1].s, STREAM_READ | STREAM_WRITE);
    fixture_run(&f);
    assert_null(side[1].s);
    assert_int_equal(side[1].calls, 1);
    stream_close(side[0].s, false);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_and_a_clean_end),
        cmocka_unit_test(more_holds_back_until_the_rest),
        cmocka_unit_test(full_then_writable),
        cmocka_unit_test(abort_is_a_reset),
        cmocka_unit_test(a_reset_reaches_one_who_only_writes),
        cmocka_unit_test(closing_from_inside_an_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
