/* Does a plain connection begin with HTTP/2 (prior knowledge, RFC 9113 section 3.3)? Looks at its
 * first bytes without taking them. Private to proxy/server. */
#ifndef SERVER_SNIFF_H
#define SERVER_SNIFF_H

#include "proxy/loop/loop.h"

struct sniff;

/* Called once from the loop unless cancelled. The bytes are still in the socket. */
typedef void sniffed(void *ctx, bool http2);

/* fd is borrowed. After timeout_ms without four bytes the answer is no. NULL: memory. */
struct sniff *sniff_start(struct loop *l, int fd, int64_t timeout_ms, sniffed *done, void *ctx);
void sniff_cancel(struct sniff *s);

#endif
