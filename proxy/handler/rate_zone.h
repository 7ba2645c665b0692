/* Counting events by key within a window, for rate_limit: over all workers, across reloads, in
 * memory that is fixed once.
 *
 * The window is cut into 16 slots; what counts is the slot that runs and the 16 before it, so that
 * never more than the allowed events fall into any window (and an event is forgotten at most one
 * slot late). Keys are kept as 64-bit keyed hashes in sets of 8: when a set is full the key that
 * was quiet longest is forgotten, and begins anew if it comes back. */
#ifndef HANDLER_RATE_ZONE_H
#define HANDLER_RATE_ZONE_H

#include "proxy/base/slice.h"

struct rate_zone; /* counted */

#define RATE_ZONE_KEYS_MAX 65536u
#define RATE_EVENTS_MAX 1000000u

/* The zone of that name with those limits: one that a running configuration has, or a new one.
 * window_ms at least 16. */
struct rate_zone *rate_zone_get(struct slice name, unsigned events, int64_t window_ms);
void rate_zone_unref(struct rate_zone *z);

/* Counts an event of key at now_ms (monotonic). 0: it is allowed. Else it is not, and not counted:
 * so many milliseconds until one may be. Any thread. */
int64_t rate_zone_take(struct rate_zone *z, struct slice key, int64_t now_ms);

#endif
