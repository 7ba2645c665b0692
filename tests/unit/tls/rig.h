/* The rig of the TLS tests: one loop with a listening socket in this thread, and a blocking OpenSSL
 * client in another. A test gives the client's script and what the server side does with each
 * accepted stream; rig_run() returns when the script has ended and every stream of the server side
 * is closed. */
#ifndef TEST_TLS_RIG_H
#define TEST_TLS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "proxy/net/sock.h"
#include "proxy/net/tcp.h"
#include "proxy/tls/cert.h"
#include "proxy/tls/tickets.h"
#include "proxy/tls/tls_client.h"
#include "proxy/tls/tls_server.h"
#include "proxy/tls/tls_stream.h"
#include "tests/unit/tls/pki.h"

#define RIG_BUF ((size_t)32768)

struct rig;

/* The server side of one connection: an echo, unless the test brings its own on_event. */
struct side {
    struct rig *rig;
    struct stream *stream;
    struct tls_accept *accept;
    char buf[RIG_BUF];
    size_t at, have;
    bool ended;           /* the clean end was read */
    ssize_t failure;      /* a negative result of read or write other than AGAIN */
    uint64_t bytes;
    int events;
};

struct rig {
    struct loop *loop;
    int listen_fd;
    uint16_t port;
    struct watch watch;
    struct timer guard;
    struct certs *certs;
    struct tls_server *server;
    int64_t timeout_ms;
    int open; /* connections of the server side */
    int sndbuf;
    bool no_reads; /* read by hand */
    void (*on_stream)(struct side *side);
    void (*on_event)(struct stream *s, unsigned events);
    /* Of the last connection that ended or began: */
    const char *why;
    struct stream_tls info; /* slices into texts */
    char server_name[256], alpn[64], cipher[64];
    bool ended;
    ssize_t failure;
    uint64_t bytes;
    int accepted, established;
    /* The client's thread: */
    const char *(*script)(struct rig *r);
    const char *verdict; /* NULL: fine */
    struct message over;
    bool script_over;
    SSL_CTX *client_ctx;
};

static UNUSED struct pki_pair *rig_ca, *rig_a, *rig_wild, *rig_ip;

static void rig_maybe_stop(struct rig *r)
{
    if (r->script_over && r->open == 0) {
        loop_stop(r->loop);
    }
}

static void rig_side_over(struct side *side)
{
    struct rig *r = side->rig;
    r->ended = side->ended;
    r->failure = side->failure;
    r->bytes = side->bytes;
    r->open--;
    free(side);
    rig_maybe_stop(r);
}

static UNUSED void rig_close(struct side *side, bool abort)
{
    stream_close(side->stream, abort);
    rig_side_over(side);
}

/* True when all of the buffer is written; on a failure the side is gone (and so false). */
static UNUSED bool rig_echo_write(struct side *side)
{
    while (side->at < side->have) {
        /* Cut into odd pieces: small ones to be gathered, one empty. */
        size_t left = side->have - side->at;
        char *p = side->buf + side->at;
        size_t k = left > 7 ? 7 : left;
        struct iovec iov[] = {{p, k / 2}, {p, 0}, {p + k / 2, k - k / 2}, {p + k, left - k}};
        ssize_t n = stream_writev(side->stream, iov, 4, false);
        if (n == STREAM_AGAIN) {
            stream_want(side->stream, STREAM_WRITE);
            return false;
        }
        if (n < 0) {
            side->failure = n;
            rig_close(side, false);
            return false;
        }
        side->at += (size_t)n;
    }
    return true;
}

/* Echo with one buffer: reads only when the last bytes are written, trusts that a short read has
 * emptied the stream, closes at the end. */
static UNUSED void rig_echo(struct stream *s, unsigned events)
{
    struct side *side = s->owner;
    (void)events;
    side->events++;
    while (rig_echo_write(side)) {
        stream_want(s, STREAM_READ);
        if (side->have && side->have < sizeof(side->buf)) {
            side->have = side->at = 0;
            return;
        }
        ssize_t n = stream_read(s, side->buf, sizeof(side->buf));
        if (n == STREAM_AGAIN) {
            side->have = side->at = 0;
            return;
        }
        if (n <= 0) {
            side->ended = n == 0;
            side->failure = n;
            rig_close(side, false);
            return;
        }
        side->at = 0;
        side->have = (size_t)n;
        side->bytes += (size_t)n;
    }
}

