/* Inside proxy/tls: which client certificates a policy lets in. Immutable and counted; where it
 * comes from places that change (struct tls_trust_source), the policy gets another one. */
#ifndef TLS_CLIENT_TRUST_H
#define TLS_CLIENT_TRUST_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "proxy/tls/policy.h"

#define TLS_LEAFS_MAX ((size_t)1024)
/* More than this of the CAs' names is not told to clients: they then offer what they have. What is
 * told must fit 65,535 bytes (RFC 8446 section 4.2.4, RFC 5246 section 7.4.4), costs time in each
 * handshake, and some clients stop at less. */
#define TLS_CA_NAMES_MAX ((size_t)16 * 1024)

struct client_trust {
    atomic_uint refs;
    X509_STORE *roots;            /* owned */
    STACK_OF(X509_NAME) * names;  /* owned: told to clients, so that they offer what fits */
    size_t names_n;               /* their bytes; the stack is empty when they are too many */
    unsigned char (*leafs)[32];   /* owned: SHA-256 of the only ones that are let in, or NULL */
    size_t leaf_count;
    bool only_leafs; /* none but listed ones, even when the list is (still) empty */
    uint64_t id;     /* of what it was made from; never 0 */
};

/* What spec says, and the PEM texts that its sources gave (either may be empty). NULL with the
 * reason. */
struct client_trust *client_trust_new(const struct tls_policy_spec *spec, struct slice roots_pem,
                                      struct slice leafs_pem, struct err *err);
struct client_trust *client_trust_ref(struct client_trust *t);
void client_trust_unref(struct client_trust *t); /* NULL is allowed */

/* The id that client_trust_new would give; 0: out of memory. */
uint64_t client_trust_id(const struct tls_policy_spec *spec, struct slice roots_pem,
                         struct slice leafs_pem);
/* In a handshake: verify with these roots, name these CAs. False: memory. */
NODISCARD bool client_trust_apply(const struct client_trust *t, SSL *ssl);
/* May this verified certificate in? */
bool client_trust_allows(const struct client_trust *t, X509 *leaf);

#endif
