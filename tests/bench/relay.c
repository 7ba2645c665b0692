/* The floor of the bench: what the system calls alone cost. A relay that pairs each client with a
 * connection to the origin and moves bytes, recv, send, recv, send, with one epoll; it parses,
 * limits and logs nothing. Where a read fills its buffer, the rest goes by splice.
 *
 *   relay ORIGIN_PORT PLAIN_PORT TLS_PORT CERTIFICATE KEY
 *
 * With TLS towards clients OpenSSL stands around the client's side. A side that takes nothing is
 * waited for on the spot: the bench's own clients always read. Ends with SIGTERM. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER 16384
#define PIPE_BYTES (256 * 1024)

struct pair;

struct side {
    struct pair *pair;
    int fd;
    SSL *ssl; /* NULL: plain */
};

struct pair {
    struct side client;
    struct side origin;
    bool over;
    struct pair *next_over;
};

static int epoll_fd, listeners[2], pipe_fds[2], origin_port;
static SSL_CTX *ctx;
static struct pair *overs;
static char buffer[BUFFER];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    (void)poll(&p, 1, -1);
}

static void end_pair(struct pair *p)
{
    if (!p->over) {
        p->over = true;
        p->next_over = overs;
        overs = p;
    }
}

/* > 0 bytes, 0: nothing now, -1: over. */
static ssize_t take(struct side *s)
{
    if (!s->ssl) {
        ssize_t n = recv(s->fd, buffer, BUFFER, 0);
        return n > 0 ? n : n < 0 && errno == EAGAIN ? 0 : -1;
    }
    int n = SSL_read(s->ssl, buffer, BUFFER);
    if (n > 0) {
        return n;
    }
    int why = SSL_get_error(s->ssl, n);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static bool give(struct side *s, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = s->ssl ? SSL_write(s->ssl, p, (int)n) : send(s->fd, p, n, MSG_NOSIGNAL);
        if (k > 0) {
            p += k;
            n -= (size_t)k;
        } else if (s->ssl ? SSL_get_error(s->ssl, (int)k) == SSL_ERROR_WANT_WRITE
                          : errno == EAGAIN) {
            wait_for(s->fd, POLLOUT);
        } else {
            return false;
        }
    }
    return true;
}

/* What else the socket has, through the pipe. */
static bool splice_rest(struct side *from, struct side *to)
{
    ssize_t n;
    while ((n = splice(from->fd, NULL, pipe_fds[1], NULL, PIPE_BYTES, SPLICE_F_NONBLOCK)) > 0) {
        while (n > 0) {
            ssize_t k = splice(pipe_fds[0], NULL, to->fd, NULL, (size_t)n, SPLICE_F_NONBLOCK);
            if (k > 0) {
                n -= k;
            } else if (errno == EAGAIN) {
                wait_for(to->fd, POLLOUT);
            } else {
                return false;
            }
        }
    }
    return n < 0 && errno == EAGAIN;
}

static void on_side(struct side *from)
{
    struct pair *p = from->pair;
    struct side *to = from == &p->client ? &p->origin : &p->client;
    ssize_t n;
    do {
        n = p->over ? 0 : take(from);
        if (n < 0 || (n > 0 && !give(to, buffer, (size_t)n))) {
            end_pair(p);
            return;
        }
        if (n == BUFFER && !from->ssl && !to->ssl && !splice_rest(from, to)) {
            end_pair(p);
            return;
        }
    } while (n > 0 && from->ssl && SSL_pending(from->ssl) > 0);
}

static void watch(int fd, void *what)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = what};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0) {
        die("epoll_ctl");
    }
}

static int connect_origin(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)origin_port)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        die("connect");
    }
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static void on_listener(int which)
{
    int fd = accept4(listeners[which], NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    struct pair *p = calloc(1, sizeof(*p));
    if (!p) {
        die("memory");
    }
    p->client = (struct side){.pair = p, .fd = fd};
    p->origin = (struct side){.pair = p, .fd = connect_origin()};
    if (which == 1) {
        p->client.ssl = SSL_new(ctx);
        SSL_set_fd(p->client.ssl, fd);
        SSL_set_accept_state(p->client.ssl);
    }
    watch(fd, &p->client);
    watch(p->origin.fd, &p->origin);
}

static int listen_on(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 4096) != 0) {
        die("listen");
    }
    return fd;
}

static void free_overs(void)
{
    while (overs) {
        struct pair *p = overs;
        overs = p->next_over;
        SSL_free(p->client.ssl);
        close(p->client.fd);
        close(p->origin.fd);
        free(p);
    }
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fputs("relay ORIGIN_PORT PLAIN_PORT TLS_PORT CERTIFICATE KEY\n", stderr);
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    origin_port = (int)strtol(argv[1], NULL, 10);
    epoll_fd = epoll_create1(0);
    ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (pipe2(pipe_fds, O_NONBLOCK) != 0 ||
        SSL_CTX_use_certificate_chain_file(ctx, argv[4]) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, argv[5], SSL_FILETYPE_PEM) != 1) {
        die("start");
    }
    (void)fcntl(pipe_fds[1], F_SETPIPE_SZ, PIPE_BYTES);
    for (int i = 0; i < 2; i++) {
        listeners[i] = listen_on((int)strtol(argv[2 + i], NULL, 10));
        watch(listeners[i], &listeners[i]);
    }
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll_fd, events, 64, -1);
        for (int i = 0; i < n; i++) {
            int *listener = events[i].data.ptr;
            if (listener == &listeners[0] || listener == &listeners[1]) {
                on_listener((int)(listener - listeners));
            } else {
                on_side(events[i].data.ptr);
            }
        }
        free_overs();
    }
}
