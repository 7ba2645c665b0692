/* `servers [ADDRESS] { ... }`: what holds for the connections of a listener. One without an address
 * is for every listener that none is written for; as in Caddy they are not added up. */
#ifndef SERVER_SERVER_OPTIONS_H
#define SERVER_SERVER_OPTIONS_H

#include "proxy/h1/h1_server.h"
#include "proxy/h2/h2_server.h"
#include "proxy/handler/bind.h"
#include "proxy/net/proxy_accept.h"
#include "proxy/route/ip_ranges.h"
#include "proxy/server/option_words.h"

/* Where must Host be the name of the TLS handshake? */
enum strict_sni {
    STRICT_SNI_WHERE_NEEDED, /* on ports with a site that asks for client certificates */
    STRICT_SNI_ON,
    STRICT_SNI_OFF,
};

struct server_options {
    struct server_options *next;
    struct slice address; /* ":443", "1.2.3.4:80", "[::1]:80", "/path"; empty: every other one */
    const struct cf_token *at; /* of the address */
    bool used;                 /* there is such a listener */
    struct h1_server_limits limits;
    unsigned protocols; /* enum protocols */
    const struct proxy_policy *proxy; /* PROXY headers from clients; NULL: none are looked for */
    struct client_ip_policy client_ip; /* trusted_proxies, client_ip_headers */
    enum strict_sni strict_sni;
    uint64_t max_request_body; /* bytes; 0: no limit */
    int64_t read_body_ms;      /* the whole body, from the head on; 0: none */
    int64_t write_ms;          /* until the response is written, from the head on; 0: none */
    unsigned keepalive_idle_s; /* of TCP; 0: sock_tune's */
    unsigned keepalive_interval_s;
    unsigned keepalive_count;
    bool log_credentials; /* logs show Authorization, Cookie and Set-Cookie */
};

void server_options_init(struct server_options *s);
/* Reads one `servers` into r->o. */
void server_options_read(struct option_reading *r, const struct cf_directive *d);
/* The name of an option of servers, for hints about what was written one level too high. */
bool server_options_have(struct slice name);
/* The same limits as an HTTP/2 connection has them. */
struct h2_server_limits server_options_h2(const struct server_options *s);

#endif
