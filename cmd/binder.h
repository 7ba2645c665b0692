/* The listening sockets: one for each address and worker (of a Unix socket one for all), opened
 * once and kept as long as the address is configured, whatever becomes of the server process. */
#ifndef CMD_BINDER_H
#define CMD_BINDER_H

#include "proxy/base/err.h"
#include "proxy/net/addr.h"

struct binder;

struct binder *binder_new(void);
/* For Unix sockets: given to this user. */
void binder_set_owner(struct binder *b, unsigned uid, unsigned gid);
/* A duplicate of the socket for the worker at the address, opened at the first call; the caller
 * owns it. -1, errno and err when it cannot be had; the text names who has the address if that can
 * be told. mode: of a Unix socket's file. */
int binder_listen(struct binder *b, const struct addr *a, unsigned mode, unsigned worker,
                  struct err *err);
/* Closes the sockets of the address (and removes a Unix socket's file). */
void binder_unlisten(struct binder *b, const struct addr *a);
/* Between these two, what a new server process does not ask for again is left over from the one
 * before it, and goes: nobody would accept there. */
void binder_begin(struct binder *b);
void binder_end(struct binder *b);
/* In a child process: closes its copies and frees, and leaves the files of Unix sockets alone. */
void binder_leave(struct binder *b);
/* Closes everything. */
void binder_free(struct binder *b);

#endif
