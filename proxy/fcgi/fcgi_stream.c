/* HTTP/1.1 over FastCGI; see fcgi_stream.h.
 *
 * In: a head and a body as h1_out writes them; records from the socket. Out: records; a response as
 * h1_client reads it. Writing: `pending` are bytes of ours (the head's records, a record's header)
 * that go out before any more is taken; a body's bytes are never copied. Reading: the socket is
 * read only when all of before was taken, so `response` is one read's worth. */
#include "proxy/fcgi/fcgi_stream.h"

#include <stdlib.h>

#include "proxy/base/log.h"
#include "proxy/fcgi/fcgi_read.h"

#define READ_BYTES ((size_t)16 * 1024)
#define REQUEST_HEAD_MAX ((size_t)1 << 20)
#define PENDING_MAX (REQUEST_HEAD_MAX + ((size_t)64 * 1024))
#define NAME_MAX_BYTES 128u

struct fcgi_stream {
    struct stream base;
    struct stream *inner;
    struct fcgi_read read;
    struct dstr response; /* not yet read by the owner, from response_pos on */
    size_t response_pos;
    int failed; /* what reads return from now on, behind that; 0: nothing has failed */
    struct dstr head; /* the request's, until it is complete */
    bool head_done;
    struct dstr pending;
    size_t pending_pos;
    uint64_t body_left;
    size_t record_left; /* of the record whose header is out or pending */
    bool stdin_ended;
    struct task again; /* the owner wants to read, and there is something */
    bool log_stderr;
    char name[NAME_MAX_BYTES];
    size_t name_bytes;
};

static struct fcgi_stream *of(const struct stream *s)
{
    return container_of((uintptr_t)s, struct fcgi_stream, base);
}

static struct slice name_of(const struct fcgi_stream *f)
{
    return slice_of(f->name, f->name_bytes);
}

static size_t pending_bytes(const struct fcgi_stream *f)
{
    return f->pending.n - f->pending_pos;
}

static void want_inner(struct fcgi_stream *f)
{
    stream_want(f->inner, f->base.wanted | (pending_bytes(f) ? STREAM_WRITE : 0));
}

/* ---- reading --------------------------------------------------------------------------------- */

static void log_errors(struct fcgi_stream *f)
{
    struct slice text = slice_trim(dstr_slice(&f->read.errors));
    if (text.n && f->log_stderr) {
        log_event(LOG_WARN, "http.reverse_proxy.transport.fastcgi", "stderr",
                  LOG_S("origin", name_of(f)), LOG_S("text", text));
    }
    dstr_reset(&f->read.errors);
}

/* One read of the socket; false: nothing is there now. */
static bool read_more(struct fcgi_stream *f)
{
    char bytes[READ_BYTES];
    ssize_t n = stream_read(f->inner, bytes, sizeof(bytes));
    if (n == STREAM_AGAIN) {
        return false;
    }
    dstr_reset(&f->response);
    f->response_pos = 0;
    if (n <= 0) {
        f->failed = n == 0 ? STREAM_TRUNCATED : (int)n;
        return true;
    }
    if (!fcgi_read_feed(&f->read, slice_of(bytes, (size_t)n), &f->response)) {
        f->failed = STREAM_ERROR;
        log_event(LOG_WARN, "http.reverse_proxy.transport.fastcgi", "malformed answer",
                  LOG_S("origin", name_of(f)), LOG_Z("error", f->read.bad));
    }
    log_errors(f);
    return true;
}

static size_t take(struct fcgi_stream *f, char *buf, size_t n)
{
    size_t left = f->response.n - f->response_pos;
    size_t part = left < n ? left : n;
    if (part) {
        memcpy(buf, f->response.p + f->response_pos, part);
        f->response_pos += part;
    }
    return part;
}

static bool has_more(const struct fcgi_stream *f)
{
    return f->response_pos < f->response.n || f->read.ended || f->failed;
}

