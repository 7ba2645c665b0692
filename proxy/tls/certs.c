/* The certificate table. See certs.h.
 *
 * Two locks: `change` is held by whoever alters the table, for as long as that takes (decoding,
 * memory); `lock` only while pointers are swapped, and by handshakes while they look one up. */
#include "proxy/tls/certs.h"

#include <pthread.h>

#include "proxy/base/map.h"
#include "proxy/base/mem.h"
#include "proxy/net/addr.h"
#include "proxy/tls/cert.h"
#include "proxy/tls/ossl.h"

#define NAME_MAX_BYTES ((size_t)255)
#define STATUS_MAX_BYTES ((size_t)1024)

struct entry {
    struct slice name;          /* owned, lower-case */
    struct cert_source *source; /* counted; NULL: waiting (or one of the user's own serves) */
    struct cert *stand_in;      /* made at the first handshake while waiting */
    struct slice status;        /* owned; what is being waited for */
};

/* A name that the user's own certificates are for. */
struct own_name {
    struct slice name;            /* owned, lower-case */
    struct cert_source *named;    /* counted; given for this name, or NULL */
    struct cert_source *covering; /* counted; has the name among its own, or NULL */
};

struct certs {
    pthread_mutex_t change;
    pthread_mutex_t lock;
    struct map by_name;        /* of struct entry */
    struct map own;            /* of struct own_name: these go first */
    struct slice default_name; /* owned, lower-case */
    struct challenge_table *challenges; /* borrowed; constant once there are handshakes */
    struct jobs *jobs;
    struct demand *demand; /* the same */
};

struct certs *certs_new(void)
{
    ossl_init();
    struct certs *c = mem_zalloc(sizeof(*c));
    pthread_mutex_init(&c->change, NULL);
    pthread_mutex_init(&c->lock, NULL);
    map_init(&c->by_name);
    map_init(&c->own);
    return c;
}

void certs_set_challenges(struct certs *c, struct challenge_table *table, struct jobs *jobs)
{
    c->challenges = table;
    c->jobs = jobs;
}

void certs_set_demand(struct certs *c, struct demand *demand)
{
    c->demand = demand;
}

struct demand *certs_demand(const struct certs *c)
{
    return c->demand;
}

struct challenge_table *certs_challenges(const struct certs *c, struct jobs **jobs)
{
    *jobs = c->jobs;
    return c->challenges;
}

static void slice_free(struct slice s)
{
    free((void *)(uintptr_t)s.p);
}

static void entry_free(struct entry *e)
{
    cert_source_unref(e->source);
    cert_unref(e->stand_in);
    slice_free(e->name);
    slice_free(e->status);
    free(e);
}

static void free_entries(struct map *m)
{
    size_t at = 0;
    for (struct map_entry *me; (me = map_next(m, &at));) {
        entry_free(me->value);
    }
    map_fini(m);
}

static void free_own(struct map *m)
{
    size_t at = 0;
    for (struct map_entry *me; (me = map_next(m, &at));) {
        struct own_name *o = me->value;
        cert_source_unref(o->named);
        cert_source_unref(o->covering);
        slice_free(o->name);
        free(o);
    }
    map_fini(m);
}

