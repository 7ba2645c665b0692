/* Pipes for splice(2): content that goes to a plain socket without being seen.
 *
 * A pipe is taken when a socket has something to put in and given back when it is empty again, so
 * that an exchange that waits holds none. Each thread keeps a few; a process has at most
 * PIPES_MAX_PER_THREAD in use for each thread, and whoever gets none copies instead.
 * In: streams with a raw_fd, files. Out: bytes moved inside the kernel; counts. */
#ifndef NET_PIPE_H
#define NET_PIPE_H

#include "proxy/http/body.h"
#include "proxy/net/stream.h"

#define PIPES_MAX_PER_THREAD 64u

/* An empty pipe that belongs to the caller (its release gives it back, full or empty); NULL: too
 * many are in use, or no descriptors are left. It must stay on this thread. */
struct body_pipe *pipe_take(void);
/* Moves up to max > 0 bytes from the stream into the pipe, which must be empty: > 0 bytes, 0 a
 * clean end, STREAM_AGAIN, or STREAM_ERROR. */
ssize_t pipe_fill(struct body_pipe *p, struct stream *from, size_t max);
/* The same from a file, at offset; waits for the disk, so it is for a job's thread (whoever has the
 * pipe leaves it alone meanwhile). STREAM_ERROR also where the file cannot be spliced. */
ssize_t pipe_fill_file(struct body_pipe *p, int fd, uint64_t offset, size_t max);
/* Moves up to max > 0 of its bytes to the stream: > 0 bytes, STREAM_AGAIN or STREAM_ERROR. */
ssize_t pipe_drain(struct body_pipe *p, struct stream *to, size_t max);
/* Closes this thread's spare pipes; when a thread ends. */
void pipe_pool_drain(void);

#endif
