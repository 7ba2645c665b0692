/* One event loop a thread: libev (epoll), a run queue, a timer heap and a mailbox.
 *
 * A turn: wait for events; call the watchers' callbacks; run due timers; deliver messages; then
 * run the run queue until it is empty. Callbacks of watchers, timers, messages and tasks are only
 * ever called from here, never from inside another call. Everything but loop_send and
 * loop_stop_from_anywhere belongs to the loop's own thread.
 *
 * Signals are not the loop's business: whoever creates a thread for a loop blocks all signals
 * around pthread_create, so that they reach the main thread only. */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/task.h"

struct loop;

struct loop *loop_new(struct err *err);
/* First delivers the messages that have arrived and runs the tasks that are posted, so that those
 * who wait for one can release their memory; waits for nothing. Watches and timers must be finished
 * by their owners, and every thread that sends to this loop must have stopped (jobs_free comes
 * before loop_free). */
void loop_free(struct loop *l);
/* Runs until loop_stop. May be called again afterwards. */
void loop_run(struct loop *l);
/* From the loop's own thread: loop_run returns after this turn. */
void loop_stop(struct loop *l);
/* The same from any thread, or from a signal handler. */
void loop_stop_from_anywhere(struct loop *l);

/* Cached once a turn: monotonic and wall clock in ms. */
int64_t loop_now_ms(const struct loop *l);
int64_t loop_wall_ms(const struct loop *l);
/* The date of now as IMF-fixdate, 29 bytes, refreshed when the second changes. */
struct slice loop_http_date(struct loop *l);

void loop_post(struct loop *l, struct task *t);
struct run_queue *loop_queue(struct loop *l);

/* ---- file descriptors ---------------------------------------------------------------------- */

/* WATCH_ERROR is only ever reported, beside what is being watched: the kernel refused to watch the
 * descriptor (out of memory or epoll watches), nothing is watched any more. A hang-up or a pending
 * socket error is reported as whatever is being watched of READ and WRITE; with nothing watched it
 * is not reported at all. */
enum { WATCH_READ = 1, WATCH_WRITE = 2, WATCH_ERROR = 4 };

struct watch {
    uint64_t ev_storage[8]; /* libev's ev_io */
    struct loop *loop;
    void (*on_ready)(struct watch *self, unsigned events);
    unsigned events; /* what is being watched now */
};

void watch_init(struct watch *w, struct loop *l, int fd,
                void (*on_ready)(struct watch *self, unsigned events));
/* Level-triggered interest; 0 stops. Free when nothing has changed by the end of the turn, else one
 * epoll_ctl; READ dropped and taken up again is free too as long as nothing arrived in between. */
void watch_set(struct watch *w, unsigned events);
/* Stops; must come before the descriptor is closed and the memory released. */
void watch_fini(struct watch *w);

/* ---- timers -------------------------------------------------------------------------------- */

/* Setting a timer again to a later time only writes the deadline: cheap enough for once a request.
 * Resolution is about 1 ms, firing is never early. */
struct timer {
    struct loop *loop;
    void (*fire)(struct timer *self);
    int64_t deadline_ms; /* 0: not set */
    int64_t heap_key_ms;
    size_t heap_index; /* SIZE_MAX: not in the heap */
};

void timer_init(struct timer *t, struct loop *l, void (*fire)(struct timer *self));
/* Fires once, delay_ms after this turn's time (at least 1 ms), instead of any earlier setting; in a
 * turn after this one, so a timer that sets itself again never starves the loop. False when the
 * timer heap cannot grow (memory): the timer is then not set. */
bool timer_set(struct timer *t, int64_t delay_ms);
/* Not set any more; cheap (the heap entry goes later or when t is finished). */
void timer_clear(struct timer *t);
/* Must come before the memory is released. */
void timer_fini(struct timer *t);

/* ---- other threads -------------------------------------------------------------------------- */

struct message {
    struct message *next;
    void (*deliver)(struct message *self); /* on the loop's thread; owns self from then on */
};

/* From any thread. Never fails, never blocks for long; order is kept per sender. */
void loop_send(struct loop *l, struct message *m);

#endif
