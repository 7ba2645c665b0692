/* A small pool of threads for what may block: getaddrinfo, cold file reads, later bcrypt.
 * Work runs on a pool thread, `done` on the loop that submitted it. */
#ifndef LOOP_JOBS_H
#define LOOP_JOBS_H

#include "proxy/loop/loop.h"

struct jobs;

struct job {
    struct message message; /* internal */
    struct job *next;       /* internal */
    struct loop *loop;      /* set by job_submit */
    void (*work)(struct job *self); /* on a pool thread; must not touch the loop (but loop_send) */
    /* On the loop's thread, always, after work. NULL: the job is work's to release (and the loop
     * given to job_submit may be NULL). */
    void (*done)(struct job *self);
    /* From jobs_free, instead of work and done, for a job that was still queued. May be NULL. */
    void (*dropped)(struct job *self);
};

/* The threads block all signals. NULL with the reason when not even one thread can be made. */
struct jobs *jobs_new(unsigned threads, unsigned queue_max, struct err *err);
/* Waits for running work, drops queued work (dropped is called, done is not). NULL is allowed.
 * Nobody may submit any more; the loops must still be there. */
void jobs_free(struct jobs *j);
/* From any thread. False when queue_max jobs are waiting already: nothing will be called. */
NODISCARD bool job_submit(struct jobs *j, struct loop *l, struct job *job);

#endif
