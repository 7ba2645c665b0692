/* Dialing on loopback: success, refusal, the second address, time-outs, Unix paths, cancelling. */
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "proxy/net/dial.h"
#include "tests/unit/net/helper.h"

/* What a scripted name resolves to. */
static const char *script[4];
static atomic_bool hang;

static atomic_int lookups;

struct dns *dns_new(struct loop *l, struct err *err UNUSED)
{
    return (struct dns *)(void *)l; /* nothing of it is looked at */
}

void dns_free(struct dns *d UNUSED)
{
}

/* On the resolver's thread. */
void dns_start(struct dns *d UNUSED, struct dns_query *q)
{
    struct addr addrs[ARRAY_LEN(script)];
    struct dns_answer a = {.addrs = addrs, .ttl_ms = 60000, .error = "name not known"};
    atomic_fetch_add(&lookups, 1);
    while (atomic_load(&hang)) {
        sched_yield();
    }
    while (a.count < ARRAY_LEN(script) && script[a.count]) {
        assert_true(addr_parse_ip(slice_str(script[a.count]), 0, &addrs[a.count]));
        a.count++;
    }
    q->done(q, &a);
}

struct bench {
    struct fixture f;
    struct resolver *r;
    int calls;
    enum dial_result result;
    struct stream *s;
    char detail[64];
};

static void bench_init(struct bench *b)
{
    struct err err;
    *b = (struct bench){.calls = 0};
    fixture_init(&b->f);
    b->r = resolver_new(&err);
    assert_non_null(b->r);
    memset(script, 0, sizeof(script));
    atomic_store(&hang, false);
    atomic_store(&lookups, 0);
}

static void bench_fini(struct bench *b)
{
    atomic_store(&hang, false);
    resolver_free(b->r);
    fixture_fini(&b->f);
}

static void on_done(void *ctx, enum dial_result result, struct stream *s, struct slice detail)
{
    struct bench *b = ctx;
    b->calls++;
    b->result = result;
    b->s = s;
    (void)snprintf(b->detail, sizeof(b->detail), "%.*s", SLICE_ARG(detail));
    loop_stop(b->f.loop);
}

static struct dial *begin(struct bench *b, struct slice host, uint16_t port, int64_t timeout_ms)
{
    struct slice none = {NULL, 0};
    b->calls = 0;
    struct dial *d = dial_start(b->f.loop, b->r, host, port, none, timeout_ms, on_done, b);
    assert_non_null(d);
    assert_int_equal(b->calls, 0);
    return d;
}

static void dial(struct bench *b, struct slice host, uint16_t port)
{
    (void)begin(b, host, port, DEADLINE_MS);
    fixture_run(&b->f);
    assert_int_equal(b->calls, 1);
}

static void check_connected(struct bench *b, int listening, const struct addr *a)
{
    struct addr peer;
    assert_int_equal(b->result, DIAL_OK);
    assert_true(addr_eq(b->s->peer, a));
    int served;
    while ((served = sock_accept(listening, &peer)) < 0) {
        assert_int_equal(errno, EAGAIN);
    }
    assert_true(addr_is_unix(a) || addr_eq(b->s->local, &peer));
    close(served);
    stream_close(b->s, false);
}

static void a_literal_and_localhost(void **state UNUSED)
{
    struct bench b;
    struct addr a;
    bench_init(&b);
    int fd = listen_on(S("127.0.0.1"), &a);
    dial(&b, S("127.0.0.1"), addr_port(&a));
    check_connected(&b, fd, &a);
    dial(&b, S("localhost"), addr_port(&a));
    check_connected(&b, fd, &a);
    close(fd);
    fd = listen_on(S("::1"), &a); /* the second address of localhost */
    dial(&b, S("localhost"), addr_port(&a));
    check_connected(&b, fd, &a);
    close(fd);
    bench_fini(&b);
}

static void nobody_listens(void **state UNUSED)
{
    struct bench b;
    bench_init(&b);
    dial(&b, S("localhost"), dead_port(S("127.0.0.1")));
    assert_int_equal(b.result, DIAL_REFUSED);
    assert_null(b.s);
    assert_string_equal(b.detail, "connection refused");
    dial(&b, S("nobody.example"), 80);
    assert_int_equal(b.result, DIAL_NO_SUCH_HOST);
    assert_string_equal(b.detail, "name not known");
    dial(&b, S("255.255.255.255"), 80);
    assert_int_equal(b.result, DIAL_UNREACHABLE);
    bench_fini(&b);
}

static void the_third_address_answers(void **state UNUSED)
{
    struct bench b;
    struct addr a;
    bench_init(&b);
    int fd = listen_on(S("127.0.0.3"), &a);
    script[0] = "127.0.0.1";
    script[1] = "127.0.0.2";
    script[2] = "127.0.0.3";
    script[3] = "::1";
    dial(&b, S("app.example"), addr_port(&a));
    check_connected(&b, fd, &a);
    close(fd);
    bench_fini(&b);
}

/* A listener whose queue is full: connecting to it hangs. */
struct tarpit {
    int fd;
    int clients[16];
    struct addr addr;
};