static ssize_t op_read(struct stream *s, void *buf, size_t n)
{
    struct fcgi_stream *f = of(s);
    size_t total = 0;
    for (;;) {
        total += take(f, (char *)buf + total, n - total);
        if (total == n || f->read.ended || f->failed || !read_more(f)) {
            break;
        }
    }
    if (total == 0) {
        return f->failed ? f->failed : f->read.ended ? 0 : STREAM_AGAIN;
    }
    if (has_more(f) && (s->wanted & STREAM_READ)) {
        loop_post(s->loop, &f->again); /* no event of the socket tells of it */
    }
    return (ssize_t)total;
}

static void on_again(struct task *t)
{
    struct fcgi_stream *f = container_of(t, struct fcgi_stream, again);
    if (has_more(f) && (f->base.wanted & STREAM_READ)) {
        f->base.on_event(&f->base, STREAM_READ);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

/* STREAM_AGAIN: some of it still waits. */
static int flush(struct fcgi_stream *f, bool more)
{
    while (pending_bytes(f)) {
        struct iovec iov = {f->pending.p + f->pending_pos, pending_bytes(f)};
        ssize_t n = stream_writev(f->inner, &iov, 1, more);
        if (n < 0) {
            return (int)n;
        }
        f->pending_pos += (size_t)n;
    }
    dstr_reset(&f->pending);
    f->pending_pos = 0;
    return 0;
}

/* The empty record behind the body, if it is complete. */
static int end_stdin(struct fcgi_stream *f)
{
    if (f->head_done && f->body_left == 0 && !f->stdin_ended) {
        f->stdin_ended = true;
        fcgi_write_header(&f->pending, FCGI_STDIN, 0);
    }
    return f->pending.failed ? STREAM_ERROR : flush(f, false);
}

/* Takes the bytes up to the end of the head. */
static ssize_t take_head(struct fcgi_stream *f, struct slice bytes)
{
    static const struct slice end = S_INIT("\r\n\r\n");
    size_t before = f->head.n;
    size_t from = before > 3 ? before - 3 : 0;
    dstr_append(&f->head, bytes);
    if (f->head.failed) {
        return STREAM_ERROR;
    }
    size_t at = slice_find_slice(slice_from(dstr_slice(&f->head), from), end);
    if (at == SLICE_NPOS) {
        return (ssize_t)bytes.n;
    }
    size_t head_bytes = from + at + end.n;
    bool ok = fcgi_write_head(&f->pending, slice_upto(dstr_slice(&f->head), head_bytes),
                              &f->body_left);
    f->head_done = true;
    dstr_fini(&f->head);
    return ok ? (ssize_t)(head_bytes - before) : STREAM_ERROR;
}

/* Some bytes of the body, as they are; available: how many there are from here on. */
static ssize_t take_body(struct fcgi_stream *f, struct slice bytes, size_t available, bool more)
{
    if (f->body_left == 0) {
        return STREAM_ERROR; /* more than was announced */
    }
    if (f->record_left == 0) {
        size_t n = available < FCGI_CONTENT_MAX ? available : FCGI_CONTENT_MAX;
        f->record_left = n < f->body_left ? n : (size_t)f->body_left;
        fcgi_write_header(&f->pending, FCGI_STDIN, f->record_left);
    }
    int r = f->pending.failed ? STREAM_ERROR : flush(f, true);
    if (r < 0) {
        return r;
    }
    size_t n = bytes.n < f->record_left ? bytes.n : f->record_left;
    struct iovec iov = {(void *)(uintptr_t)bytes.p, n};
    ssize_t taken = stream_writev(f->inner, &iov, 1, more || n == f->body_left);
    if (taken > 0) {
        f->record_left -= (size_t)taken;
        f->body_left -= (uint64_t)taken;
    }
    return taken;
}

static size_t total_bytes(const struct iovec *iov, int count)
{
    size_t n = 0;
    for (int i = 0; i < count; i++) {
        n += iov[i].iov_len;
    }
    return n;
}

static ssize_t op_writev(struct stream *s, const struct iovec *iov, int count, bool more)
{
    struct fcgi_stream *f = of(s);
    size_t available = total_bytes(iov, count);
    size_t total = 0;
    ssize_t r = flush(f, more || available > 0);
    for (int i = 0; i < count && r >= 0; i++) {
        struct slice bytes = slice_of(iov[i].iov_base, iov[i].iov_len);
        while (bytes.n && r >= 0) {
            r = f->head_done ? take_body(f, bytes, available, more) : take_head(f, bytes);
            size_t n = r > 0 ? (size_t)r : 0;
            bytes = slice_from(bytes, n);
            available -= n;
            total += n;
        }
    }
    if (r >= 0 && !more) {
        r = end_stdin(f);
    }
    want_inner(f);
    if (r < 0 && r != STREAM_AGAIN) {
        return STREAM_ERROR;
    }
    return total || total_bytes(iov, count) == 0 ? (ssize_t)total : STREAM_AGAIN;
}

/* ---- the rest of a stream -------------------------------------------------------------------- */

static void on_inner(struct stream *inner, unsigned events)
{
    struct fcgi_stream *f = inner->owner;
    if ((events & STREAM_WRITE) && flush(f, false) == STREAM_ERROR) {
        f->failed = f->failed ? f->failed : STREAM_ERROR;
        dstr_reset(&f->pending);
        f->pending_pos = 0;
        events |= STREAM_READ; /* what was said before is read first */
    }
    want_inner(f);
    unsigned passed = events & (STREAM_READ | (pending_bytes(f) ? 0 : f->base.wanted));
    if (passed) {
        f->base.on_event(&f->base, passed);
    }
}

static void op_want(struct stream *s, unsigned events)
{
    struct fcgi_stream *f = of(s);
    want_inner(f);
    if ((events & STREAM_READ) && has_more(f)) {
        loop_post(s->loop, &f->again);
    }
}

static void op_shutdown_write(struct stream *s)
{
    (void)s; /* the end of a request is a record */
}

static void op_close(struct stream *s, bool abort)
{
    struct fcgi_stream *f = of(s);
    task_cancel(&f->again);
    stream_close(f->inner, abort);
    fcgi_read_fini(&f->read);
    dstr_fini(&f->response);
    dstr_fini(&f->head);
    dstr_fini(&f->pending);
    free(f);
}

static size_t op_unsent(const struct stream *s)
{
    const struct fcgi_stream *f = of(s);
    return pending_bytes(f) + f->inner->ops->unsent(f->inner);
}

static int op_raw_fd(const struct stream *s)
{
    (void)s;
    return -1;
}

static const struct stream_ops ops = {op_read,  op_writev, op_want, op_shutdown_write,
                                      op_close, op_unsent, op_raw_fd};

struct stream *fcgi_stream_new(struct stream *inner, struct slice name, bool log_stderr)
{
    struct fcgi_stream *f = calloc(1, sizeof(*f));
    if (!f) {
        stream_close(inner, true);
        return NULL;
    }
    f->base = (struct stream){.ops = &ops,
                              .loop = inner->loop,
                              .peer = inner->peer,
                              .local = inner->local,
                              .tls = inner->tls};
    f->inner = inner;
    fcgi_read_init(&f->read);
    /* A read's worth, and what a head is allowed. */
    dstr_init(&f->response, READ_BYTES + 2 * FCGI_HEAD_MAX_BYTES);
    dstr_init(&f->head, REQUEST_HEAD_MAX);
    dstr_init(&f->pending, PENDING_MAX);
    task_init(&f->again, on_again);
    f->log_stderr = log_stderr;
    f->name_bytes = name.n < NAME_MAX_BYTES ? name.n : NAME_MAX_BYTES;
    memcpy(f->name, name.p, f->name_bytes);
    inner->owner = f;
    inner->on_event = on_inner;
    return &f->base;
}
