/* Bump allocation in blocks of 4 KiB (or one block for a larger request); see arena.h. */
#include "proxy/base/arena.h"

#include <stdio.h>
#include <stdlib.h>

#define BLOCK_BYTES ((size_t)4096)
#define ALIGN ((size_t)16)

struct arena_block {
    struct arena_block *next;
    size_t cap;
    _Alignas(16) char data[];
};

struct arena_cleanup {
    struct arena_cleanup *next;
    void (*fn)(void *ctx);
    void *ctx;
};

void arena_init(struct arena *a, size_t max_bytes)
{
    *a = (struct arena){.max_bytes = max_bytes};
}

static void free_blocks(struct arena_block *b)
{
    while (b) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
}

static void run_cleanups(struct arena *a)
{
    while (a->cleanups) {
        struct arena_cleanup *c = a->cleanups;
        a->cleanups = c->next;
        c->fn(c->ctx);
    }
}

void arena_fini(struct arena *a)
{
    run_cleanups(a);
    free_blocks(a->blocks);
    arena_init(a, a->max_bytes);
}

void arena_reset(struct arena *a)
{
    run_cleanups(a);
    struct arena_block *keep = a->blocks;
    if (!keep) {
        a->failed = false;
        return;
    }
    /* The first block made is the ordinary-sized one; later ones may be large. */
    while (keep->next) {
        struct arena_block *next = keep->next;
        free(keep);
        keep = next;
    }
    a->blocks = keep;
    a->p = keep->data;
    a->end = keep->data + keep->cap;
    a->used_bytes = keep->cap;
    a->failed = false;
}

static void *fail(struct arena *a)
{
    a->failed = true;
    return NULL;
}

static void *alloc_in_new_block(struct arena *a, size_t n)
{
    size_t cap =
        n > BLOCK_BYTES - sizeof(struct arena_block) ? n : BLOCK_BYTES - sizeof(struct arena_block);
    size_t total;
    if (__builtin_add_overflow(a->used_bytes, cap, &total) || total > a->max_bytes) {
        return fail(a);
    }
    struct arena_block *b = malloc(sizeof(*b) + cap);
    if (!b) {
        return fail(a);
    }
    b->cap = cap;
    a->used_bytes = total;
    b->next = a->blocks;
    a->blocks = b;
    a->p = b->data + n;
    a->end = b->data + cap;
    return b->data;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 2) {
        return fail(a);
    }
    n = (n + ALIGN - 1) & ~(ALIGN - 1);
    if (LIKELY(a->p && n <= (size_t)(a->end - a->p))) {
        void *p = a->p;
        a->p += n;
        return p;
    }
    return alloc_in_new_block(a, n);
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);
    if (p) {
        memset(p, 0, n);
    }
    return p;
}

void *arena_zalloc_array(struct arena *a, size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n)) {
        return fail(a);
    }
    return arena_zalloc(a, n);
}

struct slice arena_copy(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n + 1);
    if (!p) {
        return (struct slice){NULL, 0};
    }
    if (s.n) {
        memcpy(p, s.p, s.n);
    }
    p[s.n] = '\0';
    return (struct slice){p, s.n};
}

char *arena_cstr(struct arena *a, struct slice s)
{
    return (char *)(uintptr_t)arena_copy(a, s).p;
}

struct slice arena_lower(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n + 1);
    if (!p) {
        return (struct slice){NULL, 0};
    }
    for (size_t i = 0; i < s.n; i++) {
        p[i] = ascii_lower(s.p[i]);
    }
    p[s.n] = '\0';
    return (struct slice){p, s.n};
}

struct slice arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n >= 0 ? arena_alloc(a, (size_t)n + 1) : NULL;
    if (!p) {
        a->failed = true;
        return (struct slice){NULL, 0};
    }
    va_start(ap, fmt);
    (void)vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return (struct slice){p, (size_t)n};
}

void arena_on_fini(struct arena *a, void (*fn)(void *ctx), void *ctx)
{
    struct arena_cleanup *c = ARENA_NEW(a, struct arena_cleanup);
    must(c);
    *c = (struct arena_cleanup){a->cleanups, fn, ctx};
    a->cleanups = c;
}
