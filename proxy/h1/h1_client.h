/* HTTP/1 towards origins: one connection, one exchange at a time, reused while both sides allow
 * it. Consumer of ex->req_body, producer of ex->res_body.
 *
 * Everything upward is reported through `done` and exchange_respond, from tasks or the loop, never
 * inside a call. */
#ifndef H1_CLIENT_H
#define H1_CLIENT_H

#include "proxy/h1/h1_parse.h"
#include "proxy/http/exchange.h"
#include "proxy/net/stream.h"

struct h1_client;

enum h1_client_outcome {
    H1_CLIENT_HEAD,       /* ex->res is filled in and res_body is being produced: respond now */
    H1_CLIENT_FAILED,     /* no response head came; reason and detail say why */
};

struct h1_client_failure {
    enum end_reason reason; /* END_ORIGIN_GONE, _BAD, _SLOW, END_NO_MEMORY */
    const char *detail;     /* static text: "closed the connection before it answered" */
    bool nothing_sent;      /* not one byte of the request reached the kernel */
    bool no_byte_received;  /* the origin had not sent anything: a stale kept connection */
};

struct h1_client_limits {
    struct h1_limits head;           /* fields and bytes of a response head */
    int64_t response_header_timeout_ms; /* 0: none */
    int64_t read_idle_ms;               /* between reads of the body; 0: none */
    int64_t write_idle_ms;              /* while the origin takes nothing of the request; 0: none */
};

struct h1_client_owner {
    /* The outcome of the request sent: once per h1_client_send, from a task. On FAILED the
     * connection is closed and freed after this returns. */
    void (*on_outcome)(void *ctx, struct h1_client *c, enum h1_client_outcome outcome,
                       const struct h1_client_failure *failure);
    /* After HEAD: the response is complete and the connection may be used again (idle, kept by
     * the pool). From a task. */
    void (*on_idle)(void *ctx, struct h1_client *c);
    /* The connection is over and freed after this returns (idle or after HEAD). */
    void (*on_close)(void *ctx, struct h1_client *c);
    void *ctx;
};

/* Takes the stream. NULL: memory (the stream is closed). */
struct h1_client *h1_client_new(struct stream *s, const struct h1_client_owner *owner);
void h1_client_set_owner(struct h1_client *c, const struct h1_client_owner *owner);

/* Sends `out` (method_text, target, fields: final, hop-by-hop removed; out->upgrade and the
 * Upgrade value in `upgrade` to ask for a tunnel) with ex's req_body as its body. The head is
 * written in this call together with what is queued of the body. Takes a hold on ex until the
 * response body is ended, the tunnel is over, or FAILED was reported. out is needed during this
 * call only, limits is copied, the bytes of upgrade must live as long as ex. A response body that
 * is stopped by its consumer closes the connection by itself; while no head has come yet, give up
 * with h1_client_cancel (ex->cancel is there for it). */
void h1_client_send(struct h1_client *c, struct exchange *ex, const struct request *out,
                    struct slice upgrade, const struct h1_client_limits *limits);
/* The exchange is not wanted any more (client gone, retry elsewhere): closes and frees without any
 * report, from a task. In any state, also inside a report. */
void h1_client_cancel(struct h1_client *c);
/* Idle connections only: closes and frees. */
void h1_client_close(struct h1_client *c);
bool h1_client_idle(const struct h1_client *c);
/* False when an idle connection has been closed by the origin or has unread bytes: do not use. */
bool h1_client_usable(struct h1_client *c);
/* Monotonic ms since when it is idle. */
int64_t h1_client_idle_since_ms(const struct h1_client *c);

#endif
