/* Collecting a body; see body_buffer.h. */
#include "proxy/http/body_buffer.h"

#define FIRST_CHUNK_BYTES ((size_t)64 * 1024)
#define LAST_CHUNK_BYTES ((size_t)1024 * 1024)

static void drop(struct body_buffer *self)
{
    while (self->count) {
        chunk_unref(self->slices[--self->count].chunk);
    }
    self->bytes = 0;
}

/* Chunks double in size, so that 10 MiB need few places and a small body little memory. */
static struct chunk *room(struct body_buffer *self)
{
    struct body_slice *last = self->count ? &self->slices[self->count - 1] : NULL;
    if (last && chunk_room(last->chunk)) {
        return last->chunk;
    }
    size_t size = self->bytes < FIRST_CHUNK_BYTES  ? FIRST_CHUNK_BYTES
                  : self->bytes < LAST_CHUNK_BYTES ? self->bytes
                                                   : LAST_CHUNK_BYTES;
    struct chunk *c = self->count < BODY_SLICES_MAX ? chunk_new(size) : NULL;
    if (c) {
        self->slices[self->count++] = (struct body_slice){c, c->data, 0};
    }
    return c;
}

static bool copy(struct body_buffer *self, struct slice bytes)
{
    while (bytes.n) {
        struct chunk *c = room(self);
        if (!c) {
            return false;
        }
        size_t n = bytes.n < chunk_room(c) ? bytes.n : chunk_room(c);
        memcpy(chunk_end(c), bytes.p, n);
        c->fill += (uint32_t)n;
        self->slices[self->count - 1].n += n;
        self->bytes += n;
        bytes = slice_from(bytes, n);
    }
    return true;
}

static void take(struct body_buffer *self)
{
    struct body_slice s;
    while (!self->no_memory && body_take(self->body, &s)) {
        self->no_memory = !copy(self, slice_of(s.p, s.n));
        chunk_unref(s.chunk);
    }
}

static void on_body(struct task *t)
{
    struct body_buffer *self = container_of(t, struct body_buffer, task);
    struct body *b = self->body;
    take(self);
    if (b->state == BODY_OPEN && self->bytes < self->max_bytes && !self->no_memory) {
        return;
    }
    body_set_consumer(b, NULL);
    if (self->no_memory) {
        drop(self);
    } else {
        if (body_buffer_whole(self)) {
            body_keep(b, self->slices, self->count);
        }
        body_put_back(b, self->slices, self->count);
    }
    self->done(self);
}

void body_buffer_start(struct body_buffer *self, struct body *b, size_t max_bytes,
                       void (*done)(struct body_buffer *self))
{
    *self = (struct body_buffer){.body = b, .max_bytes = max_bytes, .done = done};
    task_init(&self->task, on_body);
    body_set_consumer(b, &self->task);
}

bool body_buffer_whole(const struct body_buffer *self)
{
    return self->body->state == BODY_ENDED && !self->no_memory;
}

void body_buffer_cancel(struct body_buffer *self)
{
    if (self->body->consumer == &self->task) {
        body_set_consumer(self->body, NULL);
    }
    task_cancel(&self->task);
    drop(self);
}
