/* The list of slices to write; see h2_out.h. */
#include "proxy/h2/h2_out.h"

#include <stdlib.h>

/* Shorter content is cheaper to copy than to carry as a vector of its own. */
#define COPY_BELOW ((size_t)512)

bool h2_out_full(const struct h2_out *o)
{
    return o->bytes >= H2_OUT_BYTES ||
           o->first + o->count > H2_OUT_SEGMENTS - H2_OUT_FRAME_SEGMENTS;
}

/* Takes over the reference. */
static bool add(struct h2_out *o, struct chunk *chunk, const char *p, size_t n)
{
    if (!o->segments) {
        o->segments = malloc(H2_OUT_SEGMENTS * sizeof(*o->segments));
    }
    if (!o->segments || o->first + o->count == H2_OUT_SEGMENTS) {
        chunk_unref(chunk);
        return false;
    }
    o->segments[o->first + o->count] = (struct h2_segment){chunk, p, n};
    o->count++;
    o->bytes += n;
    return true;
}

static bool add_copied(struct h2_out *o, const char *p, size_t n)
{
    struct h2_segment *last = o->count ? &o->segments[o->first + o->count - 1] : NULL;
    if (last && last->chunk == o->tail && last->p + last->n == p) {
        last->n += n;
        o->bytes += n;
        return true;
    }
    return add(o, chunk_ref(o->tail), p, n);
}

bool h2_out_copy(struct h2_out *o, const void *p, size_t n)
{
    const char *from = p;
    while (n > 0) {
        if (!o->tail || chunk_room(o->tail) == 0) {
            chunk_unref(o->tail);
            o->tail = chunk_new(CHUNK_BYTES);
            if (!o->tail) {
                return false;
            }
        }
        size_t k = n < chunk_room(o->tail) ? n : chunk_room(o->tail);
        char *to = chunk_end(o->tail);
        memcpy(to, from, k);
        o->tail->fill += (uint32_t)k;
        if (!add_copied(o, to, k)) {
            return false;
        }
        from += k;
        n -= k;
    }
    return true;
}

bool h2_out_slice(struct h2_out *o, struct chunk *chunk, const char *p, size_t n)
{
    if (n >= COPY_BELOW) {
        return add(o, chunk, p, n);
    }
    bool ok = h2_out_copy(o, p, n);
    chunk_unref(chunk);
    return ok;
}

static void advance(struct h2_out *o, size_t n)
{
    o->bytes -= n;
    while (n > 0) {
        struct h2_segment *s = &o->segments[o->first];
        if (n < s->n) {
            s->p += n;
            s->n -= n;
            return;
        }
        n -= s->n;
        chunk_unref(s->chunk);
        o->first++;
        o->count--;
    }
}

/* Nothing is queued: the list starts anew, and so does the chunk of copied bytes. */
static void rewind_all(struct h2_out *o)
{
    o->first = 0;
    if (o->tail && o->tail->refs == 1) {
        o->tail->fill = 0;
    }
}

enum h2_out_result h2_out_write(struct h2_out *o, struct stream *s, uint64_t *written)
{
    while (o->count > 0) {
        struct iovec iov[H2_OUT_SEGMENTS];
        for (unsigned i = 0; i < o->count; i++) {
            const struct h2_segment *seg = &o->segments[o->first + i];
            iov[i] = (struct iovec){.iov_base = (void *)(uintptr_t)seg->p, .iov_len = seg->n};
        }
        ssize_t n = stream_writev(s, iov, (int)o->count, false);
        if (n < 0) {
            return n == STREAM_AGAIN ? H2_OUT_BLOCKED : H2_OUT_ERROR;
        }
        size_t total = o->bytes;
        advance(o, (size_t)n);
        *written += (uint64_t)n;
        if ((size_t)n < total) {
            return H2_OUT_BLOCKED;
        }
    }
    rewind_all(o);
    return H2_OUT_ALL;
}

void h2_out_relax(struct h2_out *o)
{
    must(o->count == 0);
    free(o->segments);
    chunk_unref(o->tail);
    *o = (struct h2_out){0};
}

void h2_out_fini(struct h2_out *o)
{
    while (o->count > 0) {
        chunk_unref(o->segments[o->first].chunk);
        o->first++;
        o->count--;
    }
    h2_out_relax(o);
}
