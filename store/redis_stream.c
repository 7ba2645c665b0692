/* Sockets and TLS for the Redis back end; the store's door to OpenSSL's protocol. See
 * redis_stream.h. The socket never blocks: poll waits, until the deadline. */
#include "store/redis_stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/mem.h"

#define HOST_MAX ((size_t)255)

struct redis_tls {
    SSL_CTX *ctx;
    bool insecure;
};

struct redis_stream {
    int fd;
    SSL *ssl; /* NULL: plain */
    int64_t deadline_ms;
};

/* ---- TLS ---- */

static const char *ssl_reason(void)
{
    unsigned long e = ERR_peek_last_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    return text ? text : "the connection ended";
}

static bool trust_pem(SSL_CTX *ctx, struct slice pem)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    size_t count = 0;
    for (X509 *x; bio && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL));) {
        count += X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), x) == 1;
        X509_free(x);
    }
    BIO_free(bio);
    ERR_clear_error();
    return count > 0;
}

static bool set_trust(SSL_CTX *ctx, struct slice pem, struct slice path, struct err *err)
{
    if (pem.n && (pem.n > 1 << 20 || !trust_pem(ctx, pem))) {
        return err_set(err, "tls_server_certs_pem has no certificate in PEM form");
    }
    if (path.n) {
        char *file = mem_dup(path);
        bool ok = SSL_CTX_load_verify_file(ctx, file) == 1;
        free(file);
        if (!ok) {
            return err_set(err, "%.*s: no certificates in PEM form can be read there (%s)",
                           SLICE_ARG(path), ssl_reason());
        }
    }
    if (!pem.n && !path.n && SSL_CTX_set_default_verify_paths(ctx) != 1) {
        return err_set(err, "the system's CA certificates cannot be read");
    }
    return true;
}

struct redis_tls *redis_tls_new(bool insecure, struct slice ca_pem, struct slice ca_path,
                                struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) {
        SSL_CTX_free(ctx);
        err_set(err, "TLS cannot be set up (memory)");
        return NULL;
    }
    SSL_CTX_set_verify(ctx, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (!set_trust(ctx, ca_pem, ca_path, err)) {
        SSL_CTX_free(ctx);
        ERR_clear_error();
        return NULL;
    }
    struct redis_tls *tls = mem_zalloc(sizeof(*tls));
    tls->ctx = ctx;
    tls->insecure = insecure;
    return tls;
}

void redis_tls_free(struct redis_tls *tls)
{
    if (tls) {
        SSL_CTX_free(tls->ctx);
        free(tls);
    }
}

/* ---- waiting ---- */

/* False with err once the deadline has passed. */
static bool wait_for(struct redis_stream *s, short events, struct err *err)
{
    for (;;) {
        int64_t left = s->deadline_ms - clock_mono_ms();
        if (left <= 0) {
            return err_set(err, "no answer in time");
        }
        struct pollfd p = {.fd = s->fd, .events = events};
        int n = poll(&p, 1, left > 60000 ? 60000 : (int)left);
        if (n > 0) {
            return true;
        }
        if (n < 0 && errno != EINTR) {
            return err_errno(err, errno, "waiting");
        }
    }
}

/* After an SSL call that did not succeed: true when it may be made again. */
static bool ssl_again(struct redis_stream *s, int result, struct err *err)
{
    int e = errno;
    switch (SSL_get_error(s->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return wait_for(s, POLLIN, err);
    case SSL_ERROR_WANT_WRITE:
        return wait_for(s, POLLOUT, err);
    case SSL_ERROR_SYSCALL:
        return e ? err_errno(err, e, "TLS") : err_set(err, "the connection was closed");
    default:
        return err_set(err, "TLS: %s", ssl_reason());
    }
}

/* ---- connecting ---- */

/* Splits "host:port" and "[v6]:port". */
static bool split_address(struct slice address, struct slice *host, struct slice *port)
{
    size_t colon = slice_rfind(address, ':');
    uint64_t number;
    if (colon == SLICE_NPOS) {
        return false;
    }
    *host = slice_upto(address, colon);
    *port = slice_from(address, colon + 1);
    bool brackets = host->n > 2 && host->p[0] == '[' && host->p[host->n - 1] == ']';
    if (brackets) {
        *host = slice_of(host->p + 1, host->n - 2);
    }
    return host->n > 0 && host->n <= HOST_MAX &&
           (brackets || slice_find(*host, ':') == SLICE_NPOS) &&
           slice_find(*host, '/') == SLICE_NPOS && slice_u64(*port, 65535, &number) && number > 0;
}

static bool is_unix(struct slice address)
{
    struct sockaddr_un un;
    return slice_starts(address, S("unix//")) && address.n - 5 < sizeof(un.sun_path);
}

bool redis_address_valid(struct slice address)
{
    struct slice host, port;
    return is_unix(address) || split_address(address, &host, &port);
}

static bool connect_to(struct redis_stream *s, const struct sockaddr *to, socklen_t len,
                       struct err *err)
{
    int on = 1, e = 0;
    socklen_t e_len = sizeof(e);
    s->fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0) {
        return err_errno(err, errno, "socket");
    }
    if (connect(s->fd, to, len) != 0) {
        if (errno != EINPROGRESS) {
            return err_errno(err, errno, "connecting");
        }
        if (!wait_for(s, POLLOUT, err)) {
            return false;
        }
        if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &e_len) != 0 || e != 0) {
            return err_errno(err, e ? e : errno, "connecting");
        }
    }
    if (to->sa_family != AF_UNIX) {
        (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)setsockopt(s->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    }
    return true;
}

