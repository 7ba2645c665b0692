/* Waits for the PROXY header at the beginning of an accepted connection and takes it off, leaving
 * every byte behind it in the socket: what comes next (TLS or HTTP) reads as if it had never been
 * there. Who may send one is the policy's question. */
#ifndef NET_PROXY_ACCEPT_H
#define NET_PROXY_ACCEPT_H

#include "proxy/loop/loop.h"
#include "proxy/net/cidr.h"
#include "proxy/net/proxy_header.h"

/* What is done with a connection by where it comes from (Caddy's names). */
enum proxy_trust {
    PROXY_IGNORE,  /* a header is taken off and not believed */
    PROXY_USE,     /* a header is believed; without one the connection is the peer's own */
    PROXY_REJECT,  /* with a header the connection is closed */
    PROXY_REQUIRE, /* without a header the connection is closed */
    PROXY_SKIP,    /* nothing is looked for */
};

/* Const once it is made. */
struct proxy_policy {
    const struct cidr *allow; /* PROXY_USE */
    size_t allow_count;
    const struct cidr *deny; /* PROXY_REJECT; stronger than allow */
    size_t deny_count;
    enum proxy_trust fallback;
    int64_t timeout_ms;
};

/* A peer on a Unix socket is believed, as in Caddy: the socket's mode says who may connect. */
enum proxy_trust proxy_policy_trust(const struct proxy_policy *p, const struct addr *peer);

struct proxy_accept;

/* Called once from the loop unless cancelled; the accept is gone afterwards, the descriptor is as
 * it was. why NULL: go on; source and destination (valid during the call) are what the header said,
 * or have len 0: keep what is known. Else the connection is to be closed for this reason (static).
 */
typedef void proxy_accepted(void *ctx, const struct addr *source, const struct addr *destination,
                            const char *why);

/* fd is borrowed until done and must not be read meanwhile. The header must be complete within
 * timeout_ms; where none is required and not one byte has come by then, it goes on without. trust
 * is anything but PROXY_SKIP. done is never called from inside this call. NULL: memory. */
struct proxy_accept *proxy_accept_start(struct loop *l, int fd, enum proxy_trust trust,
                                        int64_t timeout_ms, proxy_accepted *done, void *ctx);
void proxy_accept_cancel(struct proxy_accept *a);

#endif
