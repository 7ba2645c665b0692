/* The certificates that handshakes choose from, by name; one table a process, thread-safe.
 *
 * Entries are counted and immutable: installing a new certificate replaces the entry, handshakes
 * pick the new one up, open connections keep what they have. A name may be configured and have no
 * certificate yet: then it has a status text (what is being waited for) and handshakes get a
 * self-signed stand-in; the server answers those requests with 503 and that text. */
#ifndef TLS_CERTS_H
#define TLS_CERTS_H

#include "proxy/base/dstr.h"
#include "proxy/base/err.h"

struct addr;
struct certs;
struct challenge_table;
struct jobs;
struct cert; /* a decoded chain and key; counted (cert.h) */

struct certs *certs_new(void);
void certs_free(struct certs *c);

/* The names handshakes may be answered for from now on (exact names, "*.example.com", IP texts).
 * Entries of names that are not listed are dropped, the others keep what they have. The marks of
 * certs_install_own are forgotten (not the certificates): call it again for what is still the
 * user's own. default_name: used when the client sends no server name and the address it reached
 * is no name here either; may be empty. */
void certs_configure(struct certs *c, const struct slice *names, size_t count,
                     struct slice default_name);
/* Installs chain and key (PEM, leaf first) for a configured name; checks that they parse and
 * match. Names that are not configured, or have one of the user's own, are ignored (true). */
NODISCARD bool certs_install(struct certs *c, struct slice name, struct slice chain_pem,
                             struct slice key_pem, struct err *err);
/* Installs the same for name (which it need not cover) and for every other configured name that
 * the certificate covers and that was not given one of its own, and marks it as the user's own:
 * certs_install leaves it alone. For `tls CERT KEY`. */
NODISCARD bool certs_install_own(struct certs *c, struct slice name, struct slice chain_pem,
                                 struct slice key_pem, struct err *err);
/* Where the answers to TLS-ALPN-01 handshakes are (store/challenge.h), and the threads that ask the
 * store for those that another instance made. Both borrowed; before the first handshake. */
void certs_set_challenges(struct certs *c, struct challenge_table *table, struct jobs *jobs);
/* NULL: none. */
struct challenge_table *certs_challenges(const struct certs *c, struct jobs **jobs);
/* What a visitor is told while there is no certificate (cut at 1024 bytes). */
void certs_set_status(struct certs *c, struct slice name, struct slice text);

enum certs_state { CERTS_UNKNOWN, CERTS_WAITING, CERTS_READY };
/* State of the name that a request for host (lower-case, no port) would use; CERTS_WAITING also
 * appends the status text to why (NULL: not wanted). Exact first, then wildcard; one that has a
 * certificate before one that waits. */
enum certs_state certs_state(struct certs *c, struct slice host, struct dstr *why);

/* For handshakes: what to answer server_name with (lower-case; empty: the client sent none, then
 * by the local address, then default_name): a certificate or the name's stand-in, for the caller to
 * cert_unref(). NULL: no such name, or memory. Any thread. */
struct cert *certs_choose(struct certs *c, struct slice server_name, const struct addr *local);

/* Do chain and key parse and belong together? Has store_pair_matches's form. */
bool certs_pair_matches(void *unused, struct slice chain_pem, struct slice key_pem);

#endif
