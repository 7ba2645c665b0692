/* The established stream: back-pressure, ends, half-close, key updates, system calls counted. */
#include "tests/unit/tls/rig.h"

#define BIG ((size_t)8 << 20)

static const char *connected(struct rig *r, SSL **out, int version, int rcvbuf)
{
    *out = rig_ssl(r, "a.test", version, rcvbuf);
    CHECK(SSL_connect(*out) == 1);
    return NULL;
}

#define CONNECT(r, ssl, version, rcvbuf)                                 \
    SSL *ssl;                                                            \
    do {                                                                 \
        const char *connect_failed = connected(r, &ssl, version, rcvbuf); \
        if (connect_failed) {                                            \
            return connect_failed;                                       \
        }                                                                \
    } while (0)

/* ---- a large transfer both ways -------------------------------------------------------------- */

static int big_version;

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 31 + (i >> 11) * 7 + (i >> 19));
}

struct pump {
    SSL *ssl;
    size_t sent, got;
    unsigned char out[50000], in[40000];
};

/* What can be written now; false on failure. */
static bool pump_write(struct pump *p)
{
    while (p->sent < BIG) {
        size_t n = BIG - p->sent < sizeof(p->out) ? BIG - p->sent : sizeof(p->out);
        for (size_t i = 0; i < n; i++) {
            p->out[i] = pattern(p->sent + i);
        }
        size_t done = 0;
        if (SSL_write_ex(p->ssl, p->out, n, &done) != 1) {
            return SSL_get_error(p->ssl, 0) == SSL_ERROR_WANT_WRITE;
        }
        p->sent += done;
    }
    return true;
}

static bool pump_read(struct pump *p)
{
    size_t k = 0;
    if (SSL_read_ex(p->ssl, p->in, sizeof(p->in), &k) != 1) {
        return SSL_get_error(p->ssl, 0) == SSL_ERROR_WANT_READ;
    }
    for (size_t i = 0; i < k; i++) {
        if (p->in[i] != pattern(p->got + i)) {
            return false;
        }
    }
    p->got += k;
    return true;
}

/* Writes until nobody takes more, so that both directions are full, and only then reads. */
static const char *big_transfer(struct rig *r)
{
    CONNECT(r, ssl, big_version, 8192);
    struct pump *p = calloc(1, sizeof(*p));
    CHECK(p);
    p->ssl = ssl;
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    CHECK(BIO_socket_nbio(SSL_get_fd(ssl), 1) == 1);
    while (p->got < BIG) {
        ERR_clear_error();
        CHECK(pump_write(p));
        CHECK(pump_read(p));
        struct pollfd f = {.fd = SSL_get_fd(ssl), .events = POLLIN};
        f.events = (short)(f.events | (p->sent < BIG ? POLLOUT : 0));
        CHECK(p->got == BIG || SSL_has_pending(ssl) || poll(&f, 1, 20000) == 1);
    }
    CHECK(BIO_socket_nbio(SSL_get_fd(ssl), 0) == 1);
    free(p);
    CHECK(rig_goodbye(ssl));
    return NULL;
}

static void test_big_transfer(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    r->sndbuf = 4096;
    for (big_version = TLS1_2_VERSION; big_version <= TLS1_3_VERSION; big_version++) {
        rig_run(r, big_transfer);
        assert_true(r->ended);
        assert_int_equal(r->bytes, BIG);
    }
    rig_free(r);
}

/* ---- a reader that does not read ------------------------------------------------------------- */

static atomic_size_t stuck_taken, stuck_unsent;
static atomic_bool stuck_now;

static void stuck_event(struct stream *s, unsigned events)
{
    struct side *side = s->owner;
    (void)events;
    static char page[100000];
    for (;;) {
        struct iovec iov = {page, sizeof(page)};
        ssize_t n = stream_writev(s, &iov, 1, false);
        if (n < 0) {
            atomic_store(&stuck_unsent, s->ops->unsent(s));
            atomic_store(&stuck_now, true);
            if (n != STREAM_AGAIN || side->events++ > 0) {
                rig_close(side, true);
            } else {
                stream_want(s, STREAM_WRITE);
            }
            return;
        }
        atomic_fetch_add(&stuck_taken, (size_t)n);
    }
}

static void stuck_stream(struct side *side)
{
    stream_want(side->stream, STREAM_WRITE);
}

static const char *read_nothing(struct rig *r)
{
    CONNECT(r, ssl, 0, 8192);
    while (!atomic_load(&stuck_now)) {
        CHECK(poll(NULL, 0, 1) == 0);
    }
    size_t unsent = atomic_load(&stuck_unsent);
    size_t taken = atomic_load(&stuck_taken);
    CHECK(unsent > 0 && unsent < (size_t)128 * 1024);
    /* Everything that was taken arrives, in the order it was given. */
    for (size_t at = 0; at < taken;) {
        char buf[16384];
        size_t k = 0;
        CHECK(SSL_read_ex(ssl, buf, sizeof(buf), &k) == 1);
        at += k;
    }
    rig_hang_up(ssl);
    return NULL;
}

