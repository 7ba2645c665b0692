/* The response's side of FastCGI: received records become an HTTP/1.1 response, head and body, and
 * what was said on stderr. Pure: the verdict and the bytes that come out depend on the bytes that
 * go in, not on how they are cut. (FastCGI Specification 1.0, sections 3.3, 5.5, 6.2; RFC 3875
 * section 6.) */
#ifndef FCGI_READ_H
#define FCGI_READ_H

#include "proxy/fcgi/fcgi_write.h"

#define FCGI_HEAD_MAX_BYTES ((size_t)64 * 1024)
#define FCGI_ERRORS_MAX_BYTES ((size_t)16 * 1024) /* kept of stderr until it is taken */

struct fcgi_read {
    unsigned char header[FCGI_HEADER_BYTES];
    size_t header_bytes;
    unsigned type;
    size_t content_left;
    size_t padding_left;
    struct dstr head;  /* the script's head, until it is complete */
    size_t line_bytes; /* of its last line */
    bool head_done;
    struct dstr errors; /* from stderr; whoever looks resets it. What does not fit is dropped */
    unsigned char end[8]; /* of END_REQUEST */
    size_t end_bytes;
    bool ended;      /* END_REQUEST has come: the response is complete */
    const char *bad; /* why it is malformed; or NULL */
};

void fcgi_read_init(struct fcgi_read *r);
void fcgi_read_fini(struct fcgi_read *r);
/* Appends to out what the bytes make of the response. False: malformed (r->bad), for good. Bytes
 * behind the end are ignored. */
NODISCARD bool fcgi_read_feed(struct fcgi_read *r, struct slice bytes, struct dstr *out);

#endif
