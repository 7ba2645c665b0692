/* The chunked transfer coding (RFC 9112 section 7.1), decoding: pure and incremental. It cuts the
 * input into data without copying; sizes, extensions and line ends are dropped, trailers are
 * collected. Strict: CRLF only, hexadecimal size of at most 16 digits, extensions of at most
 * 256 bytes without control bytes (and at most 16 KiB of them in a whole body), trailers under
 * the same rules and limits as header fields. */
#ifndef H1_CHUNKED_H
#define H1_CHUNKED_H

#include "proxy/base/dstr.h"
#include "proxy/h1/h1_parse.h"

struct h1_chunked {
    uint64_t left;            /* of the current chunk */
    int state;
    unsigned digits;
    unsigned line_bytes;
    unsigned extension_bytes; /* in the whole body */
    struct dstr trailer_text; /* owned: raw trailer lines until complete */
};

enum h1_chunked_result {
    H1_CHUNKED_DATA, /* *data is set (inside in), perhaps with more to come behind it */
    H1_CHUNKED_MORE, /* all of in was used */
    H1_CHUNKED_END,  /* the last chunk and trailers are complete; the rest of in is not ours */
    H1_CHUNKED_BAD,
};

void h1_chunked_init(struct h1_chunked *c);
void h1_chunked_fini(struct h1_chunked *c);
/* One step. *used says how many bytes of in were consumed, the data included; call again with the
 * rest after DATA. At END trailers (in a, forbidden ones removed) are set. */
enum h1_chunked_result h1_chunked_step(struct h1_chunked *c, struct slice in, size_t *used,
                                       struct slice *data, struct arena *a,
                                       struct fields *trailers, const char **why);

#endif
