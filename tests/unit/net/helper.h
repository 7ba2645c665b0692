/* What the socket tests share: loops that end by themselves, listeners on free ports. */
#ifndef TESTS_UNIT_NET_HELPER_H
#define TESTS_UNIT_NET_HELPER_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/loop/loop.h"
#include "proxy/net/sock.h"

#define DEADLINE_MS 20000

/* A loop that stops after DEADLINE_MS; *late tells. */
struct fixture {
    struct loop *loop;
    struct timer deadline;
    bool late;
};

static inline void fixture_late(struct timer *t)
{
    struct fixture *f = container_of(t, struct fixture, deadline);
    f->late = true;
    loop_stop(f->loop);
}

static inline void fixture_init(struct fixture *f)
{
    struct err err;
    f->loop = loop_new(&err);
    f->late = false;
    assert_non_null(f->loop);
    timer_init(&f->deadline, f->loop, fixture_late);
}

static inline void fixture_run(struct fixture *f)
{
    assert_true(timer_set(&f->deadline, DEADLINE_MS));
    loop_run(f->loop);
    assert_false(f->late);
}

static inline void fixture_fini(struct fixture *f)
{
    timer_fini(&f->deadline);
    loop_free(f->loop);
}

/* Listens on a free port of ip; *a is what to connect to. */
static inline int listen_on(struct slice ip, struct addr *a)
{
    struct err err;
    assert_true(addr_parse_ip(ip, 0, a));
    int fd = sock_listen(a, false, &err);
    if (fd < 0) {
        fail_msg("%s", err.text);
    }
    sock_local(fd, a);
    return fd;
}

/* A port of ip where nobody listens. */
static inline uint16_t dead_port(struct slice ip)
{
    struct addr a;
    close(listen_on(ip, &a));
    return addr_port(&a);
}

#endif
