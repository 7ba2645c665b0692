/* One direction of content: see body.h. A ring of slices; every slice owns one reference to its
 * chunk. Wakes are posts on the run queue and nothing else. */
#include "proxy/http/body.h"

static void wake(const struct body *b, struct task *t)
{
    if (t) {
        task_post(b->queue, t);
    }
}

static struct body_slice *slice_at(struct body *b, unsigned i)
{
    return &b->slices[(b->first + i) % BODY_SLICES_MAX];
}

static void drop_queue(struct body *b)
{
    for (unsigned i = 0; i < b->count; i++) {
        chunk_unref(slice_at(b, i)->chunk);
    }
    if (b->pipe) {
        b->pipe->release(b->pipe);
        b->pipe = NULL;
    }
    b->first = 0;
    b->count = 0;
    b->queued_bytes = 0;
}

void body_init(struct body *b, struct run_queue *q, size_t limit_bytes)
{
    memset(b, 0, offsetof(struct body, slices));
    b->queue = q;
    b->limit_bytes = limit_bytes ? limit_bytes : BODY_LIMIT_BYTES;
}

static void forget_kept(struct body *b)
{
    while (b->kept_count) {
        chunk_unref(b->kept[--b->kept_count].chunk);
    }
    b->kept = NULL;
}

void body_fini(struct body *b)
{
    drop_queue(b);
    forget_kept(b);
    b->producer = NULL;
    b->consumer = NULL;
}

void body_set_producer(struct body *b, struct task *producer)
{
    b->producer = producer;
    wake(b, producer);
}

void body_set_consumer(struct body *b, struct task *consumer)
{
    b->consumer = consumer;
    b->takes_pipe = false;
    wake(b, consumer);
}

/* ---- producer -------- */

size_t body_room(const struct body *b)
{
    if (b->state != BODY_OPEN || b->count == BODY_SLICES_MAX || b->pipe ||
        b->queued_bytes >= b->limit_bytes) {
        return 0;
    }
    return b->limit_bytes - b->queued_bytes;
}

static bool try_merge(struct body *b, const struct chunk *chunk, const char *p, size_t n)
{
    if (b->count == 0) {
        return false;
    }
    struct body_slice *last = slice_at(b, b->count - 1);
    if (last->chunk != chunk || last->p + last->n != p) {
        return false;
    }
    last->n += n;
    return true;
}

/* Takes over the caller's reference. */
static void append(struct body *b, struct chunk *chunk, const char *p, size_t n)
{
    *slice_at(b, b->count) = (struct body_slice){chunk, p, n};
    b->count++;
}

static void pushed(struct body *b, size_t n)
{
    b->queued_bytes += n;
    b->pushed_bytes += n;
    wake(b, b->consumer);
}

void body_push(struct body *b, struct chunk *chunk, const char *p, size_t n)
{
    /* The consumer may have stopped between the producer's look at the room and this call; that
     * is no mistake of the producer, and the bytes are not wanted. */
    if (b->state == BODY_STOPPED) {
        return;
    }
    must(b->state == BODY_OPEN && n > 0);
    if (b->total_max_bytes && n > b->total_max_bytes - b->pushed_bytes) {
        body_stop(b, END_TOO_LARGE);
        wake(b, b->consumer); /* it did not stop it itself */
        return;
    }
    if (!try_merge(b, chunk, p, n)) {
        must(b->count < BODY_SLICES_MAX);
        append(b, chunk_ref(chunk), p, n);
    }
    pushed(b, n);
}

#define COPY_CHUNK_MAX ((size_t)1 << 20) /* the largest chunk there is */

bool body_push_copy(struct body *b, struct slice bytes)
{
    if (bytes.n == 0 || b->state == BODY_STOPPED) {
        return true;
    }
    must(b->state == BODY_OPEN);
    struct chunk *made[BODY_SLICES_MAX];
    unsigned free_slices = BODY_SLICES_MAX - b->count;
    unsigned count = 0;
    size_t done = 0;
    while (done < bytes.n && count < free_slices) {
        size_t n = bytes.n - done < COPY_CHUNK_MAX ? bytes.n - done : COPY_CHUNK_MAX;
        struct chunk *c = chunk_new(n);
        if (!c) {
            break;
        }
        memcpy(c->data, bytes.p + done, n);
        c->fill = (uint32_t)n;
        made[count++] = c;
        done += n;
    }
    if (done < bytes.n) {
        while (count) {
            chunk_unref(made[--count]);
        }
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        append(b, made[i], made[i]->data, made[i]->fill);
    }
    pushed(b, bytes.n);
    return true;
}

void body_push_pipe(struct body *b, struct body_pipe *pipe)
{
    if (b->state == BODY_STOPPED) {
        pipe->release(pipe);
        return;
    }
    must(body_pipe_room(b) && pipe->bytes > 0);
    b->pipe = pipe;
    pushed(b, pipe->bytes);
}

void body_end(struct body *b, const struct fields *trailers)
{
    if (b->state != BODY_OPEN) {
        return;
    }
    b->state = BODY_ENDED;
    if (trailers) {
        b->trailers = *trailers;
    }
    wake(b, b->consumer);
}

