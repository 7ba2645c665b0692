/* Which addresses of this machine a word means: an interface's name, or a host's. Asks the system
 * and may block: for reading configurations, not for loops. */
#ifndef NET_HOST_ADDRS_H
#define NET_HOST_ADDRS_H

#include "proxy/base/err.h"
#include "proxy/net/addr.h"

/* Every address of an interface but link-local ones; of a name one, IPv4 where it has any. The
 * count, at most max; 0 and err. */
size_t host_addrs(struct slice word, struct addr *out, size_t max, struct err *err);

#endif
