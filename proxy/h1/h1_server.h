/* HTTP/1 towards clients: one connection. Reads requests from a stream, makes exchanges, writes
 * responses; keep-alive and pipelining (one exchange at a time, the next request's bytes wait),
 * 100-continue, early answers, tunnels, timeouts. */
#ifndef H1_SERVER_H
#define H1_SERVER_H

#include "proxy/h1/h1_parse.h"
#include "proxy/http/exchange.h"
#include "proxy/net/stream.h"

struct h1_server;

struct h1_server_limits {
    struct h1_limits head;
    int64_t header_timeout_ms; /* for a whole head, from its first byte (first request: from the
                                  connection's start): 408 and close, or just close where not one
                                  byte came */
    int64_t idle_timeout_ms;   /* between requests: close */
    int64_t body_idle_ms;      /* no byte of a wanted request body for so long: 408 and close */
    uint64_t body_min_rate;    /* bytes a second, averaged, once the body has gone on for 60 s */
    int64_t write_idle_ms;     /* the client takes nothing for so long: reset */
};

struct h1_server_owner {
    /* The connection is over and freed after this returns; from the loop or a task. */
    void (*on_close)(void *ctx, struct h1_server *c);
    void *ctx;
};

/* Takes the stream. The client_info of its exchanges stays valid until service->end has returned;
 * the stream is closed, and on_close called, from a task after that. limits, service, owner's ctx
 * and client.listener must outlive the connection (service may be changed with
 * h1_server_set_service). NULL: memory (the stream is closed). */
struct h1_server *h1_server_new(struct stream *s, const struct h1_server_limits *limits,
                                const struct http_service *service, struct slice scheme,
                                const void *listener, const struct h1_server_owner *owner);
/* For new exchanges from now on. */
void h1_server_set_service(struct h1_server *c, const struct http_service *service,
                           const struct h1_server_limits *limits, const void *listener);
/* Finish the exchange under way, answer it with Connection: close, then close; idle connections
 * close at once. Tunnels go on. */
void h1_server_drain(struct h1_server *c);
/* Ends now, whatever is under way. */
void h1_server_abort(struct h1_server *c, enum end_reason reason);
/* Nothing under way (keep-alive idle)? */
bool h1_server_idle(const struct h1_server *c);
bool h1_server_in_tunnel(const struct h1_server *c);

#endif
