/* Names to addresses. One table a process under one lock; look-ups run on the jobs pool and belong
 * to the table's entries, requests wait for entries. Who owns what: a waiter is owned by the entry's
 * list until the look-up ends, then by the message to its loop; a request is its caller's and is
 * only touched under the lock while its waiter is in a list, and on its own loop afterwards. */
#include "proxy/net/resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>

#include "proxy/base/clock.h"
#include "proxy/base/map.h"

#define NAMES_MAX 1024
#define LOOKUPS_MAX 64
#define BUCKETS 1024 /* a power of two */
#define NAME_MAX_BYTES 254 /* RFC 1035 section 2.3.4, with the dot at the end */
#define FRESH_MS 10000
#define STALE_MS 60000 /* how long an answer serves after it has ceased to be fresh */
#define FAILURE_MS 1000 /* how long a failure without an older answer is remembered */

struct entry {
    struct list bucket;
    struct list lru;     /* most recently used first */
    struct list waiters; /* of struct waiter */
    int64_t asked_ms;    /* end of the last look-up; 0: none */
    int64_t good_ms;     /* end of the last one that gave addresses */
    const char *error;   /* of the last one; NULL if it was good */
    bool busy;           /* a look-up is under way: the entry stays */
    bool forget;         /* the addresses serve only if a new look-up fails */
    unsigned count;
    struct addr addrs[RESOLVE_ADDRS_MAX];
    size_t name_bytes;
    char name[NAME_MAX_BYTES + 1]; /* lower case, NUL-terminated */
};

struct waiter {
    struct list node;
    struct message message;
    struct resolver *resolver; /* counted */
    struct loop *loop;
    struct resolve_request *rq; /* NULL: cancelled */
    bool sent;
};

struct lookup {
    struct job job;
    struct resolver *resolver; /* counted */
    struct entry *entry;       /* busy, so it stays */
    char name[NAME_MAX_BYTES + 1];
};

struct resolver {
    pthread_mutex_t lock;
    struct jobs *jobs; /* borrowed */
    unsigned refs;     /* under lock, as all below: the owner, waiters, look-ups */
    unsigned lookups;
    unsigned names;
    struct list lru;
    struct list buckets[BUCKETS];
};

/* ---- the table; all of it under the lock ---- */

static void entry_free(struct resolver *r, struct entry *e)
{
    list_remove(&e->bucket);
    list_remove(&e->lru);
    r->names--;
    free(e);
}

/* Releases the lock, and with the last reference everything. */
static void unref_unlock(struct resolver *r)
{
    bool last = --r->refs == 0;
    pthread_mutex_unlock(&r->lock);
    if (!last) {
        return;
    }
    while (!list_empty(&r->lru)) {
        entry_free(r, LIST_ENTRY(r->lru.next, struct entry, lru));
    }
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static struct list *bucket_of(struct resolver *r, struct slice name)
{
    return &r->buckets[map_hash(name) & (BUCKETS - 1)];
}

static struct entry *entry_find(struct resolver *r, struct slice name)
{
    struct list *bucket = bucket_of(r, name);
    LIST_EACH(it, bucket) {
        struct entry *e = LIST_ENTRY(it, struct entry, bucket);
        if (slice_eq(slice_of(e->name, e->name_bytes), name)) {
            return e;
        }
    }
    return NULL;
}

static void make_room(struct resolver *r)
{
    for (struct list *it = r->lru.prev; it != &r->lru && r->names >= NAMES_MAX;) {
        struct entry *e = LIST_ENTRY(it, struct entry, lru);
        it = it->prev;
        if (!e->busy) {
            entry_free(r, e);
        }
    }
}

/* NULL: memory. */
static struct entry *entry_get(struct resolver *r, struct slice name)
{
    struct entry *e = entry_find(r, name);
    if (e) {
        list_remove(&e->lru);
        list_push_front(&r->lru, &e->lru);
        return e;
    }
    make_room(r);
    e = calloc(1, sizeof(*e));
    if (!e) {
        return NULL;
    }
    memcpy(e->name, name.p, name.n);
    e->name_bytes = name.n;
    list_init(&e->waiters);
    list_push_back(bucket_of(r, name), &e->bucket);
    list_push_front(&r->lru, &e->lru);
    r->names++;
    return e;
}

/* ---- look-ups, on a pool thread ---- */

static const char *error_text(int code)
{
    switch (code) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY: return "name not known";
    case EAI_AGAIN: return "timed out";
    case EAI_MEMORY: return "out of memory";
    default: return "look-up failed";
    }
}

