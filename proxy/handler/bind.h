/* Where a site is reached: what `bind` and the global option default_bind say. */
#ifndef HANDLER_BIND_H
#define HANDLER_BIND_H

#include "proxy/caddyfile/caddyfile.h"

#define BIND_MAX 64

/* What clients may speak; HTTP/1 is always there. */
enum protocols { PROTOCOL_H2 = 1, PROTOCOL_H2C = 2 };

struct bind_address {
    struct slice text; /* an IP address, without brackets; or the path of a Unix socket */
    unsigned mode;     /* of its file */
    bool has_protocols;
    unsigned protocols; /* enum protocols; instead of those of `servers` */
};

struct bind_list {
    struct bind_address items[BIND_MAX];
    size_t count;
};

/* Adds what d says to *list: its arguments and its block. May ask for names (and block). */
bool bind_read(struct arena *a, struct cf_diags *diags, const struct cf_directive *d,
               struct bind_list *list);
/* Reads `protocols h1 h2...` into *out. */
void bind_protocols_read(struct cf_diags *diags, const struct cf_directive *d, unsigned *out);

#endif
