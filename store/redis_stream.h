/* A blocking stream to a Redis server with a deadline for every call: TCP or a Unix socket, plain
 * or TLS. hiredis 0.14 (Debian 12) has no TLS, hence our own. */
#ifndef STORE_REDIS_STREAM_H
#define STORE_REDIS_STREAM_H

#include <sys/types.h>

#include "proxy/base/err.h"

struct redis_tls;    /* how to speak TLS; shared by streams, thread-safe */
struct redis_stream; /* of one thread at a time */

/* ca_pem (may be empty) and ca_path (may be empty: no file): the roots to trust instead of the
 * system's. insecure: the server's certificate is not looked at. NULL with err. */
struct redis_tls *redis_tls_new(bool insecure, struct slice ca_pem, struct slice ca_path,
                                struct err *err);
void redis_tls_free(struct redis_tls *tls);

/* "host:port", "[v6]:port" or "unix//path". False: it is none of these. */
NODISCARD bool redis_address_valid(struct slice address);
/* Connects until deadline_ms (monotonic; a slow resolver may take longer). tls NULL: plain. The
 * name in the certificate must be the address's host. */
struct redis_stream *redis_stream_open(const char *address, const struct redis_tls *tls,
                                       int64_t deadline_ms, struct err *err);
void redis_stream_close(struct redis_stream *s);
/* What happens until then is in time; later it fails. */
void redis_stream_set_deadline(struct redis_stream *s, int64_t deadline_ms);
NODISCARD bool redis_stream_write(struct redis_stream *s, struct slice bytes, struct err *err);
/* A redis_read_fn; ctx is the stream. */
ssize_t redis_stream_read(void *ctx, char *at, size_t n, struct err *err);
/* Nothing has arrived that nobody asked for, the end included. */
bool redis_stream_quiet(struct redis_stream *s);

#endif
