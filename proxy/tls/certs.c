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

/* Whose certificate an entry has; the higher is not replaced by the lower. */
enum owner { OWNER_ACME, OWNER_USER_COVERED, OWNER_USER_NAMED };

struct entry {
    struct slice name;     /* owned, lower-case */
    struct cert *cert;     /* NULL: waiting */
    struct cert *stand_in; /* made at the first handshake while waiting */
    struct slice status;   /* owned; what is being waited for */
    enum owner owner;
};

struct certs {
    pthread_mutex_t change;
    pthread_mutex_t lock;
    struct map by_name;        /* of struct entry */
    struct slice default_name; /* owned, lower-case */
    struct challenge_table *challenges; /* borrowed; constant once there are handshakes */
    struct jobs *jobs;
};

struct certs *certs_new(void)
{
    ossl_init();
    struct certs *c = mem_zalloc(sizeof(*c));
    pthread_mutex_init(&c->change, NULL);
    pthread_mutex_init(&c->lock, NULL);
    map_init(&c->by_name);
    return c;
}

void certs_set_challenges(struct certs *c, struct challenge_table *table, struct jobs *jobs)
{
    c->challenges = table;
    c->jobs = jobs;
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
    cert_unref(e->cert);
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

void certs_free(struct certs *c)
{
    if (!c) {
        return;
    }
    free_entries(&c->by_name);
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

static struct entry *lookup_wildcard(const struct certs *c, struct slice host)
{
    char key[NAME_MAX_BYTES + 1];
    size_t dot = slice_find(host, '.');
    if (dot == SLICE_NPOS || dot == 0 || host.n - dot > NAME_MAX_BYTES) {
        return NULL;
    }
    key[0] = '*';
    memcpy(key + 1, host.p + dot, host.n - dot);
    return map_get(&c->by_name, slice_of(key, host.n - dot + 1));
}

static struct entry *lookup(const struct certs *c, struct slice host)
{
    struct entry *exact = map_get(&c->by_name, host);
    if (exact && exact->cert) {
        return exact;
    }
    struct entry *wild = lookup_wildcard(c, host);
    return wild && (wild->cert || !exact) ? wild : exact;
}

static struct entry *lookup_unnamed(const struct certs *c, const struct addr *local)
{
    char text[ADDR_TEXT_BYTES];
    struct entry *e = NULL;
    if (local && local->len && !addr_is_unix(local)) {
        e = map_get(&c->by_name, addr_host_text(local, text));
    }
    return e || c->default_name.n == 0 ? e : lookup(c, c->default_name);
}

struct cert *certs_choose(struct certs *c, struct slice server_name, const struct addr *local)
{
    char name[NAME_MAX_BYTES];
    pthread_mutex_lock(&c->lock);
    struct entry *e = server_name.n ? lookup(c, server_name) : lookup_unnamed(c, local);
    struct cert *cert = !e ? NULL : e->cert ? e->cert : e->stand_in;
    if (cert || !e) {
        cert = cert ? cert_ref(cert) : NULL;
        pthread_mutex_unlock(&c->lock);
        return cert;
    }
    size_t n = e->name.n;
    memcpy(name, e->name.p, n);
    pthread_mutex_unlock(&c->lock);

    /* The first of this name: made outside the lock; another thread may win, or the entry go. */
    cert = cert_stand_in(slice_of(name, n));
    if (!cert) {
        return NULL;
    }
    pthread_mutex_lock(&c->lock);
    e = map_get(&c->by_name, slice_of(name, n));
    if (e && !e->cert && !e->stand_in) {
        e->stand_in = cert_ref(cert);
    }
    pthread_mutex_unlock(&c->lock);
    return cert;
}

enum certs_state certs_state(struct certs *c, struct slice host, struct dstr *why)
{
    enum certs_state state = CERTS_UNKNOWN;
    pthread_mutex_lock(&c->lock);
    const struct entry *e = lookup(c, host);
    if (e) {
        state = e->cert ? CERTS_READY : CERTS_WAITING;
        if (state == CERTS_WAITING && why) {
            dstr_append(why, e->status);
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
    at = 0;
    for (struct map_entry *me; (me = map_next(&next, &at));) {
        ((struct entry *)me->value)->owner = OWNER_ACME;
    }
    slice_free(old_fallback);
    pthread_mutex_unlock(&c->change);
}

/* Under `change`. */
static void set_cert(struct certs *c, struct entry *e, struct cert *cert, enum owner owner)
{
    pthread_mutex_lock(&c->lock);
    struct cert *old = e->cert;
    struct cert *stand_in = e->stand_in;
    e->cert = cert_ref(cert);
    e->stand_in = NULL;
    e->owner = owner;
    pthread_mutex_unlock(&c->lock);
    cert_unref(old);
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
    struct cert *cert = cert_parse(chain_pem, key_pem, err);
    if (!cert) {
        return false;
    }
    pthread_mutex_lock(&c->change);
    struct entry *e = find_entry(c, name);
    if (e && e->owner == OWNER_ACME) {
        set_cert(c, e, cert, OWNER_ACME);
    }
    pthread_mutex_unlock(&c->change);
    cert_unref(cert);
    return true;
}

bool certs_install_own(struct certs *c, struct slice name, struct slice chain_pem,
                       struct slice key_pem, struct err *err)
{
    struct cert *cert = cert_parse(chain_pem, key_pem, err);
    if (!cert) {
        return false;
    }
    pthread_mutex_lock(&c->change);
    struct entry *named = find_entry(c, name);
    if (named) {
        set_cert(c, named, cert, OWNER_USER_NAMED);
    }
    size_t at = 0;
    for (struct map_entry *me; (me = map_next(&c->by_name, &at));) {
        struct entry *e = me->value;
        if (e->owner != OWNER_USER_NAMED && cert_covers(cert, e->name)) {
            set_cert(c, e, cert, OWNER_USER_COVERED);
        }
    }
    pthread_mutex_unlock(&c->change);
    cert_unref(cert);
    return true;
}

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

bool certs_pair_matches(void *unused, struct slice chain_pem, struct slice key_pem)
{
    (void)unused;
    struct cert *cert = cert_parse(chain_pem, key_pem, NULL);
    cert_unref(cert);
    return cert != NULL;
}
