/* Global options: the Caddyfile's first block without an address. Read once, const afterwards. */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include "proxy/caddyfile/caddyfile.h"
#include "proxy/h1/h1_server.h"
#include "proxy/handler/tls_issuer.h"
#include "proxy/route/ip_ranges.h"
#include "proxy/h2/h2_server.h"
#include "proxy/net/proxy_accept.h"
#include "store/kinds.h"

#define BIND_MAX 16

enum auto_https { AUTO_HTTPS_ON, AUTO_HTTPS_OFF, AUTO_HTTPS_NO_REDIRECTS };

/* What clients may speak; HTTP/1 is always there. */
enum protocols { PROTOCOL_H2 = 1, PROTOCOL_H2C = 2 };

/* Where must Host be the name of the TLS handshake? */
enum strict_sni {
    STRICT_SNI_WHERE_NEEDED, /* on ports with a site that asks for client certificates */
    STRICT_SNI_ON,
    STRICT_SNI_OFF,
};

struct directive_order;

struct options {
    bool debug;
    struct directive_order *order; /* of directives; NULL: Caddy's */
    bool metrics; /* requests are counted */
    uint16_t http_port;
    uint16_t https_port;
    struct slice default_bind[BIND_MAX]; /* IP texts; none: every address, IPv4 and IPv6 */
    size_t default_bind_count;
    enum auto_https auto_https;
    bool local_certs;
    bool skip_install_trust;
    struct slice default_sni;
    struct slice email;
    struct slice acme_ca; /* empty: Let's Encrypt */
    struct slice acme_ca_root;
    struct slice acme_test_ca; /* empty: the one known for the CA, if any */
    const struct cf_directive *acme_dns; /* with its words unread; NULL: not given */
    const struct cf_directive *dns;
    struct slice tls_resolvers; /* "IP[:PORT],..." or empty */
    struct issuance issuance;  /* cert_issuer, key_type and so on */
    struct slice on_certificate; /* program to run; empty: none */
    struct slice eab_key_id;
    struct slice eab_mac_key;
    const struct store_settings *storage; /* NULL: the default folder */
    const struct cf_directive *log; /* unread; NULL: not given */
    bool admin_off;
    struct slice admin_path; /* Unix socket; empty: the default one */
    int64_t grace_period_ms;
    int64_t renew_interval_ms; /* 0: the default */
    struct h1_server_limits limits;
    unsigned protocols; /* enum protocols */
    const struct proxy_policy *proxy; /* PROXY headers from clients; NULL: none are looked for */
    struct client_ip_policy client_ip; /* trusted_proxies, client_ip_headers */
    struct slice demand_ask; /* on_demand_tls: URL that is asked for permission, or empty */
    const struct slice *demand_allow; /* names and *.names that need no asking */
    size_t demand_allow_count;
    enum strict_sni strict_sni;
    uint64_t max_request_body; /* bytes; 0: no limit */
    uint64_t max_connections; /* 0: as many as descriptors allow */
};

/* The options and their defaults, in a's memory. Errors go to diags. */
struct options *options_read(struct arena *a, const struct cf_directive *first,
                             struct cf_diags *diags);

/* The same limits as an HTTP/2 connection has them. */
struct h2_server_limits options_h2_limits(const struct options *o);

#endif
