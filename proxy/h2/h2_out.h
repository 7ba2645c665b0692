/* What waits to be written on one connection: frames as a list of slices, so that many frames go
 * out in one writev and content is never copied.
 *
 * In: frame headers and small frames (copied into a chunk of our own, side by side), content (a
 * reference to its chunk). Out: bytes on the stream. Bounded: whoever fills it asks h2_out_full
 * before each frame. Idle connections hold nothing here. */
#ifndef H2_OUT_H
#define H2_OUT_H

#include "proxy/base/chunk.h"
#include "proxy/net/stream.h"

#define H2_OUT_SEGMENTS 64
#define H2_OUT_BYTES ((size_t)64 * 1024)
/* What one frame may need: its header, the slices of its content, copied ones between them. */
#define H2_OUT_FRAME_SEGMENTS 20

struct h2_segment {
    struct chunk *chunk; /* counted */
    const char *p;
    size_t n;
};

struct h2_out {
    struct h2_segment *segments; /* owned; NULL while idle */
    unsigned first;
    unsigned count; /* of those from first on */
    size_t bytes;
    struct chunk *tail; /* counted; copied bytes go behind its fill */
};

enum h2_out_result { H2_OUT_ALL, H2_OUT_BLOCKED, H2_OUT_ERROR };

static inline bool h2_out_empty(const struct h2_out *o)
{
    return o->count == 0;
}
/* No further frame now. */
bool h2_out_full(const struct h2_out *o);
/* Copies n bytes; false: memory (the connection is lost then, because half a frame is queued). */
NODISCARD bool h2_out_copy(struct h2_out *o, const void *p, size_t n);
/* Takes over the caller's reference to chunk, in which the n > 0 bytes at p lie; false: memory (the
 * reference is dropped). Short slices are copied instead. */
NODISCARD bool h2_out_slice(struct h2_out *o, struct chunk *chunk, const char *p, size_t n);
/* Writes what it can. *written is increased by what the stream took. */
enum h2_out_result h2_out_write(struct h2_out *o, struct stream *s, uint64_t *written);
/* Gives memory back; nothing may be queued. */
void h2_out_relax(struct h2_out *o);
void h2_out_fini(struct h2_out *o);

#endif
