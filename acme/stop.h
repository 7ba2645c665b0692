/* The one way to end waiting: a flag that every wait in this folder looks at, so that the program
 * can stop whatever a CA is doing. Thread-safe. */
#ifndef ACME_STOP_H
#define ACME_STOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct stop {
    pthread_mutex_t mutex;
    pthread_cond_t cond; /* on the monotonic clock */
    atomic_bool requested;
};

void stop_init(struct stop *s);
void stop_fini(struct stop *s);
/* From any thread: every wait, now and later, returns at once. */
void stop_request(struct stop *s);
bool stop_requested(struct stop *s);
/* Waits ms milliseconds (none if not positive). True when a stop was requested. */
bool stop_wait(struct stop *s, int64_t ms);
/* stop_requested in the form that store_lock takes; ctx is the struct stop. */
bool stop_cancelled(void *ctx);

#endif
