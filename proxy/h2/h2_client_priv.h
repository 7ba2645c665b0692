/* The inside of h2_client: one connection to an origin and its calls. Shared by h2_client.c (life,
 * timer, reading, writing), h2_client_session.c (what nghttp2 reports), h2_client_call.c (a call:
 * its life, reports and response) and h2_client_request.c (what is sent).
 *
 * Discipline. As in h2_server: nghttp2's callbacks and the calls of others change state and ask for
 * a turn; a turn takes frames out of nghttp2 and writes them. Only a call's report_task and the
 * connection's close_task call the owner and free.
 *
 * Lifetimes. A call lives from h2_client_send until its report_task has run for the last time (or
 * h2_call_cancel, which frees it at once). Its stream may live longer in nghttp2, or not yet: what
 * nghttp2 keeps of a call is a pointer, which is taken away when the call is over. call->ex is held
 * from send until the call is over and that was reported. The connection is freed by close_task,
 * which runs behind the reports of its calls. */
#ifndef H2_CLIENT_PRIV_H
#define H2_CLIENT_PRIV_H

#include "proxy/h2/h2_budget.h"
#include "proxy/h2/h2_client.h"
#include "proxy/h2/h2_head.h"
#include "proxy/h2/h2_io.h"

/* What one response may have under way towards us: its body's queue holds at most this much. */
#define H2_CALL_WINDOW (128 * 1024)
/* The same for the connection: enough for all of its calls, whose clients have nothing to do with
 * one another. One that does not read must not stop the others. */
#define H2_CLIENT_WINDOW ((int32_t)(H2_CLIENT_CALLS_MAX * H2_CALL_WINDOW))
/* Before the origin's SETTINGS (RFC 9113 section 6.5.2 recommends to allow no less). */
#define H2_CLIENT_CALLS_FIRST 100u
/* More interim responses than this are an attack or a loop. */
#define H2_CLIENT_INTERIM_MAX 64u
/* A request that the origin gives no stream for, so long. */
#define H2_CLIENT_QUEUE_MS 10000
/* The connection preface and the origin's SETTINGS: until they have come. */
#define H2_CLIENT_HELLO_MS 10000

struct h2_call {
    struct list node; /* in client->calls */
    struct h2_client *client;
    void *ctx; /* the owner's */
    int32_t id;
    struct exchange *ex; /* held; NULL after the last report */
    struct h2_client_limits limits;
    struct response_source source; /* ex->source from the head until the call is over */
    enum http_method method;       /* as sent: it decides about the response body */
    int64_t request_length;        /* promised; LENGTH_UNKNOWN */
    uint64_t request_sent;         /* content given to the connection */
    struct task req_task;          /* consumer of req_body */
    struct task res_task;          /* producer of res_body */
    struct task report_task;       /* the only way up */

    struct h2_head head;      /* of the section that is being received: its size */
    struct response res;        /* that head; becomes ex->res if it is the final one */
    struct arena interim_arena; /* its memory, if it is not */
    struct fields trailers;
    unsigned interims;
    struct chunk *gather; /* counted; received content is copied here */
    uint64_t received_bytes;
    uint64_t credited_bytes;
    uint64_t client_received_before; /* client->received_bytes when it was sent */
    int wait;         /* what was waited for at the last tick */
    int64_t since_ms; /* since the last progress, or since it is waited for */

    struct h2_client_failure failure;
    bool sent;          /* its HEADERS were given to the connection */
    bool request_done;  /* END_STREAM as well, or the rest is not wanted */
    bool body_attached; /* we are the consumer of req_body */
    bool deferred;      /* nghttp2 waits for nghttp2_session_resume_data */
    bool held;          /* because content is held back */
    bool taken;         /* it was long enough: the origin has not refused the stream */
    bool has_head;      /* the final head came, res_body is ours */
    bool ended;         /* END_STREAM received */
    bool over;          /* nothing more happens but reports */
    bool theirs;        /* the origin has reset the stream */
    bool report_head;   /* reports not yet made, in this order */
    bool report_failed;
    bool report_over;
};

