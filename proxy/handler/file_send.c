/* In: a descriptor and what of it is wanted. Out: ex->res_body. Holds the exchange until the body
 * is ended, aborted or stopped. */
#include "proxy/handler/file_send.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proxy/loop/jobs.h"
#include "proxy/net/pipe.h"

/* Less than this is copied with fewer calls, and without a job. */
#define PIPE_WORTH_BYTES ((uint64_t)128 * 1024)
/* More than a pipe holds. */
#define PIPE_MAX_BYTES ((size_t)1 << 30)
/* How long to wait for a place among the jobs. */
#define CROWDED_MS 20

struct file_send {
    struct exchange *ex;
    struct task task; /* the body's producer */
    struct response_source source;
    struct job job;
    struct timer crowded;
    const struct file_part *parts;
    unsigned count, at;
    uint64_t text_sent, file_sent; /* of the current part */
    int fd;
    struct chunk *chunk; /* being filled by a job */
    struct body_pipe *pipe; /* the same, where the client's side takes one */
    bool copies; /* the file cannot be spliced */
    size_t wanted;
    ssize_t got;
    bool reading; /* a job has it */
};

/* Also when the job comes back to a body that nobody wants any more. */
static void finish(struct file_send *f)
{
    struct exchange *ex = f->ex;
    task_cancel(&f->task);
    if (ex->source == &f->source) {
        body_set_producer(&ex->res_body, NULL);
        ex->source = NULL;
    }
    if (f->reading) {
        return; /* the job's end comes here again */
    }
    timer_fini(&f->crowded);
    (void)close(f->fd);
    chunk_unref(f->chunk);
    if (f->pipe) {
        f->pipe->release(f->pipe);
    }
    exchange_release(ex);
}

static void take_pipe(struct file_send *f)
{
    struct body_pipe *pipe = f->pipe;
    f->pipe = NULL;
    if (!body_pipe_room(&f->ex->res_body)) {
        pipe->release(pipe); /* it takes none any more */
        return;
    }
    f->file_sent += pipe->bytes;
    body_push_pipe(&f->ex->res_body, pipe);
}

static void take(struct file_send *f, ssize_t got)
{
    struct chunk *c = f->chunk;
    f->chunk = NULL;
    if (got > 0) {
        body_push(&f->ex->res_body, c, c->data, (size_t)got);
        f->file_sent += (uint64_t)got;
    }
    chunk_unref(c);
}

static void read_cold(struct job *job)
{
    struct file_send *f = container_of(job, struct file_send, job);
    uint64_t offset = f->parts[f->at].offset + f->file_sent;
    f->got = f->pipe ? pipe_fill_file(f->pipe, f->fd, offset, f->wanted)
                     : pread(f->fd, f->chunk->data, f->wanted, (off_t)offset);
}

static void read_done(struct job *job)
{
    struct file_send *f = container_of(job, struct file_send, job);
    f->reading = false;
    if (f->ex->source != &f->source) {
        finish(f);
        return;
    }
    if (f->got < 0 && f->pipe) {
        f->pipe->release(f->pipe);
        f->pipe = NULL;
        f->copies = true; /* a file system without splice, or a broken disk: reading tells */
        f->task.run(&f->task);
        return;
    }
    if (f->got <= 0) {
        body_abort(&f->ex->res_body, END_INTERNAL);
        finish(f);
        return;
    }
    if (f->pipe) {
        take_pipe(f);
    } else {
        take(f, f->got);
    }
    f->task.run(&f->task);
}

static void read_dropped(struct job *job)
{
    struct file_send *f = container_of(job, struct file_send, job);
    f->reading = false;
    finish(f);
}

static void try_job(struct file_send *f)
{
    struct exchange *ex = f->ex;
    f->reading = ex->jobs && job_submit(ex->jobs, ex->loop, &f->job);
    if (!f->reading && !timer_set(&f->crowded, CROWDED_MS)) {
        body_abort(&ex->res_body, END_NO_MEMORY);
        finish(f);
    }
}

static void on_crowded(struct timer *t)
{
    try_job(container_of(t, struct file_send, crowded));
}

