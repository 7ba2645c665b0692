/* The event loop: order of a turn, tasks, timers, watches, messages. In: real pipes and threads.
 * Times have generous bounds: only "never early" is exact. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/rand.h"
#include "proxy/loop/loop.h"

#define LATE_MAX_MS 5000

/* Takes libc's place, so that the tests can count. */
static int epoll_ctl_calls;
static int epoll_ctl_refusals; /* that many calls to come fail with ENOSPC */

__attribute__((visibility("default"))) int epoll_ctl(int epfd, int op, int fd,
                                                     struct epoll_event *ev)
{
    epoll_ctl_calls++;
    if (epoll_ctl_refusals > 0) {
        epoll_ctl_refusals--;
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epfd, op, fd, ev);
}

static struct loop *new_loop(void)
{
    struct err err;
    struct loop *l = loop_new(&err);
    assert_non_null(l);
    return l;
}

/* ---- running a loop for a number of turns ---- */

struct turns {
    struct loop *loop;
    struct task task;
    int left;
};

static void count_turn(struct task *t)
{
    struct turns *turns = container_of(t, struct turns, task);
    if (turns->left == 0) {
        loop_stop(turns->loop);
    }
}

/* Every call of loop_run here ends after the first turn that ran the task. */
static void run_turns(struct loop *l, int n)
{
    struct turns turns = {.loop = l};
    task_init(&turns.task, count_turn);
    for (int i = 0; i < n; i++) {
        loop_post(l, &turns.task);
        loop_run(l);
    }
}

/* ---- tasks ---- */

struct chain {
    struct task task;
    struct loop *loop;
    int left;
    int ran;
};

static void chain_run(struct task *t)
{
    struct chain *c = container_of(t, struct chain, task);
    c->ran++;
    if (--c->left > 0) {
        loop_post(c->loop, t);
    } else {
        loop_stop(c->loop);
    }
}

static void tasks_run_without_events(void **state UNUSED)
{
    struct loop *l = new_loop();
    struct chain c = {.loop = l, .left = 20000}; /* more than one turn's share */
    task_init(&c.task, chain_run);
    loop_post(l, &c.task);
    loop_post(l, &c.task);
    loop_run(l);
    assert_int_equal(c.ran, 20000);
    loop_free(l);
}

static void stop_before_run_is_not_lost(void **state UNUSED)
{
    struct loop *l = new_loop();
    loop_stop_from_anywhere(l);
    loop_run(l);
    loop_free(l);
}

/* ---- timers ---- */

struct probe {
    struct timer timer;
    struct loop *loop;
    int64_t set_us;
    int64_t delay_ms;
    int fired;
    int *left; /* stop when it comes to 0 */
};

static void probe_fire(struct timer *t)
{
    struct probe *p = container_of(t, struct probe, timer);
    int64_t waited_us = clock_mono_us() - p->set_us;
    assert_true(waited_us >= p->delay_ms * 1000);
    assert_true(waited_us < (p->delay_ms + LATE_MAX_MS) * 1000);
    p->fired++;
    if (p->left && --*p->left == 0) {
        loop_stop(p->loop);
    }
}

static void probe_set(struct probe *p, int64_t delay_ms)
{
    p->delay_ms = delay_ms;
    p->set_us = clock_mono_us();
    assert_true(timer_set(&p->timer, delay_ms));
}

static void timer_fires_once_and_never_early(void **state UNUSED)
{
    struct loop *l = new_loop();
    int left = 3;
    struct probe p[3];
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        p[i] = (struct probe){.loop = l, .left = &left};
        timer_init(&p[i].timer, l, probe_fire);
        probe_set(&p[i], (int64_t[]){40, 0, 20}[i]);
    }
    loop_run(l);
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        assert_int_equal(p[i].fired, 1);
        assert_int_equal(p[i].timer.deadline_ms, 0);
        timer_fini(&p[i].timer);
    }
    loop_free(l);
}

static void timer_moves_later_and_earlier(void **state UNUSED)
{
    struct loop *l = new_loop();
    int left = 2;
    struct probe later = {.loop = l, .left = &left};
    struct probe sooner = {.loop = l, .left = &left};
    timer_init(&later.timer, l, probe_fire);
    timer_init(&sooner.timer, l, probe_fire);
    probe_set(&later, 5);
    int64_t key_ms = later.timer.heap_key_ms;
    probe_set(&later, 60);
    assert_int_equal(later.timer.heap_key_ms, key_ms); /* only the deadline was written */
    probe_set(&sooner, 100000);
    probe_set(&sooner, 10);
    loop_run(l);
    assert_int_equal(later.fired, 1);
    assert_int_equal(sooner.fired, 1);
    timer_fini(&later.timer);
    timer_fini(&sooner.timer);
    loop_free(l);
}

