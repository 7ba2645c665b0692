/* servers { listener_wrappers { proxy_protocol { ... } tls } }: what stands in front of TLS and
 * HTTP on every listener. */
#ifndef SERVER_LISTENER_WRAPPERS_H
#define SERVER_LISTENER_WRAPPERS_H

#include "proxy/caddyfile/caddyfile.h"
#include "proxy/net/proxy_accept.h"

/* Reads the block d. The policy of proxy_protocol, in a's memory; NULL without one or after errors
 * in diags. */
const struct proxy_policy *listener_wrappers_read(struct arena *a, struct cf_diags *diags,
                                                  const struct cf_directive *d);

#endif
