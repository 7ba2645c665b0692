/* What the server process asks of its parent, and the parent of the server: the whole interface.
 * Fixed-size packets over a SOCK_SEQPACKET pair; a descriptor travels with an answer. With
 * --single there is no pair and the parent's functions are called directly. */
#ifndef CMD_LINK_H
#define CMD_LINK_H

#include "proxy/base/err.h"
#include "proxy/net/addr.h"

enum link_type {
    LINK_LISTEN,   /* server: give me a socket on addr for worker */
    LINK_UNLISTEN, /* server: addr is not configured any more */
    LINK_READY,    /* server: configuration is running */
    LINK_RELOADING,
    LINK_STOPPING,
    LINK_CONFIG,   /* server: text is the Caddyfile that runs from now on */
    LINK_ANSWER,   /* parent: to LISTEN; error 0 and a descriptor, or errno and text */
    LINK_STOP,     /* parent: drain and end */
    LINK_RELOAD,   /* parent: read the configuration again */
};

/* A path fits. */
#define LINK_TEXT_BYTES 4096

struct link_packet {
    enum link_type type;
    int error;
    unsigned worker;
    unsigned mode; /* LISTEN: of a Unix socket's file */
    struct addr addr;
    char text[LINK_TEXT_BYTES];
};

/* fd < 0: none travels. False: the other side is gone. */
bool link_send(int link, const struct link_packet *p, int fd);
/* *fd is the descriptor that came along, or -1. False: the other side is gone (or, non-blocking,
 * nothing is there: errno EAGAIN). */
bool link_receive(int link, struct link_packet *p, int *fd);

#endif