/* Much of a file towards a plain socket is not looked at. What of it is in the page cache cannot be
 * told without reading it, so a job fills the pipe. False: it has to be copied. */
static bool pipe_file(struct file_send *f)
{
    uint64_t left = f->parts[f->at].length - f->file_sent;
    if (f->copies || left < PIPE_WORTH_BYTES || !f->ex->jobs ||
        !body_pipe_room(&f->ex->res_body)) {
        return false;
    }
    f->pipe = pipe_take();
    if (!f->pipe) {
        return false;
    }
    f->wanted = left < PIPE_MAX_BYTES ? (size_t)left : PIPE_MAX_BYTES;
    f->reading = job_submit(f->ex->jobs, f->ex->loop, &f->job);
    if (!f->reading) { /* crowded: what is in the page cache needs no job */
        f->pipe->release(f->pipe);
        f->pipe = NULL;
    }
    return f->reading;
}

/* Some bytes of the file; false: it waits for a job, or it is over. */
static bool push_file(struct file_send *f, size_t most)
{
    const struct file_part *part = &f->parts[f->at];
    uint64_t left = part->length - f->file_sent;
    f->chunk = chunk_new(CHUNK_BYTES);
    if (!f->chunk) {
        body_abort(&f->ex->res_body, END_NO_MEMORY);
        finish(f);
        return false;
    }
    f->wanted = most < CHUNK_BYTES ? most : CHUNK_BYTES;
    f->wanted = left < f->wanted ? (size_t)left : f->wanted;
    struct iovec iov = {f->chunk->data, f->wanted};
    ssize_t got = preadv2(f->fd, &iov, 1, (off_t)(part->offset + f->file_sent), RWF_NOWAIT);
    if (got > 0) {
        take(f, got);
        return true;
    }
    if (got < 0 && (errno == EAGAIN || errno == EOPNOTSUPP || errno == EINTR)) {
        try_job(f);
        return false;
    }
    body_abort(&f->ex->res_body, END_INTERNAL); /* it got shorter, or the disk failed */
    finish(f);
    return false;
}

static bool push_text(struct file_send *f)
{
    struct slice text = f->parts[f->at].text;
    if (!body_push_copy(&f->ex->res_body, text)) {
        body_abort(&f->ex->res_body, END_NO_MEMORY);
        finish(f);
        return false;
    }
    f->text_sent = text.n;
    return true;
}

static void produce(struct task *task)
{
    struct file_send *f = container_of(task, struct file_send, task);
    struct body *b = &f->ex->res_body;
    while (!f->reading && !f->crowded.deadline_ms) {
        if (b->state != BODY_OPEN) {
            finish(f);
            return;
        }
        if (f->at == f->count) {
            body_end(b, NULL);
            finish(f);
            return;
        }
        const struct file_part *part = &f->parts[f->at];
        size_t room = body_room(b);
        if (f->text_sent == part->text.n && f->file_sent == part->length) {
            f->at++;
            f->text_sent = f->file_sent = 0;
        } else if (room == 0) {
            return; /* consuming wakes */
        } else if (f->text_sent == part->text.n && pipe_file(f)) {
            return;
        } else if (f->text_sent < part->text.n ? !push_text(f) : !push_file(f, room)) {
            return;
        }
    }
    if (b->state != BODY_OPEN) {
        finish(f);
    }
}

static void drop(struct response_source *source)
{
    finish(container_of(source, struct file_send, source));
}

bool file_send_start(struct exchange *ex, int fd, const struct file_part *parts, unsigned count)
{
    struct file_send *f = arena_zalloc(&ex->arena, sizeof(*f));
    if (!f) {
        (void)close(fd);
        return false;
    }
    f->ex = ex;
    f->fd = fd;
    f->parts = parts;
    f->count = count;
    f->source.drop = drop;
    f->job = (struct job){.work = read_cold, .done = read_done, .dropped = read_dropped};
    task_init(&f->task, produce);
    timer_init(&f->crowded, ex->loop, on_crowded);
    exchange_hold(ex);
    ex->source = &f->source;
    body_set_producer(&ex->res_body, &f->task);
    return true;
}
