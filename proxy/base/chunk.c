/* Counted buffers and the pool of each thread; see chunk.h. */
#include "proxy/base/chunk.h"

#include <stdlib.h>

#define CHUNK_MAX_BYTES ((size_t)1 << 20)
#define POOL_MAX 64 /* 1 MiB a thread */

struct free_chunk {
    struct free_chunk *next;
};

static _Thread_local struct free_chunk *pool;
static _Thread_local unsigned pool_count;
static _Thread_local size_t in_use_bytes;

#if defined(__SANITIZE_ADDRESS__)
#define RECYCLE false /* so that a use after release is seen */
#else
#define RECYCLE true
#endif

struct chunk *chunk_new(size_t cap)
{
    must(cap <= CHUNK_MAX_BYTES);
    struct chunk *c = NULL;
    if (cap <= CHUNK_BYTES) {
        cap = CHUNK_BYTES;
        if (pool) {
            c = (struct chunk *)(void *)pool;
            pool = pool->next;
            pool_count--;
        }
    }
    if (!c) {
        c = malloc(sizeof(*c) + cap);
    }
    if (!c) {
        return NULL;
    }
    c->refs = 1;
    c->cap = (uint32_t)cap;
    c->fill = 0;
    in_use_bytes += cap;
    return c;
}

void chunk_unref(struct chunk *c)
{
    if (!c) {
        return;
    }
    must(c->refs > 0);
    if (--c->refs > 0) {
        return;
    }
    in_use_bytes -= c->cap;
    if (RECYCLE && c->cap == CHUNK_BYTES && pool_count < POOL_MAX) {
        struct free_chunk *f = (struct free_chunk *)(void *)c;
        f->next = pool;
        pool = f;
        pool_count++;
    } else {
        free(c);
    }
}

void chunk_pool_drain(void)
{
    while (pool) {
        struct free_chunk *next = pool->next;
        free(pool);
        pool = next;
    }
    pool_count = 0;
}

size_t chunk_bytes_in_use(void)
{
    return in_use_bytes;
}
