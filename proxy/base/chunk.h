/* Reference-counted buffers that received bytes live in. A body is a queue of slices of chunks;
 * header fields are slices into one. Chunks belong to the thread that made them: counts are plain
 * integers and each thread keeps a small pool of CHUNK_BYTES ones. */
#ifndef BASE_CHUNK_H
#define BASE_CHUNK_H

#include "proxy/base/slice.h"

/* Payload of an ordinary chunk: one whole TLS record. */
#define CHUNK_BYTES ((size_t)16384)

struct chunk {
    uint32_t refs;
    uint32_t cap;  /* bytes in data */
    uint32_t fill; /* bytes written so far, by whoever fills it */
    char data[];
};

/* At least cap bytes (at most 1 MiB), refs 1, fill 0; NULL when memory is out. */
struct chunk *chunk_new(size_t cap);
static inline struct chunk *chunk_ref(struct chunk *c)
{
    c->refs++;
    return c;
}
/* NULL is allowed. */
void chunk_unref(struct chunk *c);
static inline size_t chunk_room(const struct chunk *c)
{
    return c->cap - c->fill;
}
static inline char *chunk_end(struct chunk *c)
{
    return c->data + c->fill;
}
/* Gives this thread's pooled chunks back to the system. Call it when a thread ends. */
void chunk_pool_drain(void);
/* Bytes of chunks in use by this thread now (pool not counted): the figure tests watch. */
size_t chunk_bytes_in_use(void);

#endif
