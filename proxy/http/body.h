/* One direction of content: a bounded queue of slices of counted chunks (and perhaps one pipe of
 * bytes in the kernel behind them), with exactly one producer and one consumer, each a task.
 * Pushing, ending and aborting wake the consumer; consuming and stopping wake the producer; waking
 * is posting a task, never a call.
 *
 *   OPEN -> ENDED (clean, perhaps with trailers) | ABORTED (producer failed)
 *   OPEN or ENDED -> STOPPED (consumer wants no more; what is queued is dropped)
 * ENDED with bytes still queued is normal. Only the first end, abort or stop counts, except that a
 * stop after an end or abort still drops the queue, and turns ENDED with bytes unread into STOPPED
 * (so that body_finished never says yes when something was dropped). An abort keeps its reason. */
#ifndef HTTP_BODY_H
#define HTTP_BODY_H

#include <sys/uio.h>

#include "proxy/base/chunk.h"
#include "proxy/base/task.h"
#include "proxy/http/field.h"

enum body_state { BODY_OPEN, BODY_ENDED, BODY_ABORTED, BODY_STOPPED };

/* Why a body was aborted or stopped; also the reason of an exchange's end (exchange.h). */
enum end_reason {
    END_NONE,
    END_CLIENT_GONE,   /* reset or closed before the end */
    END_CLIENT_BAD,    /* malformed body */
    END_CLIENT_SLOW,   /* a timeout or least rate */
    END_ORIGIN_GONE,   /* reset, or closed before the length was reached */
    END_ORIGIN_BAD,    /* malformed body */
    END_ORIGIN_SLOW,   /* a timeout */
    END_TOO_LARGE,     /* a limit on the body */
    END_NOT_WANTED,    /* the answer is complete without it */
    END_SHUTDOWN,      /* the server stops */
    END_NO_MEMORY,
    END_INTERNAL,
};

#define BODY_SLICES_MAX 16
#define BODY_LIMIT_BYTES ((size_t)128 * 1024)

struct body_slice {
    struct chunk *chunk; /* counted */
    const char *p;
    size_t n;
};

/* Bytes inside the kernel, behind all slices: content that nobody here looks at (net/pipe.h). */
struct body_pipe {
    size_t bytes;
    void (*release)(struct body_pipe *self); /* whatever is in it */
};

struct body {
    struct run_queue *queue;
    struct task *producer; /* borrowed; NULL: nobody to wake */
    struct task *consumer;
    unsigned first;
    unsigned count;
    enum body_state state;
    enum end_reason reason;
    size_t queued_bytes;
    size_t limit_bytes;
    uint64_t total_max_bytes; /* a push past it stops the body with END_TOO_LARGE; 0: no maximum */
    uint64_t pushed_bytes;   /* in all, ever */
    uint64_t consumed_bytes; /* in all, ever */
    struct fields trailers;  /* set by body_end; slices must outlive the body (arena) */
    const struct body_slice *kept; /* counted: the whole body, to be rewound to; or NULL */
    unsigned kept_count;
    struct body_pipe *pipe; /* owned; NULL, or with bytes in it, which queued_bytes counts too */
    bool takes_pipe; /* set by the consumer behind body_set_consumer: content may come in a pipe */
    bool wanted; /* the consumer has peeked at least once: for 100-continue */
    struct body_slice slices[BODY_SLICES_MAX]; /* count of them, from first on, round the end */
};

/* state OPEN, empty. limit_bytes: 0 for BODY_LIMIT_BYTES. */
void body_init(struct body *b, struct run_queue *q, size_t limit_bytes);
/* Drops what is queued; forgets both tasks. */
void body_fini(struct body *b);
/* Attaching wakes the task once, so that it sees what happened before. NULL detaches. */
void body_set_producer(struct body *b, struct task *producer);
void body_set_consumer(struct body *b, struct task *consumer);

/* ---- producer -------- */

/* Bytes that may be pushed now; 0: wait for the producer task. One push may exceed it by less than
 * one chunk. 0 in every state but OPEN. */
size_t body_room(const struct body *b);
/* Queues n bytes at p, which lies in chunk (a reference is taken). n > 0, state OPEN, slices not
 * full (body_room > 0). Bytes next to the last slice are merged with it. In state STOPPED nothing
 * happens. */
void body_push(struct body *b, struct chunk *chunk, const char *p, size_t n);
/* Copies bytes into chunks of its own, whatever the room: for small generated bodies. False: memory
 * (or more than 16 MiB), nothing done. */
NODISCARD bool body_push_copy(struct body *b, struct slice bytes);
/* May content come in a pipe now? Its consumer takes it, no maximum has to be watched, the last
 * pipe has been emptied, and the body cannot be rewound any more: another attempt might go to an
 * origin that takes no pipe. */
static inline bool body_pipe_room(const struct body *b)
{
    return b->takes_pipe && !b->pipe && b->state == BODY_OPEN && !b->total_max_bytes &&
           b->consumed_bytes > 0 && b->queued_bytes < b->limit_bytes;
}
/* Queues what is in the pipe (bytes > 0, the caller's; taken over). Until all of it is consumed
 * there is no room for anything else. */
void body_push_pipe(struct body *b, struct body_pipe *pipe);
void body_end(struct body *b, const struct fields *trailers /* or NULL */);
void body_abort(struct body *b, enum end_reason reason);

/* ---- consumer -------- */

/* Up to max vectors of what is queued, from the front; how many. Stays valid until consumed. The
 * first peek or take sets wanted and wakes the producer. */
int body_peek(struct body *b, struct iovec *iov, int max);
void body_consume(struct body *b, size_t n);
/* Takes the first slice out (its reference moves to *out); false if there is none. */
bool body_take(struct body *b, struct body_slice *out);
/* The pipe whose bytes come next, or NULL: there is none, or slices come first. Only for a consumer
 * that set takes_pipe. Whoever moved n of its bytes says so; an empty pipe is given back. */
static inline struct body_pipe *body_next_pipe(const struct body *b)
{
    return b->count == 0 ? b->pipe : NULL;
}
void body_consume_pipe(struct body *b, size_t n);
/* The same, but at most max > 0 bytes of it; what remains stays first. */
bool body_take_upto(struct body *b, size_t max, struct body_slice *out);
void body_stop(struct body *b, enum end_reason reason);

/* Puts back in front what was taken out: count slices, at most BODY_SLICES_MAX and what the queue
 * has; it must be empty. Their references are taken over. As if they had never been consumed. In
 * state STOPPED they are dropped. */
void body_put_back(struct body *b, const struct body_slice *slices, unsigned count);
/* These slices are the whole of the body, which has ended, instead of others that were. References
 * are taken; the array must outlive the body. */
void body_keep(struct body *b, const struct body_slice *slices, unsigned count);
/* As if nothing of it had ever been consumed, whatever became of it since: for another attempt.
 * False: it cannot be had again (bytes were consumed and are not kept; its producer broke). */
NODISCARD bool body_rewind(struct body *b);

/* ---- both -------- */

static inline bool body_empty(const struct body *b)
{
    return b->queued_bytes == 0;
}
/* Ended cleanly and everything consumed. */
static inline bool body_finished(const struct body *b)
{
    return b->state == BODY_ENDED && b->queued_bytes == 0;
}

const char *end_reason_text(enum end_reason r);

#endif
