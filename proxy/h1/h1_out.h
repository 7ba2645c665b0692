/* Writes one message at a time to a stream: heads, then a body with its framing, everything that is
 * there in one writev. Shared by the responses of h1_server and the requests of h1_client.
 *
 * In: head chunks (taken over), a body (borrowed; the out is its consumer). Out: bytes on the
 * stream. It never waits and never calls anybody: h1_out_run writes what can be written and says
 * what is missing. */
#ifndef H1_OUT_H
#define H1_OUT_H

#include "proxy/base/dstr.h"
#include "proxy/h1/h1_parse.h"
#include "proxy/http/body.h"
#include "proxy/net/stream.h"

#define H1_OUT_HEADS_MAX 4 /* the last place is kept for the final head */
#define H1_OUT_PREFIX_BYTES 24

struct h1_out {
    struct stream *stream; /* borrowed */
    struct chunk *heads[H1_OUT_HEADS_MAX]; /* counted */
    size_t head_sent; /* of heads[0] */
    unsigned head_count;

    enum h1_framing framing;
    struct body *body;
    uint64_t left; /* H1_LENGTH: promised and not yet written */
    bool begun; /* the final head is queued: the body follows */
    bool done;  /* nothing will follow what is queued here */

    /* The piece under way: what was announced must be written before anything else. */
    bool piece_open;
    bool piece_last;
    char prefix[H1_OUT_PREFIX_BYTES]; /* the chunk-size line */
    size_t prefix_bytes;
    size_t prefix_sent;
    size_t piece_left;    /* body bytes */
    struct slice suffix;  /* CRLF, the last chunk; static or in tail */
    struct dstr tail;     /* owned: last chunk with trailers */

    uint64_t taken_bytes; /* by the stream, all told, for this message */
    uint64_t body_bytes;  /* of those: content */
};

enum h1_out_result {
    H1_OUT_WAIT,    /* all is written; the body is open and empty (or there is no message) */
    H1_OUT_BLOCKED, /* the stream took less than there is: wait for it to be writable */
    H1_OUT_DONE,    /* the message is complete */
    H1_OUT_ABORTED, /* the body was aborted, or ended before the promised length */
    H1_OUT_ERROR,   /* the stream is broken, or memory for trailers is out */
};

void h1_out_init(struct h1_out *o, struct stream *s);
/* Releases heads and memory. */
void h1_out_fini(struct h1_out *o);
/* Queues a 1xx head before the final one; takes head. False: too many wait, head was dropped. */
bool h1_out_interim(struct h1_out *o, struct chunk *head);
/* Queues the final head (taken) and the body behind it. framing: H1_NO_BODY ends with the head;
 * H1_LENGTH writes exactly length bytes; H1_UNTIL_CLOSE and H1_TUNNEL write the body as it is.
 * After DONE the next message may be started. */
void h1_out_start(struct h1_out *o, struct chunk *head, enum h1_framing framing, uint64_t length,
                  struct body *body);
/* A tunnel behind a message that is DONE: the body as it is, without a head. */
void h1_out_start_tunnel(struct h1_out *o, struct body *body);
/* Forgets the message: no more of its body will be written. Heads that are queued stay. */
void h1_out_cancel(struct h1_out *o);
/* Can the body under way come in pipes: counted, and straight into a socket? */
bool h1_out_takes_pipe(const struct h1_out *o);
enum h1_out_result h1_out_run(struct h1_out *o);

#endif
