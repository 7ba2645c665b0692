/* A hash table from byte strings to pointers: open addressing, SipHash-1-3 with a key drawn at
 * start, so that nobody outside can choose colliding names. Keys are borrowed: they must live as
 * long as the entry. Cold code only for changes (it allocates with mem_*); reads are hot. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "proxy/base/slice.h"

struct map_entry {
    struct slice key; /* p == NULL: free */
    void *value;
    uint64_t hash;
};

struct map {
    struct map_entry *entries; /* owned */
    size_t cap;                /* 0 or a power of two */
    size_t count;
};

void map_init(struct map *m);
void map_fini(struct map *m);
/* NULL when absent. */
void *map_get(const struct map *m, struct slice key);
/* The same for a key whose hash (map_hash) is known. */
void *map_get_hashed(const struct map *m, struct slice key, uint64_t hash);
/* Sets or replaces; returns the value that was there, or NULL. value must not be NULL. */
void *map_put(struct map *m, struct slice key, void *value);
/* Room for one more key, so that the next map_put allocates nothing: for hot code, which must not
 * wait for memory. False: there is none, and nothing has changed. */
NODISCARD bool map_reserve(struct map *m);
/* Removes; returns the value that was there, or NULL. */
void *map_del(struct map *m, struct slice key);
/* The next used entry at or after *cursor, which starts at 0; NULL at the end. */
struct map_entry *map_next(const struct map *m, size_t *cursor);

/* The keyed hash itself, for callers that need one. */
uint64_t map_hash(struct slice key);

#endif
