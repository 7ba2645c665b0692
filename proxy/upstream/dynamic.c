/* Looking up origins; see dynamic.h. One lock guards the lists, which are only read and replaced.
 * Each source's list and each request hold references to origins, so a list may be replaced while
 * requests to its origins go on. */
#include "proxy/upstream/dynamic.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/clock.h"
#include "proxy/base/mem.h"
#include "proxy/upstream/named.h"

#define TEXT_BYTES (DNS_NAME_MAX + 16)
#define DISTRUST_MS 1000

struct source_list {
    struct origin *origins[ORIGINS_MAX]; /* counted */
    size_t count;
    int64_t asked_ms; /* when the name servers said so; 0: not yet */
};

struct dynamic {
    _Atomic unsigned refs;
    struct dynamic_source sources[DYNAMIC_SOURCES_MAX]; /* their texts are owned */
    size_t source_count;
    struct origin *like;
    pthread_mutex_t lock;
    bool distrusted;
    struct source_list lists[DYNAMIC_SOURCES_MAX];
};

struct dynamic *dynamic_new(const struct dynamic_source *sources, size_t count,
                            const struct origin *like)
{
    struct dynamic *d = mem_zalloc(sizeof(*d));
    must(count <= DYNAMIC_SOURCES_MAX);
    for (size_t i = 0; i < count; i++) {
        struct dynamic_source *s = &d->sources[i];
        *s = sources[i];
        s->name.p = mem_dup(s->name);
        s->resolvers.p = mem_dup(s->resolvers);
    }
    atomic_init(&d->refs, 1);
    d->source_count = count;
    d->like = origin_new(like);
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

static void list_clear(struct source_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        origin_unref(list->origins[i]);
    }
    list->count = 0;
}

struct dynamic *dynamic_ref(struct dynamic *d)
{
    atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    return d;
}

