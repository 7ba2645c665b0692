/* Certificates that somebody else has: get_certificate http URL.
 *
 * The manager is asked for a name when a handshake first needs it, and again in the background
 * before it ends (after half of what it has left, at most an hour), so that a certificate it has
 * renewed is taken over. A manager that is away costs nothing while the last one is good; then the
 * name is forgotten, and the next handshake begins anew. */
#ifndef CMD_MANAGERS_H
#define CMD_MANAGERS_H

#include "acme/stop.h"
#include "proxy/base/dstr.h"
#include "proxy/base/err.h"

/* Text of a chain with its key. */
#define MANAGED_PEM_MAX ((size_t)1 << 20)

enum managers_answer {
    MANAGERS_GAVE,  /* chain and key are in *pem; *end_ms: when it ends (wall clock) */
    MANAGERS_NONE,  /* all said that they have none (204) */
    MANAGERS_FAILED /* err says why */
};

/* Asks one after the other; blocks. pem: empty, to be wiped by the caller. */
enum managers_answer managers_ask(const struct slice *urls, size_t count, struct slice name,
                                  struct stop *stop, struct dstr *pem, int64_t *end_ms,
                                  struct err *err);
/* Zeroes what was there and frees it. */
void managers_wipe(struct dstr *pem);

#endif
