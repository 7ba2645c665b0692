/* A stable sort in place, for lists whose order is not quite an order.
 *
 * Caddy sorts directives with a comparison that is not transitive, so the result depends on how it
 * is sorted. This is how Go's library does it: insertion within blocks of 20, then merges of the
 * blocks (SymMerge: Kim and Kutzner, "Stable Minimum Storage Merging by Symmetric Comparisons",
 * 2004). O(n log n) comparisons, O(n log^2 n) moves, no memory. */
#ifndef BASE_SORT_H
#define BASE_SORT_H

#include <stdbool.h>
#include <stddef.h>

#define SORT_ITEM_MAX 256 /* bytes of one item */

/* Sorts count items of size bytes; less(a, b): must a stand in front of b? */
void stable_sort(void *items, size_t count, size_t size,
                 bool (*less)(const void *a, const void *b));

#endif
