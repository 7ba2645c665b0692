/* A bump allocator: many small allocations, one release. Used for an exchange (hot, bounded) and
 * for a configuration (cold). Memory is 16-byte aligned and not zeroed unless said so. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>

#include "proxy/base/slice.h"

struct arena_block;
struct arena_cleanup;

struct arena {
    char *p;
    char *end;
    struct arena_block *blocks; /* owned, newest first */
    struct arena_cleanup *cleanups; /* in the blocks, newest first */
    size_t used_bytes;
    size_t max_bytes;
    bool failed; /* sticky: an allocation was refused since the last reset */
};

#define ARENA_NO_MAX SIZE_MAX

/* Nothing is allocated until the first use. max_bytes bounds the sum of all blocks. */
void arena_init(struct arena *a, size_t max_bytes);
/* Frees every block. The arena may be used again as if just initialised. */
void arena_fini(struct arena *a);
/* Forgets all allocations and keeps one block for the next use. */
void arena_reset(struct arena *a);
/* For what is not memory of the arena but lives as long: fn(ctx) is called by arena_fini and
 * arena_reset, the last one given first, while the arena's memory is still there. Cold code (it
 * must not fail). */
void arena_on_fini(struct arena *a, void (*fn)(void *ctx), void *ctx);

/* NULL past max_bytes or when memory is out (and a->failed is set). */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);
/* A NUL-terminated copy; an empty slice with p == NULL on failure. */
struct slice arena_copy(struct arena *a, struct slice s);
/* The same as a C string; NULL on failure. */
char *arena_cstr(struct arena *a, struct slice s);
/* Formatted, NUL-terminated. */
struct slice arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
/* Lower-cased (ASCII) copy. */
struct slice arena_lower(struct arena *a, struct slice s);

#define ARENA_NEW(a, type) ((type *)arena_zalloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, count) ((type *)arena_zalloc_array((a), (count), sizeof(type)))
void *arena_zalloc_array(struct arena *a, size_t count, size_t size);

#endif
