/* Body bytes by framing; see h1_body_in.h. Owns only the state of the chunked coding. */
#include "proxy/h1/h1_body_in.h"

#include "proxy/net/pipe.h"

/* Less than this is copied with fewer calls. */
#define PIPE_WORTH_BYTES (2 * CHUNK_BYTES)
/* More than a pipe holds. */
#define PIPE_MAX_BYTES ((size_t)1 << 30)

void h1_body_in_init(struct h1_body_in *b, enum h1_framing framing, uint64_t length,
                     struct body *body, struct arena *arena)
{
    b->framing = framing;
    b->body = body;
    b->arena = arena;
    b->left = length;
    b->dropped_bytes = 0;
    b->seen = false;
    b->trailers = (struct fields){0};
    if (framing == H1_CHUNKED) {
        h1_chunked_init(&b->chunked);
    }
}

void h1_body_in_fini(struct h1_body_in *b)
{
    if (b->framing == H1_CHUNKED) {
        h1_chunked_fini(&b->chunked);
    }
    b->framing = H1_NO_BODY;
    b->body = NULL;
    b->arena = NULL;
}

/* Hands n bytes at p to the body, or drops them. The caller made sure of room. */
static void deliver(struct h1_body_in *b, struct chunk *c, const char *p, size_t n)
{
    if (h1_body_in_drops(b)) {
        b->dropped_bytes += n;
        return;
    }
    body_push(b->body, c, p, n);
}

/* One piece: a push may pass the room by less than a chunk, and a head's chunk may be larger. */
static struct slice next_piece(const struct h1_in *in)
{
    return slice_upto(h1_in_bytes(in), CHUNK_BYTES);
}

static enum h1_body_in_result feed_plain(struct h1_body_in *b, struct h1_in *in)
{
    bool counted = b->framing == H1_LENGTH;
    while (!counted || b->left > 0) {
        struct slice piece = next_piece(in);
        if (piece.n == 0) {
            return H1_BODY_IN_MORE;
        }
        if (!h1_body_in_has_room(b)) {
            return H1_BODY_IN_FULL;
        }
        if (counted && piece.n > b->left) {
            piece.n = (size_t)b->left;
        }
        b->seen = true;
        deliver(b, in->chunk, piece.p, piece.n);
        in->pos += piece.n;
        b->left -= counted ? piece.n : 0;
    }
    return H1_BODY_IN_END;
}

static enum h1_body_in_result feed_chunked(struct h1_body_in *b, struct h1_in *in,
                                           const char **why)
{
    for (;;) {
        struct slice piece = next_piece(in);
        if (piece.n == 0) {
            return H1_BODY_IN_MORE;
        }
        if (!h1_body_in_has_room(b)) {
            return H1_BODY_IN_FULL;
        }
        b->seen = true;
        size_t used = 0;
        struct slice data = {NULL, 0};
        enum h1_chunked_result r =
            h1_chunked_step(&b->chunked, piece, &used, &data, b->arena, &b->trailers, why);
        if (r == H1_CHUNKED_BAD) {
            return H1_BODY_IN_BAD;
        }
        if (r == H1_CHUNKED_DATA && data.n > 0) {
            deliver(b, in->chunk, data.p, data.n);
        }
        in->pos += used;
        if (r == H1_CHUNKED_END) {
            return H1_BODY_IN_END;
        }
    }
}

enum h1_body_in_result h1_body_in_feed(struct h1_body_in *b, struct h1_in *in, const char **why)
{
    switch (b->framing) {
    case H1_NO_BODY:
        return H1_BODY_IN_END;
    case H1_CHUNKED:
        return feed_chunked(b, in, why);
    case H1_LENGTH:
    case H1_UNTIL_CLOSE:
    case H1_TUNNEL:
        break;
    }
    return feed_plain(b, in);
}

bool h1_body_in_wants_pipe(const struct h1_body_in *b, const struct stream *s)
{
    return b->framing == H1_LENGTH && b->left >= PIPE_WORTH_BYTES && b->body &&
           body_pipe_room(b->body) && s->ops->raw_fd(s) >= 0;
}

ssize_t h1_body_in_pipe(struct h1_body_in *b, struct stream *s, bool *no_pipe)
{
    struct body_pipe *pipe = pipe_take();
    *no_pipe = !pipe;
    if (!pipe) {
        return STREAM_AGAIN;
    }
    ssize_t n = pipe_fill(pipe, s, b->left < PIPE_MAX_BYTES ? (size_t)b->left : PIPE_MAX_BYTES);
    if (n <= 0) {
        pipe->release(pipe);
        return n;
    }
    b->seen = true;
    b->left -= (uint64_t)n;
    body_push_pipe(b->body, pipe);
    return n;
}
