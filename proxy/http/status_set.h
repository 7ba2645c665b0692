/* A set of status codes 100 to 599, as options write it: "404", "5xx". A plain value. */
#ifndef HTTP_STATUS_SET_H
#define HTTP_STATUS_SET_H

#include "proxy/base/slice.h"

struct status_set {
    uint64_t bits[8];
    bool any; /* something was added */
};

static inline bool status_set_has(const struct status_set *s, int status)
{
    unsigned i = (unsigned)(status - 100);
    return status >= 100 && status <= 599 && ((s->bits[i / 64] >> (i % 64)) & 1);
}

/* False: text is neither a code nor a class. */
NODISCARD static inline bool status_set_add(struct status_set *s, struct slice text)
{
    uint64_t first = 0;
    uint64_t last;
    if (text.n == 3 && text.p[0] >= '1' && text.p[0] <= '5' &&
        slice_eq_case(slice_from(text, 1), S("xx"))) {
        first = (uint64_t)(text.p[0] - '0') * 100;
        last = first + 99;
    } else if (text.n == 3 && slice_u64(text, 599, &first) && first >= 100) {
        last = first;
    } else {
        return false;
    }
    for (uint64_t i = first - 100; i <= last - 100; i++) {
        s->bits[i / 64] |= (uint64_t)1 << (i % 64);
    }
    s->any = true;
    return true;
}

#endif
