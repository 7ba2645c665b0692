/* Heads that are written: lines passed on as they were received give the same bytes as fields that
 * are checked and put together one by one, whatever is done to the fields in between.
 *
 * The input: a line of bytes in pairs that say what is done to which field, and behind it a
 * request's or a response's head. */
#include "proxy/h1/h1_write.h"

#include "split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHANGES_MAX 24u

struct head {
    bool is_request;
    struct arena arena;
    struct request req;
    struct response res;
    struct h1_head head;
    char *copy;
};

static bool parse(struct head *h, struct slice in)
{
    const struct h1_limits limits = {65536, 128};
    struct h1_scan scan = {0};
    struct h1_bad bad;
    *h = (struct head){.is_request = !slice_starts(in, S("HTTP/"))};
    arena_init(&h->arena, (size_t)1 << 20);
    h->copy = exact_copy(in);
    struct slice bytes = slice_of(h->copy, in.n);
    enum h1_result r = h->is_request ? h1_parse_request(bytes, &scan, &limits, &h->arena, &h->req,
                                                        &h->head, &bad)
                                     : h1_parse_response(bytes, &scan, &limits, METHOD_GET,
                                                         &h->arena, &h->res, &h->head, &bad);
    return r == H1_DONE;
}

static void put_field(struct head *h, struct fields *fields, struct slice name, struct slice value)
{
    if (fields->count < FIELDS_MAX) {
        CHECK(fields_add(fields, &h->arena, name, value));
    }
}

/* Part of a line, as rules and other fields may have it. */
static void cut(struct field *f, unsigned how, unsigned n)
{
    struct slice *s = how & 1 ? &f->name : &f->value;
    *s = how & 2 ? slice_from(*s, n) : slice_upto(*s, n);
    f->id = field_id(f->name);
}

static void change(struct head *h, struct fields *fields, unsigned what, unsigned which)
{
    if (!fields->count) {
        return;
    }
    struct field *f = &fields->items[which % fields->count];
    struct field *other = &fields->items[(what >> 3) % fields->count];
    switch (what & 7) {
    case 0: cut(f, what >> 3, what >> 5); break;
    case 1: f->value = other->value; break;
    case 2: f->name = other->name; f->id = other->id; break;
    case 3: f->value = arena_copy(&h->arena, f->value); break;
    case 4: f->name = arena_copy(&h->arena, f->name); break;
    case 5: {
        struct field kept = *f;
        *f = *other;
        *other = kept;
        break;
    }
    case 6: put_field(h, fields, f->name, other->value); break;
    default: (void)(what & 8 ? fields_remove(fields, f->name)
                             : (unsigned)fields_set(fields, &h->arena, f->name, S("a b")));
    }
}

static struct chunk *write_head(const struct head *h)
{
    return h->is_request ? h1_write_request(&h->req, h->head.framing, true, S(""))
                         : h1_write_response(&h->res, h->head.framing, H1_KEEP, S(""), S(""));
}

static void compare(struct head *h, struct fields *fields)
{
    struct chunk *whole = write_head(h);
    for (unsigned i = 0; i < fields->count; i++) {
        fields->items[i].line_bytes = 0;
    }
    struct chunk *single = write_head(h);
    CHECK(!whole == !single);
    CHECK(!whole || slice_eq(slice_of(whole->data, whole->fill),
                             slice_of(single->data, single->fill)));
    chunk_unref(whole);
    chunk_unref(single);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    size_t end = slice_find(in, '\n');
    struct slice changes = end == SLICE_NPOS ? S("") : slice_upto(in, end);
    struct head h;
    if (parse(&h, end == SLICE_NPOS ? in : slice_from(in, end + 1))) {
        struct fields *fields = h.is_request ? &h.req.fields : &h.res.fields;
        for (size_t i = 0; i + 2 <= changes.n && i < 2 * (size_t)CHANGES_MAX; i += 2) {
            change(&h, fields, (unsigned char)changes.p[i], (unsigned char)changes.p[i + 1]);
        }
        compare(&h, fields);
    }
    arena_fini(&h.arena);
    free(h.copy);
    return 0;
}
