/* Replies of a Redis server, cut into pieces as the first byte says: never more than is allowed. */
#include <stdint.h>

#include "store/redis_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BYTES_MAX ((size_t)4096)
#define ITEMS_MAX ((size_t)16)

struct source {
    struct slice rest;
    size_t piece;
};

static ssize_t read_piece(void *ctx, char *at, size_t n, struct err *err UNUSED)
{
    struct source *s = ctx;
    size_t take = s->piece < n ? s->piece : n;
    take = take < s->rest.n ? take : s->rest.n;
    memcpy(at, s->rest.p, take);
    s->rest = slice_from(s->rest, take);
    return (ssize_t)take;
}

static size_t look(const struct redis_reply *r, int depth)
{
    size_t bytes = r->n;
    must(depth <= REDIS_DEPTH_MAX && r->count <= ITEMS_MAX);
    must(!r->text || r->text[r->n] == '\0');
    for (size_t i = 0; i < r->count; i++) {
        must(r->items[i] != NULL);
        bytes += look(r->items[i], depth + 1);
    }
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    static const char nothing[1];
    struct source source = {slice_of(size > 1 ? (const char *)data + 1 : nothing, size - 1),
                            (size_t)data[0] + 1};
    struct err err = {.text = ""};
    struct redis_reply *r = redis_reply_read(read_piece, &source, BYTES_MAX, ITEMS_MAX, &err);
    must((r != NULL) == (err.text[0] == '\0'));
    if (r) {
        must(look(r, 0) <= BYTES_MAX);
    }
    redis_reply_free(r);
    return 0;
}
