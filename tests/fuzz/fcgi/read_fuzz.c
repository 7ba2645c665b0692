/* FastCGI records: no crash, and the same bytes, verdict and end however the input is cut. The
 * first byte says how. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/fcgi/fcgi_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(expr) \
    do {            \
        if (!(expr)) { \
            abort();   \
        }              \
    } while (0)

struct outcome {
    struct fcgi_read read;
    struct dstr out;
    struct dstr errors;
    bool ok;
};

static void feed(struct outcome *o, struct slice in, size_t step)
{
    fcgi_read_init(&o->read);
    dstr_init(&o->out, (size_t)16 << 20);
    dstr_init(&o->errors, (size_t)16 << 20);
    o->ok = true;
    while (o->ok && in.n) {
        size_t n = in.n < step ? in.n : step;
        char *copy = malloc(n); /* of the very size: a read past it is seen */
        CHECK(copy);
        memcpy(copy, in.p, n);
        o->ok = fcgi_read_feed(&o->read, slice_of(copy, n), &o->out);
        dstr_append(&o->errors, dstr_slice(&o->read.errors));
        dstr_reset(&o->read.errors);
        free(copy);
        in = slice_from(in, n);
    }
}

static void drop(struct outcome *o)
{
    fcgi_read_fini(&o->read);
    dstr_fini(&o->out);
    dstr_fini(&o->errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, cut;
    if (size == 0 || size > 60000) {
        return 0;
    }
    struct slice in = slice_of(data + 1, size - 1);
    feed(&whole, in, SIZE_MAX);
    feed(&cut, in, (size_t)data[0] + 1);
    CHECK(whole.ok == cut.ok && whole.ok == !whole.read.bad);
    CHECK(whole.read.ended == cut.read.ended);
    CHECK(slice_eq(dstr_slice(&whole.out), dstr_slice(&cut.out)));
    CHECK(whole.errors.n <= cut.errors.n); /* in one piece more of it finds no place */
    CHECK(!whole.out.n || slice_starts(dstr_slice(&whole.out), S("HTTP/1.1 ")));
    drop(&whole);
    drop(&cut);
    return 0;
}
