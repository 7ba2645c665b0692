/* The only file with raw socket calls. Everything is non-blocking and close-on-exec. */
#ifndef NET_SOCK_H
#define NET_SOCK_H

#include "proxy/base/err.h"
#include "proxy/net/addr.h"

/* A listening socket: SO_REUSEADDR, SO_REUSEPORT, IPV6_V6ONLY for IPv6, backlog 4096 (as the kernel
 * clamps it), TCP_DEFER_ACCEPT where defer is true. -1 and err (which address, and for EADDRINUSE
 * which process has it if /proc tells). It is tuned as by sock_tune, and Linux hands that down to
 * the connections it accepts: they need no call of their own. A Unix path is made with mode 0600;
 * a socket file whose owner is dead is replaced. */
int sock_listen(const struct addr *a, bool defer, struct err *err);
/* Is the address free for a listener without SO_REUSEPORT? Detects another program (or another
 * caddis) on it; err as above. */
NODISCARD bool sock_probe(const struct addr *a, struct err *err);
/* accept4; -1 and errno (never EINTR). peer is filled, local left to sock_local(). */
int sock_accept(int listen_fd, struct addr *peer);
void sock_local(int fd, struct addr *out);
/* TCP_NODELAY and keepalive (15 s idle, 15 s interval, 9 probes); failures are ignored (the peer
 * may be gone already). Only for listening sockets that were made elsewhere and inherited: what
 * sock_listen, sock_accept and sock_connect give is tuned already. */
void sock_tune(int fd);
/* Other values for a listening socket and what it accepts from now on; 0: sock_tune's. */
void sock_keepalive(int fd, unsigned idle_s, unsigned interval_s, unsigned probes);
/* Begins to connect, from local unless it is NULL (EAFNOSUPPORT: it is of another family; Unix
 * sockets ignore it): a tuned descriptor, *pending true while the attempt goes on (wait for
 * writability, then sock_connect_result); or -1 and errno. */
int sock_connect(const struct addr *a, const struct addr *local, bool *pending);
/* Looks at what has arrived without taking it: bytes, 0 at the end, or -1 and errno (never EINTR).
 */
ssize_t sock_peek(int fd, void *buf, size_t n);
/* Takes n bytes that have been peeked at, n at most 4096; false if they are not there. */
NODISCARD bool sock_skip(int fd, size_t n);
/* The socket is to be readable only when so many bytes are there, or at its end. Unix sockets do
 * not keep to it. */
void sock_low_water(int fd, size_t n);
/* Will no more bytes come (closed, reset)? */
bool sock_peer_ended(int fd);
/* After writability: 0 or the errno of the attempt. */
int sock_connect_result(int fd);

#endif
