/* An origin: one address that requests are forwarded to, as configured. Const after it is built,
 * but for its counters; counted, because pooled connections and tunnels outlive a configuration. */
#ifndef UPSTREAM_ORIGIN_H
#define UPSTREAM_ORIGIN_H

#include <stdatomic.h>

#include "proxy/h1/h1_client.h"
#include "proxy/h2/h2_client.h"
#include "proxy/tls/tls_client.h"
#include "proxy/upstream/health.h"

#define CACHE_LINE_BYTES 64

/* What may be spoken with an origin (`versions`). */
enum {
    ORIGIN_HTTP_1 = 1,
    ORIGIN_HTTP_2 = 2, /* over TLS, if the origin chooses it */
    ORIGIN_H2C = 4,    /* in the plain, by prior knowledge and instead of HTTP/1 */
};

/* What the last TLS handshake with an origin has brought. */
enum origin_speaks { ORIGIN_SPEAKS_UNKNOWN, ORIGIN_SPEAKS_1, ORIGIN_SPEAKS_2 };

struct origin {
    unsigned connections_max;     /* 0: no limit */
    _Atomic unsigned speaks;      /* enum origin_speaks */
    _Atomic unsigned streams;     /* the last SETTINGS_MAX_CONCURRENT_STREAMS; 0: unknown */
    unsigned versions;            /* ORIGIN_*; 0: HTTP/1 */
    struct slice key;        /* equal keys may share connections */
    uint64_t key_hash;       /* map_hash, set by origin_new */
    struct slice text;       /* "localhost:8000", for people and logs */
    struct slice host;       /* empty for Unix sockets */
    uint16_t port;
    struct slice unix_path;        /* empty for TCP */
    struct slice server_name; /* of TLS: for this origin alone; empty: tls_client's, or host */
    struct tls_client *tls_client; /* counted; NULL: plain */
    bool fastcgi;        /* spoken instead of HTTP: each connection carries one request */
    bool fastcgi_stderr; /* what scripts say there is logged */
    unsigned proxy_version; /* of the PROXY header that begins each connection; 0: none. Such
                               connections belong to one client: they are not kept. */
    struct slice resolvers;    /* name servers for host (dns.h); empty: the system's */
    int64_t fallback_delay_ms; /* dial.h */
    struct addr local; /* where connections come from; len 0: the system chooses */
    int64_t dial_timeout_ms;
    int64_t tls_timeout_ms; /* of the handshake behind it */
    int64_t keepalive_idle_ms; /* 0: connections are not kept */
    unsigned keepalive_max;    /* idle connections kept, for each worker */
    struct h1_client_limits limits;
    struct health health; /* of what origin_new is given only the policy counts */

    /* What every request changes has a cache line of its own: the other workers read what is before
     * for each of theirs, and so they do what the allocator puts behind. */
    char apart_before[CACHE_LINE_BYTES];
    _Atomic unsigned refs;
    _Atomic unsigned active; /* requests under way on all workers: for least_conn */
    _Atomic unsigned connections; /* open or being opened; counted where connections_max is set */
    _Atomic unsigned waiting;     /* requests that wait for one of them */
    char apart_behind[CACHE_LINE_BYTES];
};

/* Makes a counted copy; strings are copied, a reference to tls_client is taken. */
struct origin *origin_new(const struct origin *like);
struct origin *origin_ref(struct origin *o);
void origin_unref(struct origin *o);

#endif
