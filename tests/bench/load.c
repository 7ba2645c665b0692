/* What wrk does not do: new TLS handshakes, and idle connections.
 *
 *   load handshake PORT THREADS SECONDS   each thread: connect, full handshake (no resumption), GET
 *                                         /1k, read the answer, close; over and over. Prints
 *                                         "REQUESTS ERRORS SECONDS".
 *   load idle WAY PORT COUNT              opens COUNT connections, makes a request on each, prints
 *                                         "COUNT ERRORS 0" and keeps them until its stdin ends.
 *                                         WAY: plain, tls, h2 (over TLS), ws (a WebSocket, TLS)
 *
 * On 127.0.0.1, for the host "localhost", certificates unchecked. A handshake that was not TLS 1.3,
 * or that resumed a session, is an error: all proxies are to do the same work. Blocking calls: what
 * is measured is the proxy. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct connection {
    int fd;
    SSL *ssl; /* NULL: plain */
};

static SSL_CTX *ctx;
static unsigned short port;
static double deadline;

struct worker {
    pthread_t thread;
    unsigned long requests;
    unsigned long errors;
};

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void hang_up(struct connection *c)
{
    if (c->ssl) {
        (void)SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
    }
    if (c->fd >= 0) {
        /* Without TIME_WAIT, or the ports run out. */
        struct linger l = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
        (void)close(c->fd);
    }
    c->ssl = NULL;
    c->fd = -1;
}

static int dial(struct connection *c, int tls)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    c->ssl = NULL;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        return 0;
    }
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!tls) {
        return 1;
    }
    c->ssl = SSL_new(ctx);
    return c->ssl && SSL_set_fd(c->ssl, c->fd) && SSL_set_tlsext_host_name(c->ssl, "localhost") &&
           SSL_connect(c->ssl) == 1 && !SSL_session_reused(c->ssl) &&
           SSL_version(c->ssl) == TLS1_3_VERSION;
}

static int send_all(struct connection *c, const void *data, size_t n)
{
    int w = c->ssl ? SSL_write(c->ssl, data, (int)n) : (int)send(c->fd, data, n, MSG_NOSIGNAL);
    return w == (int)n;
}

static int receive(struct connection *c, void *buf, size_t room)
{
    return c->ssl ? SSL_read(c->ssl, buf, (int)room) : (int)recv(c->fd, buf, room, 0);
}

/* One GET /1k; true when the whole of a 200 has come. */
static int ask(struct connection *c)
{
    static const char request[] = "GET /1k HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\n\r\n";
    char buf[8192];
    size_t have = 0, need = 0;
    if (!send_all(c, request, sizeof(request) - 1)) {
        return 0;
    }
    while (need == 0 || have < need) {
        int n = receive(c, buf + have, sizeof(buf) - 1 - have);
        if (n <= 0) {
            return 0;
        }
        have += (size_t)n;
        buf[have] = 0;
        char *end = strstr(buf, "\r\n\r\n");
        if (end && need == 0) {
            need = (size_t)(end + 4 - buf) + 1024;
        }
        if (have == sizeof(buf) - 1 && need == 0) {
            return 0;
        }
    }
    return strncmp(buf, "HTTP/1.1 200", 12) == 0 && have == need;
}

static int receive_exactly(struct connection *c, void *buf, size_t need)
{
    size_t have = 0;
    while (have < need) {
        int n = receive(c, (char *)buf + have, need - have);
        if (n <= 0) {
            return 0;
        }
        have += (size_t)n;
    }
    return 1;
}

/* The same on HTTP/2 (RFC 9113): stream 1, its fields from HPACK's static table; true when the
 * whole of the answer has come. What the peer grants and asks beside it is let be, but for
 * SETTINGS. */
