/* The inside of h2_server: one connection and its streams. Shared by h2_server.c (life, timers,
 * reading, writing, ends), h2_session.c (what nghttp2 reports), h2_request.c (a stream's request)
 * and h2_response.c (its response, the codec's operations).
 *
 * Discipline. nghttp2's callbacks and the codec's operations never write to the stream and never
 * free a connection: they change state and ask for a turn (h2_wake). A turn takes out of nghttp2
 * what it has to say, writes it, and only then begins the requests whose heads have come: a
 * request that was reset in the same read is gone by then and nobody hears of it.
 *
 * Lifetimes. The connection is freed by close_task only. An h2_stream lives from its HEADERS until
 * nghttp2 closes the stream (or the connection ends). s->ex is its exchange; NULL after
 * exchange_finish, while the stream itself may still have to be closed. */
#ifndef H2_PRIV_H
#define H2_PRIV_H

#include <nghttp2/nghttp2.h>

#include "proxy/h2/h2_budget.h"
#include "proxy/h2/h2_head.h"
#include "proxy/h2/h2_io.h"
#include "proxy/h2/h2_server.h"

/* What a stream may have under way towards us: a request body's queue holds at most this much. */
#define H2_STREAM_WINDOW (128 * 1024)
/* The same for the connection: a cap on what all stalled streams hold together. */
#define H2_CONNECTION_WINDOW (1024 * 1024)
/* What one response may have queued of 1xx heads. */
#define H2_INTERIM_MAX 16u
/* The least rate of a body is looked at after so long. */
#define H2_RATE_GRACE_MS 60000
/* After the last words: how much and how long is read and dropped, so that unread bytes do not turn
 * the close into a reset that destroys them on their way. */
#define H2_LINGER_BYTES ((uint64_t)64 * 1024)
#define H2_LINGER_MS 2000
/* Between the first and the second GOAWAY of a graceful end, if no PING is answered. */
#define H2_NOTICE_MS 1000
/* So many of the streams that we have reset are remembered: frames for them were on their way. */
#define H2_RESETS_KEPT 64u
/* A client that takes nothing of the last words gets so long. */
#define H2_FLUSH_MS 5000

struct h2_stream {
    struct list node;  /* in server->streams */
    struct list fresh; /* in server->fresh, between the head's end and exchange_begin */
    struct exchange_codec ops; /* ex->codec points here: the way back from ex to us */
    struct h2_server *server;
    int32_t id;
    struct exchange *ex;
    struct task body_task; /* producer of req_body: consumed bytes, a first look, a stop */
    struct task out_task;  /* consumer of exchange_out */

    struct h2_head head;
    struct fields trailers;  /* of the request */
    int refusal;             /* status to answer a head with instead of beginning; 0: none */
    struct chunk *gather;    /* counted; received content is copied here */
    uint64_t received_bytes; /* content, all told */
    uint64_t credited_bytes; /* of those: given back to the windows */
    int64_t body_progress_ms;
    int64_t body_waited_ms;
    int64_t body_wait_since_ms; /* 0: not waiting */
    int64_t out_progress_ms;
    unsigned interims;

    bool in_trailers;
    bool request_done;  /* END_STREAM received */
    bool begun;         /* exchange_begin has been called */
    bool continue_sent;
    bool started;       /* the response */
    bool deferred;      /* nghttp2 waits for nghttp2_session_resume_data */
    bool response_done; /* END_STREAM given to the connection */
    bool tunnel;
    bool cut;           /* res_body cannot be completed: reset on its way */
};

struct h2_server {
    nghttp2_session *session; /* owned */
    struct stream *stream;
    struct loop *loop;
    const struct h2_server_limits *limits;
    const struct http_service *service;
    struct slice scheme;
    struct client_info client;
    struct h2_server_owner owner;

    struct list streams;
    struct list fresh;
    unsigned stream_count;
    struct h2_stream *head; /* whose field section is being received */
    uint64_t uncredited_bytes; /* of the connection's window: received, not yet consumed */
    struct h2_out out;
    struct h2_budget budget;
    int32_t resets[H2_RESETS_KEPT]; /* streams that we have reset; a ring */
    unsigned reset_count;
    int32_t last_id;    /* the newest stream the client has opened */
    int32_t skipped_id; /* numbers above this and below the newest were passed over; 0: none */
    int32_t skipped_to;

