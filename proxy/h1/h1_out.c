/* Framing and writing; see h1_out.h.
 *
 * Content goes out in pieces: [chunk-size line] [content] [CRLF or last chunk]. A piece takes what
 * is queued when it is opened; once a chunk size has been announced that many bytes must follow,
 * so a piece that was cut by a short write is finished before new content is looked at. */
#include "proxy/h1/h1_out.h"

#include "proxy/h1/h1_write.h"
#include "proxy/net/pipe.h"

#define TAIL_MAX_BYTES ((size_t)256 * 1024)
#define VECTORS_MAX (H1_OUT_HEADS_MAX + 1 + BODY_SLICES_MAX + 1)

_Static_assert(H1_OUT_PREFIX_BYTES >= H1_CHUNK_LINE_BYTES, "a chunk-size line must fit");

void h1_out_init(struct h1_out *o, struct stream *s)
{
    memset(o, 0, sizeof(*o));
    o->stream = s;
    dstr_init(&o->tail, TAIL_MAX_BYTES);
}

static void drop_heads(struct h1_out *o)
{
    for (unsigned i = 0; i < o->head_count; i++) {
        chunk_unref(o->heads[i]);
    }
    o->head_count = 0;
    o->head_sent = 0;
}

void h1_out_fini(struct h1_out *o)
{
    drop_heads(o);
    dstr_fini(&o->tail);
}

bool h1_out_interim(struct h1_out *o, struct chunk *head)
{
    if (o->head_count >= H1_OUT_HEADS_MAX - 1) {
        chunk_unref(head);
        return false;
    }
    o->heads[o->head_count++] = head;
    return true;
}

static void begin(struct h1_out *o, enum h1_framing framing, uint64_t length, struct body *body)
{
    o->begun = true;
    o->done = false;
    o->body = body;
    o->framing = framing;
    o->left = framing == H1_LENGTH ? length : 0;
    o->piece_open = false;
    o->taken_bytes = 0;
    o->body_bytes = 0;
}

void h1_out_start(struct h1_out *o, struct chunk *head, enum h1_framing framing, uint64_t length,
                  struct body *body)
{
    must(o->head_count < H1_OUT_HEADS_MAX);
    o->heads[o->head_count++] = head;
    begin(o, framing, length, body);
}

void h1_out_start_tunnel(struct h1_out *o, struct body *body)
{
    begin(o, H1_TUNNEL, 0, body);
}

void h1_out_cancel(struct h1_out *o)
{
    o->begun = false;
    o->done = false;
    o->piece_open = false;
    o->body = NULL;
}

/* The bytes that close a chunked body, behind a chunk (with its CRLF) or alone. */
static bool make_last_chunk(struct h1_out *o, bool behind_chunk)
{
    static const struct slice plain = S_INIT("\r\n0\r\n\r\n");
    if (o->body->trailers.count == 0) {
        o->suffix = behind_chunk ? plain : slice_from(plain, 2);
        return true;
    }
    dstr_reset(&o->tail);
    if (behind_chunk) {
        dstr_append(&o->tail, S("\r\n"));
    }
    h1_write_last_chunk(&o->tail, &o->body->trailers);
    o->suffix = dstr_slice(&o->tail);
    return !o->tail.failed;
}

static bool open_chunk(struct h1_out *o, size_t available, bool ended)
{
    if (available == 0 && !ended) {
        return true;
    }
    o->piece_open = true;
    o->piece_last = ended;
    o->piece_left = available;
    if (available > 0) {
        o->prefix_bytes = h1_write_chunk_line(o->prefix, available);
    }
    if (ended) {
        return make_last_chunk(o, available > 0);
    }
    o->suffix = S("\r\n");
    return true;
}

/* Decides what is written next; available: content that is queued now. False: memory. */
static bool open_piece(struct h1_out *o, size_t available)
{
    bool ended = o->body && o->body->state == BODY_ENDED;
    o->prefix_bytes = 0;
    o->prefix_sent = 0;
    o->suffix = slice_of(NULL, 0);
    o->piece_last = false;
    switch (o->framing) {
    case H1_NO_BODY:
        o->done = true;
        return true;
    case H1_CHUNKED:
        return open_chunk(o, available, ended);
    case H1_LENGTH:
        o->piece_left = available < o->left ? available : (size_t)o->left;
        o->piece_last = o->piece_left == o->left;
        break;
    case H1_UNTIL_CLOSE:
    case H1_TUNNEL:
        o->piece_left = available;
        o->piece_last = ended;
        break;
    }
    o->piece_open = o->piece_left > 0;
    o->done = !o->piece_open && o->piece_last;
    return true;
}

static int add(struct iovec *iov, int count, const char *p, size_t n)
{
    if (n > 0) {
        iov[count++] = (struct iovec){.iov_base = (void *)(uintptr_t)p, .iov_len = n};
    }
    return count;
}

/* Cuts the vectors of queued content to the first *left bytes; how many vectors remain. *left is
 * then what they lack of it. */
static int cut_vectors(struct iovec *iov, int count, size_t *left)
{
    int used = 0;
    while (used < count && *left > 0) {
        if (iov[used].iov_len > *left) {
            iov[used].iov_len = *left;
        }
        *left -= iov[used].iov_len;
        used++;
    }
    return used;
}

