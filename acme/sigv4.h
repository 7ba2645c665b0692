/* AWS Signature Version 4: signing a request with a secret key ("Signing AWS API requests" in
 * the IAM User Guide). */
#ifndef ACME_SIGV4_H
#define ACME_SIGV4_H

#include "proxy/base/dstr.h"
#include "proxy/base/err.h"

#define SIGV4_TIME_BYTES 17 /* "20150830T123600Z" and the NUL */

struct sigv4 {
    struct slice access_key_id, secret_access_key;
    struct slice session_token; /* or empty */
    struct slice region, service;
    const char *time; /* as above, UTC */
    const char *method;
    struct slice host;  /* as the Host field says it */
    struct slice path;  /* of characters that need no encoding */
    struct slice query; /* likewise, sorted, without "?" */
    struct slice body;
};

/* Appends the value of the Authorization field; the request must also have X-Amz-Date and, with a
 * session token, X-Amz-Security-Token. */
NODISCARD bool sigv4_authorization(const struct sigv4 *s, struct dstr *out, struct err *err);
/* The time in SigV4's form. */
void sigv4_time(int64_t wall_ms, char out[SIGV4_TIME_BYTES]);

#endif
