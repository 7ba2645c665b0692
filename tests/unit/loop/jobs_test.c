/* The thread pool: work on its threads, done on the loop, the queue's bound, what becomes of jobs
 * at the end. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/loop/jobs.h"

enum { COUNT = 3000 };

struct tally {
    struct loop *loop;
    pthread_t loop_thread;
    int done; /* of the loop's thread */
    atomic_int worked;
    atomic_int dropped;
    atomic_bool open; /* the gate for work that waits */
    atomic_int at_gate;
};

struct work {
    struct job job;
    struct tally *tally;
    int square;
    int number;
};

static void square(struct job *job)
{
    struct work *w = container_of(job, struct work, job);
    sigset_t mask;
    w->square = w->number * w->number;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    if (sigismember(&mask, SIGTERM) && !pthread_equal(pthread_self(), w->tally->loop_thread)) {
        atomic_fetch_add(&w->tally->worked, 1);
    }
}

static void squared(struct job *job)
{
    struct work *w = container_of(job, struct work, job);
    assert_true(pthread_equal(pthread_self(), w->tally->loop_thread));
    assert_int_equal(w->square, w->number * w->number);
    if (++w->tally->done == COUNT) {
        loop_stop(w->tally->loop);
    }
}

static void work_then_done(void **state UNUSED)
{
    struct err err;
    struct tally tally = {.loop = loop_new(&err), .loop_thread = pthread_self()};
    struct jobs *jobs = jobs_new(4, COUNT, &err);
    struct work *works = calloc(COUNT, sizeof(*works));
    assert_true(tally.loop && jobs && works);
    for (int i = 0; i < COUNT; i++) {
        works[i].job.work = square;
        works[i].job.done = squared;
        works[i].tally = &tally;
        works[i].number = i;
        assert_true(job_submit(jobs, tally.loop, &works[i].job));
    }
    loop_run(tally.loop);
    assert_int_equal(atomic_load(&tally.worked), COUNT);
    jobs_free(jobs);
    loop_free(tally.loop);
    free(works);
}

static void wait_at_gate(struct job *job)
{
    struct work *w = container_of(job, struct work, job);
    atomic_fetch_add(&w->tally->at_gate, 1);
    while (!atomic_load(&w->tally->open)) {
        sched_yield();
    }
    atomic_fetch_add(&w->tally->worked, 1);
    free(w);
}

static void count_dropped(struct job *job)
{
    struct work *w = container_of(job, struct work, job);
    atomic_fetch_add(&w->tally->dropped, 1);
    free(w);
}

static bool submit_gated(struct jobs *jobs, struct tally *tally)
{
    struct work *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->job.work = wait_at_gate; /* no done: the job frees itself */
    w->job.dropped = count_dropped;
    w->tally = tally;
    bool queued = job_submit(jobs, NULL, &w->job);
    if (!queued) {
        free(w);
    }
    return queued;
}

static void *open_gate_later(void *arg)
{
    struct tally *tally = arg;
    struct timespec t = {.tv_nsec = 50 * 1000 * 1000};
    nanosleep(&t, NULL);
    atomic_store(&tally->open, true);
    return NULL;
}

static void the_queue_is_bounded_and_dropped_at_the_end(void **state UNUSED)
{
    struct err err;
    struct tally tally = {.loop = NULL};
    pthread_t opener;
    struct jobs *jobs = jobs_new(1, 3, &err);
    assert_non_null(jobs);
    assert_true(submit_gated(jobs, &tally));
    while (atomic_load(&tally.at_gate) == 0) {
        sched_yield();
    }
    for (int i = 0; i < 3; i++) {
        assert_true(submit_gated(jobs, &tally));
    }
    assert_false(submit_gated(jobs, &tally));
    /* jobs_free is to find the first still running: the gate opens while it waits. */
    assert_int_equal(pthread_create(&opener, NULL, open_gate_later, &tally), 0);
    jobs_free(jobs);
    pthread_join(opener, NULL);
    assert_int_equal(atomic_load(&tally.worked) + atomic_load(&tally.dropped), 4);
    assert_true(atomic_load(&tally.worked) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_then_done),
        cmocka_unit_test(the_queue_is_bounded_and_dropped_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
