/* Names to addresses. One table a process under one lock, and one thread whose loop asks the name
 * servers (dns.h). Requests wait for the table's entries, look-ups belong to them. Who owns what: a
 * waiter is owned by the entry's list until the look-up ends, then by the message to its loop; a
 * request is its caller's and is only touched under the lock while its waiter is in a list, and on
 * its own loop afterwards. */
#include "proxy/net/resolve.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "proxy/base/clock.h"
#include "proxy/base/map.h"

#define NAMES_MAX 1024
#define LOOKUPS_MAX 64
#define BUCKETS 1024 /* a power of two */
#define TTL_MIN_MS 1000
#define TTL_MAX_MS (5 * 60 * 1000)
#define SRV_TTL_MS (60 * 1000) /* c-ares does not tell; Caddy's refresh */
#define STALE_MS 60000 /* how long an old answer serves while there is no new one */
#define FAILURE_MS 1000 /* how long a failure without an older answer is remembered */
#define KEY_MAX_BYTES (1 + DNS_NAME_MAX + 1 + DNS_SERVERS_MAX)

/* What is asked: "A" or "S", the name, a space, the servers. */
struct entry {
    struct list bucket;
    struct list lru;     /* most recently used first */
    struct list waiters; /* of struct waiter */
    int64_t asked_ms;    /* end of the last look-up; 0: none */
    int64_t good_ms;     /* end of the last one that gave an answer */
    int64_t ttl_ms;      /* of that answer */
    const char *error;   /* of the last look-up; NULL if it was good */
    bool busy;           /* a look-up is under way: the entry stays */
    bool forget;         /* the answer serves only if a new look-up fails */
    unsigned count;
    union {
        struct addr *addrs;  /* owned, as srv */
        struct dns_srv *srv; /* by the kind of the entry */
        void *any;
    } u;
    size_t name_bytes;
    size_t key_bytes;
    char key[KEY_MAX_BYTES];
};

struct waiter {
    struct list node;
    struct message message;
    struct resolver *resolver; /* counted */
    struct loop *loop;
    struct resolve_request *rq; /* NULL: cancelled */
    bool sent;
};

/* On its way to the thread, then in the hands of dns. */
struct lookup {
    struct message message;
    struct dns_query query;
    struct resolver *resolver; /* counted */
    struct entry *entry;       /* busy, so it stays, its key too */
};

