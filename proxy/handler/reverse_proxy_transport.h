/* `transport http { ... }` and `transport fastcgi { ... }`, as reverse_proxy reads them; their form
 * is described in reverse_proxy.c and fastcgi.c. */
#ifndef HANDLER_REVERSE_PROXY_TRANSPORT_H
#define HANDLER_REVERSE_PROXY_TRANSPORT_H

#include "proxy/handler/handler.h"
#include "proxy/h1/h1_client.h"
#include "proxy/net/addr.h"
#include "proxy/tls/tls_client.h"
#include "proxy/upstream/origin.h"

struct fastcgi;

/* What `transport` says; the same for all origins of the directive. */
struct transport {
    struct h1_client_limits limits;
    int64_t dial_timeout_ms;
    int64_t keepalive_idle_ms;
    unsigned keepalive_max; /* idle connections, for each worker and origin */
    unsigned proxy_version;
    unsigned versions; /* ORIGIN_* */
    struct slice resolvers;
    int64_t fallback_delay_ms;
    struct slice tls_server_name;
    const struct template *tls_name_template; /* the same with placeholders; or NULL */
    struct slice tls_ca_file;
    const struct slice *more_ca_files;
    size_t more_ca_count;
    struct slice tls_cert_file;
    struct slice tls_key_file;
    uint64_t connections_max;
    struct addr local; /* where connections come from; len 0: the system chooses */
    struct slice tls_groups; /* tls_client.h */
    int64_t tls_timeout_ms; /* of the handshake; 0: as dial_timeout_ms */
    const uint16_t *tls_except_ports;
    size_t tls_except_count;
    bool tls_insecure;
    const struct cf_token *tls; /* the option that asks for TLS, or NULL */
    struct fastcgi *fastcgi;    /* NULL: HTTP is spoken */
};

/* What holds where nothing is written. */
void transport_init(struct transport *t);
/* Reads one `transport` line with its block; errors in b->diags. Slices are the block's. */
void transport_read(struct build *b, struct transport *t, const struct cf_directive *d);
/* Is a connection to this port to be encrypted, where the origin's own form does not say so? */
bool transport_wants_tls(const struct transport *t, uint16_t port);
/* The TLS policy of the transport, counted; NULL after an error at token `at`. */
struct tls_client *transport_tls_client(struct build *b, const struct cf_token *at,
                                        const struct transport *t);

#endif
