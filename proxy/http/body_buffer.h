/* Collects the beginning of a body before its consumer gets it: for request_buffers and
 * response_buffers. In: a body and a maximum. Out: the same body with its bytes back in front, and
 * whether that is all of it. The bytes are copied together, because what they came in is made of
 * many small slices. */
#ifndef HTTP_BODY_BUFFER_H
#define HTTP_BODY_BUFFER_H

#include "proxy/http/body.h"

/* What can be asked for at the most; the places of a body's queue and chunks of 1 MiB set it. */
#define BODY_BUFFER_MAX_BYTES ((size_t)10 * 1024 * 1024)

struct body_buffer {
    struct body *body;
    struct task task; /* the body's consumer meanwhile */
    size_t max_bytes;
    size_t bytes;
    struct body_slice slices[BODY_SLICES_MAX]; /* counted; each a whole chunk */
    unsigned count;
    bool no_memory;
    void (*done)(struct body_buffer *self);
};

/* Becomes the consumer of b (state OPEN or ENDED) until it has ended, broke, or max_bytes (at most
 * BODY_BUFFER_MAX_BYTES) and what is queued behind them are there; then done is called, from a
 * task: detached, the bytes back in b. self must live as long as b. */
void body_buffer_start(struct body_buffer *self, struct body *b, size_t max_bytes,
                       void (*done)(struct body_buffer *self));
/* In done: is it the whole body, ended cleanly? Then b can be rewound (body_rewind). */
bool body_buffer_whole(const struct body_buffer *self);
/* Gives up before done: what was collected is lost. */
void body_buffer_cancel(struct body_buffer *self);

#endif