struct resolver {
    pthread_t thread;
    struct loop *loop; /* the thread's */
    struct dns *dns;   /* the thread's */
    pthread_mutex_t lock;
    bool stopping; /* under lock, as all below */
    unsigned refs; /* the owner, waiters, look-ups */
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
    free(e->u.any);
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

static struct list *bucket_of(struct resolver *r, struct slice key)
{
    return &r->buckets[map_hash(key) & (BUCKETS - 1)];
}

static struct entry *entry_find(struct resolver *r, struct slice key)
{
    struct list *bucket = bucket_of(r, key);
    LIST_EACH(it, bucket) {
        struct entry *e = LIST_ENTRY(it, struct entry, bucket);
        if (slice_eq(slice_of(e->key, e->key_bytes), key)) {
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
static struct entry *entry_get(struct resolver *r, struct slice key, size_t name_bytes)
{
    struct entry *e = entry_find(r, key);
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
    memcpy(e->key, key.p, key.n);
    e->key_bytes = key.n;
    e->name_bytes = name_bytes;
    list_init(&e->waiters);
    list_push_back(bucket_of(r, key), &e->bucket);
    list_push_front(&r->lru, &e->lru);
    r->names++;
    return e;
}

static bool is_srv(const struct entry *e)
{
    return e->key[0] == 'S';
}

static size_t item_bytes(const struct entry *e)
{
    return is_srv(e) ? sizeof(struct dns_srv) : sizeof(struct addr);
}

/* IPv6 comes first. Where there is no room for all, IPv4 gets its half. */
static void fill(struct resolve_request *rq, const struct addr *addrs, unsigned count)
{
    struct addr *out = rq->all ? rq->all : rq->addrs;
    unsigned max = rq->all ? DNS_ADDRS_MAX : RESOLVE_ADDRS_MAX;
    unsigned v6 = 0;
    while (v6 < count && addrs[v6].u.sa.sa_family == AF_INET6) {
        v6++;
    }
    unsigned skip_from = count > max && v6 > max / 2 ? max / 2 : v6;
    rq->count = 0;
    rq->error = NULL;
    for (unsigned i = 0; i < count && rq->count < max; i++) {
        if (i < skip_from || i >= v6) {
            out[rq->count] = addrs[i];
            addr_set_port(&out[rq->count++], rq->port);
        }
    }
}

static int64_t keep_ms(const struct resolve_request *rq, const struct entry *e)
{
    return rq->max_age_ms ? rq->max_age_ms : e->ttl_ms;
}

static bool usable(const struct resolve_request *rq, const struct entry *e, int64_t now_ms)
{
    int64_t stale_ms = rq->stale_ms ? rq->stale_ms : STALE_MS;
    return e->count && now_ms - e->good_ms < keep_ms(rq, e) + stale_ms;
}

static void fill_from(struct resolve_request *rq, const struct entry *e, int64_t now_ms)
{
    rq->age_ms = now_ms - e->good_ms;
    if (!usable(rq, e, now_ms)) {
        rq->count = 0;
        rq->error = e->error ? e->error : "name not known";
    } else if (is_srv(e)) {
        memcpy(rq->srv, e->u.srv, e->count * sizeof(*rq->srv));
        rq->count = e->count;
        rq->error = NULL;
    } else {
        fill(rq, e->u.addrs, e->count);
    }
}

static int64_t clamped_ttl(int64_t ttl_ms)
{
    if (ttl_ms < 0) {
        return SRV_TTL_MS;
    }
    return ttl_ms < TTL_MIN_MS ? TTL_MIN_MS : ttl_ms > TTL_MAX_MS ? TTL_MAX_MS : ttl_ms;
}

static void entry_update(struct entry *e, const struct dns_answer *a)
{
    const void *items = is_srv(e) ? (const void *)a->srv : (const void *)a->addrs;
    unsigned max = is_srv(e) ? DNS_SRV_MAX : DNS_ADDRS_MAX;
    unsigned count = a->count > max ? max : a->count;
    void *copy = count ? malloc(count * item_bytes(e)) : NULL;
    e->asked_ms = clock_mono_ms();
    e->busy = false;
    e->forget = false;
    e->error = copy ? NULL : count ? "out of memory" : a->error;
    if (copy) {
        memcpy(copy, items, count * item_bytes(e));
        free(e->u.any);
        e->u.any = copy;
        e->count = count;
        e->good_ms = e->asked_ms;
        e->ttl_ms = clamped_ttl(a->ttl_ms);
    }
}

/* ---- look-ups -------------------------------------------------------------------------------- */

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
static void conclude(struct lookup *lookup, const struct dns_answer *answer)
{
    struct resolver *r = lookup->resolver;
    struct list told;
    list_init(&told);
    pthread_mutex_lock(&r->lock);
    entry_update(lookup->entry, answer);
    while (!list_empty(&lookup->entry->waiters)) {
        struct waiter *w = LIST_ENTRY(lookup->entry->waiters.next, struct waiter, node);
        fill_from(w->rq, lookup->entry, lookup->entry->asked_ms);
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

static void lookup_done(struct dns_query *query, const struct dns_answer *answer)
{
    conclude(container_of(query, struct lookup, query), answer);
}

/* On the resolver's thread, or in resolver_free once that has ended. */
static void lookup_begin(struct message *m)
{
    struct lookup *lookup = container_of(m, struct lookup, message);
    struct resolver *r = lookup->resolver;
    if (r->dns) {
        dns_start(r->dns, &lookup->query);
        return;
    }
    struct dns_answer answer = {.count = 0, .ttl_ms = -1, .error = "shutting down"};
    conclude(lookup, &answer);
}

/* Under the lock. False: too many at a time, or memory. */
static bool lookup_start(struct resolver *r, struct entry *e)
{
    struct lookup *lookup =
        r->lookups < LOOKUPS_MAX && !r->stopping ? calloc(1, sizeof(*lookup)) : NULL;
    if (!lookup) {
        return false;
    }
    size_t servers = 1 + e->name_bytes + 1;
    lookup->message.deliver = lookup_begin;
    lookup->query.kind = is_srv(e) ? DNS_SRV : DNS_ADDRS;
    lookup->query.name = slice_of(e->key + 1, e->name_bytes);
    lookup->query.servers = slice_of(e->key + servers, e->key_bytes - servers);
    lookup->query.done = lookup_done;
    lookup->resolver = r;
    lookup->entry = e;
    r->refs++;
    r->lookups++;
    e->busy = true;
    loop_send(r->loop, &lookup->message);
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

/* The one second beyond the TTL is for a refresh that is under way. */
#define GRACE_MS 1000

/* Under the lock: answers from the table, or waits. Static text if it can do neither. */
static const char *answer_or_wait(struct resolver *r, struct resolve_request *rq, struct slice key,
                                  size_t name_bytes)
{
    struct entry *e = entry_get(r, key, name_bytes);
    int64_t now_ms = clock_mono_ms();
    if (!e) {
        return "out of memory";
    }
    int64_t age_ms = now_ms - e->good_ms;
    bool good = usable(rq, e, now_ms);
    bool just_failed = e->error && now_ms - e->asked_ms < FAILURE_MS;
    /* While the servers fail nobody waits for them again. */
    if (good && !e->forget && (age_ms < keep_ms(rq, e) + GRACE_MS || e->error)) {
        if ((age_ms > keep_ms(rq, e) / 4 * 3 || e->error) && !e->busy && !just_failed) {
            (void)lookup_start(r, e); /* if not now, then at the next request */
        }
        rq->cached = true;
        fill_from(rq, e, now_ms);
        return NULL;
    }
    if (!good && just_failed && !e->busy) {
        return e->error;
    }
    if (e->busy || lookup_start(r, e)) {
        return wait_for(r, e, rq) ? NULL : "out of memory";
    }
    if (good) {
        fill_from(rq, e, now_ms);
        return NULL;
    }
    return r->stopping ? "shutting down" : "too many look-ups";
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
static bool fold_name(struct slice host, char buf[DNS_NAME_MAX], struct slice *name)
{
    if (host.n == 0 || host.n > DNS_NAME_MAX) {
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

/* "Aname servers" in buf. False for what is no host name. */
static bool make_key(bool srv, struct slice host, struct slice servers, char buf[KEY_MAX_BYTES],
                     struct slice *key, size_t *name_bytes)
{
    struct slice name;
    if (servers.n > DNS_SERVERS_MAX || !fold_name(host, buf + 1, &name)) {
        return false;
    }
    buf[0] = srv ? 'S' : 'A';
    buf[1 + name.n] = ' ';
    if (servers.n) {
        memcpy(buf + 2 + name.n, servers.p, servers.n);
    }
    *key = slice_of(buf, 2 + name.n + servers.n);
    *name_bytes = name.n;
    return true;
}

void resolve_start(struct resolver *r, struct loop *l, struct resolve_request *rq)
{
    char buf[KEY_MAX_BYTES];
    struct slice key;
    size_t name_bytes = 0;
    rq->resolver = r;
    rq->loop = l;
    rq->count = 0;
    rq->error = NULL;
    rq->cached = false;
    rq->age_ms = 0;
    rq->internal = NULL;
    task_init(&rq->task, run_done);
    bool is_name = make_key(rq->srv != NULL, rq->host, rq->servers, buf, &key, &name_bytes);
    if (!rq->srv && answer_at_once(rq, slice_of(buf + 1, name_bytes))) {
        answer_later(rq, NULL);
        return;
    }
    if (!is_name) {
        answer_later(rq, "name not known");
        return;
    }
    pthread_mutex_lock(&r->lock);
    const char *error = answer_or_wait(r, rq, key, name_bytes);
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

bool resolver_forget(struct resolver *r, struct slice host, struct slice servers)
{
    char buf[KEY_MAX_BYTES];
    bool asked = false;
    struct slice key;
    size_t name_bytes;
    if (!make_key(false, host, servers, buf, &key, &name_bytes)) {
        return false;
    }
    pthread_mutex_lock(&r->lock);
    struct entry *e = entry_find(r, key);
    if (e && clock_mono_ms() - e->asked_ms >= FAILURE_MS) {
        e->forget = true;
        asked = e->busy || lookup_start(r, e);
    }
    pthread_mutex_unlock(&r->lock);
    return asked;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void *thread_main(void *arg)
{
    struct resolver *r = arg;
    loop_run(r->loop);
    return NULL;
}

static int start_thread(struct resolver *r)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&r->thread, NULL, thread_main, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

struct resolver *resolver_new(struct err *err)
{
    struct resolver *r = calloc(1, sizeof(*r));
    if (!r) {
        err_set(err, "starting the resolver: out of memory");
        return NULL;
    }
    pthread_mutex_init(&r->lock, NULL);
    r->refs = 1;
    list_init(&r->lru);
    for (size_t i = 0; i < BUCKETS; i++) {
        list_init(&r->buckets[i]);
    }
    r->loop = loop_new(err);
    r->dns = r->loop ? dns_new(r->loop, err) : NULL;
    int rc = r->dns ? start_thread(r) : -1;
    if (rc == 0) {
        return r;
    }
    if (rc > 0) {
        err_errno(err, rc, "starting the resolver's thread");
    }
    dns_free(r->dns);
    if (r->loop) {
        loop_free(r->loop);
    }
    pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}

void resolver_free(struct resolver *r)
{
    if (!r) {
        return;
    }
    pthread_mutex_lock(&r->lock);
    r->stopping = true; /* nothing is sent to the loop any more */
    pthread_mutex_unlock(&r->lock);
    loop_stop_from_anywhere(r->loop);
    pthread_join(r->thread, NULL);
    struct dns *dns = r->dns;
    r->dns = NULL;
    dns_free(dns);       /* answers what is under way */
    loop_free(r->loop);  /* answers what was on its way to the thread */
    pthread_mutex_lock(&r->lock);
    unref_unlock(r);
}
