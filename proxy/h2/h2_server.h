/* HTTP/2 towards clients (RFC 9113, over nghttp2): one connection, many exchanges at a time. The
 * second codec on the same exchange: handlers cannot tell it from HTTP/1. */
#ifndef H2_SERVER_H
#define H2_SERVER_H

#include "proxy/http/exchange.h"
#include "proxy/net/stream.h"

struct h2_server;

struct h2_server_limits {
    size_t head_bytes_max;       /* of a field section: past it 431 (the connection lives) */
    unsigned fields_max;         /* FIELDS_FROM_PEER_MAX */
    unsigned streams_max;        /* SETTINGS_MAX_CONCURRENT_STREAMS */
    int64_t header_timeout_ms;   /* preface, SETTINGS, a field section begun: until complete */
    int64_t idle_timeout_ms;     /* no stream open: GOAWAY and close */
    int64_t body_idle_ms;        /* no byte of a wanted request body for so long: 408 or reset */
    int64_t write_idle_ms;       /* the client takes nothing (socket or all windows) for so long */
    uint64_t body_min_rate;      /* bytes a second, as h1_server_limits says */
};

struct h2_server_owner {
    /* The connection is over and freed after this returns; from the loop or a task. */
    void (*on_close)(void *ctx, struct h2_server *c);
    void *ctx;
};

/* Takes the stream; `received` are bytes that were read from it already (h2c by prior knowledge;
 * copied). Everything pointed to must outlive the connection, as for h1_server_new. NULL: memory
 * (the stream is closed). */
struct h2_server *h2_server_new(struct stream *s, const struct h2_server_limits *limits,
                                const struct http_service *service, struct slice scheme,
                                const void *listener, struct slice received,
                                const struct h2_server_owner *owner);
/* Graceful: GOAWAY in two steps (RFC 9113 section 6.8), exchanges under way finish, then it closes;
 * at once when idle. Tunnels go on. Nothing is written before this returns. */
void h2_server_drain(struct h2_server *c);
/* Ends now. */
void h2_server_abort(struct h2_server *c, enum end_reason reason);
bool h2_server_idle(const struct h2_server *c);

#endif