    struct h2_scan scan; /* of what the client sends */
    int32_t priority_id; /* the stream of the PRIORITY frame that is coming; 0: it is another one */
    uint32_t priority_on;   /* the stream that it shall depend on */
    unsigned priority_have; /* bytes of that */

    struct task turn_task;
    struct task close_task;
    struct timer timer; /* one coarse tick while there is something to watch */
    int64_t tick_ms;    /* what timer is set to; 0: not set */
    int64_t idle_since_ms;
    int64_t head_since_ms;  /* 0: no field section is under way */
    int64_t blocked_since_ms; /* 0: not blocked */
    int64_t notice_ms;      /* when the first GOAWAY was queued; 0: not */
    int64_t over_since_ms;  /* since when the last words are said; 0: not */
    uint64_t written_bytes;
    uint64_t lingered_bytes;

    bool has_settings; /* the client's first SETTINGS came */
    bool blocked;      /* a write was short */
    bool eof;
    bool draining;
    bool goaway_sent; /* the second one */
    bool deadlines;   /* some exchange has or had a deadline of its own */
    bool calm;        /* the budget is spent: nothing more is read */
    bool over;        /* the session has nothing more to say */
    bool lingering;   /* our side is shut */
    bool closing;     /* close_task is posted */
    bool abort;
};

/* ---- h2_server.c -------- */

/* Asks for a turn. */
void h2_wake(struct h2_server *c);
/* Charges the client; past the budget the connection is ended with ENHANCE_YOUR_CALM. */
void h2_charge(struct h2_server *c, int cost);

/* ---- h2_session.c -------- */

/* The session with callbacks, options and the first SETTINGS. False: memory. */
bool h2_session_open(struct h2_server *c);
/* A frame's header has come; nghttp2 has not seen it yet. Counts floods before anything is done for
 * them, and may end the session. */
void h2_session_frame(struct h2_server *c, const nghttp2_frame_hd *hd);

/* ---- h2_request.c -------- */

/* NULL: memory. */
struct h2_stream *h2_stream_new(struct h2_server *c, int32_t id);
/* The stream is over: ends what is left of its exchange for that reason and frees it. */
void h2_stream_free(struct h2_stream *s, enum end_reason reason);
/* Ends the exchange (gone: the client is not to be dealt with any longer) and lets go of it. The
 * stream stays. */
void h2_stream_finish(struct h2_stream *s, enum end_reason reason, bool gone);
/* One field of the section under way. 0, or what the callback returns to nghttp2. */
int h2_stream_field(struct h2_stream *s, struct slice name, struct slice value);
/* The head is complete. */
void h2_stream_head(struct h2_stream *s, bool ended);
/* Content. */
void h2_stream_data(struct h2_stream *s, const char *p, size_t n);
/* END_STREAM. */
void h2_stream_ended(struct h2_stream *s);
/* Tells the service of the request. */
void h2_stream_begin(struct h2_stream *s);
/* Gives back to the windows what was consumed or dropped. */
void h2_stream_credit(struct h2_stream *s);
/* The client is the one that is waited for: more of a body that somebody wants. */
bool h2_stream_body_wanted(const struct h2_stream *s);
/* Looks at the clock; may end the exchange or reset the stream. */
void h2_stream_tick(struct h2_stream *s, int64_t now_ms);

/* ---- h2_response.c -------- */

extern const struct exchange_codec h2_stream_ops;
/* RST_STREAM. */
void h2_stream_reset(struct h2_stream *s, uint32_t code);
/* Answers with a status and no content; no exchange may be under way. */
void h2_stream_bare(struct h2_stream *s, int status);
/* 100 Continue if it is due. */
void h2_stream_maybe_continue(struct h2_stream *s);
/* res_body has news. */
void h2_stream_output(struct h2_stream *s);
/* A frame with END_STREAM has been given to the connection. */
void h2_stream_response_done(struct h2_stream *s);
/* nghttp2 takes content: nghttp2_send_data_callback. */
int h2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t length,
                 nghttp2_data_source *source, void *user);

#endif
