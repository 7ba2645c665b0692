/* The listener: bursts, pausing, draining, freeing from inside on_accept, running out of
 * descriptors, and every odd errno accept4 may give. */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "proxy/base/log.h"
#include "proxy/net/listener.h"
#include "tests/unit/net/helper.h"

/* Takes libc's place: the next accepts fail with this errno. */
static int accept_errno;
static int accept_failures;

__attribute__((visibility("default"))) int accept4(int fd, struct sockaddr *sa, socklen_t *len,
                                                   int flags)
{
    if (accept_failures > 0) {
        accept_failures--;
        errno = accept_errno;
        return -1;
    }
    return (int)syscall(SYS_accept4, fd, sa, len, flags);
}

struct host {
    struct fixture f;
    struct addr addr;
    int fd;
    struct listener *ls;
    int accepted;
    int stop_at;
    bool pauses;
    bool frees;
};

static void on_accept(void *ctx, int fd, const struct addr *peer)
{
    struct host *h = ctx;
    assert_true(peer->len > 0);
    close(fd);
    h->accepted++;
    if (h->pauses) {
        listener_pause(h->ls, true);
    }
    if (h->frees) {
        listener_free(h->ls);
        h->ls = NULL;
    }
    if (h->accepted == h->stop_at) {
        loop_stop(h->f.loop);
    }
}

static void host_init(struct host *h)
{
    *h = (struct host){.fd = -1};
    fixture_init(&h->f);
    h->fd = listen_on(S("127.0.0.1"), &h->addr);
    const struct listener_events events = {.on_accept = on_accept, .ctx = h};
    h->ls = listener_new(h->f.loop, h->fd, &events);
    assert_non_null(h->ls);
}

static void host_fini(struct host *h)
{
    listener_free(h->ls);
    close(h->fd);
    fixture_fini(&h->f);
}

static void connect_many(struct host *h, int count, int fds[])
{
    bool pending;
    for (int i = 0; i < count; i++) {
        fds[i] = sock_connect(&h->addr, NULL, &pending);
        assert_true(fds[i] >= 0);
    }
}

static void close_many(int count, const int fds[])
{
    for (int i = 0; i < count; i++) {
        close(fds[i]);
    }
}

static void a_burst_is_accepted(void **state UNUSED)
{
    struct host h;
    int fds[150];
    host_init(&h);
    connect_many(&h, 150, fds);
    h.stop_at = 150;
    fixture_run(&h.f);
    assert_int_equal(h.accepted, 150);
    close_many(150, fds);
    host_fini(&h);
}

static void resume(struct timer *t)
{
    struct host *h = container_of(t, struct host, f.deadline);
    assert_int_equal(h->accepted, 1);
    h->pauses = false;
    listener_pause(h->ls, false);
    t->fire = fixture_late;
    assert_true(timer_set(t, DEADLINE_MS));
}

static void pausing_leaves_the_rest_waiting(void **state UNUSED)
{
    struct host h;
    int fds[5];
    host_init(&h);
    connect_many(&h, 5, fds);
    h.pauses = true;
    h.stop_at = 5;
    h.f.deadline.fire = resume;
    assert_true(timer_set(&h.f.deadline, 30));
    loop_run(h.f.loop);
    assert_false(h.f.late);
    assert_int_equal(h.accepted, 5);
    close_many(5, fds);
    host_fini(&h);
}

static void draining_takes_all_and_stops(void **state UNUSED)
{
    struct host h;
    int fds[100];
    host_init(&h);
    connect_many(&h, 100, fds);
    listener_pause(h.ls, true);
    listener_drain(h.ls);
    assert_int_equal(h.accepted, 100);
    close_many(100, fds);
    host_fini(&h);
}

static void freeing_from_inside(void **state UNUSED)
{
    struct host h;
    int fds[3];
    host_init(&h);
    connect_many(&h, 3, fds);
    h.frees = true;
    h.stop_at = 1;
    fixture_run(&h.f);
    assert_int_equal(h.accepted, 1);
    close_many(3, fds);
    host_fini(&h);
}

static void every_errno_is_survived(void **state UNUSED)
{
    static const int errnos[] = {ECONNABORTED, EPROTO, EPERM, ENETDOWN, EHOSTUNREACH, ENOBUFS,
                                 ENOMEM,       EMFILE, ENFILE, EINVAL,  EOPNOTSUPP,   EINTR,
                                 EBADF,        EFAULT, 9999};
    for (size_t i = 0; i < ARRAY_LEN(errnos); i++) {
        struct host h;
        int fds[2];
        host_init(&h);
        accept_errno = errnos[i];
        accept_failures = 1;
        connect_many(&h, 2, fds);
        h.stop_at = 1; /* the other one may have been shed */
        fixture_run(&h.f);
        assert_int_equal(accept_failures, 0);
        assert_true(h.accepted >= 1);
        close_many(2, fds);
        host_fini(&h);
    }
}

static void out_of_descriptors_for_a_while(void **state UNUSED)
{
    enum { HOARD_MAX = 4096 };
    static int hoard[HOARD_MAX];
    int hoarded = 0;
    struct host h;
    struct rlimit before;
    int fds[3];
    host_init(&h);
    connect_many(&h, 3, fds);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit low = {.rlim_cur = 256, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (hoarded < HOARD_MAX && (hoard[hoarded] = dup(h.fd)) >= 0) {
        hoarded++;
    }
    assert_int_equal(errno, EMFILE);
    /* Time enough for the first rest: one connection is shed, none is accepted. */
    h.f.deadline.fire = fixture_late;
    assert_true(timer_set(&h.f.deadline, 20));
    loop_run(h.f.loop);
    assert_int_equal(h.accepted, 0);
    char byte;
    int shed = 0;
    for (int i = 0; i < 3; i++) {
        shed += read(fds[i], &byte, 1) == 0;
    }
    assert_int_equal(shed, 1);
    close_many(hoarded, hoard);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    h.f.late = false;
    h.stop_at = 2;
    fixture_run(&h.f); /* goes on by itself */
    assert_int_equal(h.accepted, 2);
    close_many(3, fds);
    host_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_is_accepted),
        cmocka_unit_test(pausing_leaves_the_rest_waiting),
        cmocka_unit_test(draining_takes_all_and_stops),
        cmocka_unit_test(freeing_from_inside),
        cmocka_unit_test(every_errno_is_survived),
        cmocka_unit_test(out_of_descriptors_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
