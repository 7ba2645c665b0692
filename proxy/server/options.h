/* Global options: the Caddyfile's first block without an address. Read once, const afterwards. */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include "proxy/caddyfile/caddyfile.h"
#include "proxy/handler/log_global.h"
#include "proxy/handler/tls_issuer.h"
#include "proxy/server/server_options.h"
#include "store/kinds.h"

enum auto_https { AUTO_HTTPS_ON, AUTO_HTTPS_OFF, AUTO_HTTPS_NO_REDIRECTS };

struct directive_order;

struct options {
    bool debug;
    struct directive_order *order; /* of directives; NULL: Caddy's */
    bool metrics; /* requests are counted */
    bool metrics_per_host;
    bool metrics_every_host; /* also those that only a catch-all serves */
    uint16_t http_port;
    uint16_t https_port;
    struct bind_list default_bind; /* none: every address, IPv4 and IPv6 */
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
    const struct cf_directive *logs[GLOBAL_LOGS_MAX]; /* unread */
    size_t log_count;
    bool admin_off;
    struct slice admin_path; /* Unix socket; empty: the default one */
    int64_t grace_period_ms;
    int64_t renew_interval_ms; /* 0: the default */
    struct slice demand_ask; /* on_demand_tls: URL that is asked for permission, or empty */
    const struct slice *demand_allow; /* names and *.names that need no asking */
    size_t demand_allow_count;
    struct server_options servers; /* of every listener that none of these is for: */
    struct server_options *listed_servers;
    uint64_t max_connections; /* 0: as many as descriptors allow */
};

/* Is there an option of this name? */
bool options_have(struct slice name);
/* The options and their defaults, in a's memory. Errors go to diags. */
struct options *options_read(struct arena *a, const struct cf_directive *first,
                             struct cf_diags *diags);

/* The option metrics, which may also stand in servers. */
void metrics_option(struct option_reading *r, const struct cf_directive *d);

#endif
