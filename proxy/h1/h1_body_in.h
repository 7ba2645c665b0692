/* Takes received bytes apart into a body by the framing of the message, without copying: shared by
 * the request bodies of h1_server and the response bodies of h1_client.
 *
 * In: the bytes in a receive buffer. Out: slices of its chunk pushed to a body, as many as the body
 * has room for (back-pressure), trailers. Ending or aborting the body is left to the caller, who
 * knows what else has to happen then. */
#ifndef H1_BODY_IN_H
#define H1_BODY_IN_H

#include "proxy/h1/h1_chunked.h"
#include "proxy/h1/h1_in.h"
#include "proxy/http/body.h"
#include "proxy/net/stream.h"

struct h1_body_in {
    enum h1_framing framing;
    bool seen;              /* at least one byte of the body (or its framing) has come */
    struct body *body;      /* borrowed; NULL, or not OPEN: bytes are dropped */
    struct arena *arena;    /* borrowed: for trailers */
    uint64_t left;          /* H1_LENGTH: bytes to come */
    uint64_t dropped_bytes; /* read past a body that nobody wants any more */
    struct h1_chunked chunked;
    struct fields trailers; /* in arena; after H1_BODY_IN_END */
};

enum h1_body_in_result {
    H1_BODY_IN_MORE, /* every byte was used, the body goes on */
    H1_BODY_IN_FULL, /* the body has no room: go on when its producer is woken */
    H1_BODY_IN_END,  /* complete; what is left in the buffer belongs to the next message */
    H1_BODY_IN_BAD,  /* broken chunk framing; *why says how */
};

/* framing: any; length: for H1_LENGTH. H1_UNTIL_CLOSE and H1_TUNNEL take everything as it is. */
void h1_body_in_init(struct h1_body_in *b, enum h1_framing framing, uint64_t length,
                     struct body *body, struct arena *arena);
/* Harmless on a zeroed or finished one. */
void h1_body_in_fini(struct h1_body_in *b);
/* Uses up what can be used of in. */
enum h1_body_in_result h1_body_in_feed(struct h1_body_in *b, struct h1_in *in, const char **why);
/* Would a byte that came now find a place? */
static inline bool h1_body_in_has_room(const struct h1_body_in *b)
{
    return !b->body || b->body->state != BODY_OPEN || body_room(b->body) > 0;
}
/* Are bytes thrown away? */
static inline bool h1_body_in_drops(const struct h1_body_in *b)
{
    return !b->body || b->body->state != BODY_OPEN;
}
/* Would the next bytes better go through a pipe: many of known length from a plain socket, and the
 * body takes them? The receive buffer must be empty. */
bool h1_body_in_wants_pipe(const struct h1_body_in *b, const struct stream *s);
/* Moves what the socket has, as far as the message goes, into the body: > 0 bytes, 0 a clean end,
 * or STREAM_AGAIN, _ERROR. *no_pipe: nothing was moved, because there is no pipe to be had. */
ssize_t h1_body_in_pipe(struct h1_body_in *b, struct stream *s, bool *no_pipe);
/* The body is no longer wanted (or its exchange is over): drop the rest. */
static inline void h1_body_in_forget(struct h1_body_in *b)
{
    b->body = NULL;
}

#endif
