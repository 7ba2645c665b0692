/* The receive buffer of a connection: one chunk that the stream reads into and that heads and body
 * bytes are cut from without copying. Others (an exchange's pins, a body's slices) may hold
 * references to the same chunk; only its free end is written.
 *
 * In: where the next bytes shall go. Out: what has been received and not yet been used. An idle
 * connection has no chunk at all. */
#ifndef H1_IN_H
#define H1_IN_H

#include "proxy/base/chunk.h"

struct h1_in {
    struct chunk *chunk; /* counted; NULL: nothing is buffered */
    size_t pos;          /* bytes of chunk that have been used */
};

static inline struct slice h1_in_bytes(const struct h1_in *in)
{
    return in->chunk ? slice_of(in->chunk->data + in->pos, in->chunk->fill - in->pos)
                     : slice_of(NULL, 0);
}

static inline bool h1_in_empty(const struct h1_in *in)
{
    return !in->chunk || in->pos == in->chunk->fill;
}

/* Can one more read go behind bytes that are kept for later (a pipelined request)? */
static inline bool h1_in_has_space(const struct h1_in *in)
{
    return h1_in_empty(in) || chunk_room(in->chunk) > 0;
}

/* Makes chunk_room(in->chunk) > 0. Unused bytes stay contiguous: when they fill the chunk they move
 * to one twice as large, up to what a head of head_bytes_max needs. False: memory is out, or the
 * bytes are as many as they may become. */
NODISCARD bool h1_in_prepare(struct h1_in *in, size_t head_bytes_max);
void h1_in_release(struct h1_in *in);

#endif
