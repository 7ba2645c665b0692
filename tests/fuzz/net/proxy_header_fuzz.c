/* The PROXY header in all its forms: whatever is accepted must be whole, within its limits, the
 * same when it comes in pieces, and what is written from it must be read as the same. */
#include <stdlib.h>

#include "proxy/net/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void written_again(unsigned version, const struct proxy_header *h)
{
    char out[PROXY_HEADER_V1_MAX + 1];
    struct proxy_header again;
    const char *why;
    size_t n = proxy_header_write(version, &h->source, &h->destination, out);
    must(n <= PROXY_HEADER_V1_MAX);
    must(proxy_header_parse(slice_of(out, n), &again, &why) == PROXY_HEADER_OK);
    must(again.bytes == n);
    if (addr_is_unix(&h->source)) {
        must(again.source.len == 0);
        return;
    }
    char a[ADDR_TEXT_BYTES];
    char b[ADDR_TEXT_BYTES];
    must(slice_eq(addr_text(&h->source, a), addr_text(&again.source, b)));
    must(slice_eq(addr_text(&h->destination, a), addr_text(&again.destination, b)));
}

/* A shorter piece must ask for more, and for no more than the header has. */
static void in_pieces(struct slice in, const struct proxy_header *whole)
{
    struct proxy_header h;
    const char *why;
    for (size_t n = 0; n < whole->bytes; n += n < 64 ? 1 : 61) {
        must(proxy_header_parse(slice_upto(in, n), &h, &why) == PROXY_HEADER_MORE);
        must(h.bytes > n && h.bytes <= whole->bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    struct proxy_header h;
    const char *why = NULL;
    enum proxy_header_result result = proxy_header_parse(in, &h, &why);
    must((result == PROXY_HEADER_BAD) == (why != NULL));
    must(result != PROXY_HEADER_MORE || (h.bytes > size && h.bytes <= PROXY_HEADER_MAX));
    if (result != PROXY_HEADER_OK) {
        return 0;
    }
    must(h.bytes <= size && h.bytes <= PROXY_HEADER_MAX);
    must((h.source.len == 0) == (h.destination.len == 0));
    in_pieces(in, &h);
    if (h.source.len) {
        written_again(1, &h);
        written_again(2, &h);
    }
    return 0;
}
