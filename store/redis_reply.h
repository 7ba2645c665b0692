/* Replies of a Redis server (RESP), read by hiredis's reader and bounded: bytes in all, elements of
 * a list, depth. A peer that sends more, or something else, gets an error and never memory. */
#ifndef STORE_REDIS_REPLY_H
#define STORE_REDIS_REPLY_H

#include <sys/types.h>

#include "proxy/base/err.h"

enum redis_kind {
    REDIS_NIL,
    REDIS_NUMBER,
    REDIS_TEXT,
    REDIS_STATUS, /* "OK" */
    REDIS_FAULT,  /* an error's text */
    REDIS_LIST
};

/* Lists within lists are refused. */
#define REDIS_DEPTH_MAX 1

struct redis_reply {
    enum redis_kind kind;
    long long number;
    char *text; /* owned, NUL-terminated; may be secret, zeroed when freed */
    size_t n;
    struct redis_reply **items; /* owned; all set once the reply is whole */
    size_t count;
};

/* Up to n bytes into at; 0 at the end, -1 with err on failure. */
typedef ssize_t redis_read_fn(void *ctx, char *at, size_t n, struct err *err);

/* Reads exactly one reply of at most max_bytes on the wire and at most max_items elements. NULL
 * with err: the peer failed or is no Redis server, and the connection is of no more use. */
struct redis_reply *redis_reply_read(redis_read_fn *read, void *ctx, size_t max_bytes,
                                     size_t max_items, struct err *err);
void redis_reply_free(struct redis_reply *r);
/* Is it a text or status with these bytes? */
bool redis_reply_is(const struct redis_reply *r, struct slice text);

#endif
