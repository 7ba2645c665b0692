/* The receive buffer of a connection; see h1_in.h. Owns one reference to its chunk. */
#include "proxy/h1/h1_in.h"

/* A free end smaller than this is not worth a read(2) of its own. */
#define FREE_END_MIN ((size_t)4096)
/* Past the longest head, so that the parser sees that it is too long. */
#define HEAD_SLACK_BYTES ((size_t)4096)
#define BUFFER_MAX_BYTES ((size_t)1 << 20)

static bool replace(struct h1_in *in, size_t cap)
{
    struct chunk *c = chunk_new(cap);
    if (!c) {
        return false;
    }
    struct slice rest = h1_in_bytes(in);
    if (rest.n) {
        memcpy(c->data, rest.p, rest.n);
        c->fill = (uint32_t)rest.n;
    }
    chunk_unref(in->chunk);
    *in = (struct h1_in){.chunk = c};
    return true;
}

bool h1_in_prepare(struct h1_in *in, size_t head_bytes_max)
{
    if (!in->chunk) {
        return replace(in, CHUNK_BYTES);
    }
    if (h1_in_empty(in)) {
        if (in->chunk->refs == 1 && in->chunk->cap == CHUNK_BYTES) {
            in->chunk->fill = 0; /* nobody looks at it any more */
            in->pos = 0;
            return true;
        }
        return chunk_room(in->chunk) >= FREE_END_MIN || replace(in, CHUNK_BYTES);
    }
    if (chunk_room(in->chunk) > 0) {
        return true;
    }
    size_t have = h1_in_bytes(in).n;
    if (have <= CHUNK_BYTES / 2) {
        return replace(in, CHUNK_BYTES);
    }
    size_t max = head_bytes_max < BUFFER_MAX_BYTES - HEAD_SLACK_BYTES
                     ? head_bytes_max + HEAD_SLACK_BYTES
                     : BUFFER_MAX_BYTES;
    if (have >= max) {
        return false;
    }
    size_t cap = have * 2 < max ? have * 2 : max;
    return replace(in, cap);
}

void h1_in_release(struct h1_in *in)
{
    chunk_unref(in->chunk);
    *in = (struct h1_in){0};
}
