/* Raw socket calls: listen, probe, accept, connect. Every descriptor made here is non-blocking and
 * close-on-exec. */
#include "proxy/net/sock.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/net/sock_owner.h"

#define BACKLOG 4096
#define SKIP_MAX 4096
#define DEFER_ACCEPT_S 5
#define KEEPALIVE_IDLE_S 15
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_PROBES 9

static int new_socket(const struct addr *a)
{
    return socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static bool set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

/* Closes fd without losing errno. Returns -1. */
static int close_failed(int fd)
{
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* Leaves errno at errnum: callers tell by it what to do. */
static void say_why(const struct addr *a, int errnum, struct err *err)
{
    char text[ADDR_TEXT_BYTES];
    char owner[128];
    struct slice where = addr_text(a, text);
    if (errnum == EADDRINUSE && sock_owner(a, owner, sizeof(owner))) {
        err_set(err, "cannot listen on %.*s: in use by %s", SLICE_ARG(where), owner);
    } else if (errnum == EADDRINUSE) {
        err_set(err, "cannot listen on %.*s: in use by another process", SLICE_ARG(where));
    } else if (errnum == EACCES && addr_port(a) && addr_port(a) < 1024) {
        err_set(err,
                "cannot listen on %.*s: permission denied (ports below 1024 need root or "
                "CAP_NET_BIND_SERVICE)",
                SLICE_ARG(where));
    } else {
        err_errno(err, errnum, "cannot listen on %.*s", SLICE_ARG(where));
    }
    errno = errnum;
}

/* Does anyone answer at this path? Only a refusal says for sure that nobody does. */
static bool unix_is_dead(const struct addr *a)
{
    struct stat st;
    if (lstat(a->u.un.sun_path, &st) != 0) {
        return errno == ENOENT;
    }
    int fd = S_ISSOCK(st.st_mode) ? new_socket(a) : -1;
    if (fd < 0) {
        return false;
    }
    bool dead = connect(fd, &a->u.sa, a->len) != 0 && errno == ECONNREFUSED;
    close(fd);
    return dead;
}

static bool bind_unix(int fd, const struct addr *a)
{
    /* The mode of an unbound socket becomes, umask applied, the mode of the file. */
    (void)fchmod(fd, 0600);
    if (bind(fd, &a->u.sa, a->len) == 0) {
        return true;
    }
    if (errno != EADDRINUSE) {
        return false;
    }
    if (!unix_is_dead(a)) {
        errno = EADDRINUSE;
        return false;
    }
    (void)unlink(a->u.un.sun_path);
    return bind(fd, &a->u.sa, a->len) == 0;
}

static bool bind_ip(int fd, const struct addr *a, bool share)
{
    return set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
           (!share || set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1)) &&
           (a->u.sa.sa_family != AF_INET6 || set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) &&
           bind(fd, &a->u.sa, a->len) == 0;
}

int sock_listen(const struct addr *a, bool defer, struct err *err)
{
    int fd = new_socket(a);
    if (fd < 0) {
        say_why(a, errno, err);
        return -1;
    }
    if (!(addr_is_unix(a) ? bind_unix(fd, a) : bind_ip(fd, a, true)) ||
        listen(fd, BACKLOG) != 0) {
        say_why(a, errno, err);
        return close_failed(fd);
    }
    if (!addr_is_unix(a)) {
        sock_tune(fd);
        if (defer) {
            (void)set_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, DEFER_ACCEPT_S);
        }
    }
    return fd;
}

bool sock_probe(const struct addr *a, struct err *err)
{
    if (addr_is_unix(a)) {
        if (!unix_is_dead(a)) {
            say_why(a, EADDRINUSE, err);
            return false;
        }
        return true;
    }
    int fd = new_socket(a);
    if (fd < 0 || !bind_ip(fd, a, false)) {
        say_why(a, errno, err);
        if (fd >= 0) {
            (void)close_failed(fd);
        }
        return false;
    }
    close(fd);
    return true;
}

int sock_accept(int listen_fd, struct addr *peer)
{
    int fd;
    do {
        peer->len = sizeof(peer->u);
        fd = accept4(listen_fd, &peer->u.sa, &peer->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0 || peer->len > sizeof(peer->u)) {
        peer->len = 0;
    }
    return fd;
}

void sock_local(int fd, struct addr *out)
{
    out->len = sizeof(out->u);
    if (getsockname(fd, &out->u.sa, &out->len) != 0 || out->len > sizeof(out->u)) {
        out->len = 0;
    }
}

void sock_tune(int fd)
{
    (void)set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    (void)set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    sock_keepalive(fd, 0, 0, 0);
}

void sock_keepalive(int fd, unsigned idle_s, unsigned interval_s, unsigned probes)
{
    (void)set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_s ? (int)idle_s : KEEPALIVE_IDLE_S);
    (void)set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL,
                  interval_s ? (int)interval_s : KEEPALIVE_INTERVAL_S);
    (void)set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, probes ? (int)probes : KEEPALIVE_PROBES);
}

/* The port is chosen while connecting, so that one local port serves many origins. */
static bool bind_local(int fd, const struct addr *a, const struct addr *local)
{
    int on = 1;
    if (local->u.sa.sa_family != a->u.sa.sa_family) {
        errno = EAFNOSUPPORT;
        return false;
    }
    if (addr_port(local) == 0) {
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    }
    return bind(fd, &local->u.sa, local->len) == 0;
}

int sock_connect(const struct addr *a, const struct addr *local, bool *pending)
{
    int fd = new_socket(a);
    if (fd < 0) {
        return -1;
    }
    if (!addr_is_unix(a)) {
        sock_tune(fd);
        if (local && !bind_local(fd, a, local)) {
            return close_failed(fd);
        }
    }
    *pending = false;
    if (connect(fd, &a->u.sa, a->len) == 0) {
        return fd;
    }
    /* Interrupted, it goes on in the background all the same. */
    if (errno != EINPROGRESS && errno != EINTR) {
        return close_failed(fd);
    }
    *pending = true;
    return fd;
}

ssize_t sock_peek(int fd, void *buf, size_t n)
{
    ssize_t got;
    do {
        got = recv(fd, buf, n, MSG_PEEK);
    } while (got < 0 && errno == EINTR);
    return got;
}

bool sock_skip(int fd, size_t n)
{
    char unwanted[SKIP_MAX];
    ssize_t got;
    must(n <= sizeof(unwanted));
    do {
        got = recv(fd, unwanted, n, 0);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)n;
}

void sock_low_water(int fd, size_t n)
{
    (void)set_int(fd, SOL_SOCKET, SO_RCVLOWAT, (int)n);
}

bool sock_peer_ended(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

int sock_connect_result(int fd)
{
    int errnum = 0;
    socklen_t len = sizeof(errnum);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &len) == 0 ? errnum : errno;
}
