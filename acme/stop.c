/* Interruptible waiting. In: a request to stop. Out: waits that end. Owns its mutex and condition;
 * the manager owns the struct. */
#include "acme/stop.h"

#include <time.h>

#include "proxy/base/attr.h"
#include "proxy/base/clock.h"

void stop_init(struct stop *s)
{
    pthread_condattr_t attr;
    must(pthread_condattr_init(&attr) == 0);
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    must(pthread_mutex_init(&s->mutex, NULL) == 0);
    must(pthread_cond_init(&s->cond, &attr) == 0);
    (void)pthread_condattr_destroy(&attr);
    atomic_init(&s->requested, false);
}

void stop_fini(struct stop *s)
{
    (void)pthread_cond_destroy(&s->cond);
    (void)pthread_mutex_destroy(&s->mutex);
}

void stop_request(struct stop *s)
{
    pthread_mutex_lock(&s->mutex);
    atomic_store(&s->requested, true);
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mutex);
}

bool stop_requested(struct stop *s)
{
    return atomic_load(&s->requested);
}

bool stop_wait(struct stop *s, int64_t ms)
{
    struct timespec until;
    if (ms <= 0 || clock_gettime(CLOCK_MONOTONIC, &until) != 0) {
        return stop_requested(s);
    }
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&s->mutex);
    while (!atomic_load(&s->requested) &&
           pthread_cond_timedwait(&s->cond, &s->mutex, &until) == 0) {
    }
    pthread_mutex_unlock(&s->mutex);
    return stop_requested(s);
}

bool stop_cancelled(void *ctx)
{
    return stop_requested(ctx);
}
