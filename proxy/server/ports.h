/* The addresses that a configuration listens on, and the table of sites behind each: while it is
 * built. */
#ifndef SERVER_PORTS_H
#define SERVER_PORTS_H

#include "proxy/server/config.h"

#define BINDINGS_MAX 1024

/* The table of a port at an address that a site says (NULL: where no site says anything else), or
 * NULL. The port of a Unix socket does not matter. */
struct port_table *ports_find(struct config *c, const struct bind_address *bind, uint16_t port);
/* The same; made, with what listens for it, if it is not there. NULL after an error at token at
 * (NULL: it is automatic). */
struct port_table *ports_get(struct config *c, struct cf_diags *diags,
                             const struct bind_address *bind, uint16_t port, bool tls,
                             const struct cf_token *at);
/* When all are there: whatever `servers` is written for is to be listened on. */
void ports_check_servers(const struct config *c, struct cf_diags *diags);

#endif
