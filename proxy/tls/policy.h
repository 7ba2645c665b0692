/* How handshakes are made: versions, suites, groups, protocols, client certificates. One SSL_CTX
 * each; counted and immutable, shared by all threads and by every site that says the same. */
#ifndef TLS_POLICY_H
#define TLS_POLICY_H

#include "proxy/base/err.h"

/* What a client must show; the names are those of `client_auth { mode ... }`. */
enum tls_client_mode {
    TLS_CLIENT_NONE,
    TLS_CLIENT_REQUEST,         /* asked for; none and any are let in */
    TLS_CLIENT_REQUIRE,         /* any, of whatever signer */
    TLS_CLIENT_VERIFY_IF_GIVEN, /* none, or one that a trusted CA signed */
    TLS_CLIENT_REQUIRE_AND_VERIFY,
};

enum tls_trust_kind { TLS_TRUST_STORE, TLS_TRUST_HTTP };

/* A place that certificates to trust are fetched from while the program runs. */
struct tls_trust_source {
    enum tls_trust_kind kind;
    bool leafs;             /* client certificates themselves; else CAs */
    struct slice place;     /* a key of the store; a URL */
    struct slice root_file; /* HTTP: PEM file of the CAs that its server is trusted by; or empty */
};

struct tls_policy_spec {
    unsigned min_version;  /* 12 or 13; 0: 12 */
    unsigned max_version;  /* 12 or 13; 0: 13 */
    struct slice ciphers;  /* TLS 1.2 suites in OpenSSL's words, ":" between; empty: ours */
    struct slice groups;   /* the same of key exchange groups */
    const struct slice *alpn; /* in order of preference */
    size_t alpn_count;
    enum tls_client_mode client;
    struct slice roots_pem; /* the CAs of client certificates: PEM, one behind the other */
    bool system_roots;      /* and those of the system */
    struct slice leafs_pem; /* only these client certificates; empty: whatever is signed */
    const struct tls_trust_source *sources; /* of more of both, see tls_policy_trust */
    size_t source_count;
    struct slice secrets_log; /* a file for the sessions' keys (for debuggers), or empty */
};

struct tls_policy;

/* NULL with the reason: a certificate that cannot be read, a file that cannot be written, memory.
 * Without roots and leafs, client certificates are verified with the system's roots; with leafs
 * alone, being one of them is enough. */
struct tls_policy *tls_policy_new(const struct tls_policy_spec *spec, struct err *err);
struct tls_policy *tls_policy_ref(struct tls_policy *p);
void tls_policy_unref(struct tls_policy *p); /* NULL is allowed */

/* Is it PEM text that tls_policy_trust can take: one certificate or more? False with the reason. */
NODISCARD bool tls_trust_text_check(struct slice pem, struct err *err);

/* What the sources of spec (the one that p was made of) have given, all of it: PEM texts of CAs and
 * of client certificates. Before the first call they count as empty: nobody is let in by them.
 * Handshakes from now on follow it. False with the reason: all stays as it was. Any thread. */
NODISCARD bool tls_policy_trust(struct tls_policy *p, const struct tls_policy_spec *spec,
                                struct slice roots_pem, struct slice leafs_pem, struct err *err);

/* The same for policies that ask the same of clients, whatever the generation; 0: no certificates
 * are asked for (or p is NULL). Sessions are resumed only among equals. */
uint64_t tls_policy_client_id(const struct tls_policy *p);

/* Caddy's (Go's) name of a TLS 1.2 suite into OpenSSL's: false for unknown ones. */
NODISCARD bool tls_cipher_find(struct slice name, struct slice *out);
enum tls_group_result { TLS_GROUP_OK, TLS_GROUP_UNKNOWN, TLS_GROUP_MISSING };
/* The same for a group; MISSING: this machine's OpenSSL does not have it. */
enum tls_group_result tls_group_find(struct slice name, struct slice *out);

#endif
