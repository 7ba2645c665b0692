/* The only file with raw socket calls. Everything is non-blocking and close-on-exec. */
#ifndef NET_SOCK_H
#define NET_SOCK_H

#include "proxy/base/err.h"
#include "proxy/net/addr.h"

/* A listening socket: SO_REUSEADDR, SO_REUSEPORT, IPV6_V6ONLY for IPv6, backlog 4096 (as the kernel
 * clamps it), TCP_DEFER_ACCEPT where defer is true. -1 and err (which address, and for EADDRINUSE
 * which process has it if /proc tells). */
int sock_listen(const struct addr *a, bool defer, struct err *err);
/* Is the address free for a listener without SO_REUSEPORT? Detects another program (or another
 * caddis) on it; err as above. */
NODISCARD bool sock_probe(const struct addr *a, struct err *err);
/* accept4; -1 and errno. peer is filled, local left to sock_local(). */
int sock_accept(int listen_fd, struct addr *peer);
void sock_local(int fd, struct addr *out);
/* TCP_NODELAY and keepalive; failures are ignored (the peer may be gone already). */
void sock_tune(int fd);
/* Begins to connect: a descriptor (errno EINPROGRESS or 0 in *pending), or -1 and errno. */
int sock_connect(const struct addr *a, bool *pending);
/* After writability: 0 or the errno of the attempt. */
int sock_connect_result(int fd);

#endif
