/* Pipes between streams over socket pairs: bytes, ends, and how many there are. */
#include "proxy/net/pipe.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/net/tcp.h"
#include "tests/unit/net/helper.h"

static struct stream *stream_of(struct loop *l, int fd)
{
    struct addr none = {.len = 0};
    struct stream *s = tcp_stream_new(l, fd, &none, NULL);
    assert_non_null(s);
    return s;
}

struct two {
    struct fixture f;
    int from[2]; /* we write into [0]; [1] is the stream's */
    int to[2];
    struct stream *in;
    struct stream *out;
};

static void two_init(struct two *t)
{
    fixture_init(&t->f);
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    assert_int_equal(socketpair(AF_UNIX, type, 0, t->from), 0);
    assert_int_equal(socketpair(AF_UNIX, type, 0, t->to), 0);
    t->in = stream_of(t->f.loop, t->from[1]);
    t->out = stream_of(t->f.loop, t->to[1]);
}

static void two_fini(struct two *t)
{
    stream_close(t->in, false);
    stream_close(t->out, false);
    close(t->from[0]);
    close(t->to[0]);
    pipe_pool_drain();
    fixture_fini(&t->f);
}

static void bytes_and_ends(void **state UNUSED)
{
    struct two t;
    char buf[64];
    two_init(&t);
    struct body_pipe *p = pipe_take();
    assert_non_null(p);
    assert_int_equal(pipe_fill(p, t.in, 100), STREAM_AGAIN);
    assert_int_equal(write(t.from[0], "hello, world", 12), 12);
    assert_int_equal(pipe_fill(p, t.in, 5), 5); /* no more than the message has */
    assert_int_equal(p->bytes, 5);
    assert_int_equal(pipe_drain(p, t.out, 3), 3);
    p->bytes -= 3;
    assert_int_equal(pipe_drain(p, t.out, 2), 2);
    p->bytes -= 2;
    assert_int_equal(pipe_fill(p, t.in, 100), 7);
    assert_int_equal(pipe_drain(p, t.out, 7), 7);
    p->bytes -= 7;
    assert_int_equal(read(t.to[0], buf, sizeof(buf)), 12);
    assert_memory_equal(buf, "hello, world", 12);
    assert_int_equal(shutdown(t.from[0], SHUT_WR), 0);
    assert_int_equal(pipe_fill(p, t.in, 100), 0);
    p->release(p);
    two_fini(&t);
}

static void a_full_and_a_broken_receiver(void **state UNUSED)
{
    struct two t;
    static char block[65536];
    two_init(&t);
    struct body_pipe *p = pipe_take();
    assert_non_null(p);
    while (write(t.to[1], block, sizeof(block)) > 0) {
    }
    assert_int_equal(write(t.from[0], "abc", 3), 3);
    assert_int_equal(pipe_fill(p, t.in, 3), 3);
    assert_int_equal(pipe_drain(p, t.out, 3), STREAM_AGAIN);
    assert_int_equal(shutdown(t.to[1], SHUT_WR), 0);
    assert_int_equal(pipe_drain(p, t.out, 3), STREAM_ERROR);
    p->release(p); /* with bytes in it: nobody else gets to see them */
    p = pipe_take();
    assert_non_null(p);
    assert_int_equal(write(t.from[0], "x", 1), 1);
    assert_int_equal(pipe_fill(p, t.in, 100), 1);
    p->release(p);
    two_fini(&t);
}

static void so_many_and_no_more(void **state UNUSED)
{
    static struct body_pipe *taken[PIPES_MAX_PER_THREAD];
    unsigned n = 0;
    while (n < PIPES_MAX_PER_THREAD && (taken[n] = pipe_take())) {
        n++;
    }
    assert_true(n > 8);
    if (n == PIPES_MAX_PER_THREAD) { /* or the descriptors are out before */
        assert_null(pipe_take());
    }
    while (n) {
        n--;
        taken[n]->release(taken[n]);
    }
    struct body_pipe *again = pipe_take();
    assert_non_null(again);
    again->release(again);
    pipe_pool_drain();
}

/* A user whose pipes have all the memory that they may: new ones hold 8 KiB. */
static void no_small_ones(void **state UNUSED)
{
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && setuid(54321) != 0) { /* root has no such limit */
            _exit(2);
        }
        int fds[2];
        int size = 1 << 20;
        for (int i = 0; i < 400 && size > 8192; i++) {
            if (pipe2(fds, O_CLOEXEC) != 0) {
                _exit(3);
            }
            (void)fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
            size = fcntl(fds[1], F_GETPIPE_SZ);
        }
        /* A system may have been set to no limit at all. */
        struct body_pipe *p = pipe_take();
        _exit(size > 8192 ? p == NULL : p != NULL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_and_ends),
        cmocka_unit_test(a_full_and_a_broken_receiver),
        cmocka_unit_test(so_many_and_no_more),
        cmocka_unit_test(no_small_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
