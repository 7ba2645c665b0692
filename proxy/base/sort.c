/* The stable sort; see sort.h. */
#include "proxy/base/sort.h"

#include <string.h>

#include "proxy/base/attr.h"

#define BLOCK 20u

struct sorting {
    char *items;
    size_t size;
    bool (*less)(const void *a, const void *b);
};

static bool goes_first(const struct sorting *s, size_t i, size_t j)
{
    return s->less(s->items + i * s->size, s->items + j * s->size);
}

/* Item `from` to the place `to`, those between move up or down by one. */
static void move(const struct sorting *s, size_t from, size_t to)
{
    char item[SORT_ITEM_MAX];
    char *p = s->items;
    memcpy(item, p + from * s->size, s->size);
    if (to < from) {
        memmove(p + (to + 1) * s->size, p + to * s->size, (from - to) * s->size);
    } else {
        memmove(p + from * s->size, p + (from + 1) * s->size, (to - from) * s->size);
    }
    memcpy(p + to * s->size, item, s->size);
}

static void insertion(const struct sorting *s, size_t from, size_t end)
{
    for (size_t i = from + 1; i < end; i++) {
        size_t to = i;
        char item[SORT_ITEM_MAX];
        memcpy(item, s->items + i * s->size, s->size);
        while (to > from && s->less(item, s->items + (to - 1) * s->size)) {
            to--;
        }
        move(s, i, to);
    }
}

static void reverse(const struct sorting *s, size_t from, size_t end)
{
    char item[SORT_ITEM_MAX];
    for (; from + 1 < end; from++, end--) {
        char *a = s->items + from * s->size;
        char *b = s->items + (end - 1) * s->size;
        memcpy(item, a, s->size);
        memcpy(a, b, s->size);
        memcpy(b, item, s->size);
    }
}

/* [from, middle) and [middle, end) change places. */
static void rotate(const struct sorting *s, size_t from, size_t middle, size_t end)
{
    reverse(s, from, middle);
    reverse(s, middle, end);
    reverse(s, from, end);
}

/* One item in front of a sorted run: behind all that go in front of it. */
static void merge_first(const struct sorting *s, size_t item, size_t end)
{
    size_t low = item + 1;
    size_t high = end;
    while (low < high) {
        size_t half = low + (high - low) / 2;
        if (goes_first(s, half, item)) {
            low = half + 1;
        } else {
            high = half;
        }
    }
    move(s, item, low - 1);
}

/* One item behind a sorted run: in front of all that it goes in front of. */
static void merge_last(const struct sorting *s, size_t from, size_t item)
{
    size_t low = from;
    size_t high = item;
    while (low < high) {
        size_t half = low + (high - low) / 2;
        if (!goes_first(s, item, half)) {
            low = half + 1;
        } else {
            high = half;
        }
    }
    move(s, item, low);
}

/* Merges the sorted runs [a, m) and [m, b). The depth is the logarithm of the length. */
static void merge(const struct sorting *s, size_t a, size_t m, size_t b)
{
    if (m - a == 1) {
        merge_first(s, a, b);
        return;
    }
    if (b - m == 1) {
        merge_last(s, a, m);
        return;
    }
    size_t middle = a + (b - a) / 2;
    size_t sum = middle + m;
    size_t low = m > middle ? sum - b : a;
    size_t high = m > middle ? middle : m;
    while (low < high) { /* what of the two runs crosses the middle: symmetric to it */
        size_t half = low + (high - low) / 2;
        if (!goes_first(s, sum - 1 - half, half)) {
            low = half + 1;
        } else {
            high = half;
        }
    }
    size_t end = sum - low;
    if (low < m && m < end) {
        rotate(s, low, m, end);
    }
    if (a < low && low < middle) {
        merge(s, a, low, middle);
    }
    if (middle < end && end < b) {
        merge(s, middle, end, b);
    }
}

void stable_sort(void *items, size_t count, size_t size,
                 bool (*less)(const void *a, const void *b))
{
    struct sorting s = {items, size, less};
    must(size <= SORT_ITEM_MAX);
    for (size_t from = 0; from < count; from += BLOCK) {
        insertion(&s, from, count - from > BLOCK ? from + BLOCK : count);
    }
    for (size_t run = BLOCK; run < count; run *= 2) {
        for (size_t from = 0; count - from > run; from += 2 * run) {
            size_t end = count - from > 2 * run ? from + 2 * run : count;
            merge(&s, from, from + run, end);
            if (end == count) {
                break;
            }
        }
    }
}