/* All that can be written now, in order; -1: memory. */
static int gather(struct h1_out *o, struct iovec *iov, size_t *total)
{
    struct iovec content[BODY_SLICES_MAX];
    int content_count = 0;
    if (o->begun && !o->done && o->body && o->framing != H1_NO_BODY) {
        /* Asked even when nothing is there: the first look is what asks for 100-continue. */
        content_count = body_peek(o->body, content, BODY_SLICES_MAX);
    }
    if (o->begun && !o->done && !o->piece_open) {
        size_t available = 0;
        for (int i = 0; i < content_count; i++) {
            available += content[i].iov_len;
        }
        if (!open_piece(o, available)) {
            return -1;
        }
    }
    int count = 0;
    for (unsigned i = 0; i < o->head_count; i++) {
        size_t sent = i == 0 ? o->head_sent : 0;
        count = add(iov, count, o->heads[i]->data + sent, o->heads[i]->fill - sent);
    }
    if (o->piece_open) {
        count = add(iov, count, o->prefix + o->prefix_sent, o->prefix_bytes - o->prefix_sent);
        size_t missing = o->piece_left;
        content_count = cut_vectors(content, content_count, &missing);
        for (int i = 0; i < content_count; i++) {
            iov[count++] = content[i];
        }
        if (missing == 0) { /* an aborted body may have lost what was announced */
            count = add(iov, count, o->suffix.p, o->suffix.n);
        }
    }
    *total = 0;
    for (int i = 0; i < count; i++) {
        *total += iov[i].iov_len;
    }
    return count;
}

static size_t take(size_t *n, size_t most)
{
    size_t k = *n < most ? *n : most;
    *n -= k;
    return k;
}

/* The stream took n bytes. */
static void advance(struct h1_out *o, size_t n)
{
    o->taken_bytes += n;
    while (n > 0 && o->head_count > 0) {
        o->head_sent += take(&n, o->heads[0]->fill - o->head_sent);
        if (o->head_sent < o->heads[0]->fill) {
            return;
        }
        chunk_unref(o->heads[0]);
        o->head_count--;
        memmove(&o->heads[0], &o->heads[1], o->head_count * sizeof(o->heads[0]));
        o->head_sent = 0;
    }
    if (!o->piece_open) {
        return;
    }
    o->prefix_sent += take(&n, o->prefix_bytes - o->prefix_sent);
    size_t content = take(&n, o->piece_left);
    if (content > 0) {
        body_consume(o->body, content);
        o->piece_left -= content;
        o->left -= o->framing == H1_LENGTH ? content : 0;
        o->body_bytes += content;
    }
    o->suffix = slice_from(o->suffix, take(&n, o->suffix.n));
    if (o->prefix_sent == o->prefix_bytes && o->piece_left == 0 && o->suffix.n == 0) {
        o->piece_open = false;
        o->done = o->piece_last;
    }
}

/* Nothing can be written: why? */
static enum h1_out_result idle_result(const struct h1_out *o)
{
    if (!o->begun) {
        return H1_OUT_WAIT;
    }
    if (o->done) {
        return H1_OUT_DONE;
    }
    return o->body->state == BODY_OPEN ? H1_OUT_WAIT : H1_OUT_ABORTED;
}

/* Content in a pipe that comes next; NULL: vectors do. */
static struct body_pipe *next_pipe(const struct h1_out *o)
{
    bool between = o->begun && !o->done && !o->piece_open && o->head_count == 0;
    return between && o->body && o->framing == H1_LENGTH ? body_next_pipe(o->body) : NULL;
}

/* DONE, BLOCKED, ERROR, or WAIT: the pipe is empty, look for more. */
static enum h1_out_result run_pipe(struct h1_out *o, struct body_pipe *pipe)
{
    size_t have = pipe->bytes < o->left ? pipe->bytes : (size_t)o->left;
    ssize_t n = have ? pipe_drain(pipe, o->stream, have) : 0;
    if (n < 0) {
        return n == STREAM_AGAIN ? H1_OUT_BLOCKED : H1_OUT_ERROR;
    }
    body_consume_pipe(o->body, (size_t)n);
    o->left -= (uint64_t)n;
    o->taken_bytes += (uint64_t)n;
    o->body_bytes += (uint64_t)n;
    o->done = o->left == 0;
    return o->done ? H1_OUT_DONE : (size_t)n < have ? H1_OUT_BLOCKED : H1_OUT_WAIT;
}

bool h1_out_takes_pipe(const struct h1_out *o)
{
    return o->begun && o->framing == H1_LENGTH && o->stream->ops->raw_fd(o->stream) >= 0;
}

enum h1_out_result h1_out_run(struct h1_out *o)
{
    for (;;) {
        struct body_pipe *pipe = next_pipe(o);
        if (pipe) {
            enum h1_out_result r = run_pipe(o, pipe);
            if (r != H1_OUT_WAIT) {
                return r;
            }
            continue;
        }
        struct iovec iov[VECTORS_MAX];
        size_t total;
        int count = gather(o, iov, &total);
        if (count < 0) {
            return H1_OUT_ERROR;
        }
        if (count == 0) {
            return idle_result(o);
        }
        ssize_t n = stream_writev(o->stream, iov, count, false);
        if (n < 0) {
            return n == STREAM_AGAIN ? H1_OUT_BLOCKED : H1_OUT_ERROR;
        }
        advance(o, (size_t)n);
        if ((size_t)n < total) {
            return H1_OUT_BLOCKED;
        }
        if (o->done) {
            return H1_OUT_DONE; /* spares a second look in the ordinary case */
        }
    }
}
