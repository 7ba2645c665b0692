/* The local CA: for names that no public CA signs. A root of ten years, an intermediate of a week
 * that signs, leaves of hours; kept in pki/authorities/local as Caddy keeps its own, so that a
 * Caddy-written root (which browsers may trust already) goes on. The root's key is read only to
 * sign an intermediate. */
#ifndef ACME_LOCAL_CA_H
#define ACME_LOCAL_CA_H

#include <openssl/x509.h>

#include "acme/key.h"
#include "acme/stop.h"
#include "store/pair.h"

#define LOCAL_CA_NAME S("local") /* its store name */
#define LOCAL_LEAF_MS ((int64_t)12 * 3600 * 1000)

struct local_ca {
    X509 *root;
    X509 *intermediate;
    EVP_PKEY *intermediate_key;
};

/* Loads the CA; makes what is missing, damaged (set aside first), or near its end, under a lock
 * that is shared with other processes. leaf_lifetime_ms: the intermediate must outlive a leaf made
 * now. */
NODISCARD bool local_ca_ready(struct local_ca *ca, struct store *s, int64_t leaf_lifetime_ms,
                              int64_t now_ms, struct stop *stop, struct err *err);
void local_ca_fini(struct local_ca *ca);
struct local_leaf {
    struct slice name;
    int64_t lifetime_ms;
    enum key_type key_type;
    struct store *root_of; /* the root's key is read from there and signs; NULL: the intermediate */
};
/* A new key and a leaf, with the intermediate behind it unless the root signs; appended to out. */
NODISCARD bool local_ca_issue(const struct local_ca *ca, const struct local_leaf *leaf,
                              int64_t now_ms, struct store_pair *out, struct err *err);
/* Does it begin so far from now that a wrong clock made it? Never true while the clock itself
 * is plainly wrong. */
bool local_ca_from_the_future(X509 *cert, int64_t now_ms);
/* The root that is in the store, if it can be read; NULL otherwise. Freed with X509_free. */
X509 *local_ca_root_of(struct store *s);

#endif
