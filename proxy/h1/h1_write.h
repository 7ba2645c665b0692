/* Serialising HTTP/1 heads: pure. Every name and value is checked once more for bytes that would
 * split the message; a field that has them is an error of ours and fails the head. */
#ifndef H1_WRITE_H
#define H1_WRITE_H

#include "proxy/base/chunk.h"
#include "proxy/h1/h1_parse.h"

/* Writes "METHOD target HTTP/1.1\r\n", the fields as they are (framing and connection fields in
 * them are skipped), then framing for h (H1_NO_BODY, H1_LENGTH with content_length, H1_CHUNKED),
 * "Connection: close" unless keep_alive, "Connection: Upgrade" and "Upgrade: <protocol>" if
 * upgrade.n, and the empty line. A chunk of just the right size class; NULL: memory, or the head
 * is invalid or larger than 512 KiB. */
struct chunk *h1_write_request(const struct request *req, enum h1_framing framing, bool keep_alive,
                               struct slice upgrade);
/* The same for a response ("HTTP/1.1 200 OK"; 1.1 also to 1.0 clients, RFC 9110 section 6.2). date is
 * added when the fields have none (slice of 29 bytes; empty: not added, for 1xx). */
struct chunk *h1_write_response(const struct response *res, enum h1_framing framing,
                                bool keep_alive, struct slice upgrade, struct slice date);
/* "1f40\r\n" into out; its length. */
#define H1_CHUNK_LINE_BYTES 20
size_t h1_write_chunk_line(char out[H1_CHUNK_LINE_BYTES], uint64_t size);
/* "0\r\n" trailers "\r\n" appended. */
void h1_write_last_chunk(struct dstr *out, const struct fields *trailers);

#endif
