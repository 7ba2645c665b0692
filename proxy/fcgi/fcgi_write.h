/* The request's side of FastCGI: records made of a head. Pure. (FastCGI Specification 1.0, sections
 * 3.3, 3.4, 5.1 to 5.3.) */
#ifndef FCGI_WRITE_H
#define FCGI_WRITE_H

#include "proxy/base/dstr.h"

#define FCGI_HEADER_BYTES ((size_t)8)
#define FCGI_CONTENT_MAX ((size_t)65535)

enum fcgi_type {
    FCGI_BEGIN_REQUEST = 1,
    FCGI_END_REQUEST = 3,
    FCGI_PARAMS = 4,
    FCGI_STDIN = 5,
    FCGI_STDOUT = 6,
    FCGI_STDERR = 7,
};

/* Every record is of request 1: there is one a connection. */
#define FCGI_REQUEST_ID 1u

/* A record's header, for content of n (at most FCGI_CONTENT_MAX) bytes, without padding. */
void fcgi_write_header(struct dstr *out, enum fcgi_type type, size_t n);
/* head: a whole HTTP/1.1 request head as h1_write_request makes it. Appends the records up to the
 * end of the parameters: each field is one, "Content-Length" is CONTENT_LENGTH, the request line is
 * left out. *length: of the body that follows. False: a framing that CGI does not have, or out has
 * failed. */
NODISCARD bool fcgi_write_head(struct dstr *out, struct slice head, uint64_t *length);

#endif
