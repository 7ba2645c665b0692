/* Every key of a store, one after the other. */
#ifndef STORE_WALK_H
#define STORE_WALK_H

#include "store/store.h"

/* Calls each() with every key below the folder `prefix` (empty: all), sorted within a folder. Goes
 * on as long as it returns true. What is no value and no folder (links, pipes) is not seen.
 * STORE_MISSING: there is no such folder. A folder that goes away meanwhile is left out. */
NODISCARD enum store_result store_walk(struct store *s, struct slice prefix,
                                       bool (*each)(void *ctx, struct slice key), void *ctx,
                                       struct err *err);

#endif
