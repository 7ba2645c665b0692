/* A stream over a connected, non-blocking socket (TCP or Unix). */
#ifndef NET_TCP_H
#define NET_TCP_H

#include "proxy/net/stream.h"

/* Takes fd (closed with the stream, also when this fails with NULL: memory). peer and local are
 * copied. TCP_NODELAY and keepalive (15 s idle, 15 s interval, 9 probes) are set by sock.h's
 * callers, not here. */
struct stream *tcp_stream_new(struct loop *l, int fd, const struct addr *peer,
                              const struct addr *local);

#endif
