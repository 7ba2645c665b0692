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
    void (*work)(struct job *self); /* on a pool thread; must not touch the loop */
    void (*done)(struct job *self); /* on the loop's thread, always, after work */
};

struct jobs *jobs_new(unsigned threads, unsigned queue_max, struct err *err);
/* Waits for running work, drops queued work (its done is not called). */
void jobs_free(struct jobs *j);
/* False when the queue is full: nothing will be called. */
NODISCARD bool job_submit(struct jobs *j, struct loop *l, struct job *job);

#endif
