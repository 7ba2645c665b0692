/* Origins whose addresses are made from requests ("{header.X}:8080"). A text from outside is an
 * address or it is refused; and a table remembers what such texts stand for, so that health,
 * counters and connections outlive a request. It forgets the one used longest ago beyond its
 * maximum: who invents names only pushes out other names. */
#ifndef UPSTREAM_NAMED_H
#define UPSTREAM_NAMED_H

#include "proxy/upstream/origin.h"

#define NAMED_MAX 1024u

struct named_address {
    struct slice host; /* without brackets; empty: unix_path */
    uint16_t port;
    struct slice unix_path;
};

/* "host", "host:port", "1.2.3.4:80", "[::1]:80": no scheme, no path, nothing but the characters of
 * names. port: where the text has none; 0: then it must have one. Borrows from text. */
NODISCARD bool named_address_parse(struct slice text, uint16_t port, struct named_address *out);
/* An absolute path without "." and "..", for a Unix socket. */
NODISCARD bool named_unix_parse(struct slice path, struct named_address *out);

/* Texts to counted things of one kind. Any thread. */
struct named;

struct named *named_new(unsigned max, void *(*ref)(void *thing), void (*unref)(void *thing));
/* NULL is allowed. */
void named_free(struct named *n);
/* A reference, or NULL. */
void *named_get(struct named *n, struct slice text);
/* Takes a reference to thing and gives one: to thing, or to what another thread has put there
 * meanwhile. */
void *named_put(struct named *n, struct slice text, void *thing);

/* As origin_new, at another address: text, host, port, path and key become its own. server_name:
 * of TLS, or empty. */
struct origin *named_origin_new(const struct origin *like, const struct named_address *at,
                                struct slice server_name);

#endif