static void tarpit_init(struct tarpit *t, struct slice ip)
{
    bool pending;
    t->fd = listen_on(ip, &t->addr);
    assert_int_equal(listen(t->fd, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(t->clients); i++) {
        t->clients[i] = sock_connect(&t->addr, NULL, &pending);
    }
}

static void tarpit_fini(struct tarpit *t)
{
    for (size_t i = 0; i < ARRAY_LEN(t->clients); i++) {
        close(t->clients[i]);
    }
    close(t->fd);
}

static void the_second_starts_while_the_first_hangs(void **state UNUSED)
{
    struct bench b;
    struct tarpit tarpit;
    struct addr a;
    struct err err;
    bench_init(&b);
    tarpit_init(&tarpit, S("127.0.0.1"));
    assert_true(addr_parse_ip(S("127.0.0.2"), addr_port(&tarpit.addr), &a));
    int fd = sock_listen(&a, false, &err);
    assert_true(fd >= 0);
    script[0] = "127.0.0.1";
    script[1] = "127.0.0.2";
    int64_t start_ms = clock_mono_ms();
    dial(&b, S("app.example"), addr_port(&a));
    assert_true(clock_mono_ms() - start_ms >= 250);
    check_connected(&b, fd, &a);
    close(fd);
    tarpit_fini(&tarpit);
    bench_fini(&b);
}

static void time_is_up(void **state UNUSED)
{
    struct bench b;
    struct tarpit tarpit;
    bench_init(&b);
    tarpit_init(&tarpit, S("127.0.0.1"));
    (void)begin(&b, S("127.0.0.1"), addr_port(&tarpit.addr), 50);
    fixture_run(&b.f);
    assert_int_equal(b.result, DIAL_TIMEOUT);
    assert_string_equal(b.detail, "connecting timed out");
    atomic_store(&hang, true);
    (void)begin(&b, S("hangs.example"), 80, 50);
    fixture_run(&b.f);
    assert_int_equal(b.result, DIAL_TIMEOUT);
    assert_string_equal(b.detail, "resolving the name timed out");
    tarpit_fini(&tarpit);
    bench_fini(&b);
}

static void unix_paths(void **state UNUSED)
{
    struct bench b;
    struct addr a;
    struct err err;
    char path[64];
    char long_path[200];
    struct slice none = {NULL, 0};
    bench_init(&b);
    (void)snprintf(path, sizeof(path), "/tmp/caddis-dial-test-%ld", (long)getpid());
    assert_true(addr_unix(slice_str(path), &a));
    int fd = sock_listen(&a, false, &err);
    assert_true(fd >= 0);
    assert_non_null(dial_start(b.f.loop, b.r, none, 0, slice_str(path), 1000, on_done, &b));
    assert_int_equal(b.calls, 0);
    fixture_run(&b.f);
    check_connected(&b, fd, &a);
    close(fd);
    assert_non_null(dial_start(b.f.loop, b.r, none, 0, slice_str(path), 1000, on_done, &b));
    fixture_run(&b.f);
    assert_int_equal(b.result, DIAL_REFUSED);
    unlink(path);
    assert_non_null(dial_start(b.f.loop, b.r, none, 0, slice_str(path), 1000, on_done, &b));
    fixture_run(&b.f);
    assert_int_equal(b.result, DIAL_REFUSED);
    assert_string_equal(b.detail, "no such socket");
    memset(long_path, 'p', sizeof(long_path));
    assert_non_null(dial_start(b.f.loop, b.r, none, 0, slice_of(long_path, sizeof(long_path)), 1000,
                               on_done, &b));
    fixture_run(&b.f);
    assert_int_equal(b.result, DIAL_NO_SUCH_HOST);
    bench_fini(&b);
}

static void cancelling(void **state UNUSED)
{
    struct bench b;
    struct tarpit tarpit;
    bench_init(&b);
    tarpit_init(&tarpit, S("127.0.0.1"));
    dial_cancel(begin(&b, S("127.0.0.1"), addr_port(&tarpit.addr), 1000)); /* before its task */
    atomic_store(&hang, true);
    dial_cancel(begin(&b, S("hangs.example"), 80, 1000)); /* while resolving */
    struct dial *d = begin(&b, S("127.0.0.1"), addr_port(&tarpit.addr), 1000);
    b.f.late = false;
    assert_true(timer_set(&b.f.deadline, 30));
    loop_run(b.f.loop);
    dial_cancel(d); /* while connecting */
    assert_int_equal(b.calls, 0);
    tarpit_fini(&tarpit);
    bench_fini(&b);
}

/* A remembered address refuses: the name is asked again, and the new address gets the connection.
 */
static void an_address_that_has_changed(void **state UNUSED)
{
    struct bench b;
    struct addr a;
    bench_init(&b);
    int fd = listen_on(S("127.0.0.2"), &a);
    script[0] = "127.0.0.2";
    dial(&b, S("app.example"), addr_port(&a));
    check_connected(&b, fd, &a);
    close(fd);
    struct timespec t = {.tv_sec = 1,
                         .tv_nsec = 50 * 1000 * 1000}; /* so that it may be asked again */
    nanosleep(&t, NULL);
    uint16_t port = addr_port(&a);
    struct err err;
    assert_true(addr_parse_ip(S("127.0.0.3"), port, &a));
    fd = sock_listen(&a, false, &err);
    assert_true(fd >= 0);
    script[0] = "127.0.0.3";
    dial(&b, S("app.example"), port);
    check_connected(&b, fd, &a);
    assert_int_equal(atomic_load(&lookups), 2);
    close(fd);
    dial(&b, S("app.example"), port); /* refused, and just asked: no loop */
    assert_int_equal(b.result, DIAL_REFUSED);
    assert_int_equal(atomic_load(&lookups), 2);
    bench_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_literal_and_localhost),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(the_third_address_answers),
        cmocka_unit_test(the_second_starts_while_the_first_hangs),
        cmocka_unit_test(an_address_that_has_changed),
        cmocka_unit_test(time_is_up),
        cmocka_unit_test(unix_paths),
        cmocka_unit_test(cancelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