void certs_free(struct certs *c)
{
    if (!c) {
        return;
    }
    free_entries(&c->by_name);
    free_own(&c->own);
    slice_free(c->default_name);
    pthread_mutex_destroy(&c->change);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static struct slice lower_copy(struct slice s)
{
    char *p = mem_dup(s);
    for (size_t i = 0; i < s.n; i++) {
        p[i] = ascii_lower(p[i]);
    }
    return slice_of(p, s.n);
}

/* ---- lookup; under either lock --------------------------------------------------------------- */

/* "a.example.com" -> "*.example.com" in map; NULL: none. */
static void *get_wildcard(const struct map *map, struct slice host)
{
    char key[NAME_MAX_BYTES + 1];
    size_t dot = slice_find(host, '.');
    if (dot == SLICE_NPOS || dot == 0 || host.n - dot > NAME_MAX_BYTES) {
        return NULL;
    }
    key[0] = '*';
    memcpy(key + 1, host.p + dot, host.n - dot);
    return map_get(map, slice_of(key, host.n - dot + 1));
}

static struct cert_source *find_own(const struct map *own, struct slice name)
{
    const struct own_name *o = own->count ? map_get(own, name) : NULL;
    if (o) {
        return o->named ? o->named : o->covering;
    }
    o = own->count ? get_wildcard(own, name) : NULL;
    return o ? o->covering : NULL;
}

struct found {
    struct entry *entry; /* NULL: no such name (an own certificate may cover it nevertheless) */
    struct cert_source *source; /* borrowed; NULL: waiting */
};

static struct found find_exact(const struct certs *c, struct slice name)
{
    struct found f = {map_get(&c->by_name, name), find_own(&c->own, name)};
    if (f.entry && !f.source) {
        f.source = f.entry->source;
    }
    return f;
}

static struct found lookup(const struct certs *c, struct slice host)
{
    struct found exact = find_exact(c, host);
    if (exact.source) {
        return exact;
    }
    struct entry *wild = get_wildcard(&c->by_name, host);
    struct found f = wild ? find_exact(c, wild->name) : exact;
    return wild && (f.source || !exact.entry) ? f : exact;
}

static struct found lookup_unnamed(const struct certs *c, const struct addr *local)
{
    char text[ADDR_TEXT_BYTES];
    struct found f = {NULL, NULL};
    if (local && local->len && !addr_is_unix(local)) {
        f = find_exact(c, addr_host_text(local, text));
    }
    return f.entry || f.source || c->default_name.n == 0 ? f : lookup(c, c->default_name);
}

/* The first stand-in of this name: made outside the lock; another thread may win, or the entry
 * go. */
static struct cert *make_stand_in(struct certs *c, struct slice name)
{
    struct cert *cert = cert_stand_in(name);
    if (!cert) {
        return NULL;
    }
    pthread_mutex_lock(&c->lock);
    struct entry *e = map_get(&c->by_name, name);
    if (e && !e->source && !e->stand_in) {
        e->stand_in = cert_ref(cert);
    }
    pthread_mutex_unlock(&c->lock);
    return cert;
}

struct cert *certs_choose(struct certs *c, struct slice server_name, const struct addr *local)
{
    char name[NAME_MAX_BYTES];
    size_t n = 0;
    struct cert *cert = NULL;
    pthread_mutex_lock(&c->lock);
    struct found f = server_name.n ? lookup(c, server_name) : lookup_unnamed(c, local);
    struct cert_source *source = f.source ? cert_source_ref(f.source) : NULL;
    if (!source && f.entry && f.entry->stand_in) {
        cert = cert_ref(f.entry->stand_in);
    } else if (!source && f.entry) {
        n = f.entry->name.n;
        memcpy(name, f.entry->name.p, n);
    }
    pthread_mutex_unlock(&c->lock);
    if (source) {
        cert = cert_source_get(source);
        cert_source_unref(source);
    } else if (n) {
        cert = make_stand_in(c, slice_of(name, n));
    }
    return cert;
}

enum certs_state certs_state(struct certs *c, struct slice host, struct dstr *why)
{
    enum certs_state state = CERTS_UNKNOWN;
    pthread_mutex_lock(&c->lock);
    struct found f = lookup(c, host);
    if (f.source) {
        state = CERTS_READY;
    } else if (f.entry) {
        state = CERTS_WAITING;
        if (why) {
            dstr_append(why, f.entry->status);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return state;
}

/* ---- changes; one at a time ------------------------------------------------------------------ */

static struct entry *entry_new(struct slice name)
{
    struct entry *e = mem_zalloc(sizeof(*e));
    e->name = lower_copy(name);
    return e;
}

/* The table for names: entries of names that stay are the same objects. */
static void next_table(const struct map *now, const struct slice *names, size_t count,
                       struct map *next)
{
    for (size_t i = 0; i < count; i++) {
        if (names[i].n == 0 || names[i].n > NAME_MAX_BYTES) {
            continue;
        }
        struct entry *fresh = entry_new(names[i]);
        struct entry *kept = map_get(now, fresh->name);
        if (kept || map_get(next, fresh->name)) {
            entry_free(fresh);
        } else {
            kept = fresh;
        }
        if (kept) {
            map_put(next, kept->name, kept);
        }
    }
}

void certs_configure(struct certs *c, const struct slice *names, size_t count,
                     struct slice default_name)
{
    pthread_mutex_lock(&c->change);
    struct map next;
    map_init(&next);
    next_table(&c->by_name, names, count, &next);
    struct slice fallback = lower_copy(default_name);

    pthread_mutex_lock(&c->lock);
    struct map old = c->by_name;
    struct slice old_fallback = c->default_name;
    c->by_name = next;
    c->default_name = fallback;
    pthread_mutex_unlock(&c->lock);

    size_t at = 0;
    for (struct map_entry *me; (me = map_next(&old, &at));) {
        if (!map_get(&next, me->key)) {
            entry_free(me->value);
        }
    }
    map_fini(&old);
    slice_free(old_fallback);
    pthread_mutex_unlock(&c->change);
}

/* Under `change`. Takes source. */
static void set_source(struct certs *c, struct entry *e, struct cert_source *source)
{
    pthread_mutex_lock(&c->lock);
    struct cert_source *old = e->source;
    struct cert *stand_in = e->stand_in;
    e->source = source;
    e->stand_in = NULL;
    pthread_mutex_unlock(&c->lock);
    cert_source_unref(old);
    cert_unref(stand_in);
}

/* Under `change`; any case. */
static struct entry *find_entry(const struct certs *c, struct slice name)
{
    struct slice key = lower_copy(name);
    struct entry *e = map_get(&c->by_name, key);
    slice_free(key);
    return e;
}

bool certs_install(struct certs *c, struct slice name, struct slice chain_pem,
                   struct slice key_pem, struct err *err)
{
    struct cert_source *source = cert_source_new(chain_pem, key_pem, err);
    if (!source) {
        return false;
    }
    pthread_mutex_lock(&c->change);
    struct entry *e = find_entry(c, name);
    if (e && !(e->source && cert_source_eq(e->source, source))) {
        set_source(c, e, source);
        source = NULL;
    }
    pthread_mutex_unlock(&c->change);
    cert_source_unref(source);
    return true;
}

bool certs_installed(struct certs *c, struct slice name, struct dstr *chain_pem,
                     struct dstr *key_pem)
{
    pthread_mutex_lock(&c->change);
    struct entry *e = find_entry(c, name);
    struct cert_source *source = e && e->source ? cert_source_ref(e->source) : NULL;
    pthread_mutex_unlock(&c->change);
    struct cert *cert = source ? cert_source_get(source) : NULL;
    bool ok = cert && cert_write_pem(cert, chain_pem, key_pem);
    cert_unref(cert);
    cert_source_unref(source);
    return ok;
}

/* ---- the user's own -------------------------------------------------------------------------- */

struct own_adding {
    struct map *map;
    struct cert_source *source;
};

static struct own_name *own_at(struct map *own, struct slice name)
{
    struct slice key = lower_copy(name);
    struct own_name *o = map_get(own, key);
    if (o) {
        slice_free(key);
        return o;
    }
    o = mem_zalloc(sizeof(*o));
    o->name = key;
    (void)map_put(own, o->name, o);
    return o;
}

static void replace(struct cert_source **at, struct cert_source *source)
{
    struct cert_source *old = *at;
    *at = cert_source_ref(source);
    cert_source_unref(old);
}

static void add_covered(void *ctx, struct slice name)
{
    struct own_adding *a = ctx;
    replace(&own_at(a->map, name)->covering, a->source);
}

/* An entry that had one of the user's own and has none any more goes on with it until another is
 * installed. Under `change`. */
static void keep_old_own(struct certs *c, const struct map *next)
{
    size_t at = 0;
    for (struct map_entry *me; (me = map_next(&c->by_name, &at));) {
        struct entry *e = me->value;
        struct cert_source *old = e->source ? NULL : find_own(&c->own, e->name);
        if (old && !find_own(next, e->name)) {
            set_source(c, e, cert_source_ref(old));
        }
    }
}

void certs_set_own(struct certs *c, const struct certs_own *own, size_t count)
{
    struct map next;
    map_init(&next);
    for (size_t i = 0; i < count; i++) {
        struct own_adding a = {&next, own[i].source};
        cert_source_each_name(own[i].source, add_covered, &a);
        if (own[i].name.n) {
            replace(&own_at(&next, own[i].name)->named, own[i].source);
        }
    }
    pthread_mutex_lock(&c->change);
    if (c->own.count) {
        keep_old_own(c, &next);
    }
    pthread_mutex_lock(&c->lock);
    struct map old = c->own;
    c->own = next;
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&c->change);
    free_own(&old);
}

/* ---- the rest -------------------------------------------------------------------------------- */

void certs_set_status(struct certs *c, struct slice name, struct slice text)
{
    struct slice copy = {0};
    copy.n = text.n < STATUS_MAX_BYTES ? text.n : STATUS_MAX_BYTES;
    copy.p = mem_dup(slice_upto(text, copy.n));
    pthread_mutex_lock(&c->change);
    struct entry *e = find_entry(c, name);
    if (e) {
        pthread_mutex_lock(&c->lock);
        struct slice old = e->status;
        e->status = copy;
        pthread_mutex_unlock(&c->lock);
        copy = old;
    }
    pthread_mutex_unlock(&c->change);
    slice_free(copy);
}
