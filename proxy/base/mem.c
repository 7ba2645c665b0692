/* Allocation that waits, and the failure of an assertion; see mem.h and attr.h. */
#include "proxy/base/mem.h"

#include <stdio.h>
#include <time.h>

/* About three seconds in all before giving up. */
#define TRIES_MAX 30

static void wait_for_memory(int attempt, size_t n)
{
    if (attempt >= TRIES_MAX) {
        (void)fprintf(stderr, "caddis: out of memory (%zu bytes wanted)\n", n);
        abort();
    }
    struct timespec pause = {.tv_nsec = 100 * 1000 * 1000};
    nanosleep(&pause, NULL);
}

void *mem_zalloc(size_t n)
{
    for (int i = 0;; i++) {
        void *p = calloc(1, n ? n : 1);
        if (p) {
            return p;
        }
        wait_for_memory(i, n);
    }
}

void *mem_realloc_array(void *old, size_t count, size_t size)
{
    size_t n;
    must(!__builtin_mul_overflow(count, size, &n));
    for (int i = 0;; i++) {
        void *p = realloc(old, n ? n : 1);
        if (p) {
            return p;
        }
        wait_for_memory(i, n);
    }
}

char *mem_dup(struct slice s)
{
    char *p = mem_zalloc(s.n + 1);
    if (s.n) {
        memcpy(p, s.p, s.n);
    }
    return p;
}

void must_failed(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "caddis: bug: %s does not hold at %s:%d\n", expr, file, line);
    abort();
}
