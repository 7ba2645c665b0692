/* The chunked coding: no crash, and the same data, end and trailers however the bytes are cut. */
#include "proxy/h1/h1_chunked.h"

#include "split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum h1_chunked_result result;
    size_t used;
    struct dstr data;
    struct arena arena;
    struct fields trailers;
    const char *why;
};

static enum h1_chunked_result feed(struct h1_chunked *c, struct slice piece, struct outcome *o)
{
    enum h1_chunked_result r = H1_CHUNKED_MORE;
    do {
        size_t used;
        struct slice data;
        r = h1_chunked_step(c, piece, &used, &data, &o->arena, &o->trailers, &o->why);
        CHECK(used <= piece.n);
        if (r == H1_CHUNKED_DATA) {
            CHECK(data.n > 0 && data.p >= piece.p && data.p + data.n == piece.p + used);
            dstr_append(&o->data, data);
        }
        CHECK(r != H1_CHUNKED_MORE || used == piece.n);
        piece = slice_from(piece, used);
        o->used += used;
    } while (r == H1_CHUNKED_DATA);
    return r;
}

static void decode(struct outcome *o, struct slice in, unsigned max_step)
{
    *o = (struct outcome){.result = H1_CHUNKED_MORE};
    arena_init(&o->arena, (size_t)1 << 20);
    dstr_init(&o->data, (size_t)16 << 20);
    struct h1_chunked c;
    h1_chunked_init(&c);
    struct split split = split_of(in, max_step ? max_step : 1);
    while (in.n && o->result == H1_CHUNKED_MORE) {
        struct slice piece = slice_upto(in, max_step ? split_next(&split) : in.n);
        char *copy = exact_copy(piece);
        o->result = feed(&c, slice_of(copy, piece.n), o);
        free(copy);
        in = slice_from(in, piece.n);
    }
    h1_chunked_fini(&c);
}

static void drop(struct outcome *o)
{
    arena_fini(&o->arena);
    dstr_fini(&o->data);
}

static void same(const struct outcome *a, const struct outcome *b)
{
    CHECK(a->result == b->result);
    CHECK(slice_eq(dstr_slice(&a->data), dstr_slice(&b->data)));
    if (a->result == H1_CHUNKED_BAD) {
        CHECK(a->why == b->why);
        return;
    }
    CHECK(a->used == b->used && a->trailers.count == b->trailers.count);
    for (unsigned i = 0; i < a->trailers.count; i++) {
        CHECK(slice_eq(a->trailers.items[i].name, b->trailers.items[i].name));
        CHECK(slice_eq(a->trailers.items[i].value, b->trailers.items[i].value));
        CHECK(field_name_valid(a->trailers.items[i].name));
        CHECK(field_value_valid(a->trailers.items[i].value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    struct outcome whole;
    decode(&whole, in, 0);
    const unsigned steps[] = {1, 3, 40};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct outcome o;
        decode(&o, in, steps[i]);
        same(&whole, &o);
        drop(&o);
    }
    drop(&whole);
    return 0;
}
