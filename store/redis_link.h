/* Commands to a Redis server and their replies: connections kept for reuse, authentication, one
 * server of several, and a pause after a failure so that a server that is away costs each caller
 * nothing but the first one its time-out. Thread-safe; calls block. */
#ifndef STORE_REDIS_LINK_H
#define STORE_REDIS_LINK_H

#include "store/redis_reply.h"
#include "store/redis_stream.h"

#define REDIS_ADDRESSES_MAX ((size_t)16)
#define REDIS_ARGS_MAX      ((size_t)80)

struct redis_link;

/* All texts are copied. */
struct redis_link_setup {
    struct slice addresses[REDIS_ADDRESSES_MAX]; /* tried in this order */
    size_t address_count;
    struct slice username; /* empty: the default user's */
    struct slice password; /* empty: none */
    unsigned db;
    struct redis_tls *tls; /* owned from then on; NULL: plain */
    int64_t timeout_ms;    /* of a connect, and of a command */
    /* Looks at a new connection before anything else is asked; false with err: it is of no use. It
     * may only use redis_link_on. */
    bool (*greet)(void *ctx, struct redis_stream *s, struct err *err);
    void *ctx;
};

struct redis_link *redis_link_new(const struct redis_link_setup *setup);
/* No call may be under way. */
void redis_link_free(struct redis_link *l);

/* Sends a command and reads its reply. NULL with err when the server cannot be reached or answers
 * with an error; then *fault (may be NULL) has the error's first word ("WRONGTYPE") or is empty. A
 * command may be sent twice when a kept connection turns out to be dead: it must bear that. */
#define REDIS_FAULT_BYTES 32
struct redis_reply *redis_link_call(struct redis_link *l, const struct slice *args, size_t count,
                                    size_t max_bytes, char fault[REDIS_FAULT_BYTES],
                                    struct err *err);
/* The same on one connection, for greet: errors of the server are replies here. */
struct redis_reply *redis_link_on(struct redis_stream *s, const struct slice *args, size_t count,
                                  size_t max_bytes, struct err *err);
/* Says in err what an error reply (REDIS_FAULT) means, and gives its first word. */
void redis_link_explain(const struct redis_reply *r, char fault[REDIS_FAULT_BYTES],
                        struct err *err);

#endif
