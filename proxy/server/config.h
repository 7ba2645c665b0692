/* A configuration ready to run: options, sites with their routes, and for each port the table that
 * says which site a Host belongs to. Built once from a Caddyfile, const afterwards, counted: every
 * worker holds it, and each exchange pins it (through its worker) until its response has begun. */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include <stdatomic.h>

#include "proxy/base/map.h"
#include "proxy/handler/handler.h"
#include "proxy/net/addr.h"
#include "proxy/server/options.h"
#include "proxy/tls/certs.h"

struct site {
    struct site *next; /* in the order they are written */
    const struct cf_site *source;
    struct site_settings settings;
    struct route route;
    struct tls_policy *policy; /* its own; NULL: the usual one */
    const struct cf_token *name; /* its first address, for messages */
    struct site_fork *forks; /* only in tables: a host's sites by path (site_paths.h); or NULL */
    unsigned fork_count;
};

/* What a port serves. */
struct port_table {
    struct port_table *next;
    uint16_t port;
    const struct bind_address *bind; /* what its sites say; NULL: default_bind's */
    bool tls;
    bool asks_clients;   /* a site of it asks for client certificates */
    bool challenges;     /* the HTTP port: answers ACME challenges first */
    struct map exact;    /* host -> struct site */
    struct map wildcard; /* "*.example.com", "*" -> struct site */
    struct site *any;    /* catch-all, or NULL */
    bool redirects;      /* plain port: the hosts below (and unknown ones) go to HTTPS */
    struct map redirect_ports; /* host or wildcard -> struct redirect_port */
};

struct redirect_port {
    uint16_t port;
};

/* One address to listen on. */
struct binding {
    struct addr addr;
    const struct port_table *table;
    const struct server_options *server;
    unsigned protocols; /* enum protocols */
    unsigned mode;      /* of a Unix socket's file */
    bool optional; /* the implicit "::": left out where the machine has no IPv6 */
    bool absent;   /* it was left out (set while the configuration is applied) */
    const struct cf_token *at; /* the site address that asks for it; NULL: automatic */
};

/* A name that needs a certificate from an issuer. */
struct managed_name {
    struct slice name;
    const struct cf_token *at;
    bool internal; /* tls internal */
    struct slice email; /* the site's own, or empty */
    const struct challenge_settings *challenges; /* the site's own */
    const struct issuance *issuance; /* the site's own, or NULL */
    bool on_demand; /* because a handshake asked for it */
    bool brought; /* by a manager (get_certificate): served, and nothing is ordered for it */
};

/* A policy that trusts what is fetched while the program runs. */
struct trusting_policy {
    struct tls_policy *policy; /* the configuration's */
    const struct tls_policy_spec *spec;
};

struct config {
    _Atomic unsigned refs;
    struct arena arena;
    struct cf_document *document; /* owned: tokens point into it */
    struct options *options;
    struct site *sites;
    struct port_table *ports;
    struct binding *bindings;
    size_t binding_count;
    struct managed_name *managed;
    size_t managed_count;
    struct certs_own *own; /* the user's own certificates, and names they are for */
    size_t own_count;
    bool on_demand; /* some site gets certificates on demand */
    struct managed_name *demanded; /* of each address of such sites, a name it may be asked for */
    size_t demanded_count;
    struct trusting_policy *trusting;
    size_t trusting_count;
    struct background *backgrounds;
    const struct log_named *global_logs; /* the global option log's, "default" first */
    struct build_release *releases;
};

/* Would this name's certificate come from the local CA? Given by cmd, because proxy knows no acme.
 */
typedef bool config_name_is_local(struct slice name);

/* Builds; takes the document whatever happens. NULL after errors in diags. */
struct config *config_build(struct cf_document *document, config_name_is_local *is_local,
                            struct cf_diags *diags);
/* What it serves, for a person: "https://example.com http://localhost:8080", the first few. */
void config_describe(const struct config *c, struct dstr *out);
struct config *config_ref(struct config *c);
void config_unref(struct config *c);

/* The site that a request for host (lower-case, no port) belongs to: exact, then wildcard, then,
 * with catch_all, the catch-all. NULL if none. */
const struct site *port_table_find(const struct port_table *t, struct slice host, bool catch_all);
/* One of these steps: the exact host, its wildcard, the catch-all. */
enum find_step { FIND_EXACT, FIND_WILDCARD, FIND_ANY };
const struct site *port_table_step(const struct port_table *t, struct slice host,
                                   enum find_step step);
/* The site that would serve name (lower-case) over TLS with a certificate obtained on demand, or
 * NULL. *listed: the name itself stands in the Caddyfile. */
const struct site *config_demand_site(const struct config *c, struct slice name, bool *listed);
/* What the site says of a name's certificate. at: where that stands. Borrows from the site. */
struct managed_name config_managed_name(const struct config *c, const struct site *site,
                                        struct slice name, const struct cf_token *at);
/* On a plain port: the HTTPS port that host is redirected to, 0 if it has a site here or nothing
 * redirects it. */
uint16_t port_table_redirect(const struct port_table *t, struct slice host);

#endif
