/* Accepts connections on one listening socket for one loop. Accepting never stops for good: after
 * EMFILE, ENFILE, ENOBUFS, ENOMEM it closes a spare descriptor to shed one connection, pauses
 * (100 ms, then up to 1 s) and goes on; every other errno is survived too. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "proxy/loop/loop.h"
#include "proxy/net/addr.h"

struct listener;

struct listener_events {
    /* Owns fd from now on. Called from the loop, up to 64 times an event. */
    void (*on_accept)(void *ctx, int fd, const struct addr *peer);
    /* Descriptors or memory ran out; before the rest. The owner may close what is idle. Or NULL. */
    void (*on_shortage)(void *ctx);
    void *ctx;
};

/* fd is borrowed and must stay open until listener_free. Never NULL. */
struct listener *listener_new(struct loop *l, int fd, const struct listener_events *events);
/* Accepts what is waiting (until EAGAIN, at most 65536) and stops for good. on_accept is called
 * from inside this call: the one exception to the rule, because fd is closed right afterwards. */
void listener_drain(struct listener *ls);
/* Connections wait in the kernel's backlog meanwhile. May be called from on_accept. */
void listener_pause(struct listener *ls, bool paused);
/* May be called from on_accept (but not during listener_drain). */
void listener_free(struct listener *ls);

#endif
