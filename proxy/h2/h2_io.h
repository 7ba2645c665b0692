/* What both sides of HTTP/2 (h2_server, h2_client) do between nghttp2, bodies and the stream:
 * frames of the peer found in its bytes, content copied in, frames and content taken out.
 *
 * Nothing here knows what a stream is for; nothing calls anybody. */
#ifndef H2_IO_H
#define H2_IO_H

#include <nghttp2/nghttp2.h>

#include "proxy/h2/h2_out.h"
#include "proxy/http/body.h"

#define H2_FRAME_HEAD_BYTES 9u

/* The largest head we send; nghttp2's own default would refuse what h1 sends. */
#define H2_SEND_HEAD_MAX ((size_t)512 * 1024)
/* Acknowledgements that wait because the peer does not read. */
#define H2_ACKS_MAX 128
#define H2_SETTINGS_ENTRIES_MAX 32

/* Where frames begin in what the peer sends. */
struct h2_scan {
    unsigned char head[H2_FRAME_HEAD_BYTES]; /* of the frame that is coming */
    unsigned head_have;
    uint32_t left; /* bytes behind the header (a client's preface at first) */
};

/* How many of the n > 0 bytes at p to give to nghttp2 next: they end where a frame's header or a
 * frame ends, so that each header is looked at when all before it has been dealt with. *complete:
 * they complete the header *hd, whose frame nghttp2 has not seen yet. */
size_t h2_scan_next(struct h2_scan *s, const unsigned char *p, size_t n, nghttp2_frame_hd *hd,
                    bool *complete);

/* Options both sides set: no automatic window update, and bounds. */
void h2_common_options(nghttp2_option *o);

/* Takes frames out of nghttp2 until there are enough to write; false: the session failed. */
NODISCARD bool h2_gather(nghttp2_session *session, struct h2_out *out);

/* One DATA frame: its nine bytes of header, and length bytes of content taken from b by reference
 * (there must be so many). False: memory. */
NODISCARD bool h2_put_data(struct h2_out *out, struct body *b, const uint8_t *head, size_t length);

/* Copies received content behind what is queued in b, so that the queue stays short however small
 * the frames are, and so that a few bytes never keep a whole receive buffer. *gather is the chunk
 * that is being filled (counted; the caller's). A body that is not open drops the bytes. False:
 * memory, or more than the windows allow. */
NODISCARD bool h2_push_content(struct body *b, struct chunk **gather, const char *p, size_t n);

#endif