static void cleared_timer_stays_quiet(void **state UNUSED)
{
    struct loop *l = new_loop();
    int left = 1;
    struct probe quiet = {.loop = l};
    struct probe end = {.loop = l, .left = &left};
    timer_init(&quiet.timer, l, probe_fire);
    timer_init(&end.timer, l, probe_fire);
    probe_set(&quiet, 1);
    timer_clear(&quiet.timer);
    probe_set(&end, 20);
    loop_run(l);
    assert_int_equal(quiet.fired, 0);
    assert_true(quiet.timer.heap_index == SIZE_MAX); /* popped and not put back */
    timer_fini(&quiet.timer);
    timer_fini(&end.timer);
    loop_free(l);
}

static void refire(struct timer *t)
{
    struct probe *p = container_of(t, struct probe, timer);
    if (++p->fired == 5) {
        loop_stop(p->loop);
    } else {
        assert_true(timer_set(t, 0));
    }
}

static void timer_may_set_itself(void **state UNUSED)
{
    struct loop *l = new_loop();
    struct probe p = {.loop = l};
    timer_init(&p.timer, l, refire);
    assert_true(timer_set(&p.timer, 0));
    loop_run(l);
    assert_int_equal(p.fired, 5);
    timer_fini(&p.timer);
    loop_free(l);
}

static void many_timers_keep_order(void **state UNUSED)
{
    enum { COUNT = 2000 };
    struct loop *l = new_loop();
    struct probe *p = calloc(COUNT, sizeof(*p));
    int left = 0;
    assert_non_null(p);
    for (int i = 0; i < COUNT; i++) {
        p[i].loop = l;
        p[i].left = &left;
        timer_init(&p[i].timer, l, probe_fire);
        probe_set(&p[i], (int64_t)rand_below(60));
    }
    for (int i = 0; i < COUNT; i++) {
        switch (i % 4) {
        case 0: timer_fini(&p[i].timer); break;
        case 1: probe_set(&p[i], (int64_t)rand_below(60)); left++; break;
        case 2: timer_clear(&p[i].timer); break;
        default: left++; break;
        }
    }
    loop_run(l);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(p[i].fired, i % 2);
        timer_fini(&p[i].timer);
    }
    free(p);
    loop_free(l);
}

/* ---- watches ---- */

struct end {
    struct watch watch;
    int fd;
    unsigned seen;
    int calls;
    bool stops;
};

static void end_ready(struct watch *w, unsigned events)
{
    struct end *e = container_of(w, struct end, watch);
    e->seen |= events;
    e->calls++;
    if (e->stops) {
        loop_stop(w->loop);
    }
}

static void pair(struct loop *l, struct end e[2])
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < 2; i++) {
        e[i] = (struct end){.fd = fds[i]};
        watch_init(&e[i].watch, l, fds[i], end_ready);
    }
}

static void finish(struct end *e)
{
    watch_fini(&e->watch);
    close(e->fd);
}

static void watch_reports_what_is_wanted(void **state UNUSED)
{
    struct loop *l = new_loop();
    struct end e[2];
    pair(l, e);
    e[0].stops = true;
    watch_set(&e[0].watch, WATCH_WRITE);
    loop_run(l);
    assert_int_equal(e[0].seen, WATCH_WRITE);
    e[0].seen = 0;
    watch_set(&e[0].watch, WATCH_READ);
    assert_int_equal(write(e[1].fd, "x", 1), 1);
    loop_run(l);
    loop_run(l); /* level-triggered: it was not read */
    assert_int_equal(e[0].seen, WATCH_READ);
    assert_true(e[0].calls == 3);
    finish(&e[0]);
    finish(&e[1]);
    loop_free(l);
}

