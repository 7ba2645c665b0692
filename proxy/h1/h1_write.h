/* Serialising HTTP/1 heads: pure. Every name and value is checked once more for bytes that would
 * split the message; a field that has them is an error of ours and fails the head. */
#ifndef H1_WRITE_H
#define H1_WRITE_H

#include "proxy/base/chunk.h"
#include "proxy/base/dstr.h"
#include "proxy/h1/h1_parse.h"

/* What the head says about the connection. The first two are false and true, for callers that only
 * know whether it stays open; HTTP/1.0 clients must be told that it does. */
enum h1_persist { H1_CLOSE = 0, H1_KEEP = 1, H1_KEEP_AND_SAY_SO = 2 };

/* Writes "METHOD target HTTP/1.1\r\n", the fields as they are (framing and connection fields in
 * them are skipped), then the framing (H1_NO_BODY, with "Content-Length: 0" for POST, PUT and
 * PATCH; H1_LENGTH with content_length; H1_CHUNKED), "Connection: Upgrade" and "Upgrade:
 * <protocol>" if upgrade.n, else "Connection: close" unless keep_alive, and the empty line. A chunk
 * of just the right size class; NULL: memory, or the head is invalid or larger than 512 KiB. */
struct chunk *h1_write_request(const struct request *req, enum h1_framing framing, bool keep_alive,
                               struct slice upgrade);
/* The same for a response ("HTTP/1.1 200 OK"; 1.1 also to 1.0 clients, RFC 9110 section 6.2). date
 * is added when the fields have none (slice of 29 bytes; empty: not added, for 1xx). With H1_LENGTH
 * and H1_NO_BODY Content-Length is written if content_length is known and the status may have it
 * (so HEAD, 304 and an empty 200 are right; set content_length 0 for the latter). 1xx heads but 101
 * say nothing about the connection. */
struct chunk *h1_write_response(const struct response *res, enum h1_framing framing,
                                enum h1_persist persist, struct slice upgrade, struct slice date);
/* "1f40\r\n" into out; its length. */
#define H1_CHUNK_LINE_BYTES 20
size_t h1_write_chunk_line(char out[H1_CHUNK_LINE_BYTES], uint64_t size);
/* "0\r\n" trailers "\r\n" appended; trailers may be NULL, forbidden ones are left out, and an
 * invalid one sets out->failed. */
void h1_write_last_chunk(struct dstr *out, const struct fields *trailers);

#endif
