/* TLS towards origins: turns a connected plain stream's socket into a TLS stream. */
#ifndef TLS_TLS_CLIENT_H
#define TLS_TLS_CLIENT_H

#include "proxy/base/err.h"
#include "proxy/net/stream.h"

struct tls_client; /* counted, immutable, shared by threads */

struct tls_client_config {
    bool insecure_skip_verify;
    struct slice server_name; /* overrides the host for SNI and verification; or empty */
    struct slice ca_file;     /* PEM, instead of the system's roots; or empty */
    const struct slice *more_ca_files; /* added to it */
    size_t more_ca_count;
    struct slice cert_file; /* PEM chain and key that we show if we are asked to; or empty */
    struct slice key_file;
    const struct slice *alpn;
    size_t alpn_count;
    struct slice groups; /* key exchange groups in OpenSSL's words, ":" between; empty: ours */
};

struct tls_client *tls_client_new(const struct tls_client_config *config, struct err *err);
struct tls_client *tls_client_ref(struct tls_client *t);
void tls_client_unref(struct tls_client *t);

/* why, when timeout_ms went by. */
#define TLS_TOO_SLOW "the TLS handshake took too long"

struct tls_connect;
/* As tls_accepted; why is OpenSSL's reason in words ("certificate has expired"), copied by the
 * callee if it is kept. */
typedef void tls_connected(void *ctx, struct stream *s, const char *why);

/* Takes the plain stream (tcp.h's, raw_fd >= 0, nothing read yet). host: for SNI (not for IP
 * addresses) and verification. alpn: the only protocol to offer (it lives until done), or empty:
 * those of t. NULL: memory (the stream is closed). */
struct tls_connect *tls_connect_start(struct tls_client *t, struct stream *plain, struct slice host,
                                      struct slice alpn, int64_t timeout_ms, tls_connected *done,
                                      void *ctx);
void tls_connect_cancel(struct tls_connect *c);

#endif