static void unchanged_interest_costs_nothing(void **state UNUSED)
{
    struct loop *l = new_loop();
    struct end e[2];
    pair(l, e);
    epoll_ctl_calls = 0;
    watch_set(&e[0].watch, WATCH_READ);
    run_turns(l, 2);
    assert_true(epoll_ctl_calls > 0); /* the counter is in place */
    epoll_ctl_calls = 0;
    for (int i = 0; i < 10; i++) {
        watch_set(&e[0].watch, WATCH_READ | WATCH_WRITE); /* and back within the turn */
        watch_set(&e[0].watch, 0);
        watch_set(&e[0].watch, WATCH_READ);
        run_turns(l, 1);
        watch_set(&e[0].watch, 0); /* READ dropped over a turn and taken up again */
        run_turns(l, 1);
    }
    assert_int_equal(epoll_ctl_calls, 0);
    assert_int_equal(e[0].calls, 0);
    finish(&e[0]);
    finish(&e[1]);
    loop_free(l);
}

static void dropped_read_is_not_reported(void **state UNUSED)
{
    struct loop *l = new_loop();
    struct end e[2];
    pair(l, e);
    watch_set(&e[0].watch, WATCH_READ);
    run_turns(l, 1);
    watch_set(&e[0].watch, 0);
    assert_int_equal(write(e[1].fd, "x", 1), 1);
    run_turns(l, 4);
    assert_int_equal(e[0].calls, 0);
    epoll_ctl_calls = 0;
    run_turns(l, 10);
    assert_int_equal(epoll_ctl_calls, 0); /* it really is off by now */
    e[0].stops = true;
    watch_set(&e[0].watch, WATCH_READ);
    loop_run(l);
    assert_int_equal(e[0].seen, WATCH_READ);
    finish(&e[0]);
    finish(&e[1]);
    loop_free(l);
}

static void hang_up_is_seen_by_a_writer(void **state UNUSED)
{
    struct loop *l = new_loop();
    struct end e[2];
    char junk[4096] = {0};
    pair(l, e);
    while (write(e[0].fd, junk, sizeof(junk)) > 0) {
    }
    e[0].stops = true;
    watch_set(&e[0].watch, WATCH_WRITE);
    run_turns(l, 3);
    assert_int_equal(e[0].calls, 0);
    finish(&e[1]);
    loop_run(l);
    assert_int_equal(e[0].seen, WATCH_WRITE);
    finish(&e[0]);
    loop_free(l);
}

static void refused_watch_is_an_error_event(void **state UNUSED)
{
    struct loop *l = new_loop();
    struct end e[2];
    pair(l, e);
    run_turns(l, 1);
    e[0].stops = true;
    epoll_ctl_refusals = 1;
    watch_set(&e[0].watch, WATCH_READ);
    loop_run(l);
    assert_int_equal(e[0].seen, WATCH_READ | WATCH_ERROR);
    e[0].seen = 0;
    watch_set(&e[0].watch, WATCH_READ); /* the same again is a new attempt */
    assert_int_equal(write(e[1].fd, "x", 1), 1);
    loop_run(l);
    assert_int_equal(e[0].seen, WATCH_READ);
    finish(&e[0]);
    finish(&e[1]);
    loop_free(l);
}

static void reused_descriptor_is_watched_anew(void **state UNUSED)
{
    struct loop *l = new_loop();
    struct end a[2];
    struct end b[2];
    pair(l, a);
    watch_set(&a[0].watch, WATCH_READ);
    watch_set(&a[1].watch, WATCH_READ);
    run_turns(l, 1);
    finish(&a[0]);
    finish(&a[1]);
    pair(l, b); /* the same numbers, within the turn */
    assert_true(b[0].fd == a[0].fd || b[0].fd == a[1].fd);
    b[0].stops = true;
    watch_set(&b[0].watch, WATCH_READ);
    assert_int_equal(write(b[1].fd, "x", 1), 1);
    loop_run(l);
    assert_int_equal(b[0].seen, WATCH_READ);
    finish(&b[0]);
    finish(&b[1]);
    loop_free(l);
}

struct killer {
    struct watch watch;
    struct end *victim;
};

static void kill_other(struct watch *w, unsigned events UNUSED)
{
    struct killer *k = container_of(w, struct killer, watch);
    if (k->victim) {
        watch_fini(&k->victim->watch);
        close(k->victim->fd);
        free(k->victim);
        k->victim = NULL;
    }
    loop_stop(w->loop);
}

