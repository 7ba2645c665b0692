/* What the files of this folder share: the loop's insides. Nobody else includes this. */
#ifndef LOOP_LOOP_INTERNAL_H
#define LOOP_LOOP_INTERNAL_H

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

#include "proxy/loop/loop.h"

/* A binary min-heap; keys lie beside the pointers so that sifting stays in the array. */
struct timer_heap_entry {
    int64_t key_ms;
    struct timer *timer; /* borrowed */
};

struct timer_heap {
    struct timer_heap_entry *entries; /* owned */
    size_t count;
    size_t cap;
};

struct loop {
    struct ev_loop *ev; /* owned */
    struct run_queue queue;
    int64_t now_ms;
    int64_t wall_ms;
    bool running;
    atomic_bool stop;

    struct ev_timer alarm; /* wakes the loop for the heap's top */
    int64_t alarm_key_ms;  /* what alarm is set to; INT64_MAX: not set */
    struct timer_heap heap;

    pthread_mutex_t mail_lock;
    struct message *mail_first; /* under mail_lock */
    struct message **mail_last; /* under mail_lock */
    bool mail_waiting;          /* wake_fd was readable in this turn */
    int wake_fd;                /* eventfd */
    struct watch wake;

    int64_t date_s; /* the second that date stands for; -1: none yet */
    char date[CLOCK_HTTP_DATE_BYTES];
};

void loop_read_clocks(struct loop *l);

/* Fires what is due at l->now_ms. */
void loop_timers_run(struct loop *l);
/* Sets the alarm to the heap's top. */
void loop_timers_arm(struct loop *l);
void loop_timers_free(struct loop *l);

/* Replaces libev's habit of aborting; once a process, from loop_new. */
void loop_guard_libev(void);

#endif
