/* Randomness: bytes for tokens and serial numbers, and numbers for jitter and balancing. */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include "proxy/base/slice.h"

/* From the kernel (getrandom); false when it gives none. */
NODISCARD bool rand_bytes(void *out, size_t n);
/* Fast, per thread, not for secrets: uniform in [0, bound); bound 0 gives 0. */
uint64_t rand_below(uint64_t bound);

#endif