static bool has_addr(const struct addr *addrs, unsigned count, const struct addr *a)
{
    for (unsigned i = 0; i < count; i++) {
        if (addr_eq(&addrs[i], a)) {
            return true;
        }
    }
    return false;
}

/* In the order of getaddrinfo (RFC 6724), without repetitions. */
static unsigned ask(const char *name, struct addr addrs[RESOLVE_ADDRS_MAX], const char **error)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    unsigned count = 0;
    int code = getaddrinfo(name, NULL, &hints, &found);
    *error = NULL;
    if (code != 0) {
        *error = error_text(code);
        return 0;
    }
    for (const struct addrinfo *ai = found; ai && count < RESOLVE_ADDRS_MAX; ai = ai->ai_next) {
        struct addr a;
        if ((ai->ai_family != AF_INET && ai->ai_family != AF_INET6) ||
            ai->ai_addrlen > sizeof(a.u)) {
            continue;
        }
        memset(&a, 0, sizeof(a));
        memcpy(&a.u, ai->ai_addr, ai->ai_addrlen);
        a.len = ai->ai_addrlen;
        if (!has_addr(addrs, count, &a)) {
            addrs[count++] = a;
        }
    }
    freeaddrinfo(found);
    if (count == 0) {
        *error = "name not known";
    }
    return count;
}

static void fill(struct resolve_request *rq, const struct addr *addrs, unsigned count)
{
    memcpy(rq->addrs, addrs, count * sizeof(*addrs));
    rq->count = count;
    rq->error = NULL;
    for (unsigned i = 0; i < count; i++) {
        addr_set_port(&rq->addrs[i], rq->port);
    }
}

static void fill_from(struct resolve_request *rq, const struct entry *e)
{
    if (e->count) {
        fill(rq, e->addrs, e->count);
    } else {
        rq->count = 0;
        rq->error = e->error;
    }
}

static void entry_update(struct entry *e, const struct addr *addrs, unsigned count,
                         const char *error)
{
    e->asked_ms = clock_mono_ms();
    e->error = error;
    e->busy = false;
    e->forget = false;
    if (count) {
        memcpy(e->addrs, addrs, count * sizeof(*addrs));
        e->count = count;
        e->good_ms = e->asked_ms;
    } else if (e->asked_ms - e->good_ms > FRESH_MS + STALE_MS) {
        e->count = 0;
    }
}

/* On the request's loop. */
static void deliver(struct message *m)
{
    struct waiter *w = container_of(m, struct waiter, message);
    struct resolve_request *rq = w->rq;
    struct resolver *r = w->resolver;
    free(w);
    pthread_mutex_lock(&r->lock);
    unref_unlock(r);
    if (rq) {
        rq->internal = NULL;
        rq->done(rq); /* rq may be gone now */
    }
}

