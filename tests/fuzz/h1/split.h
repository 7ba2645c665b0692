/* For the fuzz targets of proxy/h1: how to cut an input into pieces, decided by the input itself so
 * that a finding can be repeated, and an assertion that the fuzzer notices. */
#ifndef FUZZ_H1_SPLIT_H
#define FUZZ_H1_SPLIT_H

#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/slice.h"

#define CHECK(expr)                                                                     \
    do {                                                                                \
        if (!(expr)) {                                                                  \
            (void)fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #expr);  \
            abort();                                                                    \
        }                                                                               \
    } while (0)

struct split {
    uint64_t state;
    unsigned max_step;
};

static inline struct split split_of(struct slice in, unsigned max_step)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < in.n; i++) {
        h = (h ^ (unsigned char)in.p[i]) * UINT64_C(0x100000001b3);
    }
    return (struct split){h | 1, max_step};
}

/* Length of the next piece, at least 1. */
static inline size_t split_next(struct split *s)
{
    s->state ^= s->state << 13;
    s->state ^= s->state >> 7;
    s->state ^= s->state << 17;
    return s->max_step == 1 ? 1 : 1 + (size_t)(s->state % s->max_step);
}

/* A copy of exactly these bytes, so that the sanitizer sees a read past them. */
static inline char *exact_copy(struct slice s)
{
    char *p = malloc(s.n ? s.n : 1);
    CHECK(p != NULL);
    if (s.n) {
        memcpy(p, s.p, s.n);
    }
    return p;
}

#endif
