/* Comparing what configurations say about their stores. See kinds.h. */
#include "store/kinds.h"

static bool same_values(const struct slice *a, size_t a_count, const struct slice *b,
                        size_t b_count)
{
    if (a_count != b_count) {
        return false;
    }
    for (size_t i = 0; i < a_count; i++) {
        if (!slice_eq(a[i], b[i])) {
            return false;
        }
    }
    return true;
}

bool store_settings_equal(const struct store_settings *a, const struct store_settings *b)
{
    if (a->kind != b->kind || a->count != b->count ||
        !same_values(a->args, a->arg_count, b->args, b->arg_count)) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (!slice_eq(a->items[i].name, b->items[i].name) ||
            !same_values(a->items[i].values, a->items[i].count, b->items[i].values,
                         b->items[i].count)) {
            return false;
        }
    }
    return true;
}