static void rig_keep_info(struct rig *r, const struct stream_tls *info)
{
    r->info = *info;
    (void)snprintf(r->server_name, sizeof(r->server_name), "%.*s", SLICE_ARG(info->server_name));
    (void)snprintf(r->alpn, sizeof(r->alpn), "%.*s", SLICE_ARG(info->alpn));
    (void)snprintf(r->cipher, sizeof(r->cipher), "%.*s", SLICE_ARG(info->cipher));
}

static void rig_accepted(void *ctx, struct stream *s, const char *why)
{
    struct side *side = ctx;
    struct rig *r = side->rig;
    side->accept = NULL;
    r->why = why;
    if (!s) {
        rig_side_over(side);
        return;
    }
    r->established++;
    rig_keep_info(r, s->tls);
    side->stream = s;
    s->owner = side;
    s->on_event = r->on_event ? r->on_event : rig_echo;
    if (r->on_stream) {
        r->on_stream(side);
    } else {
        stream_want(s, STREAM_READ);
    }
}

static void rig_on_listen(struct watch *w, unsigned events)
{
    struct rig *r = container_of(w, struct rig, watch);
    struct addr peer = {.len = 0};
    struct addr local = {.len = 0};
    (void)events;
    int fd = sock_accept(r->listen_fd, &peer);
    if (fd < 0) {
        return;
    }
    if (r->sndbuf) {
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &r->sndbuf, sizeof(r->sndbuf));
    }
    struct side *side = calloc(1, sizeof(*side));
    must(side);
    side->rig = r;
    r->open++;
    r->accepted++;
    side->accept = tls_accept_start(r->server, r->loop, fd, &peer, &local, r->timeout_ms, NULL,
                                    rig_accepted, side);
    must(side->accept);
}

static void rig_guard(struct timer *t)
{
    (void)t;
    (void)fprintf(stderr, "the test hangs\n");
    abort();
}

static UNUSED struct rig *rig_new(const struct slice *alpn, size_t alpn_count)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct err err;
    struct addr a;
    must(r);
    (void)signal(SIGPIPE, SIG_IGN);
    r->loop = loop_new(&err);
    must(r->loop);
    must(addr_parse_ip(S("127.0.0.1"), 0, &a));
    r->listen_fd = sock_listen(&a, false, &err);
    must(r->listen_fd >= 0);
    sock_local(r->listen_fd, &a);
    r->port = addr_port(&a);
    watch_init(&r->watch, r->loop, r->listen_fd, rig_on_listen);
    watch_set(&r->watch, WATCH_READ);
    timer_init(&r->guard, r->loop, rig_guard);
    timer_set(&r->guard, 60000);
    r->timeout_ms = 20000;
    r->certs = certs_new();
    struct slice names[] = {S("a.test"), S("*.wild.test"), S("127.0.0.1"), S("waiting.test")};
    certs_configure(r->certs, names, ARRAY_LEN(names), S(""));
    must(certs_install(r->certs, names[0], slice_str(rig_a->chain), slice_str(rig_a->key), &err));
    must(certs_install(r->certs, names[1], slice_str(rig_wild->chain), slice_str(rig_wild->key),
                       &err));
    must(certs_install(r->certs, names[2], slice_str(rig_ip->chain), slice_str(rig_ip->key), &err));
    r->server = tls_server_new(r->certs, alpn, alpn_count, &err);
    must(r->server);
    r->client_ctx = SSL_CTX_new(TLS_client_method());
    must(r->client_ctx);
    SSL_CTX_set_session_cache_mode(r->client_ctx, SSL_SESS_CACHE_CLIENT);
    must(X509_STORE_add_cert(SSL_CTX_get_cert_store(r->client_ctx), rig_ca->x) == 1);
    return r;
}