static void test_bounded(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    r->sndbuf = 4096;
    r->on_event = stuck_event;
    r->on_stream = stuck_stream;
    rig_run(r, read_nothing);
    rig_free(r);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static const char *clean_end(struct rig *r)
{
    CONNECT(r, ssl, 0, 0);
    CHECK(rig_echoes(ssl, "x"));
    CHECK(rig_goodbye(ssl));
    return NULL;
}

static const char *data_and_clean_end(struct rig *r)
{
    CONNECT(r, ssl, 0, 0);
    char back[5];
    CHECK(rig_write_all(ssl, "hello", 5));
    CHECK(SSL_shutdown(ssl) == 0); /* in the same segment, perhaps */
    CHECK(rig_read_all(ssl, back, 5));
    CHECK(SSL_shutdown(ssl) == 1);
    rig_hang_up(ssl);
    return NULL;
}

static const char *cut_off(struct rig *r)
{
    CONNECT(r, ssl, 0, 0);
    CHECK(rig_echoes(ssl, "x"));
    rig_hang_up(ssl);
    return NULL;
}

static const char *reset(struct rig *r)
{
    CONNECT(r, ssl, 0, 0);
    CHECK(rig_echoes(ssl, "x"));
    struct linger hard = {1, 0};
    CHECK(setsockopt(SSL_get_fd(ssl), SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)) == 0);
    rig_hang_up(ssl);
    return NULL;
}

