/* Between nghttp2, bodies and the stream; see h2_io.h. */
#include "proxy/h2/h2_io.h"

static void read_head(struct h2_scan *s, nghttp2_frame_hd *hd)
{
    const unsigned char *h = s->head;
    *hd = (nghttp2_frame_hd){
        .length = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2],
        .stream_id =
            (int32_t)((uint32_t)(h[5] & 0x7f) << 24 | (uint32_t)h[6] << 16 | (uint32_t)h[7] << 8 |
                      h[8]),
        .type = h[3],
        .flags = h[4],
    };
    s->left = (uint32_t)hd->length;
    s->head_have = 0;
}

size_t h2_scan_next(struct h2_scan *s, const unsigned char *p, size_t n, nghttp2_frame_hd *hd,
                    bool *complete)
{
    *complete = false;
    if (s->left > 0) {
        size_t k = n < s->left ? n : s->left;
        s->left -= (uint32_t)k;
        return k;
    }
    size_t k = H2_FRAME_HEAD_BYTES - s->head_have;
    k = n < k ? n : k;
    memcpy(s->head + s->head_have, p, k);
    s->head_have += (unsigned)k;
    if (s->head_have == H2_FRAME_HEAD_BYTES) {
        read_head(s, hd);
        *complete = true;
    }
    return k;
}

void h2_common_options(nghttp2_option *o)
{
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_max_send_header_block_length(o, H2_SEND_HEAD_MAX);
    nghttp2_option_set_max_outbound_ack(o, H2_ACKS_MAX);
    nghttp2_option_set_max_settings(o, H2_SETTINGS_ENTRIES_MAX);
}

bool h2_gather(nghttp2_session *session, struct h2_out *out)
{
    while (!h2_out_full(out)) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(session, &p);
        if (n < 0) {
            return false;
        }
        if (n == 0) {
            break;
        }
        if (!h2_out_copy(out, p, (size_t)n)) {
            return false;
        }
    }
    return true;
}

bool h2_put_data(struct h2_out *out, struct body *b, const uint8_t *head, size_t length)
{
    if (!h2_out_copy(out, head, H2_FRAME_HEAD_BYTES)) {
        return false;
    }
    while (length > 0) {
        struct body_slice piece;
        if (!body_take_upto(b, length, &piece)) {
            return false;
        }
        length -= piece.n;
        if (!h2_out_slice(out, piece.chunk, piece.p, piece.n)) {
            return false;
        }
    }
    return true;
}

/* A queue that was filled up beforehand (request_buffers, response_buffers) has few places left:
 * then one chunk is to hold all that the window lets come. */
#define CROWDED (BODY_SLICES_MAX / 2)
#define WINDOW_BYTES ((size_t)128 * 1024)

/* Can what comes next not go into the chunk that is being filled? */
static bool needs_chunk(const struct body *b, const struct chunk *gather)
{
    if (!gather || chunk_room(gather) == 0) {
        return true;
    }
    if (b->count + 1 < BODY_SLICES_MAX) {
        return false;
    }
    const struct body_slice *last = &b->slices[(b->first + b->count - 1) % BODY_SLICES_MAX];
    return last->chunk != gather || last->p + last->n != gather->data + gather->fill;
}

bool h2_push_content(struct body *b, struct chunk **gather, const char *p, size_t n)
{
    while (n > 0 && b->state == BODY_OPEN) {
        if (needs_chunk(b, *gather)) {
            size_t size = b->count < CROWDED ? CHUNK_BYTES : WINDOW_BYTES;
            chunk_unref(*gather);
            *gather = b->count < BODY_SLICES_MAX ? chunk_new(size) : NULL;
            if (!*gather) {
                return false;
            }
        }
        size_t k = n < chunk_room(*gather) ? n : chunk_room(*gather);
        char *to = chunk_end(*gather);
        memcpy(to, p, k);
        (*gather)->fill += (uint32_t)k;
        body_push(b, *gather, to, k);
        p += k;
        n -= k;
    }
    return true;
}
