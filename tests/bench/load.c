/* What wrk does not do: new TLS handshakes, and idle connections.
 *
 *   load handshake PORT THREADS SECONDS   each thread: connect, full handshake (no resumption), GET
 *                                         /1k, read the answer, close; over and over. Prints
 *                                         "REQUESTS ERRORS SECONDS".
 *   load idle plain|tls PORT COUNT        opens COUNT connections, makes a request on each, prints
 *                                         "COUNT ERRORS 0" and keeps them until its stdin ends.
 *
 * On 127.0.0.1, for the host "localhost", certificates unchecked. Blocking calls: what is measured
 * is the proxy. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
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
           SSL_connect(c->ssl) == 1 && !SSL_session_reused(c->ssl);
}

/* One GET /1k; true when the whole of a 200 has come. */
static int ask(struct connection *c)
{
    static const char request[] = "GET /1k HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\n\r\n";
    char buf[8192];
    size_t have = 0, need = 0;
    int w = c->ssl ? SSL_write(c->ssl, request, (int)sizeof(request) - 1)
                   : (int)send(c->fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
    if (w != (int)sizeof(request) - 1) {
        return 0;
    }
    while (need == 0 || have < need) {
        int n = c->ssl ? SSL_read(c->ssl, buf + have, (int)(sizeof(buf) - 1 - have))
                       : (int)recv(c->fd, buf + have, sizeof(buf) - 1 - have, 0);
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

static int run_idle(int tls, size_t count)
{
    struct connection *all = calloc(count, sizeof(*all));
    size_t good = 0;
    if (!all) {
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        good += dial(&all[i], tls) && ask(&all[i]);
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
        return run_idle(strcmp(argv[2], "tls") == 0, strtoul(argv[4], NULL, 10));
    }
    (void)fputs("usage: load handshake PORT THREADS SECONDS | load idle plain|tls PORT COUNT\n",
                stderr);
    return 2;
}
