/* The counters; see rate_zone.h. */
#include "proxy/handler/rate_zone.h"

#include <pthread.h>
#include <stdlib.h>

#include "proxy/base/list.h"
#include "proxy/base/map.h"
#include "proxy/base/mem.h"

#define SLOTS 16u
#define COUNTED (SLOTS + 1) /* the one that runs, too */
#define WAYS 8u
#define SETS (RATE_ZONE_KEYS_MAX / WAYS)
#define LOCKS 64u /* each for every 64th set */

struct counter {
    uint64_t hash; /* 0: free */
    int64_t slot;  /* the latest with an event, counted from the clock's zero */
    uint32_t events[COUNTED]; /* of slot s at s % COUNTED */
};

struct rate_zone {
    struct list node; /* in zones */
    unsigned refs;    /* under zones_lock */
    char *name;       /* owned, as counters */
    unsigned events;
    int64_t window_ms;
    int64_t slot_ms;
    struct counter *counters; /* SETS * WAYS; a page that no key needed costs nothing */
    pthread_mutex_t locks[LOCKS];
};

static pthread_mutex_t zones_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list zones = {&zones, &zones}; /* under zones_lock */

/* ---- zones ----------------------------------------------------------------------------------- */

static struct rate_zone *zone_new(struct slice name, unsigned events, int64_t window_ms)
{
    struct rate_zone *z = mem_zalloc(sizeof(*z));
    z->refs = 1;
    z->name = mem_dup(name);
    z->events = events;
    z->window_ms = window_ms;
    z->slot_ms = (window_ms + SLOTS - 1) / SLOTS;
    z->counters = mem_zalloc(sizeof(*z->counters) * SETS * WAYS);
    for (size_t i = 0; i < LOCKS; i++) {
        pthread_mutex_init(&z->locks[i], NULL);
    }
    return z;
}

struct rate_zone *rate_zone_get(struct slice name, unsigned events, int64_t window_ms)
{
    struct rate_zone *found = NULL;
    pthread_mutex_lock(&zones_lock);
    LIST_EACH(it, &zones) {
        struct rate_zone *z = LIST_ENTRY(it, struct rate_zone, node);
        if (z->events == events && z->window_ms == window_ms &&
            slice_eq(slice_str(z->name), name)) {
            z->refs++;
            found = z;
            break;
        }
    }
    if (!found) {
        found = zone_new(name, events, window_ms);
        list_push_back(&zones, &found->node);
    }
    pthread_mutex_unlock(&zones_lock);
    return found;
}

void rate_zone_unref(struct rate_zone *z)
{
    if (!z) {
        return;
    }
    pthread_mutex_lock(&zones_lock);
    bool last = --z->refs == 0;
    if (last) {
        list_remove(&z->node);
    }
    pthread_mutex_unlock(&zones_lock);
    if (!last) {
        return;
    }
    for (size_t i = 0; i < LOCKS; i++) {
        pthread_mutex_destroy(&z->locks[i]);
    }
    free(z->counters);
    free(z->name);
    free(z);
}

/* ---- counting -------------------------------------------------------------------------------- */

/* The counter of a key in its set, perhaps a new one in place of the quietest. */
static struct counter *find(struct counter *set, uint64_t hash)
{
    struct counter *quietest = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].hash == hash) {
            return &set[i];
        }
        if (!set[i].hash || (quietest->hash && set[i].slot < quietest->slot)) {
            quietest = quietest->hash ? &set[i] : quietest;
        }
    }
    *quietest = (struct counter){.hash = hash};
    return quietest;
}

/* Forgets the slots that have left the window. */
static void advance(struct counter *c, int64_t slot)
{
    int64_t passed = slot - c->slot;
    for (int64_t i = 1; i <= passed && i <= (int64_t)COUNTED; i++) {
        c->events[(c->slot + i) % COUNTED] = 0;
    }
    c->slot = passed > 0 ? slot : c->slot;
}

/* When the oldest event leaves the window. */
static int64_t wait_ms(const struct rate_zone *z, const struct counter *c, int64_t now_ms)
{
    int64_t slot = c->slot - (int64_t)SLOTS;
    while (slot < c->slot && (slot < 0 || !c->events[slot % COUNTED])) {
        slot++;
    }
    int64_t wait = (slot + COUNTED) * z->slot_ms - now_ms;
    return wait > 0 ? wait : 1;
}

int64_t rate_zone_take(struct rate_zone *z, struct slice key, int64_t now_ms)
{
    uint64_t hash = map_hash(key);
    hash = hash ? hash : 1;
    size_t set = hash % SETS;
    pthread_mutex_t *lock = &z->locks[set % LOCKS];
    int64_t wait = 0;
    pthread_mutex_lock(lock);
    struct counter *c = find(z->counters + set * WAYS, hash);
    advance(c, now_ms / z->slot_ms);
    uint64_t sum = 0;
    for (size_t i = 0; i < COUNTED; i++) {
        sum += c->events[i];
    }
    if (sum < z->events) {
        c->events[c->slot % COUNTED]++;
    } else {
        wait = z->events ? wait_ms(z, c, now_ms) : z->window_ms;
    }
    pthread_mutex_unlock(lock);
    return wait;
}
