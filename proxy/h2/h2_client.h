/* HTTP/2 towards origins (RFC 9113, over nghttp2): one connection, many exchanges at a time. For
 * each, consumer of ex->req_body and producer of ex->res_body, as h1_client is: the chain cannot
 * tell which of the two it was.
 *
 * Everything upward is reported through the owner and exchange_send_interim, from tasks or the
 * loop, never inside a call. */
#ifndef H2_CLIENT_H
#define H2_CLIENT_H

#include "proxy/http/exchange.h"
#include "proxy/net/stream.h"

struct h2_client; /* a connection */
struct h2_call;   /* one request on it */

/* The most that is under way on one connection, whatever the origin allows: what its window towards
 * us is made for. */
#define H2_CLIENT_CALLS_MAX 128u

enum h2_client_outcome {
    H2_CLIENT_HEAD,   /* ex->res is filled in and res_body is being produced: respond now */
    H2_CLIENT_FAILED, /* no response head came; failure says why */
};

struct h2_client_failure {
    enum end_reason reason; /* END_ORIGIN_GONE, _BAD, _SLOW, END_NO_MEMORY, or req_body's */
    struct slice detail;    /* "reset the request (INTERNAL_ERROR)"; in ex's arena, or static */
    bool nothing_sent;      /* no frame of it was written, or the origin says that it did nothing
                               with it: REFUSED_STREAM, a GOAWAY below it (section 8.7) */
    bool refused;           /* it was the latter */
    bool no_byte_received;  /* nothing came from the origin since it was sent: a stale connection */
    bool wants_http_1;      /* HTTP_1_1_REQUIRED: nothing was done with it, ask over HTTP/1.1 */
};

struct h2_client_limits {
    size_t head_bytes_max;              /* of a response head or a trailer section, past it 502 */
    unsigned fields_max;
    int64_t response_header_timeout_ms; /* 0: none */
    int64_t read_idle_ms;               /* between DATA frames of the response; 0: none */
    int64_t write_idle_ms;              /* while the origin takes nothing of the request; 0: none */
};

struct h2_client_owner {
    /* The outcome of one request (call_ctx is h2_client_send's): once, from a task. On FAILED it is
     * gone after this returns. */
    void (*on_outcome)(void *ctx, void *call_ctx, enum h2_client_outcome outcome,
                       const struct h2_client_failure *failure);
    /* After HEAD: the response has ended, however that came about. The exchange is still held
     * during this call. */
    void (*on_over)(void *ctx, void *call_ctx);
    /* There are fewer requests under way than before, or the origin takes no more of them: look at
     * h2_client_room and h2_client_calls. From a task. */
    void (*on_change)(void *ctx, struct h2_client *c);
    /* The connection is over and freed after this returns; behind the last report of its calls. */
    void (*on_close)(void *ctx, struct h2_client *c);
    void *ctx;
};

/* Takes the stream. streams_hint: how many requests at a time such an origin was known to take,
 * until this connection's SETTINGS say so; 0: unknown. NULL: memory (the stream is closed). */
struct h2_client *h2_client_new(struct stream *s, size_t head_bytes_max, unsigned streams_hint,
                                const struct h2_client_owner *owner);

/* How many more requests may be sent now; 0 when the origin takes no more, or it is ending. */
unsigned h2_client_room(const struct h2_client *c);
/* Requests under way. */
unsigned h2_client_calls(const struct h2_client *c);
/* SETTINGS_MAX_CONCURRENT_STREAMS as the origin said it; 0: it has not spoken yet. */
unsigned h2_client_streams_said(const struct h2_client *c);

/* Sends `out` (method_text, target, fields: final, hop-by-hop removed; Host becomes :authority)
 * with ex's req_body as its body (none where content_length is 0). There must be room. Takes a hold
 * on ex until on_over or FAILED was reported, or it was cancelled. out is needed during this call
 * only, limits is copied. A response body that is stopped by its consumer resets the stream by
 * itself. NULL: memory. */
struct h2_call *h2_client_send(struct h2_client *c, struct exchange *ex, const struct request *out,
                               const struct h2_client_limits *limits, void *call_ctx);
/* Before the outcome was reported only: resets the stream and frees the call without any report. */
void h2_call_cancel(struct h2_call *call);

/* No more requests: ends with a GOAWAY when those under way have ended, at once when there are
 * none. on_close comes. */
void h2_client_drain(struct h2_client *c);
/* Ends now; responses under way are aborted. The owner hears of nothing any more. */
void h2_client_abort(struct h2_client *c);

#endif
