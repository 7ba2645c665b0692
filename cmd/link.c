/* Packets between the server process and its parent, with descriptors; see link.h. */
#include "cmd/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SHORTAGE_TRIES_MAX 300
#define SHORTAGE_PAUSE_MS 10

/* Is it worth trying again? The other end is there; the kernel has no memory or no room just now.
 * Waits a little; both ends are used off the event loops. */
static bool passes(int *tries)
{
    bool shortage = errno == ENOBUFS || errno == ENOMEM || errno == EAGAIN ||
                    errno == ETOOMANYREFS;
    if (errno == EINTR) {
        return true;
    }
    if (!shortage || ++*tries > SHORTAGE_TRIES_MAX) {
        return false;
    }
    struct timespec pause = {.tv_nsec = SHORTAGE_PAUSE_MS * 1000 * 1000};
    nanosleep(&pause, NULL);
    return true;
}

bool link_send(int link, const struct link_packet *p, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)p, sizeof(*p)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    ssize_t n;
    int tries = 0;
    do {
        n = sendmsg(link, &msg, MSG_NOSIGNAL);
    } while (n < 0 && passes(&tries));
    return n == (ssize_t)sizeof(*p);
}

bool link_receive(int link, struct link_packet *p, int *fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {p, sizeof(*p)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    *fd = -1;
    ssize_t n;
    int tries = 0;
    do {
        n = recvmsg(link, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && passes(&tries));
    struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        memcpy(fd, CMSG_DATA(c), sizeof(*fd));
    }
    if (n != (ssize_t)sizeof(*p)) {
        if (*fd >= 0) {
            close(*fd);
            *fd = -1;
        }
        return false;
    }
    p->text[sizeof(p->text) - 1] = '\0';
    if ((msg.msg_flags & MSG_CTRUNC) && !p->error) {
        p->error = EMFILE; /* a descriptor came, but there was no number free for it */
        (void)snprintf(p->text, sizeof(p->text), "no descriptor is free for a listening socket: "
                       "%s (see `ulimit -n`)", strerrordesc_np(EMFILE));
    }
    return true;
}
