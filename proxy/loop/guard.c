/* What libev does when the system refuses something. By itself it aborts the process when memory
 * runs out or a system call fails. Here a failed system call is logged and survived, and a failed
 * allocation first spends a reserve set aside at start, then waits a few seconds for memory to come
 * back; only then the process ends (libev cannot be told "no"), and its parent starts it again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proxy/base/log.h"
#include "proxy/loop/loop_internal.h"

#define RESERVE_BYTES ((size_t)1024 * 1024)
#define TRIES_MAX 150
#define TRY_PAUSE_MS 20

static _Atomic(void *) reserve;
static _Atomic int64_t last_complaint_ms;

static void *allocate_or_wait(void *old, long size)
{
    if (size <= 0) {
        free(old);
        return NULL;
    }
    for (int i = 0; i < TRIES_MAX; i++) {
        void *p = realloc(old, (size_t)size);
        if (p) {
            return p;
        }
        void *spare = atomic_exchange(&reserve, NULL);
        if (spare) {
            free(spare);
            continue;
        }
        struct timespec pause = {.tv_nsec = TRY_PAUSE_MS * 1000 * 1000};
        nanosleep(&pause, NULL);
    }
    (void)fprintf(stderr, "caddis: out of memory in the event loop (%ld bytes wanted)\n", size);
    abort();
}

/* At most one line a second: a call that fails every turn must not fill the log. */
static void survive_system_error(const char *what)
{
    int errnum = errno;
    int64_t now_ms = clock_mono_ms();
    int64_t last_ms = atomic_load(&last_complaint_ms);
    if (now_ms - last_ms < 1000 ||
        !atomic_compare_exchange_strong(&last_complaint_ms, &last_ms, now_ms)) {
        return;
    }
    log_event(LOG_ERROR, "loop", "system call failed", LOG_Z("call", what),
              LOG_Z("error", strerrordesc_np(errnum)));
}

static void install(void)
{
    atomic_store(&last_complaint_ms, clock_mono_ms() - 1000);
    atomic_store(&reserve, malloc(RESERVE_BYTES));
    ev_set_allocator(allocate_or_wait);
    ev_set_syserr_cb(survive_system_error);
}

void loop_guard_libev(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, install);
}
