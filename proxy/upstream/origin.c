/* Making and counting origins; see origin.h. */
#include "proxy/upstream/origin.h"

#include "proxy/base/map.h"
#include "proxy/base/mem.h"

static struct slice dup(struct slice s)
{
    return slice_of(mem_dup(s), s.n);
}

static void drop(struct slice s)
{
    free((void *)(uintptr_t)s.p);
}

struct origin *origin_new(const struct origin *like)
{
    struct origin *o = mem_zalloc(sizeof(*o));
    o->key = dup(like->key);
    o->key_hash = map_hash(o->key);
    o->text = dup(like->text);
    o->host = dup(like->host);
    o->port = like->port;
    o->unix_path = dup(like->unix_path);
    o->server_name = dup(like->server_name);
    o->tls_client = like->tls_client ? tls_client_ref(like->tls_client) : NULL;
    o->versions = like->versions;
    o->proxy_version = like->proxy_version;
    o->fastcgi = like->fastcgi;
    o->fastcgi_stderr = like->fastcgi_stderr;
    o->resolvers = dup(like->resolvers);
    o->fallback_delay_ms = like->fallback_delay_ms;
    o->local = like->local;
    o->dial_timeout_ms = like->dial_timeout_ms;
    o->tls_timeout_ms = like->tls_timeout_ms;
    o->keepalive_idle_ms = like->keepalive_idle_ms;
    o->keepalive_max = like->keepalive_max;
    o->connections_max = like->connections_max;
    o->limits = like->limits;
    health_init(&o->health, &like->health.policy);
    atomic_init(&o->refs, 1);
    atomic_init(&o->active, 0);
    atomic_init(&o->speaks, ORIGIN_SPEAKS_UNKNOWN);
    atomic_init(&o->streams, 0);
    atomic_init(&o->connections, 0);
    atomic_init(&o->waiting, 0);
    return o;
}

struct origin *origin_ref(struct origin *o)
{
    atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    return o;
}

void origin_unref(struct origin *o)
{
    if (!o || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (o->tls_client) {
        tls_client_unref(o->tls_client);
    }
    drop(o->key);
    drop(o->text);
    drop(o->host);
    drop(o->unix_path);
    drop(o->server_name);
    drop(o->resolvers);
    health_fini(&o->health);
    free(o);
}
