/* Addresses in texts from outside, and the table of what they stand for; see named.h. One lock: it
 * is held for a look-up and a change of a list. */
#include "proxy/upstream/named.h"

#include <pthread.h>

#include "proxy/base/dstr.h"
#include "proxy/base/list.h"
#include "proxy/base/map.h"
#include "proxy/base/mem.h"
#include "proxy/net/dns.h"

/* ---- addresses ------------------------------------------------------------------------------- */

static bool is_name(struct slice host)
{
    bool edge = true; /* at the front of a label */
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        if (c == '.' || c == '-') {
            if (edge) {
                return false;
            }
            edge = c == '.';
        } else if (ascii_is_alpha(c) || ascii_is_digit(c) || c == '_') {
            edge = false;
        } else {
            return false;
        }
    }
    return host.n > 0 && host.n <= DNS_NAME_MAX;
}

bool named_address_parse(struct slice text, uint16_t port, struct named_address *out)
{
    struct slice host = text;
    struct slice after = S("");
    struct addr unused;
    uint64_t number = port;
    bool v6 = slice_starts(text, S("["));
    size_t end = slice_find(text, v6 ? ']' : ':');
    if (v6 && end == SLICE_NPOS) {
        return false;
    }
    if (end != SLICE_NPOS) {
        host = slice_upto(text, end);
        after = slice_from(text, v6 ? end + 1 : end);
    }
    if (v6) {
        host = slice_from(host, 1);
    }
    if (after.n && (after.p[0] != ':' || !slice_u64(slice_from(after, 1), 65535, &number))) {
        return false;
    }
    bool named = v6 ? slice_find(host, ':') != SLICE_NPOS && addr_parse_ip(host, 0, &unused)
                    : is_name(host);
    *out = (struct named_address){.host = host, .port = (uint16_t)number, .unix_path = S("")};
    return named && number > 0;
}

bool named_unix_parse(struct slice path, struct named_address *out)
{
    struct slice rest = path;
    struct slice segment;
    struct addr unused;
    if (!slice_starts(path, S("/")) || !addr_unix(path, &unused)) {
        return false;
    }
    while (slice_cut(&rest, '/', &segment)) {
        if (slice_eq(segment, S(".")) || slice_eq(segment, S(".."))) {
            return false;
        }
    }
    *out = (struct named_address){.host = S(""), .unix_path = path};
    return true;
}

/* ---- the table ------------------------------------------------------------------------------- */

struct entry {
    struct list node; /* the one used last is first */
    struct slice text; /* owned */
    void *thing;       /* counted */
};

struct named {
    unsigned max;
    void *(*ref)(void *thing);
    void (*unref)(void *thing);
    pthread_mutex_t lock;
    struct map map; /* text -> entry */
    struct list used;
};

struct named *named_new(unsigned max, void *(*ref)(void *thing), void (*unref)(void *thing))
{
    struct named *n = mem_zalloc(sizeof(*n));
    n->max = max;
    n->ref = ref;
    n->unref = unref;
    pthread_mutex_init(&n->lock, NULL);
    map_init(&n->map);
    list_init(&n->used);
    return n;
}

static void forget(struct named *n, struct entry *e)
{
    map_del(&n->map, e->text);
    list_remove(&e->node);
    n->unref(e->thing);
    free((void *)(uintptr_t)e->text.p);
    free(e);
}

void named_free(struct named *n)
{
    if (!n) {
        return;
    }
    LIST_EACH_SAFE(node, &n->used) {
        forget(n, LIST_ENTRY(node, struct entry, node));
    }
    map_fini(&n->map);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

/* A reference to the thing, which is the one used last now. Under the lock. */
static void *find(struct named *n, struct slice text)
{
    struct entry *e = map_get(&n->map, text);
    if (!e) {
        return NULL;
    }
    list_remove(&e->node);
    list_push_front(&n->used, &e->node);
    return n->ref(e->thing);
}

void *named_get(struct named *n, struct slice text)
{
    pthread_mutex_lock(&n->lock);
    void *thing = find(n, text);
    pthread_mutex_unlock(&n->lock);
    return thing;
}

void *named_put(struct named *n, struct slice text, void *thing)
{
    struct entry *fresh = mem_zalloc(sizeof(*fresh));
    fresh->text = slice_of(mem_dup(text), text.n);
    fresh->thing = thing;
    pthread_mutex_lock(&n->lock);
    void *there = find(n, text);
    if (!there) {
        (void)map_put(&n->map, fresh->text, fresh);
        list_push_front(&n->used, &fresh->node);
        there = n->ref(thing);
        if (n->map.count > n->max) {
            forget(n, LIST_ENTRY(n->used.prev, struct entry, node));
        }
        fresh = NULL;
    }
    pthread_mutex_unlock(&n->lock);
    if (fresh) {
        n->unref(thing);
        free((void *)(uintptr_t)fresh->text.p);
        free(fresh);
    }
    return there;
}

/* ---- origins --------------------------------------------------------------------------------- */

struct origin *named_origin_new(const struct origin *like, const struct named_address *at,
                                struct slice server_name)
{
    struct dstr text;
    struct dstr key;
    dstr_init(&text, SIZE_MAX / 2);
    dstr_init(&key, SIZE_MAX / 2);
    if (at->unix_path.n) {
        dstr_append(&text, at->unix_path);
    } else {
        bool v6 = slice_find(at->host, ':') != SLICE_NPOS;
        dstr_printf(&text, v6 ? "[%.*s]:%u" : "%.*s:%u", SLICE_ARG(at->host), at->port);
    }
    /* Connections are shared only where everything about them is the same. */
    dstr_printf(&key, "%.*s %.*s %.*s", SLICE_ARG(dstr_slice(&text)), SLICE_ARG(server_name),
                SLICE_ARG(like->key));
    must(!text.failed && !key.failed);
    struct origin o = *like;
    o.text = dstr_slice(&text);
    o.key = dstr_slice(&key);
    o.host = at->host;
    o.port = at->port;
    o.unix_path = at->unix_path;
    o.server_name = server_name;
    struct origin *made = origin_new(&o);
    dstr_fini(&text);
    dstr_fini(&key);
    return made;
}
