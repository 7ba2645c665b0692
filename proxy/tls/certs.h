/* The certificates that handshakes choose from, by name; one table a process, thread-safe.
 *
 * They are kept as bytes and decoded when a handshake wants them (cert_source.h). Installing a new
 * certificate replaces the old one, handshakes pick it up, open connections keep what they have. A
 * name may be configured and have no certificate yet: then it has a status text (what is being
 * waited for) and handshakes get a self-signed stand-in; the server answers those requests with 503
 * and that text. */
#ifndef TLS_CERTS_H
#define TLS_CERTS_H

#include "proxy/base/dstr.h"
#include "proxy/base/err.h"
#include "proxy/tls/cert_source.h"

struct addr;
struct certs;
struct challenge_table;
struct jobs;
struct demand;
struct cert; /* a decoded chain and key; counted (cert.h) */

struct certs *certs_new(void);
void certs_free(struct certs *c);

/* The names handshakes may be answered for from now on (exact names, "*.example.com", IP texts).
 * Entries of names that are not listed are dropped, the others keep what they have. default_name:
 * used when the client sends no server name and the address it reached is no name here either; may
 * be empty. */
void certs_configure(struct certs *c, const struct slice *names, size_t count,
                     struct slice default_name);
/* Installs chain and key (PEM, leaf first) for a configured name; checks that they belong together.
 * Names that are not configured are ignored (true). */
NODISCARD bool certs_install(struct certs *c, struct slice name, struct slice chain_pem,
                             struct slice key_pem, struct err *err);

/* Appends what certs_install brought for exactly this name, as PEM; the key is secret. False: there
 * is none, or memory. */
NODISCARD bool certs_installed(struct certs *c, struct slice name, struct dstr *chain_pem,
                               struct dstr *key_pem);

/* One of the user's own certificates (`tls CERT KEY`, `load`). */
struct certs_own {
    struct slice name;          /* it is for this name, which it need not have; or empty */
    struct cert_source *source; /* borrowed */
};
/* Replaces all of these. Each serves its name and every other name that it has itself, configured
 * or not, instead of what certs_install brought; the later of two for one name serves it. Names
 * that had one and have none any more keep it until certs_install brings another. */
void certs_set_own(struct certs *c, const struct certs_own *own, size_t count);

/* Where the answers to TLS-ALPN-01 handshakes are (store/challenge.h), and the threads that ask the
 * store for those that another instance made. Both borrowed; before the first handshake. */
void certs_set_challenges(struct certs *c, struct challenge_table *table, struct jobs *jobs);
/* Who gets certificates while a handshake waits; borrowed; before the first handshake. */
void certs_set_demand(struct certs *c, struct demand *demand);
struct demand *certs_demand(const struct certs *c); /* NULL: nobody */
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

#endif
