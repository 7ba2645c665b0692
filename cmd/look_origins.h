/* What `caddis validate --online` asks about the origins that a Caddyfile names. */
#ifndef CMD_LOOK_ORIGINS_H
#define CMD_LOOK_ORIGINS_H

#include "proxy/caddyfile/caddyfile.h"

/* One finding: a problem (the name has no address), or advice (nobody answers there now). */
typedef void look_found(void *ctx, bool problem, const struct cf_place *at, const char *text);

/* Looks every host name up and tries to connect, each origin once, the first LOOK_ORIGINS_MAX of
 * them. What has placeholders, Unix sockets and `dynamic` are left out. Blocks: for commands only.
 * Returns how many were looked at. */
#define LOOK_ORIGINS_MAX 256u
unsigned look_at_origins(const struct cf_document *doc, look_found *found, void *ctx);

#endif
