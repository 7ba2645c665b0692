/* A stream over a connected, non-blocking socket (TCP or Unix). */
#ifndef NET_TCP_H
#define NET_TCP_H

#include "proxy/net/stream.h"

/* Takes fd (closed with the stream, also when this fails with NULL: memory). peer and local are
 * copied (local may be NULL: unknown). TCP_NODELAY and keepalive are sock.h's business. on_event
 * must be set before anything is wanted; from inside it the stream may be closed. unsent is always
 * 0. With nothing wanted nothing is reported, not even a reset. */
struct stream *tcp_stream_new(struct loop *l, int fd, const struct addr *peer,
                              const struct addr *local);

#endif