static const char *broken_record(struct rig *r)
{
    CONNECT(r, ssl, 0, 0);
    CHECK(rig_echoes(ssl, "x"));
    CHECK(write(SSL_get_fd(ssl), "\027\003\003\000\024aaaaaaaaaaaaaaaaaaaa", 25) == 25);
    char c;
    CHECK(SSL_read(ssl, &c, 1) <= 0);
    CHECK(ERR_GET_REASON(ERR_peek_error()) == SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    ERR_clear_error();
    rig_hang_up(ssl);
    return NULL;
}

static void test_ends(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    rig_run(r, clean_end);
    assert_true(r->ended);
    rig_run(r, data_and_clean_end);
    assert_true(r->ended);
    assert_int_equal(r->bytes, 5);
    rig_run(r, cut_off);
    assert_false(r->ended);
    assert_int_equal(r->failure, STREAM_TRUNCATED);
    rig_run(r, reset);
    assert_int_equal(r->failure, STREAM_ERROR);
    rig_run(r, broken_record);
    assert_int_equal(r->failure, STREAM_ERROR);
    assert_int_equal(ERR_peek_error(), 0);
    rig_free(r);
}

/* The server says that it has finished and still reads. */
static void half_close_event(struct stream *s, unsigned events)
{
    struct side *side = s->owner;
    (void)events;
    ssize_t n = stream_read(s, side->buf, sizeof(side->buf));
    if (n == STREAM_AGAIN) {
        return;
    }
    if (n > 0) {
        side->bytes += (size_t)n;
        struct iovec iov = {side->buf, 1};
        if (side->events++ == 0) {
            side->failure = stream_writev(s, &iov, 1, false) == 1 ? 0 : -100;
            stream_shutdown_write(s);
            side->failure += stream_writev(s, &iov, 1, false) == STREAM_ERROR ? 0 : -200;
        }
        return;
    }
    side->ended = n == 0;
    rig_close(side, false);
}

static const char *half_close(struct rig *r)
{
    CONNECT(r, ssl, 0, 0);
    char buf[16];
    size_t k = 0;
    CHECK(rig_write_all(ssl, "abc", 3));
    CHECK(rig_read_all(ssl, buf, 1) && buf[0] == 'a');
    CHECK(SSL_read_ex(ssl, buf, sizeof(buf), &k) != 1);
    CHECK(SSL_get_error(ssl, 0) == SSL_ERROR_ZERO_RETURN);
    char raw;
    CHECK(read(SSL_get_fd(ssl), &raw, 1) == 0); /* and FIN */
    CHECK(rig_write_all(ssl, "defgh", 5));
    CHECK(SSL_shutdown(ssl) == 1);
    rig_hang_up(ssl);
    return NULL;
}

static void test_half_close(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    r->on_event = half_close_event;
    rig_run(r, half_close);
    assert_true(r->ended);
    assert_int_equal(r->bytes, 8);
    assert_int_equal(r->failure, 0);
    rig_free(r);
}

static const char *key_updates(struct rig *r)
{
    CONNECT(r, ssl, TLS1_3_VERSION, 0);
    for (int i = 0; i < 5; i++) {
        CHECK(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1);
        CHECK(rig_echoes(ssl, "after a key update"));
    }
    CHECK(rig_goodbye(ssl));
    return NULL;
}

static void test_key_updates(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    rig_run(r, key_updates);
    assert_true(r->ended);
    rig_free(r);
}

/* ---- bytes inside TLS keep the events coming ------------------------------------------------- */

/* Reads three bytes an event, and leaves out every second one. */
static void sips_event(struct stream *s, unsigned events)
{
    struct side *side = s->owner;
    (void)events;
    if (side->events++ % 2 == 0) {
        return;
    }
    ssize_t n = stream_read(s, side->buf, 3);
    if (n > 0) {
        side->bytes += (size_t)n;
        if (side->bytes == 1000) {
            struct iovec iov = {side->buf, 1};
            side->failure = stream_writev(s, &iov, 1, false) == 1 ? 0 : -100;
        }
    } else if (n != STREAM_AGAIN) {
        side->ended = n == 0;
        rig_close(side, false);
    }
}

static const char *one_record(struct rig *r)
{
    CONNECT(r, ssl, 0, 0);
    char buf[1000] = {0};
    CHECK(rig_write_all(ssl, buf, sizeof(buf)));
    CHECK(rig_read_all(ssl, buf, 1));
    CHECK(rig_goodbye(ssl));
    return NULL;
}

static void test_sips(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    r->on_event = sips_event;
    rig_run(r, one_record);
    assert_true(r->ended);
    assert_int_equal(r->bytes, 1000);
    assert_int_equal(r->failure, 0);
    rig_free(r);
}

/* ---- calls on the plain stream, counted ------------------------------------------------------ */

static struct {
    int reads, writes, wants;
} calls;
static struct stream_ops counting;
static const struct stream_ops *real;

static ssize_t count_read(struct stream *s, void *buf, size_t n)
{
    calls.reads++;
    return real->read(s, buf, n);
}

static ssize_t count_writev(struct stream *s, const struct iovec *iov, int n, bool more)
{
    calls.writes++;
    return real->writev(s, iov, n, more);
}

static void count_want(struct stream *s, unsigned events)
{
    calls.wants++;
    real->want(s, events);
}

static void count_stream(struct side *side)
{
    struct tls_stream *t = container_of(side->stream, struct tls_stream, base);
    real = t->under->ops;
    counting = *real;
    counting.read = count_read;
    counting.writev = count_writev;
    counting.want = count_want;
    t->under->ops = &counting;
    memset(&calls, 0, sizeof(calls));
    stream_want(side->stream, STREAM_READ);
}

static const char *ten_requests(struct rig *r)
{
    CONNECT(r, ssl, TLS1_3_VERSION, 0);
    for (int i = 0; i < 10; i++) {
        CHECK(rig_echoes(ssl, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    }
    CHECK(rig_goodbye(ssl));
    return NULL;
}

static void test_calls_per_request(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    r->on_stream = count_stream;
    rig_run(r, ten_requests);
    assert_true(r->ended);
    /* One read and one write a request, the ticket riding along; one more of each for the end (its
     * read may come with the last request's). */
    assert_in_range(calls.reads, 10, 11);
    assert_int_equal(calls.writes, 11);
    assert_int_equal(calls.wants, 0);
    rig_free(r);
}

/* With `more` two writes become one send; large ones are sent by four records. */
static void more_event(struct stream *s, unsigned events)
{
    struct side *side = s->owner;
    (void)events;
    ssize_t n = stream_read(s, side->buf, sizeof(side->buf));
    if (n > 0) {
        struct iovec iov = {side->buf, 5};
        static char big[65536];
        struct iovec body = {big, sizeof(big)};
        calls.writes = 0;
        must(stream_writev(s, &iov, 1, true) == 5 && calls.writes == 0);
        must(stream_writev(s, &iov, 1, false) == 5 && calls.writes == 1);
        must(stream_writev(s, &body, 1, false) == sizeof(big) && calls.writes == 2);
        must(stream_writev(s, &iov, 1, true) == 5 && calls.writes == 2); /* goes with the turn */
    } else if (n != STREAM_AGAIN) {
        side->ended = n == 0;
        rig_close(side, false);
    }
}

static const char *read_it_all(struct rig *r)
{
    CONNECT(r, ssl, 0, 1 << 20);
    static char buf[65536 + 15];
    CHECK(rig_write_all(ssl, "hello", 5));
    CHECK(rig_read_all(ssl, buf, sizeof(buf)));
    CHECK(memcmp(buf, "hellohello", 10) == 0 && memcmp(buf + 10 + 65536, "hello", 5) == 0);
    CHECK(rig_goodbye(ssl));
    return NULL;
}

static void test_more(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    r->on_stream = count_stream;
    r->on_event = more_event;
    r->sndbuf = 1 << 20;
    rig_run(r, read_it_all);
    assert_true(r->ended);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_big_transfer), cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_ends),         cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_key_updates),  cmocka_unit_test(test_sips),
        cmocka_unit_test(test_calls_per_request), cmocka_unit_test(test_more),
    };
    return cmocka_run_group_tests(tests, rig_group_set_up, rig_group_tear_down);
}
