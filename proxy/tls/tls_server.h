/* TLS towards clients: a `struct stream` over a socket with OpenSSL in the middle.
 *
 * One SSL_CTX for each policy; policy and certificate are chosen in the client-hello callback: the
 * policy by whoever serves, the certificate from the certificate table. TLS 1.2 and 1.3. Unknown
 * server names get the alert unrecognized_name at once; configured names without a certificate get
 * the stand-in. A CA's TLS-ALPN-01 hello (RFC 8737) is answered from the challenge table and its
 * connection closed. */
#ifndef TLS_TLS_SERVER_H
#define TLS_TLS_SERVER_H

#include "proxy/net/stream.h"
#include "proxy/tls/certs.h"
#include "proxy/tls/policy.h"

struct tls_server; /* counted, immutable, shared by threads: certificates, the usual policy */

/* The usual policy is that of no site in particular. alpn: protocols in order of preference, e.g.
 * {"http/1.1"}; copied. certs is borrowed. */
struct tls_server *tls_server_new(struct certs *certs, const struct slice *alpn, size_t alpn_count,
                                  struct err *err);
struct tls_server *tls_server_ref(struct tls_server *t);
void tls_server_unref(struct tls_server *t);

/* One handshake under way. */
struct tls_accept;

/* Called once from the loop unless cancelled: s is the established stream (owned by the callee,
 * s->tls set), or NULL and why (static text; the socket is closed, an alert was sent). The bytes
 * a plain-HTTP client sent to a TLS port are recognised: why is then TLS_PLAIN_HTTP and the
 * socket got Caddy's "Client sent an HTTP request to an HTTPS server." answer (400). */
#define TLS_CHALLENGE_ANSWERED "it was a CA's TLS-ALPN-01 challenge, which is answered"
#define TLS_PLAIN_HTTP "a plain HTTP request on the HTTPS port"
typedef void tls_accepted(void *ctx, struct stream *s, const char *why);

/* What the site that a handshake is for wants. */
struct tls_choice {
    struct tls_policy *policy; /* borrowed, it will be counted; NULL: the usual one */
    bool on_demand; /* where there is no certificate, the handshake waits for one (demand.h) */
    bool no_h2;     /* the listener has none, whatever the policy offers */
};
/* By the client's server name (lower-case), or, where that is empty, by the address it reached.
 * Called in the handshake, on the loop; ctx is tls_accept_start's. */
typedef struct tls_choice tls_choose_site(void *ctx, struct slice server_name,
                                          const struct addr *local);

/* Takes fd. choose_site may be NULL. local may have len 0 (it is then asked for when a client
 * sends no server name). timeout_ms for the whole handshake. NULL: memory (fd is closed). */
struct tls_accept *tls_accept_start(struct tls_server *t, struct loop *l, int fd,
                                    const struct addr *peer, const struct addr *local,
                                    int64_t timeout_ms, tls_choose_site *choose_site,
                                    tls_accepted *done, void *ctx);
void tls_accept_cancel(struct tls_accept *a);

#endif
