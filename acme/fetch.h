/* Getting what somebody else has over HTTP: permission for a name, certificates to trust, a
 * certificate with its key. No CA is meant; http:// is fine and redirects are not followed. */
#ifndef ACME_FETCH_H
#define ACME_FETCH_H

#include "acme/stop.h"
#include "proxy/base/dstr.h"
#include "proxy/base/err.h"

struct fetch_request {
    struct slice url;
    struct slice root_file; /* PEM file of roots to trust besides the system's, or empty */
    int64_t timeout_ms;     /* of the whole */
};

/* GET; the body (at most 1 MiB) is appended to body. The status, or 0 when there was no whole
 * answer, with the reason. Blocks, at most the time-out or until stop. */
long acme_fetch(const struct fetch_request *r, struct stop *stop, struct dstr *body,
                struct err *err);

#endif
