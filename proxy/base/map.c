/* The hash table; see map.h. Linear probing, at most three quarters full, deletion by shifting
 * back, so that there are no tombstones. */
#include "proxy/base/map.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "proxy/base/mem.h"

static uint64_t hash_key[2];
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;

static void draw_key(void)
{
    if (getrandom(hash_key, sizeof(hash_key), 0) != (ssize_t)sizeof(hash_key)) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        hash_key[0] = (uint64_t)t.tv_nsec * 0x9e3779b97f4a7c15u;
        hash_key[1] = (uint64_t)(uintptr_t)&t ^ (uint64_t)t.tv_sec;
    }
}

static uint64_t rotl(uint64_t x, int b)
{
    return (x << b) | (x >> (64 - b));
}

#define SIPROUND                            \
    do {                                    \
        v0 += v1;                           \
        v1 = rotl(v1, 13) ^ v0;             \
        v0 = rotl(v0, 32);                  \
        v2 += v3;                           \
        v3 = rotl(v3, 16) ^ v2;             \
        v0 += v3;                           \
        v3 = rotl(v3, 21) ^ v0;             \
        v2 += v1;                           \
        v1 = rotl(v1, 17) ^ v2;             \
        v2 = rotl(v2, 32);                  \
    } while (0)

/* SipHash-1-3 (Aumasson, Bernstein). */
uint64_t map_hash(struct slice key)
{
    pthread_once(&hash_once, draw_key);
    uint64_t v0 = hash_key[0] ^ 0x736f6d6570736575u;
    uint64_t v1 = hash_key[1] ^ 0x646f72616e646f6du;
    uint64_t v2 = hash_key[0] ^ 0x6c7967656e657261u;
    uint64_t v3 = hash_key[1] ^ 0x7465646279746573u;
    const char *p = key.p;
    size_t left = key.n;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t m;
        memcpy(&m, p, 8);
        v3 ^= m;
        SIPROUND;
        v0 ^= m;
    }
    uint64_t last = (uint64_t)key.n << 56;
    for (size_t i = 0; i < left; i++) {
        last |= (uint64_t)(unsigned char)p[i] << (8 * i);
    }
    v3 ^= last;
    SIPROUND;
    v0 ^= last;
    v2 ^= 0xff;
    SIPROUND;
    SIPROUND;
    SIPROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_fini(struct map *m)
{
    free(m->entries);
    map_init(m);
}

static struct map_entry *find(const struct map *m, struct slice key, uint64_t hash)
{
    size_t mask = m->cap - 1;
    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        struct map_entry *e = &m->entries[i];
        if (!e->key.p || (e->hash == hash && slice_eq(e->key, key))) {
            return e;
        }
    }
}

void *map_get_hashed(const struct map *m, struct slice key, uint64_t hash)
{
    return m->count ? find(m, key, hash)->value : NULL;
}

void *map_get(const struct map *m, struct slice key)
{
    return m->count ? find(m, key, map_hash(key))->value : NULL;
}

#define FIRST_CAP 16

static bool is_full(const struct map *m)
{
    return (m->count + 1) * 4 > m->cap * 3;
}

static size_t grown_cap(const struct map *m)
{
    return m->cap ? m->cap * 2 : FIRST_CAP;
}

/* Moves all entries into these: zeroed, grown_cap(m) many. Frees the old ones. */
static void grow_into(struct map *m, struct map_entry *entries)
{
    struct map bigger = {entries, grown_cap(m), m->count};
    for (size_t i = 0; i < m->cap; i++) {
        struct map_entry *e = &m->entries[i];
        if (e->key.p) {
            *find(&bigger, e->key, e->hash) = *e;
        }
    }
    free(m->entries);
    *m = bigger;
}

bool map_reserve(struct map *m)
{
    if (is_full(m)) {
        struct map_entry *entries = calloc(grown_cap(m), sizeof(*entries));
        if (!entries) {
            return false;
        }
        grow_into(m, entries);
    }
    return true;
}

void *map_put(struct map *m, struct slice key, void *value)
{
    must(value);
    if (is_full(m)) {
        grow_into(m, mem_zalloc(grown_cap(m) * sizeof(struct map_entry)));
    }
    if (!key.p) {
        key.p = "";
    }
    uint64_t hash = map_hash(key);
    struct map_entry *e = find(m, key, hash);
    void *old = e->value;
    if (!e->key.p) {
        m->count++;
    }
    *e = (struct map_entry){key, value, hash};
    return old;
}

void *map_del(struct map *m, struct slice key)
{
    if (m->count == 0) {
        return NULL;
    }
    struct map_entry *e = find(m, key, map_hash(key));
    void *old = e->value;
    if (!e->key.p) {
        return NULL;
    }
    /* Backward-shift deletion: what follows moves up unless it is at home already. */
    size_t mask = m->cap - 1;
    size_t hole = (size_t)(e - m->entries);
    for (size_t i = (hole + 1) & mask; m->entries[i].key.p; i = (i + 1) & mask) {
        size_t home = (size_t)m->entries[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->entries[hole] = m->entries[i];
            hole = i;
        }
    }
    m->entries[hole] = (struct map_entry){0};
    m->count--;
    return old;
}

struct map_entry *map_next(const struct map *m, size_t *cursor)
{
    while (*cursor < m->cap) {
        struct map_entry *e = &m->entries[(*cursor)++];
        if (e->key.p) {
            return e;
        }
    }
    return NULL;
}
