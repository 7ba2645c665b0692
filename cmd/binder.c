/* Listening sockets that outlive the server process; see binder.h. Owns every descriptor it hands
 * out duplicates of. */
#include "cmd/binder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/list.h"
#include "proxy/base/mem.h"
#include "proxy/net/sock.h"

struct bound {
    struct list node;
    struct addr addr;
    unsigned worker;
    unsigned mode;
    int fd;
    bool asked; /* since binder_begin */
};

struct binder {
    struct list bound;
    bool has_owner;
    unsigned uid;
    unsigned gid;
};

struct binder *binder_new(void)
{
    struct binder *b = mem_zalloc(sizeof(*b));
    list_init(&b->bound);
    return b;
}

void binder_set_owner(struct binder *b, unsigned uid, unsigned gid)
{
    b->has_owner = true;
    b->uid = uid;
    b->gid = gid;
}

static struct bound *find(struct binder *b, const struct addr *a, unsigned worker, bool any_worker)
{
    LIST_EACH(node, &b->bound) {
        struct bound *x = LIST_ENTRY(node, struct bound, node);
        if (addr_eq(&x->addr, a) && (any_worker || x->worker == worker)) {
            return x;
        }
    }
    return NULL;
}

/* sock_listen replaces the file of a dead owner, never one that answers. */
static int listen_unix(struct binder *b, const struct addr *a, struct err *err)
{
    mode_t old = umask(0177); /* 0600 from the moment it exists */
    int fd = sock_listen(a, false, err);
    int error = errno;
    umask(old);
    struct stat st;
    if (fd < 0 && error == EADDRINUSE && lstat(a->u.un.sun_path, &st) == 0 &&
        S_ISSOCK(st.st_mode)) {
        err_set(err, "%s answers already: another caddis is running", a->u.un.sun_path);
    }
    if (fd >= 0 && b->has_owner &&
        lchown(a->u.un.sun_path, (uid_t)b->uid, (gid_t)b->gid) != 0) {
        error = errno;
        err_errno(err, error, "%s cannot be given to the user", a->u.un.sun_path);
        close(fd);
        fd = -1;
    }
    errno = error;
    return fd;
}

static bool holds_port(struct binder *b, uint16_t port)
{
    LIST_EACH(node, &b->bound) {
        struct bound *x = LIST_ENTRY(node, struct bound, node);
        if (!addr_is_unix(&x->addr) && addr_port(&x->addr) == port) {
            return true;
        }
    }
    return false;
}

static int open_socket(struct binder *b, const struct addr *a, struct err *err)
{
    if (addr_is_unix(a)) {
        return listen_unix(b, a, err);
    }
    /* On a port of ours another address may overlap: the probe would find ourselves. */
    if (!holds_port(b, addr_port(a)) && !sock_probe(a, err)) {
        return -1;
    }
    return sock_listen(a, false, err);
}

/* The file is whoever may connect's from now on. */
static bool set_mode(struct bound *x, unsigned mode, struct err *err)
{
    if (!addr_is_unix(&x->addr) || x->mode == mode) {
        return true;
    }
    if (chmod(x->addr.u.un.sun_path, (mode_t)mode) != 0) {
        int error = errno;
        err_errno(err, error, "%s cannot be given the mode %04o", x->addr.u.un.sun_path, mode);
        errno = error;
        return false;
    }
    x->mode = mode;
    return true;
}

int binder_listen(struct binder *b, const struct addr *a, unsigned mode, unsigned worker,
                  struct err *err)
{
    struct bound *x = find(b, a, worker, addr_is_unix(a));
    if (!x) {
        int fd = open_socket(b, a, err);
        if (fd < 0) {
            return -1;
        }
        x = mem_zalloc(sizeof(*x));
        x->addr = *a;
        x->worker = worker;
        x->mode = 0600; /* sock_listen's */
        x->fd = fd;
        list_push_back(&b->bound, &x->node);
    }
    x->asked = true;
    if (!set_mode(x, mode, err)) {
        return -1;
    }
    int copy = fcntl(x->fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) {
        int error = errno;
        err_errno(err, error, "a descriptor cannot be duplicated");
        errno = error;
    }
    return copy;
}

static void forget(struct bound *x)
{
    close(x->fd);
    list_remove(&x->node);
    free(x);
}

static void drop(struct bound *x)
{
    if (addr_is_unix(&x->addr)) {
        unlink(x->addr.u.un.sun_path);
    }
    forget(x);
}

void binder_unlisten(struct binder *b, const struct addr *a)
{
    struct bound *x;
    while ((x = find(b, a, 0, true))) {
        drop(x);
    }
}

void binder_begin(struct binder *b)
{
    LIST_EACH(node, &b->bound) {
        LIST_ENTRY(node, struct bound, node)->asked = false;
    }
}

void binder_end(struct binder *b)
{
    LIST_EACH_SAFE(node, &b->bound) {
        struct bound *x = LIST_ENTRY(node, struct bound, node);
        if (!x->asked) {
            drop(x);
        }
    }
}

void binder_leave(struct binder *b)
{
    LIST_EACH_SAFE(node, &b->bound) {
        forget(LIST_ENTRY(node, struct bound, node));
    }
    free(b);
}

void binder_free(struct binder *b)
{
    LIST_EACH_SAFE(node, &b->bound) {
        drop(LIST_ENTRY(node, struct bound, node));
    }
    free(b);
}
