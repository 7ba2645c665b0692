/* The request target and Host (RFC 9112 section 3.2): which authority and path a request is for.
 * Internal to proxy/h1. */
#ifndef H1_TARGET_H
#define H1_TARGET_H

#include "proxy/h1/h1_parse.h"

/* raw is the target as sent (visible ASCII, no '#'), host the value of the Host field or p == NULL
 * when there is none; req->method is set. Sets authority, host, port, target, path and query.
 * False: bad is set. */
NODISCARD bool h1_target_set(struct arena *a, struct request *req, struct slice raw,
                             struct slice host, struct h1_bad *bad);

#endif
