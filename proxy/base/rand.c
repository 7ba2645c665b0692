/* Randomness; see rand.h. */
#include "proxy/base/rand.h"

#include <errno.h>
#include <sys/random.h>

#include "proxy/base/clock.h"

bool rand_bytes(void *out, size_t n)
{
    char *p = out;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        p += got;
        n -= (size_t)got;
    }
    return true;
}

/* xorshift64* (Vigna), seeded from the kernel. */
uint64_t rand_below(uint64_t bound)
{
    static _Thread_local uint64_t state;
    if (bound == 0) {
        return 0;
    }
    if (state == 0 && !rand_bytes(&state, sizeof(state))) {
        state = (uint64_t)clock_mono_us() ^ (uint64_t)(uintptr_t)&state;
    }
    state |= state == 0;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    uint64_t r = state * 0x2545f4914f6cdd1du;
    return (uint64_t)(((unsigned __int128)r * bound) >> 64);
}
