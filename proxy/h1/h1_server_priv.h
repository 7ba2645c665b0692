/* The inside of h1_server: one connection. Shared by h1_server.c (life, timers, ends),
 * h1_server_read.c (bytes from the client) and h1_server_write.c (responses to the client).
 *
 * Lifetimes: the connection is freed by close_task only, never under a caller's feet. Its stream
 * lives as long, because the log line of the last exchange still needs the addresses: closing means
 * server_close, which stops all events and posts close_task behind the exchange's end task.
 * c->ex is the exchange under way; NULL before a head is complete and after exchange_finish. */
#ifndef H1_SERVER_PRIV_H
#define H1_SERVER_PRIV_H

#include "proxy/h1/h1_body_in.h"
#include "proxy/h1/h1_out.h"
#include "proxy/h1/h1_server.h"

/* A client that has closed its side gets this long to be answered, and as long without a byte of
 * the answer before it counts as gone: an event stream whose reader left must not stay. */
#define EOF_WAIT_MS 5000
/* After the last response: how much and how long is read and dropped, so that unread bytes do not
 * turn the close into a reset that destroys the response on its way. */
#define LINGER_BYTES ((uint64_t)64 * 1024)
/* While the server drains: for the rest of a request head. */
#define DRAIN_HEAD_MS 1000
#define LINGER_MS 2000
/* The least rate of a body is looked at after so long. */
#define RATE_GRACE_MS 60000
#define READS_MAX 8

/* What the connection waits for from its client; each has its time limit. */
enum server_wait {
    WAIT_NONE,
    WAIT_FIRST,  /* the first byte of the first head */
    WAIT_HEAD,   /* the rest of a head */
    WAIT_IDLE,   /* the next request */
    WAIT_BODY,   /* more of a request body that somebody wants */
    WAIT_ANSWER, /* the client half-closed; the chain has not answered */
    WAIT_REST,   /* the small rest of a body nobody wants, before the next request */
    WAIT_FLUSH,  /* everything is said, but the stream (TLS) still holds some of it */
    WAIT_LINGER,
};

struct h1_server {
    struct exchange_codec ops; /* ex->codec points here: the way back from ex to us */
    struct stream *stream;
    struct loop *loop;
    const struct h1_server_limits *limits;
    const struct http_service *service;
    struct slice scheme;
    struct client_info client;
    struct h1_server_owner owner;

    struct task body_task;  /* producer of req_body: room, a first look, a stop */
    struct task out_task;   /* consumer of exchange_out */
    struct task next_task;  /* the next pipelined request */
    struct task close_task; /* reports and frees */
    struct timer timer;     /* at the earlier of the two deadlines */
    int64_t read_deadline_ms;  /* 0: none; belongs to wait */
    int64_t write_deadline_ms; /* 0: none */
    int64_t armed_ms;          /* what timer is set to; 0: not set */

    struct h1_in in;
    struct h1_scan scan;
    struct h1_body_in body_in;
    struct h1_out out;
    uint64_t lingered_bytes;

    struct exchange *ex;
    struct slice upgrade; /* the Upgrade field of the request, while req.upgrade */
    int64_t body_wait_since_ms; /* 0: not waiting */
    int64_t body_waited_ms;

    enum server_wait wait;
    bool had_request;    /* a head was complete before */
    bool body_done;      /* the request is read to its end */
    bool upgrade_pending;/* bytes behind the head are not looked at until the response starts */
    bool continue_sent;
    bool started;        /* the response */
    bool keep;           /* another request may follow */
    bool client_closes;  /* the client said so: no need to linger */
    bool tunnel;
    bool tunnel_in_done; /* nothing more is taken from the client */
    bool tunnel_out_done;/* nothing more goes to the client */
    bool last_words;     /* an error page without an exchange is being written */
    bool dropping_rest;  /* between requests: the rest of an unwanted body */
    bool lingering;
    bool blocked;        /* a write was short */
    bool eof;            /* the client has ended its side */
    bool draining;
    bool closing;        /* close_task is posted */
    bool abort;          /* reset instead of an orderly close */
};

/* ---- h1_server.c -------- */

/* Interest and timer by the state; comes last in every event and task. */
void server_settle(struct h1_server *c);
/* Ends the connection: nothing happens any more but close_task. No exchange may be under way. */
void server_close(struct h1_server *c, bool abort);
/* The client is gone or not to be dealt with any longer: ends the exchange, if any, and closes. */
void server_gone(struct h1_server *c, enum end_reason reason, bool abort);
/* Lets go of the exchange: it has been finished. */
void server_forget_exchange(struct h1_server *c);
/* Everything is said: closes, after reading what is still coming. */
void server_linger(struct h1_server *c);
/* Answers with an error page and closes. With an exchange under way only before its response has
 * started; the exchange then ends with reason. */
void server_error(struct h1_server *c, int status, const char *why, enum end_reason reason);

/* ---- h1_server_read.c -------- */

bool server_wants_read(const struct h1_server *c);
/* The stream says READ. */
void server_readable(struct h1_server *c);
/* Parses and delivers what is buffered. */
void server_process(struct h1_server *c);
/* Body bytes that wait in the buffer, after room, a first look, or a stop. */
void server_feed(struct h1_server *c);
/* Is a byte of the request body wanted now? */
bool server_body_wanted(const struct h1_server *c);

/* ---- h1_server_write.c -------- */

extern const struct exchange_codec h1_server_ops;
/* Writes what there is and acts on the result. */
void server_write(struct h1_server *c);
/* Sends 100 Continue if it is due. */
void server_maybe_continue(struct h1_server *c);
/* A tunnel whose both directions are over ends. */
void server_check_tunnel(struct h1_server *c);

#endif
