/* A stream that speaks HTTP/1.1 to its owner and FastCGI to the other side: one request. */
#ifndef FCGI_STREAM_H
#define FCGI_STREAM_H

#include "proxy/net/stream.h"

/* Takes inner. name: of the origin, for logs, copied up to a length. log_stderr: what the script
 * says there goes to the log. NULL: memory (inner is closed). */
struct stream *fcgi_stream_new(struct stream *inner, struct slice name, bool log_stderr);

#endif