struct h2_client {
    nghttp2_session *session; /* owned */
    struct stream *stream;
    struct loop *loop;
    struct h2_client_owner owner;
    size_t head_bytes_max;
    unsigned streams_hint;

    struct list calls;
    unsigned call_count;
    struct h2_out out;
    struct h2_scan scan;
    struct h2_budget budget; /* of the trouble an origin may make */
    uint64_t received_bytes;
    uint64_t written_bytes;
    const char *why; /* the connection ends because of this (static); NULL: nothing special */

    struct task turn_task;
    struct task change_task;
    struct task close_task;
    struct timer timer; /* one coarse tick while there is something to watch */
    int64_t tick_ms;    /* what timer is set to; 0: not set */
    int64_t since_ms;   /* when it was made */
    int64_t shortest_ms; /* time limit of all that its calls have had */

    bool has_settings; /* the origin's first SETTINGS came */
    bool goaway;       /* the origin takes no more requests */
    bool draining;
    bool goodbye;      /* our GOAWAY was submitted */
    bool blocked;      /* a write was short */
    bool closing;      /* close_task is posted */
    bool silent;       /* the owner gave it up and hears nothing */
    bool abort;
};

/* ---- h2_client.c -------- */

/* Asks for a turn. */
void h2_client_wake(struct h2_client *c);
/* Something the owner may want to know has changed: a call is over, SETTINGS, a GOAWAY. */
void h2_client_changed(struct h2_client *c);
/* Charges the origin; past the budget the connection ends with ENHANCE_YOUR_CALM. */
void h2_client_charge(struct h2_client *c, int cost);
/* Ends the connection: calls are ended for that reason and close_task frees. why: static. */
void h2_client_close(struct h2_client *c, enum end_reason reason, const char *why, bool abort);

/* ---- h2_client_session.c -------- */

/* The session with callbacks, options and the first SETTINGS. False: memory. */
bool h2_client_session_open(struct h2_client *c);
/* A frame's header has come; nghttp2 has not seen it yet. Counts floods. */
void h2_client_frame(struct h2_client *c, const nghttp2_frame_hd *hd);

/* ---- h2_client_call.c -------- */

/* NULL: memory. Not yet given to nghttp2. */
struct h2_call *h2_call_new(struct h2_client *c, struct exchange *ex);
struct h2_call *h2_call_find(const struct h2_client *c, int32_t id);
/* The call is over for this reason (END_NONE: in good order); reports follow. detail: static or in
 * ex's arena. The stream is not touched. */
void h2_call_over(struct h2_call *call, enum end_reason reason, struct slice detail);
/* RST_STREAM, and over. */
void h2_call_fail(struct h2_call *call, uint32_t code, enum end_reason reason, const char *detail);
/* nghttp2 has closed the stream (code: why) before the response was complete. */
void h2_call_closed(struct h2_call *call, uint32_t code);
/* A field section begins, has a field (0, or what the callback returns to nghttp2), is complete. */
void h2_call_section(struct h2_call *call);
int h2_call_field(struct h2_call *call, struct slice name, struct slice value);
void h2_call_section_end(struct h2_call *call, bool ended);
void h2_call_data(struct h2_call *call, const char *p, size_t n);
/* END_STREAM behind content. */
void h2_call_ended(struct h2_call *call);
/* What is waited for may have changed: its clock starts anew. */
void h2_call_waits(struct h2_call *call);
/* Looks at the clock; may end the call. */
void h2_call_tick(struct h2_call *call, int64_t now_ms);

/* ---- h2_client_request.c -------- */

/* Gives the request to nghttp2: 0, or its error. */
int h2_call_submit(struct h2_call *call, const struct request *out);
/* Lets go of req_body; what is left of it is not wanted for that reason (END_NONE: another attempt
 * may want it). */
void h2_call_detach(struct h2_call *call, enum end_reason reason);
/* req_body has news, or what held it back has. */
void h2_call_input(struct h2_call *call);
/* nghttp2 takes content: nghttp2_send_data_callback. */
int h2_call_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                      size_t length, nghttp2_data_source *source, void *user);
/* The origin leaves no window for the content there is. */
bool h2_call_stalled(const struct h2_call *call);

#endif
