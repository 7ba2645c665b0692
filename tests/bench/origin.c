/* The origin of the bench: a small HTTP/1.1 server on one thread that costs next to nothing.
 *
 *   origin PORT
 *
 * GET /1k answers 1 KiB, /10m answers 10 MiB, anything else an empty 200; connections are kept.
 * It trusts its clients (our own load through a proxy) and reads no bodies. Ends with its parent's
 * SIGTERM. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX ((size_t)10 << 20)
#define HEAD_MAX ((size_t)16384)

static char head_1k[128], head_10m[128], head_none[128];
static char *body;

struct client {
    int fd;
    size_t have;      /* bytes of request heads in buf */
    const char *head; /* response under way, NULL: none */
    size_t head_left;
    size_t body_left;
    size_t body_size;
    char buf[HEAD_MAX];
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* Writes what is left of the response; false when the connection is to be closed. */
static int flush(struct client *c)
{
    while (c->head && c->head_left + c->body_left > 0) {
        const char *from = c->head_left ? c->head + strlen(c->head) - c->head_left
                                        : body + (c->body_size - c->body_left);
        size_t n = c->head_left ? c->head_left : c->body_left;
        int more = c->head_left && c->body_left ? MSG_MORE : 0;
        ssize_t w = send(c->fd, from, n, MSG_NOSIGNAL | more);
        if (w < 0) {
            return errno == EAGAIN;
        }
        if (c->head_left) {
            c->head_left -= (size_t)w;
        } else {
            c->body_left -= (size_t)w;
        }
    }
    c->head = NULL;
    return 1;
}

static void answer(struct client *c)
{
    const char *target = memchr(c->buf, '/', c->have);
    int is_1k = target && strncmp(target, "/1k", 3) == 0;
    int is_10m = target && strncmp(target, "/10m", 4) == 0;
    c->head = is_1k ? head_1k : is_10m ? head_10m : head_none;
    c->head_left = strlen(c->head);
    c->body_size = is_1k ? 1024 : is_10m ? BODY_MAX : 0;
    c->body_left = c->body_size;
}

/* Reads and answers; false when the connection is to be closed. */
static int serve(struct client *c)
{
    for (;;) {
        if (!flush(c)) {
            return 0;
        }
        if (c->head) {
            return 1; /* EPOLLOUT will come */
        }
        char *end = memmem(c->buf, c->have, "\r\n\r\n", 4);
        if (end) {
            answer(c);
            size_t used = (size_t)(end + 4 - c->buf);
            memmove(c->buf, c->buf + used, c->have - used);
            c->have -= used;
            continue;
        }
        ssize_t n = read(c->fd, c->buf + c->have, HEAD_MAX - c->have);
        if (n <= 0) {
            return n < 0 && errno == EAGAIN;
        }
        c->have += (size_t)n;
    }
}

static int listen_on(unsigned short port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 4096) != 0) {
        die("listen");
    }
    return fd;
}

static void accept_all(int listener, int ep)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        struct client *c = calloc(1, sizeof(*c));
        if (!c) {
            die("calloc");
        }
        c->fd = fd;
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
        if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) != 0) {
            die("epoll_ctl");
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fputs("usage: origin PORT\n", stderr);
        return 2;
    }
    const char *format =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n";
    (void)snprintf(head_1k, sizeof(head_1k), format, (size_t)1024);
    (void)snprintf(head_10m, sizeof(head_10m), format, BODY_MAX);
    (void)snprintf(head_none, sizeof(head_none), format, (size_t)0);
    body = malloc(BODY_MAX);
    if (!body) {
        die("malloc");
    }
    memset(body, 'x', BODY_MAX);
    (void)signal(SIGPIPE, SIG_IGN);
    int listener = listen_on((unsigned short)strtoul(argv[1], NULL, 10));
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e) != 0) {
        die("epoll");
    }
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(ep, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (!c) {
                accept_all(listener, ep);
            } else if (!serve(c)) {
                (void)close(c->fd);
                free(c);
            }
        }
    }
}
