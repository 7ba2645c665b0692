/* See log_net.h. */
#include "proxy/loop/log_net.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/mem.h"

struct log_net {
    int family;
    int type;
    struct sockaddr_storage addr;
    socklen_t addr_bytes;
};

static bool use_unix(struct log_net *n, struct slice path, struct err *err)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&n->addr;
    if (path.n < 2 || path.p[0] != '/' || path.n >= sizeof(un->sun_path)) {
        return err_set(err, "a Unix socket is written unix//path/to/socket");
    }
    n->family = un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path.p, path.n);
    n->addr_bytes = sizeof(*un);
    return true;
}

static bool look_up(struct log_net *n, struct slice address, struct err *err)
{
    size_t colon = slice_rfind(address, ':');
    if (colon == SLICE_NPOS || colon == 0) {
        return err_set(err, "it is no address such as localhost:514");
    }
    struct slice host = slice_upto(address, colon);
    if (host.p[0] == '[' && host.p[host.n - 1] == ']') {
        host = slice_of(host.p + 1, host.n - 2);
    }
    char *name = mem_dup(host);
    char *port = mem_dup(slice_from(address, colon + 1));
    struct addrinfo hints = {.ai_socktype = n->type};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(name, port, &hints, &found);
    free(name);
    free(port);
    if (rc != 0) {
        return err_set(err, "%s", gai_strerror(rc));
    }
    n->family = found->ai_family;
    n->addr_bytes = found->ai_addrlen;
    memcpy(&n->addr, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

struct log_net *log_net_new(struct slice address, struct err *err)
{
    struct log_net *n = mem_zalloc(sizeof(*n));
    bool udp = slice_starts(address, S("udp/"));
    n->type = udp ? SOCK_DGRAM : SOCK_STREAM;
    bool ok = slice_starts(address, S("unix/"))
                  ? use_unix(n, slice_from(address, 5), err)
                  : look_up(n, slice_from(address, udp || slice_starts(address, S("tcp/")) ? 4 : 0),
                            err);
    if (!ok) {
        free(n);
        return NULL;
    }
    return n;
}

void log_net_free(struct log_net *n)
{
    free(n);
}

bool log_net_datagrams(const struct log_net *n)
{
    return n->type == SOCK_DGRAM;
}

int log_net_dial(const struct log_net *n)
{
    int fd = socket(n->family, n->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&n->addr, n->addr_bytes) != 0 &&
        errno != EINPROGRESS) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

bool log_net_try(const struct log_net *n, int64_t timeout_ms, struct err *err)
{
    int fd = log_net_dial(n);
    if (fd < 0) {
        return err_errno(err, errno, "connecting");
    }
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int failed = ETIMEDOUT;
    socklen_t size = sizeof(failed);
    if (poll(&p, 1, (int)timeout_ms) > 0) {
        (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size);
    }
    close(fd);
    return failed == 0 || err_errno(err, failed, "connecting");
}