static UNUSED void rig_free(struct rig *r)
{
    watch_fini(&r->watch);
    timer_fini(&r->guard);
    close(r->listen_fd);
    tls_server_unref(r->server);
    certs_free(r->certs);
    loop_free(r->loop);
    SSL_CTX_free(r->client_ctx);
    free(r);
}

static void rig_over(struct message *m)
{
    struct rig *r = container_of(m, struct rig, over);
    r->script_over = true;
    rig_maybe_stop(r);
}

static void *rig_thread(void *arg)
{
    struct rig *r = arg;
    r->verdict = r->script(r);
    r->over.deliver = rig_over;
    loop_send(r->loop, &r->over);
    return NULL;
}

static UNUSED void rig_run(struct rig *r, const char *(*script)(struct rig *r))
{
    pthread_t t;
    r->script = script;
    r->script_over = false;
    must(pthread_create(&t, NULL, rig_thread, r) == 0);
    loop_run(r->loop);
    pthread_join(t, NULL);
    if (r->verdict) {
        fail_msg("the client: %s", r->verdict);
    }
}

/* ---- for scripts (the client's thread) ------------------------------------------------------- */

#define CHECK(expr)       \
    do {                  \
        if (!(expr)) {    \
            return #expr; \
        }                 \
    } while (0)

static UNUSED int rig_dial(struct rig *r, int rcvbuf)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(r->port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0);
    if (rcvbuf) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
    }
    must(connect(fd, (const struct sockaddr *)(const void *)&in, sizeof(in)) == 0);
    return fd;
}

/* A client with its socket, before its handshake. version 0: any. name NULL: no SNI. */
static UNUSED SSL *rig_ssl(struct rig *r, const char *name, int version, int rcvbuf)
{
    SSL *ssl = SSL_new(r->client_ctx);
    must(ssl);
    if (version) {
        SSL_set_min_proto_version(ssl, version);
        SSL_set_max_proto_version(ssl, version);
    }
    if (name) {
        SSL_set_tlsext_host_name(ssl, name);
    }
    SSL_set_fd(ssl, rig_dial(r, rcvbuf));
    return ssl;
}

static UNUSED void rig_hang_up(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    SSL_free(ssl);
    close(fd);
}

static UNUSED bool rig_write_all(SSL *ssl, const void *p, size_t n)
{
    size_t done = 0;
    return n == 0 || (SSL_write_ex(ssl, p, n, &done) == 1 && done == n);
}

static UNUSED bool rig_read_all(SSL *ssl, void *p, size_t n)
{
    for (size_t at = 0, k; at < n; at += k) {
        if (SSL_read_ex(ssl, (char *)p + at, n - at, &k) != 1) {
            return false;
        }
    }
    return true;
}

static UNUSED bool rig_echoes(SSL *ssl, const char *text)
{
    char back[4096] = {0};
    size_t n = strlen(text);
    return rig_write_all(ssl, text, n) && rig_read_all(ssl, back, n) && memcmp(back, text, n) == 0;
}

/* Both sides say goodbye. */
static UNUSED bool rig_goodbye(SSL *ssl)
{
    int first = SSL_shutdown(ssl);
    bool ok = first >= 0 && SSL_shutdown(ssl) == 1;
    rig_hang_up(ssl);
    return ok;
}

static UNUSED bool rig_peer_is(SSL *ssl, const struct pki_pair *p)
{
    X509 *x = SSL_get1_peer_certificate(ssl);
    bool same = x && X509_cmp(x, p->x) == 0;
    X509_free(x);
    return same;
}

static UNUSED int rig_group_set_up(void **state)
{
    (void)state;
    rig_ca = pki_make("test CA", NULL, 100, NULL);
    rig_a = pki_make("a.test", "DNS:a.test", 10, rig_ca);
    rig_wild = pki_make("wild.test", "DNS:*.wild.test", 10, rig_ca);
    rig_ip = pki_make("ip", "IP:127.0.0.1", 10, rig_ca);
    return 0;
}

static UNUSED int rig_group_tear_down(void **state)
{
    (void)state;
    pki_free(rig_ca);
    pki_free(rig_a);
    pki_free(rig_wild);
    pki_free(rig_ip);
    return 0;
}

#endif
