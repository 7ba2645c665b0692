/* Sites whose addresses have a path, "example.com/app*": several may share a host. Caddy takes such
 * addresses and calls them deprecated, as `handle` says it better. */
#ifndef SERVER_SITE_PATHS_H
#define SERVER_SITE_PATHS_H

#include "proxy/server/config.h"

#define SITE_FORKS_MAX 1000u /* of one host: requests look at one after the other */

/* One site of a host that has several. */
struct site_fork {
    struct site_fork *next; /* the longer path first, none last */
    struct slice path;      /* as in the address; empty: every path */
    size_t weight;          /* how specific */
    struct matcher *matcher; /* NULL: every path */
    struct site *site;
};

/* What a table is to hold for a host when site comes, with that path of the address t (empty:
 * none), to what it holds (NULL: nothing). NULL after an error: the address is there already, in
 * *other (or diags says what is wrong, and *other is NULL). */
struct site *site_paths_add(struct arena *a, struct site *there, struct site *site,
                            struct slice path, const struct cf_token *t, struct cf_diags *diags,
                            struct site **other);

/* The site of table that a request belongs to, by host and path. NULL: none. */
const struct site *site_paths_find(const struct port_table *table, struct exchange *ex);

#endif