static int ask_h2(struct connection *c)
{
    static const char request[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                  "\0\0\0\4\0\0\0\0\0"
                                  "\0\0\22\1\5\0\0\0\1"
                                  "\202\207\4\3/1k\1\11localhost";
    static const char ack[] = "\0\0\0\4\1\0\0\0\0";
    uint8_t head[9];
    char payload[65536];
    if (!send_all(c, request, sizeof(request) - 1)) {
        return 0;
    }
    while (receive_exactly(c, head, sizeof(head))) {
        size_t n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        if (n > sizeof(payload) || !receive_exactly(c, payload, n)) {
            return 0;
        }
        if (head[3] == 4 && !(head[4] & 1) && !send_all(c, ack, sizeof(ack) - 1)) {
            return 0;
        }
        if (head[3] <= 1 && head[8] == 1 && (head[4] & 1)) {
            return 1;
        }
        if (head[3] == 3 || head[3] == 7) {
            return 0; /* RST_STREAM, GOAWAY */
        }
    }
    return 0;
}

/* Makes a WebSocket of it: held.py's /held/ws. */
static int ask_websocket(struct connection *c)
{
    static const char request[] =
        "GET /held/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n\r\n";
    char buf[4096];
    size_t have = 0;
    if (!send_all(c, request, sizeof(request) - 1)) {
        return 0;
    }
    while (have < sizeof(buf) - 1) {
        int n = receive(c, buf + have, sizeof(buf) - 1 - have);
        if (n <= 0) {
            return 0;
        }
        have += (size_t)n;
        buf[have] = 0;
        if (strstr(buf, "\r\n\r\n")) {
            return strncmp(buf, "HTTP/1.1 101", 12) == 0;
        }
    }
    return 0;
}

static void *handshakes(void *arg)
{
    struct worker *w = arg;
    while (now() < deadline) {
        struct connection c;
        if (dial(&c, 1) && ask(&c)) {
            w->requests++;
        } else {
            w->errors++;
            ERR_clear_error();
        }
        hang_up(&c);
    }
    return NULL;
}

static int run_handshakes(int threads, double seconds)
{
    struct worker *workers = calloc((size_t)threads, sizeof(*workers));
    if (!workers) {
        return 1;
    }
    double start = now();
    deadline = start + seconds;
    for (int i = 0; i < threads; i++) {
        if (pthread_create(&workers[i].thread, NULL, handshakes, &workers[i]) != 0) {
            return 1;
        }
    }
    unsigned long requests = 0, errors = 0;
    for (int i = 0; i < threads; i++) {
        (void)pthread_join(workers[i].thread, NULL);
        requests += workers[i].requests;
        errors += workers[i].errors;
    }
    (void)printf("%lu %lu %.3f\n", requests, errors, now() - start);
    free(workers);
    return 0;
}

static int run_idle(const char *way, size_t count)
{
    int tls = strcmp(way, "plain") != 0;
    int (*make)(struct connection *) = strcmp(way, "h2") == 0   ? ask_h2
                                       : strcmp(way, "ws") == 0 ? ask_websocket
                                                                : ask;
    struct connection *all = calloc(count, sizeof(*all));
    size_t good = 0;
    if (!all) {
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        good += dial(&all[i], tls) && make(&all[i]);
    }
    (void)printf("%zu %zu 0\n", good, count - good);
    (void)fflush(stdout);
    while (getchar() != EOF) {
    }
    for (size_t i = 0; i < count; i++) {
        hang_up(&all[i]);
    }
    free(all);
    return 0;
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    (void)signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx) {
        return 1;
    }
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (argc == 5 && strcmp(argv[1], "handshake") == 0) {
        port = (unsigned short)strtoul(argv[2], NULL, 10);
        return run_handshakes((int)strtoul(argv[3], NULL, 10), strtod(argv[4], NULL));
    }
    if (argc == 5 && strcmp(argv[1], "idle") == 0) {
        port = (unsigned short)strtoul(argv[3], NULL, 10);
        if (strcmp(argv[2], "h2") == 0 &&
            SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\2h2", 3) != 0) {
            return 1;
        }
        return run_idle(argv[2], strtoul(argv[4], NULL, 10));
    }
    (void)fputs("usage: load handshake PORT THREADS SECONDS\n"
                "       load idle plain|tls|h2|ws PORT COUNT\n",
                stderr);
    return 2;
}
