/* Keys of the store, in CertMagic's layout:
 *   acme/<ca>/users/<email|default>/<email before the @|default>.{json,key}
 *   acme/<ca>/challenge_tokens/<name>.json
 *   certificates/<ca>/<name>/<name>.{crt,key,json}
 *   pki/authorities/<id>/{root,intermediate}.{crt,key}
 *   locks/<operation>.lock (Caddy's; ours are locks/<operation>.caddis.lock, kernel locks)
 * and our own, which CertMagic ignores: caddis/schedule/<ca>/<name>.json (back-off, next attempt),
 * caddis/order/<ca>/<name>.{json,key} (an order under way), caddis/challenge/<name>.json (which
 * type of challenge worked last), caddis/dns/<name>.json (DNS records put and not yet taken away),
 * caddis/ari/<ca>/<name>.json (when the CA wants it renewed), caddis/ledger/<ca>/<name>.json (what
 * was asked of the CA of late).
 * <ca> is the directory URL's host and path with '/' as '-'
 * ("acme-v02.api.letsencrypt.org-directory"); "local" is the local CA. */
#ifndef STORE_NAMES_H
#define STORE_NAMES_H

#include "proxy/base/arena.h"

/* The keys that session tickets are sealed with (proxy/tls/ticket_keeper.h). */
#define STORE_TICKET_KEYS S("caddis/ticket_keys")

/* CertMagic's safe(): trimmed, lower-case, ' ' to '_', '+' to "_plus_", '*' to "wildcard_", ':' to
 * '-',
 * ".." removed, anything outside [A-Za-z0-9_@.-] removed. Never empty, "." or ".."
 * (these get a '_' in front): a safe name is one part of a key. All functions here give an empty
 * slice when the arena is full, which every store operation refuses as a key. */
struct slice store_safe_name(struct arena *a, struct slice name);
/* "https://acme-v02.api.letsencrypt.org/directory" -> "acme-v02.api.letsencrypt.org-directory" */
struct slice store_ca_name(struct arena *a, struct slice directory_url);
/* certificates/<ca>/<name>/<name><suffix>, suffix e.g. ".crt". */
struct slice store_cert_key(struct arena *a, struct slice ca, struct slice name,
                            const char *suffix);
struct slice store_account_key(struct arena *a, struct slice ca, struct slice email,
                               const char *suffix);
struct slice store_challenge_key(struct arena *a, struct slice ca, struct slice name);
struct slice store_pki_key(struct arena *a, struct slice id, const char *file);
struct slice store_schedule_key(struct arena *a, struct slice ca, struct slice name);
/* caddis/ari/<ca>/<name>.json, caddis/ledger/<ca>/<what>.json. */
struct slice store_ari_key(struct arena *a, struct slice ca, struct slice name);
struct slice store_ledger_key(struct arena *a, struct slice ca, struct slice what);
struct slice store_order_key(struct arena *a, struct slice ca, struct slice name,
                             const char *suffix);
/* caddis/challenge/<name>.json: which challenge type worked last. */
struct slice store_worked_key(struct arena *a, struct slice name);
/* caddis/dns/<name>.json: the DNS records that were put for it and not yet taken away. */
struct slice store_dns_key(struct arena *a, struct slice name);

#endif
