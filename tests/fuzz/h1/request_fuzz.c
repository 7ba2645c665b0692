/* Request heads: no crash, the same result however the bytes are cut, and what is accepted survives
 * being written and parsed again. */
#include "proxy/h1/h1_parse.h"
#include "proxy/h1/h1_write.h"

#include "split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum h1_result result;
    struct arena arena;
    struct request req;
    struct h1_head head;
    struct h1_bad bad;
    char *copy;
};

static void parse(struct outcome *o, struct slice in, struct h1_scan *scan,
                  const struct h1_limits *limits)
{
    *o = (struct outcome){0};
    arena_init(&o->arena, (size_t)1 << 20);
    o->copy = exact_copy(in);
    o->result = h1_parse_request(slice_of(o->copy, in.n), scan, limits, &o->arena, &o->req,
                                 &o->head, &o->bad);
}

static void drop(struct outcome *o)
{
    arena_fini(&o->arena);
    free(o->copy);
}

static void same_fields(const struct fields *a, const struct fields *b)
{
    CHECK(a->count == b->count);
    for (unsigned i = 0; i < a->count; i++) {
        CHECK(slice_eq(a->items[i].name, b->items[i].name));
        CHECK(slice_eq(a->items[i].value, b->items[i].value));
        CHECK(a->items[i].id == b->items[i].id);
    }
}

static void same(const struct outcome *a, const struct outcome *b)
{
    CHECK(a->result == b->result);
    if (a->result == H1_BAD) {
        CHECK(a->bad.status == b->bad.status && a->bad.why == b->bad.why);
    }
    if (a->result != H1_DONE) {
        return;
    }
    CHECK(a->head.head_bytes == b->head.head_bytes);
    CHECK(a->head.framing == b->head.framing && a->head.keep_alive == b->head.keep_alive);
    CHECK(slice_eq(a->req.method_text, b->req.method_text));
    CHECK(slice_eq(a->req.target, b->req.target) && slice_eq(a->req.host, b->req.host));
    CHECK(a->req.content_length == b->req.content_length);
    same_fields(&a->req.fields, &b->req.fields);
}

static void in_pieces(const struct outcome *whole, struct slice in, unsigned max_step,
                      const struct h1_limits *limits)
{
    struct split split = split_of(in, max_step);
    struct h1_scan scan = {0};
    for (size_t n = 0; n < in.n;) {
        n += split_next(&split);
        struct outcome o;
        parse(&o, slice_upto(in, n), &scan, limits);
        if (o.result != H1_MORE || n >= in.n) {
            same(whole, &o);
            drop(&o);
            return;
        }
        drop(&o);
    }
}

static void check_done(const struct outcome *o, size_t size)
{
    const struct request *r = &o->req;
    CHECK(o->head.head_bytes <= size && r->fields.count <= 128);
    CHECK(r->method == METHOD_CONNECT || r->target.p[0] == '/' || slice_eq(r->target, S("*")));
    CHECK(r->version == HTTP_1_0 || r->host.n > 0);
    CHECK(o->head.framing != H1_CHUNKED || r->version == HTTP_1_1);
    CHECK(o->head.framing != H1_LENGTH || r->content_length > 0);
    for (unsigned i = 0; i < r->fields.count; i++) {
        CHECK(field_name_valid(r->fields.items[i].name));
        CHECK(field_value_valid(r->fields.items[i].value));
    }
}

/* Written and parsed again: the same target and framing, and still one request. */
static void round_trip(const struct outcome *o, const struct h1_limits *limits)
{
    struct chunk *c = h1_write_request(&o->req, o->head.framing, true, (struct slice){NULL, 0});
    CHECK(c != NULL);
    struct h1_limits wide = {limits->head_bytes_max * 2 + 1024, FIELDS_MAX};
    struct h1_scan scan = {0};
    struct outcome again;
    parse(&again, slice_of(c->data, c->fill), &scan, &wide);
    if (o->req.version == HTTP_1_1) {
        CHECK(again.result == H1_DONE && again.head.head_bytes == c->fill);
        CHECK(again.head.framing == o->head.framing);
        CHECK(slice_eq(again.req.target, o->req.target));
        CHECK(again.req.content_length == o->req.content_length);
    }
    drop(&again);
    chunk_unref(c);
}

static void one(struct slice in, const struct h1_limits *limits)
{
    struct outcome whole;
    struct h1_scan scan = {0};
    parse(&whole, in, &scan, limits);
    if (whole.result == H1_DONE) {
        check_done(&whole, in.n);
        round_trip(&whole, limits);
    }
    in_pieces(&whole, in, 40, limits);
    if (in.n <= 1024) {
        in_pieces(&whole, in, 1, limits);
    }
    drop(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    one(in, &(struct h1_limits){65536, 128});
    one(in, &(struct h1_limits){90, 4});
    return 0;
}
