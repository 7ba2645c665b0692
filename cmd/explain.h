/* What a made-up request would meet; see explain.c and explain_url.c. */
#ifndef CMD_EXPLAIN_H
#define CMD_EXPLAIN_H

#include "proxy/base/err.h"
#include "proxy/server/config.h"

struct explain_request {
    struct slice url;
    struct slice method;
    struct slice client;       /* an IP address */
    const char *const *fields; /* "Name: value" */
    size_t field_count;
};

/* Prints it. False: the request is none. */
NODISCARD bool explain_url(const struct config *c, const struct explain_request *r,
                           struct err *err);

/* "handle /api", and "Caddyfile:3:1". */
void explain_handler(const struct handler *h, struct dstr *out);
void explain_place(const struct cf_place *at, struct dstr *out);

#endif
