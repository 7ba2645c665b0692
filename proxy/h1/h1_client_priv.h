/* The inside of h1_client: one connection to an origin. Shared by h1_client.c (life, reports,
 * requests) and h1_client_read.c (responses).
 *
 * Lifetimes: a connection ends by client_over or by its owner's h1_client_cancel/close. The first
 * posts report_task, which tells the owner and frees; the others post it to free without a word.
 * So nothing is freed inside a call, an event or a callback to the owner, and the stream is closed
 * together with the memory. c->ex is held from h1_client_send until the response is complete, the
 * connection is over, or (where no head came) FAILED has been reported. */
#ifndef H1_CLIENT_PRIV_H
#define H1_CLIENT_PRIV_H

#include "proxy/h1/h1_body_in.h"
#include "proxy/h1/h1_client.h"
#include "proxy/h1/h1_out.h"

#define READS_MAX 8
/* More interim responses than this are an attack or a loop. */
#define INTERIM_MAX 64u

enum client_state {
    CLIENT_IDLE,
    CLIENT_HEAD,   /* the request is under way, the response head has not come */
    CLIENT_BODY,   /* the response body comes; the request body may still be going */
    CLIENT_TUNNEL, /* bytes both ways */
    CLIENT_OVER,   /* report_task will free it */
};

enum client_wait { CLIENT_WAIT_NONE, CLIENT_WAIT_HEAD, CLIENT_WAIT_BODY, CLIENT_WAIT_WRITE };

struct h1_client {
    struct stream *stream;
    struct loop *loop;
    struct h1_client_owner owner;
    enum client_state state;

    struct task req_task;    /* consumer of req_body */
    struct task res_task;    /* producer of res_body */
    struct task report_task; /* the only way up, and the place where it is freed */
    struct timer timer;
    enum client_wait wait;
    struct h1_client_limits limits;

    struct exchange *ex; /* held; NULL when idle */
    struct response_source source; /* ex->source from the head until we let go */
    enum http_method method; /* as sent: it decides about the response body */
    struct slice upgrade; /* what was asked for; empty: nothing */
    struct h1_in in;
    struct h1_scan scan;
    struct h1_head head; /* of the final response */
    struct h1_body_in body_in;
    struct h1_out out;
    unsigned interims;
    int64_t idle_since_ms;

    struct h1_client_failure failure;
    bool report_head; /* reports not yet made, in this order */
    bool report_idle;
    bool report_failed; /* with OVER: on_outcome(FAILED) instead of on_close */
    bool silent;        /* with OVER: the owner gave it up and hears nothing */

    bool body_attached; /* we are the consumer of req_body */
    bool out_done;      /* the request (or our side of the tunnel) is written to its end */
    bool in_done;       /* tunnel: the origin has ended its side */
    bool blocked;       /* a write was short */
    bool broken;        /* a write failed; what the origin has said may still be read */
    bool received;      /* at least one byte since the request was sent */
    bool abort;         /* reset instead of an orderly close */
};

/* ---- h1_client.c -------- */

/* Interest and timer by the state; comes last in every event, task and call. */
void client_settle(struct h1_client *c);
/* There was progress: the time of what is waited for starts anew, or ends, with client_settle. */
void client_restart_wait(struct h1_client *c);
/* The connection is over, for this reason (END_NONE: in good order). A response that is not
 * complete is aborted; one whose head was not there fails. */
void client_over(struct h1_client *c, enum end_reason reason, const char *detail);
/* The final head is there: tell the owner. */
void client_report_head(struct h1_client *c);
/* The response is complete: back to idle, or over. */
void client_complete(struct h1_client *c);
void client_write(struct h1_client *c);
/* After a 101: our side of the tunnel. */
void client_start_tunnel(struct h1_client *c);
void client_check_tunnel(struct h1_client *c);

/* ---- h1_client_read.c -------- */

bool client_wants_read(const struct h1_client *c);
void client_readable(struct h1_client *c);
/* Response bytes that wait in the buffer for room. */
void client_feed(struct h1_client *c);

#endif
