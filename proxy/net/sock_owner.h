/* Who listens on an address? For the error message of a port that is taken. */
#ifndef NET_SOCK_OWNER_H
#define NET_SOCK_OWNER_H

#include "proxy/net/addr.h"

/* "nginx (pid 123)" in out, or false when /proc does not tell (another user's process, no /proc).
 * Slow (it reads /proc): for start-up and reloads only. */
NODISCARD bool sock_owner(const struct addr *a, char *out, size_t out_bytes);

#endif
