/* In: Accept-Encoding. Out: an order of preference. Weights are thousandths. */
#include "proxy/handler/accept_encoding.h"

/* ";q=0.5" behind a coding: 0 to 1000; 1000 without one or where it is malformed. */
static unsigned weight_of(struct slice params)
{
    struct slice item;
    while (slice_cut(&params, ';', &item)) {
        item = slice_trim(item);
        if (item.n < 3 || ascii_lower(item.p[0]) != 'q' || item.p[1] != '=') {
            continue;
        }
        unsigned weight = item.p[2] == '1' ? 1000 : 0, unit = 100;
        if (item.n > 3 && item.p[3] == '.' && weight == 0) {
            for (size_t i = 4; i < item.n && i < 7 && ascii_is_digit(item.p[i]); i++, unit /= 10) {
                weight += (unsigned)(item.p[i] - '0') * unit;
            }
        }
        return weight;
    }
    return 1000;
}

/* -1: not named. */
static int weight_in(const struct fields *request, struct slice coding)
{
    int any = -1;
    for (unsigned i = 0; i < request->count; i++) {
        struct slice rest = request->items[i].value, item, name;
        if (request->items[i].id != FIELD_ACCEPT_ENCODING) {
            continue;
        }
        while (slice_cut(&rest, ',', &item)) {
            struct slice params = item;
            if (!slice_cut(&params, ';', &name)) {
                continue;
            }
            name = slice_trim(name);
            if (slice_eq_case(name, coding)) {
                return (int)weight_of(params);
            }
            if (slice_eq(name, S("*"))) {
                any = (int)weight_of(params);
            }
        }
    }
    return any;
}

unsigned accept_encoding(const struct fields *request, const struct slice *offered, unsigned count,
                         unsigned order[ACCEPT_CODINGS_MAX])
{
    int weights[ACCEPT_CODINGS_MAX];
    unsigned taken = 0;
    for (unsigned i = 0; i < count && i < ACCEPT_CODINGS_MAX; i++) {
        int weight = weight_in(request, offered[i]);
        if (weight <= 0) {
            continue;
        }
        unsigned at = taken++;
        while (at > 0 && weights[at - 1] < weight) {
            weights[at] = weights[at - 1];
            order[at] = order[at - 1];
            at--;
        }
        weights[at] = weight;
        order[at] = i;
    }
    return taken;
}
