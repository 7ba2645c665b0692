/* The parent process: small, without network input. It binds the sockets, starts the server
 * process with them, starts it again if it dies, passes signals on, and speaks to systemd. */
#ifndef CMD_PARENT_H
#define CMD_PARENT_H

#include "cmd/serve.h"

struct parent_setup {
    struct serve_setup serve;
    const char *user;    /* give up root for this user in the server process; NULL: stay */
    const char *pidfile; /* NULL: none */
    int ready_fd;        /* a byte is written when the server is ready; -1: nobody waits */
    bool single;
};

/* The process's exit status. */
int parent_main(struct parent_setup *setup);

#endif
