/* Pipes and what moves through them; see pipe.h. */
#include "proxy/net/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* More than the usual 64 KiB halves the calls for a large body. What may be in flight for one
 * direction of an exchange is bounded by it. A user who has many pipes (pipe-user-pages-soft in
 * pipe(7), 64 MiB of them) is refused that and gets new ones of 8 KiB or less: then copying is
 * better. */
#define PIPE_BYTES (256 * 1024)
#define PIPE_BYTES_MIN (64 * 1024)
#define SPARE_MAX 8u

struct pipe {
    struct body_pipe body; /* first: see pipe_of */
    struct pipe *next;
    int read_fd;
    int write_fd;
};

static _Thread_local struct pipe *spare;
static _Thread_local unsigned spare_count;
static _Thread_local unsigned in_use;

static struct pipe *pipe_of(struct body_pipe *p)
{
    return container_of(p, struct pipe, body);
}

static void destroy(struct pipe *p)
{
    close(p->read_fd);
    close(p->write_fd);
    free(p);
}

static void release(struct body_pipe *b)
{
    struct pipe *p = pipe_of(b);
    in_use--;
    if (b->bytes || spare_count == SPARE_MAX) {
        destroy(p); /* what is left in it goes with it */
        return;
    }
    p->next = spare;
    spare = p;
    spare_count++;
}

static struct pipe *make(void)
{
    struct pipe *p = malloc(sizeof(*p));
    int fds[2];
    if (!p || pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        free(p);
        return NULL;
    }
    if (fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES) < 0 &&
        fcntl(fds[1], F_GETPIPE_SZ) < PIPE_BYTES_MIN) {
        close(fds[0]);
        close(fds[1]);
        free(p);
        return NULL;
    }
    *p = (struct pipe){.body.release = release, .read_fd = fds[0], .write_fd = fds[1]};
    return p;
}

struct body_pipe *pipe_take(void)
{
    struct pipe *p = spare;
    if (in_use >= PIPES_MAX_PER_THREAD) {
        return NULL;
    }
    if (p) {
        spare = p->next;
        spare_count--;
    } else if (!(p = make())) {
        return NULL;
    }
    in_use++;
    return &p->body;
}

static ssize_t move(int from, off_t *offset, int to, size_t max)
{
    for (;;) {
        ssize_t n = splice(from, offset, to, NULL, max, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (LIKELY(n >= 0)) {
            return n;
        }
        if (errno != EINTR) {
            return errno == EAGAIN ? STREAM_AGAIN : STREAM_ERROR;
        }
    }
}

ssize_t pipe_fill(struct body_pipe *b, struct stream *from, size_t max)
{
    must(b->bytes == 0 && max > 0);
    ssize_t n = move(from->ops->raw_fd(from), NULL, pipe_of(b)->write_fd, max);
    b->bytes = n > 0 ? (size_t)n : 0;
    return n;
}

ssize_t pipe_fill_file(struct body_pipe *b, int fd, uint64_t offset, size_t max)
{
    must(b->bytes == 0 && max > 0);
    off_t at = (off_t)offset;
    ssize_t n = move(fd, &at, pipe_of(b)->write_fd, max);
    b->bytes = n > 0 ? (size_t)n : 0;
    return n;
}

ssize_t pipe_drain(struct body_pipe *b, struct stream *to, size_t max)
{
    must(max > 0 && max <= b->bytes);
    ssize_t n = move(pipe_of(b)->read_fd, NULL, to->ops->raw_fd(to), max);
    return n == 0 ? STREAM_ERROR : n; /* the body takes off what has gone */
}

void pipe_pool_drain(void)
{
    while (spare) {
        struct pipe *next = spare->next;
        destroy(spare);
        spare = next;
    }
    spare_count = 0;
}
