/* Sealing and opening session tickets (RFC 5077 section 4, RFC 8446 section 4.6.1). One set of keys
 * a process: those that ticket_keeper.h brings from the store, or, until there are any, its own.
 * Any thread. */
#ifndef TLS_TICKETS_H
#define TLS_TICKETS_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "proxy/tls/ticket_keys.h"

/* A ticket is good for this long; ticket_keys.h covers it. */
#define TICKETS_LIFETIME_SECONDS (24L * 3600)

/* Makes ctx issue and take tickets. False: memory. */
bool tickets_enable(SSL_CTX *ctx);

/* From now on these are the shared ones (copied); tickets of our own keys still open. */
void tickets_install(const struct ticket_keys *keys);

/* For tests: draws a new key now, as when its time is up, and forgets the shared ones. */
void tickets_rotate_now(void);

#endif