/* The end of a look-up: the entry is brought up to date and everyone who waits is told. */
static void conclude(struct lookup *lookup, const struct addr *addrs, unsigned count,
                     const char *error)
{
    struct resolver *r = lookup->resolver;
    struct list told;
    list_init(&told);
    pthread_mutex_lock(&r->lock);
    entry_update(lookup->entry, addrs, count, error);
    while (!list_empty(&lookup->entry->waiters)) {
        struct waiter *w = LIST_ENTRY(lookup->entry->waiters.next, struct waiter, node);
        fill_from(w->rq, lookup->entry);
        w->sent = true;
        list_remove(&w->node);
        list_push_back(&told, &w->node);
    }
    r->lookups--;
    pthread_mutex_unlock(&r->lock);
    while (!list_empty(&told)) {
        struct waiter *w = LIST_ENTRY(told.next, struct waiter, node);
        list_remove(&w->node);
        loop_send(w->loop, &w->message); /* w is the loop's now */
    }
    free(lookup);
    pthread_mutex_lock(&r->lock);
    unref_unlock(r);
}

static void lookup_work(struct job *job)
{
    struct lookup *lookup = container_of(job, struct lookup, job);
    struct addr addrs[RESOLVE_ADDRS_MAX];
    const char *error;
    unsigned count = ask(lookup->name, addrs, &error);
    conclude(lookup, addrs, count, error);
}

static void lookup_dropped(struct job *job)
{
    conclude(container_of(job, struct lookup, job), NULL, 0, "shutting down");
}

/* Under the lock. False: too many at a time, or memory. */
static bool lookup_start(struct resolver *r, struct entry *e)
{
    struct lookup *lookup = r->lookups < LOOKUPS_MAX ? calloc(1, sizeof(*lookup)) : NULL;
    if (!lookup) {
        return false;
    }
    lookup->job.work = lookup_work;
    lookup->job.dropped = lookup_dropped;
    lookup->resolver = r;
    lookup->entry = e;
    memcpy(lookup->name, e->name, e->name_bytes);
    if (!job_submit(r->jobs, NULL, &lookup->job)) {
        free(lookup);
        return false;
    }
    r->refs++;
    r->lookups++;
    e->busy = true;
    return true;
}

/* ---- requests, on a loop ---- */

static void run_done(struct task *t)
{
    struct resolve_request *rq = container_of(t, struct resolve_request, task);
    rq->done(rq);
}

static void answer_later(struct resolve_request *rq, const char *error)
{
    rq->error = error;
    loop_post(rq->loop, &rq->task);
}

/* Under the lock. False: memory. */
static bool wait_for(struct resolver *r, struct entry *e, struct resolve_request *rq)
{
    struct waiter *w = calloc(1, sizeof(*w));
    if (!w) {
        return false;
    }
    w->message.deliver = deliver;
    w->resolver = r;
    w->loop = rq->loop;
    w->rq = rq;
    rq->internal = w;
    r->refs++;
    list_push_back(&e->waiters, &w->node);
    return true;
}

/* Under the lock: answers from the table, or waits. Static text if it can do neither. */
static const char *answer_or_wait(struct resolver *r, struct resolve_request *rq, struct slice name)
{
    struct entry *e = entry_get(r, name);
    int64_t now_ms = clock_mono_ms();
    if (!e) {
        return "out of memory";
    }
    int64_t asked_for_ms = e->asked_ms ? now_ms - e->asked_ms : INT64_MAX;
    bool usable = e->count && now_ms - e->good_ms <= FRESH_MS + STALE_MS;
    bool fresh = !e->forget && asked_for_ms < (usable ? FRESH_MS : FAILURE_MS);
    if (usable && !e->forget) {
        if (!fresh && !e->busy) {
            (void)lookup_start(r, e); /* if not now, then at the next request */
        }
        fill_from(rq, e);
        return NULL;
    }
    if (fresh && !e->busy && e->error) {
        return e->error;
    }
    if (e->busy || lookup_start(r, e)) {
        return wait_for(r, e, rq) ? NULL : "out of memory";
    }
    if (usable) {
        fill_from(rq, e);
        return NULL;
    }
    return "too many look-ups";
}

static bool is_localhost(struct slice name)
{
    if (slice_ends(name, S("."))) {
        name.n--;
    }
    return slice_eq(name, S("localhost")) || slice_ends(name, S(".localhost"));
}