/* Whatever the order of the two events, the first frees the other and ASan watches. */
static void a_callback_may_end_another_watch(void **state UNUSED)
{
    struct loop *l = new_loop();
    struct end e[2];
    struct killer killers[2] = {{.victim = NULL}, {.victim = NULL}};
    pair(l, e);
    for (int i = 0; i < 2; i++) {
        struct end *victim = malloc(sizeof(*victim));
        assert_non_null(victim);
        *victim = (struct end){.fd = dup(e[i].fd)};
        assert_true(victim->fd >= 0);
        watch_init(&victim->watch, l, victim->fd, end_ready);
        watch_set(&victim->watch, WATCH_READ);
        watch_init(&killers[i].watch, l, e[i].fd, kill_other);
        watch_set(&killers[i].watch, WATCH_READ);
        killers[i].victim = victim;
    }
    assert_int_equal(write(e[0].fd, "x", 1), 1);
    assert_int_equal(write(e[1].fd, "x", 1), 1);
    loop_run(l);
    loop_run(l);
    for (int i = 0; i < 2; i++) {
        assert_null(killers[i].victim);
        watch_fini(&killers[i].watch);
        close(e[i].fd);
    }
    loop_free(l);
}

/* ---- messages ---- */

enum { SENDERS = 4, LETTERS = 5000 };

struct letter {
    struct message message;
    struct post_office *office;
    int sender;
    int number;
};

struct post_office {
    struct loop *loop;
    int next[SENDERS];
    int got;
};

static void deliver(struct message *m)
{
    struct letter *letter = container_of(m, struct letter, message);
    struct post_office *o = letter->office;
    assert_int_equal(letter->number, o->next[letter->sender]);
    o->next[letter->sender]++;
    if (++o->got == SENDERS * LETTERS) {
        loop_stop(o->loop);
    }
    free(letter);
}

struct sender {
    struct post_office *office;
    int number;
};

static void *send_letters(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < LETTERS; i++) {
        struct letter *letter = calloc(1, sizeof(*letter));
        if (!letter) {
            abort();
        }
        letter->message.deliver = deliver;
        letter->office = s->office;
        letter->sender = s->number;
        letter->number = i;
        loop_send(s->office->loop, &letter->message);
    }
    return NULL;
}

static void messages_keep_their_senders_order(void **state UNUSED)
{
    struct post_office office = {.loop = new_loop()};
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){&office, i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_letters, &senders[i]), 0);
    }
    loop_run(office.loop);
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(office.next[i], LETTERS);
    }
    loop_free(office.loop);
}

static void *stop_it(void *arg)
{
    loop_stop_from_anywhere(arg);
    return NULL;
}

static void another_thread_stops_it(void **state UNUSED)
{
    struct loop *l = new_loop();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_it, l), 0);
    loop_run(l);
    pthread_join(thread, NULL);
    loop_free(l);
}

static void free_delivers_what_arrived(void **state UNUSED)
{
    struct post_office office = {.loop = new_loop()};
    struct letter *letter = calloc(1, sizeof(*letter));
    assert_non_null(letter);
    letter->message.deliver = deliver;
    letter->office = &office;
    loop_send(office.loop, &letter->message);
    loop_free(office.loop);
    assert_int_equal(office.got, 1);
}

/* ---- clocks ---- */

static void clocks_and_date(void **state UNUSED)
{
    struct loop *l = new_loop();
    int64_t before_ms = clock_mono_ms();
    run_turns(l, 1);
    assert_true(loop_now_ms(l) >= before_ms);
    char date[CLOCK_HTTP_DATE_BYTES];
    clock_http_date(loop_wall_ms(l), date);
    struct slice got = loop_http_date(l);
    assert_int_equal(got.n, 29);
    assert_memory_equal(got.p, date, 29);
    assert_ptr_equal(loop_http_date(l).p, got.p);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_run_without_events),
        cmocka_unit_test(stop_before_run_is_not_lost),
        cmocka_unit_test(timer_fires_once_and_never_early),
        cmocka_unit_test(timer_moves_later_and_earlier),
        cmocka_unit_test(cleared_timer_stays_quiet),
        cmocka_unit_test(timer_may_set_itself),
        cmocka_unit_test(many_timers_keep_order),
        cmocka_unit_test(watch_reports_what_is_wanted),
        cmocka_unit_test(unchanged_interest_costs_nothing),
        cmocka_unit_test(dropped_read_is_not_reported),
        cmocka_unit_test(hang_up_is_seen_by_a_writer),
        cmocka_unit_test(refused_watch_is_an_error_event),
        cmocka_unit_test(reused_descriptor_is_watched_anew),
        cmocka_unit_test(a_callback_may_end_another_watch),
        cmocka_unit_test(messages_keep_their_senders_order),
        cmocka_unit_test(another_thread_stops_it),
        cmocka_unit_test(free_delivers_what_arrived),
        cmocka_unit_test(clocks_and_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
