/* Response heads: no crash, the same result however the bytes are cut, for GET and HEAD, and what
 * is accepted survives being written and parsed again. */
#include "proxy/h1/h1_parse.h"
#include "proxy/h1/h1_write.h"

#include "split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum h1_result result;
    struct arena arena;
    struct response res;
    struct h1_head head;
    struct h1_bad bad;
    char *copy;
};

static void parse(struct outcome *o, struct slice in, struct h1_scan *scan,
                  const struct h1_limits *limits, enum http_method method)
{
    *o = (struct outcome){0};
    arena_init(&o->arena, (size_t)1 << 20);
    o->copy = exact_copy(in);
    o->result = h1_parse_response(slice_of(o->copy, in.n), scan, limits, method, &o->arena,
                                  &o->res, &o->head, &o->bad);
}

static void drop(struct outcome *o)
{
    arena_fini(&o->arena);
    free(o->copy);
}

static void same(const struct outcome *a, const struct outcome *b)
{
    CHECK(a->result == b->result);
    if (a->result == H1_BAD) {
        CHECK(a->bad.status == 502 && b->bad.status == 502 && a->bad.why == b->bad.why);
    }
    if (a->result != H1_DONE) {
        return;
    }
    CHECK(a->head.head_bytes == b->head.head_bytes);
    CHECK(a->head.framing == b->head.framing && a->head.keep_alive == b->head.keep_alive);
    CHECK(a->res.status == b->res.status && slice_eq(a->res.reason, b->res.reason));
    CHECK(a->res.content_length == b->res.content_length);
    CHECK(a->res.fields.count == b->res.fields.count);
    for (unsigned i = 0; i < a->res.fields.count; i++) {
        CHECK(slice_eq(a->res.fields.items[i].name, b->res.fields.items[i].name));
        CHECK(slice_eq(a->res.fields.items[i].value, b->res.fields.items[i].value));
    }
}

static void in_pieces(const struct outcome *whole, struct slice in, unsigned max_step,
                      const struct h1_limits *limits, enum http_method method)
{
    struct split split = split_of(in, max_step);
    struct h1_scan scan = {0};
    for (size_t n = 0; n < in.n;) {
        n += split_next(&split);
        struct outcome o;
        parse(&o, slice_upto(in, n), &scan, limits, method);
        if (o.result != H1_MORE || n >= in.n) {
            same(whole, &o);
            drop(&o);
            return;
        }
        drop(&o);
    }
}

static void check_done(const struct outcome *o, enum http_method method)
{
    CHECK(o->res.status >= 100 && o->res.status <= 599);
    CHECK(o->head.framing != H1_UNTIL_CLOSE || !o->head.keep_alive);
    CHECK(o->head.framing != H1_LENGTH || o->res.content_length > 0);
    CHECK(method != METHOD_HEAD || o->head.framing == H1_NO_BODY || o->head.framing == H1_TUNNEL);
}

static void round_trip(const struct outcome *o, const struct h1_limits *limits,
                       enum http_method method)
{
    struct slice upgrade = o->head.framing == H1_TUNNEL ? S("x") : (struct slice){NULL, 0};
    struct chunk *c = h1_write_response(&o->res, o->head.framing, o->head.keep_alive, upgrade,
                                        S("Sun, 06 Nov 1994 08:49:37 GMT"));
    CHECK(c != NULL);
    struct h1_limits wide = {limits->head_bytes_max * 2 + 1024, FIELDS_MAX};
    struct h1_scan scan = {0};
    struct outcome again;
    parse(&again, slice_of(c->data, c->fill), &scan, &wide, method);
    CHECK(again.result == H1_DONE && again.head.head_bytes == c->fill);
    CHECK(again.head.framing == o->head.framing && again.res.status == o->res.status);
    CHECK(again.res.content_length == o->res.content_length);
    drop(&again);
    chunk_unref(c);
}

static void one(struct slice in, const struct h1_limits *limits, enum http_method method)
{
    struct outcome whole;
    struct h1_scan scan = {0};
    parse(&whole, in, &scan, limits, method);
    if (whole.result == H1_DONE) {
        check_done(&whole, method);
        round_trip(&whole, limits, method);
    }
    in_pieces(&whole, in, 40, limits, method);
    if (in.n <= 1024) {
        in_pieces(&whole, in, 1, limits, method);
    }
    drop(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    one(in, &(struct h1_limits){65536, 128}, METHOD_GET);
    one(in, &(struct h1_limits){65536, 128}, METHOD_HEAD);
    one(in, &(struct h1_limits){90, 4}, METHOD_GET);
    return 0;
}