static bool connect_unix(struct redis_stream *s, struct slice address, struct err *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, address.p + 5, address.n - 5);
    return connect_to(s, (const struct sockaddr *)&to, sizeof(to), err);
}

static bool connect_tcp(struct redis_stream *s, const char *host, const char *port,
                        struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *all = NULL;
    int failed = getaddrinfo(host, port, &hints, &all);
    if (failed) {
        return err_set(err, "its name cannot be looked up: %s", gai_strerror(failed));
    }
    bool ok = err_set(err, "it has no address");
    for (const struct addrinfo *a = all; a && !ok && clock_mono_ms() < s->deadline_ms;
         a = a->ai_next) {
        if (s->fd >= 0) {
            close(s->fd);
            s->fd = -1;
        }
        ok = connect_to(s, a->ai_addr, a->ai_addrlen, err);
    }
    freeaddrinfo(all);
    return ok;
}

static bool expect_name(SSL *ssl, const char *host)
{
    struct in6_addr unused;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (inet_pton(AF_INET, host, &unused) == 1 || inet_pton(AF_INET6, host, &unused) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    }
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static bool handshake(struct redis_stream *s, const struct redis_tls *tls, const char *host,
                      struct err *err)
{
    ERR_clear_error();
    s->ssl = SSL_new(tls->ctx);
    if (!s->ssl || SSL_set_fd(s->ssl, s->fd) != 1 ||
        (!tls->insecure && !expect_name(s->ssl, host))) {
        return err_set(err, "TLS cannot be set up (memory)");
    }
    for (;;) {
        ERR_clear_error();
        errno = 0;
        int r = SSL_connect(s->ssl);
        if (r == 1) {
            return true;
        }
        if (!ssl_again(s, r, err)) {
            long verdict = SSL_get_verify_result(s->ssl);
            return verdict == X509_V_OK
                       ? err_prefix(err, "TLS handshake: ")
                       : err_set(err, "its certificate is refused: %s (tls_server_certs_pem or"
                                 " tls_server_certs_path name the roots to trust)",
                                 X509_verify_cert_error_string(verdict));
        }
    }
}

struct redis_stream *redis_stream_open(const char *address, const struct redis_tls *tls,
                                       int64_t deadline_ms, struct err *err)
{
    struct redis_stream *s = mem_zalloc(sizeof(*s));
    struct slice text = slice_str(address), host = S("localhost"), port;
    char host_text[HOST_MAX + 1] = "localhost";
    s->fd = -1;
    s->deadline_ms = deadline_ms;
    bool ok;
    if (is_unix(text)) {
        ok = connect_unix(s, text, err);
    } else if (split_address(text, &host, &port)) {
        memcpy(host_text, host.p, host.n);
        host_text[host.n] = '\0';
        ok = connect_tcp(s, host_text, port.p, err);
    } else {
        ok = err_set(err, "it is no host:port");
    }
    ok = ok && (!tls || handshake(s, tls, host_text, err));
    if (!ok) {
        redis_stream_close(s);
        return NULL;
    }
    return s;
}

void redis_stream_close(struct redis_stream *s)
{
    if (s) {
        SSL_free(s->ssl);
        if (s->fd >= 0) {
            close(s->fd);
        }
        ERR_clear_error();
        free(s);
    }
}

/* ---- bytes ---- */

void redis_stream_set_deadline(struct redis_stream *s, int64_t deadline_ms)
{
    s->deadline_ms = deadline_ms;
}

/* n > 0: so many went; 0: try again; -1 with err. */
static ssize_t write_some(struct redis_stream *s, struct slice bytes, struct err *err)
{
    if (s->ssl) {
        size_t n = 0;
        ERR_clear_error();
        errno = 0;
        int r = SSL_write_ex(s->ssl, bytes.p, bytes.n, &n);
        return r == 1 ? (ssize_t)n : ssl_again(s, r, err) ? 0 : -1;
    }
    ssize_t n = send(s->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
    if (n >= 0) {
        return n;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return wait_for(s, POLLOUT, err) ? 0 : -1;
    }
    err_errno(err, errno, "sending");
    return -1;
}

bool redis_stream_write(struct redis_stream *s, struct slice bytes, struct err *err)
{
    while (bytes.n) {
        ssize_t n = write_some(s, bytes, err);
        if (n < 0) {
            return false;
        }
        bytes = slice_from(bytes, (size_t)n);
    }
    return true;
}

ssize_t redis_stream_read(void *ctx, char *at, size_t n, struct err *err)
{
    struct redis_stream *s = ctx;
    for (;;) {
        if (s->ssl) {
            size_t got = 0;
            ERR_clear_error();
            errno = 0;
            int r = SSL_read_ex(s->ssl, at, n, &got);
            if (r == 1) {
                return (ssize_t)got;
            }
            if (SSL_get_error(s->ssl, r) == SSL_ERROR_ZERO_RETURN) {
                return 0;
            }
            if (!ssl_again(s, r, err)) {
                return -1;
            }
            continue;
        }
        ssize_t got = recv(s->fd, at, n, 0);
        if (got >= 0) {
            return got;
        }
        if (errno != EAGAIN && errno != EINTR) {
            err_errno(err, errno, "receiving");
            return -1;
        }
        if (!wait_for(s, POLLIN, err)) {
            return -1;
        }
    }
}

bool redis_stream_quiet(struct redis_stream *s)
{
    if (s->ssl) {
        /* Tickets of TLS 1.3 may wait there, which are no end. */
        char byte;
        size_t n = 0;
        ERR_clear_error();
        int r = SSL_peek_ex(s->ssl, &byte, 1, &n);
        return r != 1 && SSL_get_error(s->ssl, r) == SSL_ERROR_WANT_READ;
    }
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}
