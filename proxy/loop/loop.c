/* The turn of an event loop, its clocks and its mailbox. libev waits and calls the watchers;
 * timers, messages and tasks come after it, in the order that loop.h gives. A turn makes one system
 * call of its own (epoll_wait); clocks are read through the vDSO. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proxy/loop/loop_internal.h"

/* Tasks that keep posting tasks must not keep the sockets waiting for ever. */
#define TASKS_A_TURN_MAX 8192
/* Rounds of delivering and running in loop_free; more would be a task that posts itself. */
#define LAST_ROUNDS_MAX 64

void loop_read_clocks(struct loop *l)
{
    l->now_ms = clock_mono_ms();
    l->wall_ms = clock_wall_ms();
}

/* eventfd's counter cannot overflow here, and EAGAIN would mean that the loop is woken anyway. */
static void wake(struct loop *l)
{
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(l->wake_fd, &one, sizeof(one));
    } while (n < 0 && errno == EINTR);
}

/* Right before epoll_wait. A descriptor that epoll has just refused has an event waiting by now,
 * and libev would sleep over it. */
static void before_waiting(struct ev_loop *ev)
{
    if (UNLIKELY(ev_pending_count(ev))) {
        wake(ev_userdata(ev));
    }
}

/* Right after epoll_wait, before any callback. */
static void after_waiting(struct ev_loop *ev)
{
    loop_read_clocks(ev_userdata(ev));
}

/* Only wakes: due timers are run from the turn. libev has stopped the alarm already. */
static void on_alarm(struct ev_loop *ev UNUSED, struct ev_timer *alarm, int revents UNUSED)
{
    container_of(alarm, struct loop, alarm)->alarm_key_ms = INT64_MAX;
}

static void on_wake(struct watch *w, unsigned events UNUSED)
{
    struct loop *l = container_of(w, struct loop, wake);
    uint64_t count;
    ssize_t ignored = read(l->wake_fd, &count, sizeof(count));
    (void)ignored;
    l->mail_waiting = true;
}

static void init_watchers(struct loop *l)
{
    ev_set_userdata(l->ev, l);
    ev_set_loop_release_cb(l->ev, before_waiting, after_waiting);
    ev_timer_init(&l->alarm, on_alarm, 0., 0.);
    watch_init(&l->wake, l, l->wake_fd, on_wake);
    watch_set(&l->wake, WATCH_READ);
}

struct loop *loop_new(struct err *err)
{
    loop_guard_libev();
    struct loop *l = calloc(1, sizeof(*l));
    if (!l) {
        err_set(err, "making an event loop: out of memory");
        return NULL;
    }
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake_fd < 0) {
        err_errno(err, errno, "making an event loop: eventfd");
        free(l);
        return NULL;
    }
    l->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOINOTIFY | EVFLAG_NOSIGMASK |
                        EVFLAG_NOTIMERFD);
    if (!l->ev) {
        err_errno(err, errno, "making an event loop: epoll");
        close(l->wake_fd);
        free(l);
        return NULL;
    }
    run_queue_init(&l->queue);
    pthread_mutex_init(&l->mail_lock, NULL);
    l->mail_last = &l->mail_first;
    l->alarm_key_ms = INT64_MAX;
    l->date_s = -1;
    atomic_init(&l->stop, false);
    loop_read_clocks(l);
    init_watchers(l);
    return l;
}

static bool deliver_mail(struct loop *l)
{
    pthread_mutex_lock(&l->mail_lock);
    struct message *m = l->mail_first;
    l->mail_first = NULL;
    l->mail_last = &l->mail_first;
    pthread_mutex_unlock(&l->mail_lock);
    bool any = m != NULL;
    while (m) {
        struct message *next = m->next; /* deliver may release m */
        m->deliver(m);
        m = next;
    }
    return any;
}

static bool run_tasks(struct loop *l)
{
    bool any = false;
    for (int i = 0; i < TASKS_A_TURN_MAX && !list_empty(&l->queue.tasks); i++) {
        struct task *t = LIST_ENTRY(l->queue.tasks.next, struct task, node);
        list_remove(&t->node);
        t->run(t);
        any = true;
    }
    return any;
}

void loop_free(struct loop *l)
{
    if (!l) {
        return;
    }
    for (int i = 0; i < LAST_ROUNDS_MAX; i++) {
        bool delivered = deliver_mail(l);
        if (!run_tasks(l) && !delivered) {
            break;
        }
    }
    watch_fini(&l->wake);
    ev_timer_stop(l->ev, &l->alarm);
    ev_loop_destroy(l->ev);
    close(l->wake_fd);
    loop_timers_free(l);
    pthread_mutex_destroy(&l->mail_lock);
    free(l);
}

void loop_run(struct loop *l)
{
    ev_now_update(l->ev);
    loop_read_clocks(l);
    l->running = true;
    while (!atomic_load_explicit(&l->stop, memory_order_acquire)) {
        loop_timers_arm(l);
        ev_run(l->ev, list_empty(&l->queue.tasks) ? EVRUN_ONCE : EVRUN_NOWAIT);
        loop_timers_run(l);
        if (l->mail_waiting) {
            l->mail_waiting = false;
            deliver_mail(l);
        }
        run_tasks(l);
    }
    l->running = false;
    atomic_store_explicit(&l->stop, false, memory_order_relaxed);
}

void loop_stop(struct loop *l)
{
    atomic_store_explicit(&l->stop, true, memory_order_release);
}

void loop_stop_from_anywhere(struct loop *l)
{
    int saved = errno;
    atomic_store_explicit(&l->stop, true, memory_order_release);
    wake(l);
    errno = saved;
}

void loop_send(struct loop *l, struct message *m)
{
    m->next = NULL;
    pthread_mutex_lock(&l->mail_lock);
    bool was_empty = l->mail_first == NULL;
    *l->mail_last = m;
    l->mail_last = &m->next;
    pthread_mutex_unlock(&l->mail_lock);
    if (was_empty) {
        wake(l);
    }
}

int64_t loop_now_ms(const struct loop *l)
{
    return l->now_ms;
}

int64_t loop_wall_ms(const struct loop *l)
{
    return l->wall_ms;
}

struct slice loop_http_date(struct loop *l)
{
    int64_t second = l->wall_ms / 1000;
    if (second != l->date_s) {
        clock_http_date(l->wall_ms, l->date);
        l->date_s = second;
    }
    return slice_of(l->date, CLOCK_HTTP_DATE_BYTES - 1);
}

void loop_post(struct loop *l, struct task *t)
{
    task_post(&l->queue, t);
}

struct run_queue *loop_queue(struct loop *l)
{
    return &l->queue;
}
