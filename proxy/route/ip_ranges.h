/* Ranges of IP addresses, as the configuration gives them ("10.0.0.0/8", "::1", private_ranges),
 * and the walk that finds a client behind trusted proxies. Const once read. */
#ifndef ROUTE_IP_RANGES_H
#define ROUTE_IP_RANGES_H

#include "proxy/caddyfile/caddyfile.h"
#include "proxy/http/field.h"
#include "proxy/net/cidr.h"

#define IP_RANGES_MAX 4096

struct ip_ranges {
    struct cidr *items; /* in the arena */
    size_t count;
    size_t cap;
};

/* Adds a range, an address, or private_ranges (Caddy's: 192.168/16 172.16/12 10/8 127.0.0.1/8
 * fd00::/8 ::1). False after an error in diags. Cold. */
bool ip_ranges_add(struct arena *a, struct ip_ranges *r, const struct cf_token *token,
                   struct cf_diags *diags);
/* False for Unix sockets. */
bool ip_ranges_have(const struct ip_ranges *r, const struct addr *a);

/* How to find the client behind trusted proxies. */
struct client_ip_policy {
    struct ip_ranges trusted;
    bool trust_unix; /* peers on Unix sockets are trusted proxies */
    bool strict;     /* from the right: the first that is not trusted; else the left-most */
    struct slice *field_names; /* where proxies say it */
    size_t field_count;
};

bool client_ip_trusts(const struct client_ip_policy *p, const struct addr *peer);
/* The client that a trusted peer speaks for, as Caddy finds it: the fields' values as one list; the
 * left-most IP address in it or, strict, the right-most that is not trusted. False: none is named,
 * so the client is the peer. */
NODISCARD bool client_ip_find(const struct client_ip_policy *p, const struct fields *fields,
                              struct addr *out);

#endif