void body_abort(struct body *b, enum end_reason reason)
{
    if (b->state != BODY_OPEN) {
        return;
    }
    b->state = BODY_ABORTED;
    b->reason = reason;
    wake(b, b->consumer);
}

/* ---- consumer -------- */

/* The first look tells the producer that somebody waits for the content (100-continue). */
static void note_wanted(struct body *b)
{
    if (!b->wanted) {
        b->wanted = true;
        wake(b, b->producer);
    }
}

int body_peek(struct body *b, struct iovec *iov, int max)
{
    note_wanted(b);
    int n = 0;
    while (n < max && (unsigned)n < b->count) {
        const struct body_slice *s = slice_at(b, (unsigned)n);
        /* iovec has no const; writev and its like do not write through it. */
        iov[n].iov_base = (void *)(uintptr_t)s->p;
        iov[n].iov_len = s->n;
        n++;
    }
    return n;
}

static void pop(struct body *b)
{
    b->first = (b->first + 1) % BODY_SLICES_MAX;
    b->count--;
}

void body_consume(struct body *b, size_t n)
{
    must(n <= b->queued_bytes);
    if (n == 0) {
        return;
    }
    b->queued_bytes -= n;
    b->consumed_bytes += n;
    while (n > 0) {
        struct body_slice *s = slice_at(b, 0);
        if (n < s->n) {
            s->p += n;
            s->n -= n;
            break;
        }
        n -= s->n;
        chunk_unref(s->chunk);
        pop(b);
    }
    wake(b, b->producer);
}

void body_consume_pipe(struct body *b, size_t n)
{
    must(body_next_pipe(b) && n <= b->pipe->bytes);
    b->pipe->bytes -= n;
    b->queued_bytes -= n;
    b->consumed_bytes += n;
    if (b->pipe->bytes > 0) {
        return; /* there is no room before it is empty */
    }
    b->pipe->release(b->pipe);
    b->pipe = NULL;
    wake(b, b->producer);
}

bool body_take(struct body *b, struct body_slice *out)
{
    note_wanted(b);
    if (b->count == 0) {
        return false;
    }
    *out = *slice_at(b, 0);
    pop(b);
    b->queued_bytes -= out->n;
    b->consumed_bytes += out->n;
    wake(b, b->producer);
    return true;
}

bool body_take_upto(struct body *b, size_t max, struct body_slice *out)
{
    if (b->count == 0 || slice_at(b, 0)->n <= max) {
        return body_take(b, out);
    }
    const struct body_slice *first = slice_at(b, 0);
    *out = (struct body_slice){chunk_ref(first->chunk), first->p, max};
    body_consume(b, max);
    return true;
}

void body_stop(struct body *b, enum end_reason reason)
{
    bool unread = b->state == BODY_OPEN || (b->state == BODY_ENDED && !body_empty(b));
    drop_queue(b);
    if (!unread) {
        return;
    }
    b->state = BODY_STOPPED;
    b->reason = reason;
    wake(b, b->producer);
}

void body_put_back(struct body *b, const struct body_slice *slices, unsigned count)
{
    must(body_empty(b) && count <= BODY_SLICES_MAX);
    for (unsigned i = 0; i < count; i++) {
        if (b->state == BODY_STOPPED) {
            chunk_unref(slices[i].chunk);
            continue;
        }
        append(b, slices[i].chunk, slices[i].p, slices[i].n);
        b->queued_bytes += slices[i].n;
        b->consumed_bytes -= slices[i].n;
    }
}

void body_keep(struct body *b, const struct body_slice *slices, unsigned count)
{
    must(b->state == BODY_ENDED && count <= BODY_SLICES_MAX);
    forget_kept(b);
    for (unsigned i = 0; i < count; i++) {
        chunk_ref(slices[i].chunk);
    }
    b->kept = slices;
    b->kept_count = count;
}

bool body_rewind(struct body *b)
{
    if (!b->kept) {
        return b->consumed_bytes == 0 && (b->state == BODY_OPEN || b->state == BODY_ENDED);
    }
    drop_queue(b);
    b->state = BODY_ENDED;
    b->reason = END_NONE;
    b->consumed_bytes = 0;
    for (unsigned i = 0; i < b->kept_count; i++) {
        append(b, chunk_ref(b->kept[i].chunk), b->kept[i].p, b->kept[i].n);
        b->queued_bytes += b->kept[i].n;
    }
    return true;
}

const char *end_reason_text(enum end_reason r)
{
    switch (r) {
    case END_NONE: return "complete";
    case END_CLIENT_GONE: return "the client went away";
    case END_CLIENT_BAD: return "the client sent a malformed body";
    case END_CLIENT_SLOW: return "the client was too slow";
    case END_ORIGIN_GONE: return "the origin closed the connection early";
    case END_ORIGIN_BAD: return "the origin sent a malformed response";
    case END_ORIGIN_SLOW: return "the origin was too slow";
    case END_TOO_LARGE: return "the body is too large";
    case END_NOT_WANTED: return "the rest was not wanted";
    case END_SHUTDOWN: return "the server is stopping";
    case END_NO_MEMORY: return "out of memory";
    case END_INTERNAL: return "an internal error";
    default: return "unknown";
    }
}
