/* The keys that session tickets are sealed with (RFC 5077 section 4, RFC 8446 section 4.6.1): one
 * set a process, in memory only, a new one every 12 hours; tickets of the two before it still open.
 * Any thread. */
#ifndef TLS_TICKETS_H
#define TLS_TICKETS_H

#include <openssl/ssl.h>
#include <stdbool.h>

/* A ticket is good for this long; three keys of 12 hours cover it. */
#define TICKETS_LIFETIME_SECONDS (24L * 3600)

/* Makes ctx issue and take tickets. False: memory. */
bool tickets_enable(SSL_CTX *ctx);

/* For tests: draws a new key now, as when its time is up. */
void tickets_rotate_now(void);

#endif
