/* Texts with placeholders ("https://{host}{uri}"), compiled once and filled in for each exchange.
 *
 * Known: Caddy's shorthands and long names for the request (host, hostport, port, method, scheme,
 * uri, path, query, ?query, remote, remote_host, remote_port, client_ip, header.*, cookie.* and
 * their http.request.* forms), http.response.header.*, the origin's (upstream_hostport,
 * rp.upstream.{hostport,host,port}, rp.status_code, rp.header.*, http.reverse_proxy.*), tls_version
 * and tls_cipher, {env.NAME}, {system.hostname}, {time.now.unix}, {time.now.http} and {uuid}. A
 * placeholder that is not known is an error where the text is compiled; "\{" is a literal brace. */
#ifndef ROUTE_TEMPLATE_H
#define ROUTE_TEMPLATE_H

#include "proxy/caddyfile/caddyfile.h"
#include "proxy/http/exchange.h"

struct template;

/* Compiles into a; the text must live as long. NULL after an error in diags. */
struct template *template_compile(struct arena *a, const struct cf_token *token,
                                  struct cf_diags *diags);
/* Without a placeholder the text itself, else built in ex->arena; empty when memory is out. */
struct slice template_eval(const struct template *t, struct exchange *ex);
/* Does it name the origin chosen ({upstream_hostport} and its like)? */
bool template_names_origin(const struct template *t);
/* The text if it has no placeholder, else p == NULL. */
struct slice template_literal(const struct template *t);

#endif