void dynamic_unref(struct dynamic *d)
{
    if (!d || atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < d->source_count; i++) {
        list_clear(&d->lists[i]);
        free((void *)(uintptr_t)d->sources[i].name.p);
        free((void *)(uintptr_t)d->sources[i].resolvers.p);
    }
    origin_unref(d->like);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

void dynamic_distrust(struct dynamic *d)
{
    pthread_mutex_lock(&d->lock);
    d->distrusted = true;
    pthread_mutex_unlock(&d->lock);
}

/* ---- lists; under the lock ------------------------------------------------------------------- */

/* The origin of that name and port: the one that is known already, or a new one. A reference. */
static struct origin *origin_for(struct dynamic *d, struct slice host, uint16_t port)
{
    char text[TEXT_BYTES];
    bool v6 = slice_find(host, ':') != SLICE_NPOS;
    (void)snprintf(text, sizeof(text), v6 ? "[%.*s]:%u" : "%.*s:%u", SLICE_ARG(host), port);
    for (size_t i = 0; i < d->source_count; i++) {
        for (size_t k = 0; k < d->lists[i].count; k++) {
            if (slice_eq(d->lists[i].origins[k]->text, slice_str(text))) {
                return origin_ref(d->lists[i].origins[k]);
            }
        }
    }
    struct named_address at = {.host = host, .port = port, .unix_path = S("")};
    return named_origin_new(d->like, &at, S(""));
}

static void add(struct source_list *list, struct origin *o)
{
    if (list->count < ORIGINS_MAX) {
        list->origins[list->count++] = o;
    } else {
        origin_unref(o);
    }
}

static void replace_list(struct dynamic *d, const struct dynamic_request *dr)
{
    const struct dynamic_source *s = &d->sources[dr->source];
    struct source_list fresh = {.asked_ms = clock_mono_ms() - dr->rq.age_ms};
    for (unsigned i = 0; i < dr->rq.count; i++) {
        char buf[ADDR_TEXT_BYTES];
        const struct dns_srv *srv = s->srv ? &dr->rq.srv[i] : NULL;
        const struct addr *a = s->srv ? NULL : &dr->rq.all[i];
        if (a && (a->u.sa.sa_family == AF_INET6 ? s->no_v6 : s->no_v4)) {
            continue;
        }
        add(&fresh, srv ? origin_for(d, slice_str(srv->target), srv->port)
                        : origin_for(d, addr_host_text(a, buf), s->port));
    }
    list_clear(&d->lists[dr->source]);
    d->lists[dr->source] = fresh;
}

static bool has(const struct dynamic_request *dr, const struct origin *o)
{
    for (size_t i = 0; i < dr->count; i++) {
        if (dr->origins[i] == o) {
            return true;
        }
    }
    return false;
}

static void collect(struct dynamic_request *dr)
{
    struct dynamic *d = dr->dynamic;
    for (size_t i = 0; i < d->source_count; i++) {
        for (size_t k = 0; k < d->lists[i].count && dr->count < ORIGINS_MAX; k++) {
            if (!has(dr, d->lists[i].origins[k])) {
                dr->origins[dr->count++] = origin_ref(d->lists[i].origins[k]);
            }
        }
    }
}

static bool all_fresh(const struct dynamic *d)
{
    int64_t now_ms = clock_mono_ms();
    for (size_t i = 0; i < d->source_count; i++) {
        const struct source_list *list = &d->lists[i];
        if (!list->asked_ms || now_ms - list->asked_ms >= d->sources[i].refresh_ms) {
            return false;
        }
    }
    return true;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void ask_next(struct dynamic_request *dr);

static void on_resolved(struct resolve_request *rq)
{
    struct dynamic_request *dr = container_of(rq, struct dynamic_request, rq);
    struct dynamic *d = dr->dynamic;
    pthread_mutex_lock(&d->lock);
    replace_list(d, dr); /* the resolver keeps old answers itself: without one there is none */
    if (rq->count == 0) {
        d->lists[dr->source].asked_ms = 0;
    }
    pthread_mutex_unlock(&d->lock);
    free(dr->room);
    dr->room = NULL;
    dr->source++;
    ask_next(dr);
}

/* Asks for the next source, or ends. Only from the loop, but for the first one. */
static void ask_next(struct dynamic_request *dr)
{
    struct dynamic *d = dr->dynamic;
    if (dr->source == d->source_count) {
        pthread_mutex_lock(&d->lock);
        collect(dr);
        pthread_mutex_unlock(&d->lock);
        dr->done(dr);
        return;
    }
    const struct dynamic_source *s = &d->sources[dr->source];
    dr->room = s->srv ? calloc(DNS_SRV_MAX, sizeof(struct dns_srv))
                      : calloc(DNS_ADDRS_MAX, sizeof(struct addr));
    if (!dr->room && dr->source > 0) {
        dr->done(dr); /* with none */
        return;
    }
    dr->rq = (struct resolve_request){
        .host = s->name,
        .port = s->port,
        .servers = s->resolvers,
        .max_age_ms = dr->ask_again ? DISTRUST_MS : s->refresh_ms,
        .stale_ms = s->grace_ms,
        .all = s->srv ? NULL : dr->room,
        .srv = s->srv ? dr->room : NULL,
        .done = on_resolved,
    };
    if (dr->room) {
        resolve_start(dr->resolver, dr->loop, &dr->rq);
    }
}

bool dynamic_start(struct dynamic *d, struct resolver *r, struct loop *l,
                   struct dynamic_request *dr, void (*done)(struct dynamic_request *self),
                   void *owner)
{
    *dr = (struct dynamic_request){
        .dynamic = d, .resolver = r, .loop = l, .done = done, .owner = owner};
    (void)dynamic_ref(d);
    pthread_mutex_lock(&d->lock);
    dr->ask_again = d->distrusted;
    bool fresh = !d->distrusted && all_fresh(d);
    d->distrusted = false;
    if (fresh) {
        collect(dr);
    }
    pthread_mutex_unlock(&d->lock);
    if (!fresh) {
        ask_next(dr);
    }
    return fresh || !dr->room; /* without memory there are none */
}

void dynamic_release(struct dynamic_request *dr)
{
    if (dr->room) {
        resolve_cancel(&dr->rq);
        free(dr->room);
        dr->room = NULL;
    }
    for (size_t i = 0; i < dr->count; i++) {
        origin_unref(dr->origins[i]);
    }
    dr->count = 0;
    dynamic_unref(dr->dynamic);
    dr->dynamic = NULL;
}