/* What needs no look-up. */
static bool answer_at_once(struct resolve_request *rq, struct slice name)
{
    struct addr addrs[2];
    struct slice literal = rq->host;
    if (literal.n > 2 && literal.p[0] == '[' && literal.p[literal.n - 1] == ']') {
        literal = slice_of(literal.p + 1, literal.n - 2);
    }
    if (addr_parse_ip(literal, rq->port, &addrs[0])) {
        fill(rq, addrs, 1);
        return true;
    }
    /* IPv4 first: most applications on localhost listen there, and the other one is tried when
     * this one refuses. */
    if (is_localhost(name) && addr_parse_ip(S("127.0.0.1"), 0, &addrs[0]) &&
        addr_parse_ip(S("::1"), 0, &addrs[1])) {
        fill(rq, addrs, 2);
        return true;
    }
    return false;
}

/* Lower-cased into buf; false for what is no host name (letters, digits, "-", "_", "."). */
static bool fold_name(struct slice host, char buf[NAME_MAX_BYTES], struct slice *name)
{
    if (host.n == 0 || host.n > NAME_MAX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' && c != '_' && c != '.') {
            return false;
        }
        buf[i] = ascii_lower(c);
    }
    *name = slice_of(buf, host.n);
    return true;
}

void resolve_start(struct resolver *r, struct loop *l, struct resolve_request *rq)
{
    char buf[NAME_MAX_BYTES];
    struct slice name = {NULL, 0};
    rq->resolver = r;
    rq->loop = l;
    rq->count = 0;
    rq->error = NULL;
    rq->internal = NULL;
    task_init(&rq->task, run_done);
    bool is_name = fold_name(rq->host, buf, &name);
    if (answer_at_once(rq, name)) {
        answer_later(rq, NULL);
        return;
    }
    if (!is_name) {
        answer_later(rq, "name not known");
        return;
    }
    pthread_mutex_lock(&r->lock);
    const char *error = answer_or_wait(r, rq, name);
    bool waits = rq->internal != NULL;
    pthread_mutex_unlock(&r->lock);
    if (!waits) {
        answer_later(rq, error);
    }
}

void resolve_cancel(struct resolve_request *rq)
{
    struct resolver *r = rq->resolver;
    if (!r) {
        return; /* never started */
    }
    task_cancel(&rq->task);
    struct waiter *w = rq->internal;
    if (!w) {
        return;
    }
    rq->internal = NULL;
    pthread_mutex_lock(&r->lock);
    w->rq = NULL;
    if (w->sent) { /* the message is under way and takes w with it */
        pthread_mutex_unlock(&r->lock);
        return;
    }
    list_remove(&w->node);
    free(w);
    unref_unlock(r);
}

void resolver_forget(struct resolver *r, struct slice host)
{
    char buf[NAME_MAX_BYTES];
    struct slice name;
    if (!fold_name(host, buf, &name)) {
        return;
    }
    pthread_mutex_lock(&r->lock);
    struct entry *e = entry_find(r, name);
    if (e && clock_mono_ms() - e->asked_ms >= FAILURE_MS) {
        e->forget = true;
    }
    pthread_mutex_unlock(&r->lock);
}

struct resolver *resolver_new(struct jobs *jobs)
{
    struct resolver *r = calloc(1, sizeof(*r));
    if (!r) {
        return NULL;
    }
    pthread_mutex_init(&r->lock, NULL);
    r->jobs = jobs;
    r->refs = 1;
    list_init(&r->lru);
    for (size_t i = 0; i < BUCKETS; i++) {
        list_init(&r->buckets[i]);
    }
    return r;
}

void resolver_free(struct resolver *r)
{
    if (!r) {
        return;
    }
    pthread_mutex_lock(&r->lock);
    unref_unlock(r);
}
