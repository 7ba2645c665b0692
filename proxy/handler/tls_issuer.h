/* Who is to sign a site's certificates, and how: the subdirectives of tls that are about issuance,
 * and the global options of the same meaning. Data only: cmd makes acme's issuers of it, because
 * proxy knows no acme. */
#ifndef HANDLER_TLS_ISSUER_H
#define HANDLER_TLS_ISSUER_H

#include "proxy/caddyfile/caddyfile.h"
#include "proxy/handler/tls_settings.h"

#define ISSUERS_MAX 4
#define ISSUER_CHAIN_NAMES_MAX 8
#define ISSUER_ROOT_FILES_MAX 8

enum issuer_kind { ISSUER_ACME, ISSUER_ZEROSSL, ISSUER_INTERNAL };

enum key_choice {
    KEY_UNSAID,
    KEY_P256,
    KEY_P384,
    KEY_RSA2048,
    KEY_RSA4096,
    KEY_ED25519
};

/* preferred_chains; all empty: the CA's first. */
struct chain_choice {
    bool smallest;
    struct slice roots[ISSUER_CHAIN_NAMES_MAX];
    struct slice any_names[ISSUER_CHAIN_NAMES_MAX];
    size_t root_count, any_count;
};

/* One `issuer`; what is empty or 0 was not said. */
struct issuer_choice {
    enum issuer_kind kind;
    const struct cf_token *at;
    struct slice directory_url, test_url, email, profile;
    struct slice eab_key_id, eab_mac_key;
    struct slice zerossl_key;
    struct slice root_files[ISSUER_ROOT_FILES_MAX];
    size_t root_file_count;
    int64_t timeout_ms, lifetime_ms;
    struct challenge_settings challenges;
    bool sign_with_root;
    struct chain_choice chains;
};

/* A site's, or the global options' (then without ca, ca_root and eab, which have rows there). */
struct issuance {
    struct issuer_choice *issuers[ISSUERS_MAX]; /* in the order they are asked */
    size_t issuer_count;
    struct slice ca, ca_root, eab_key_id, eab_mac_key; /* shortcuts for issuer acme */
    enum key_choice key_type;
    bool reuse_keys;
    unsigned ratio_ppm; /* renewal_window_ratio in millionths; 0: not said */
    struct chain_choice chains; /* global preferred_chains */
    int64_t lifetime_ms;        /* global cert_lifetime */
};

/* The subdirectives of tls above. */
TLS_SUBDIRECTIVE(tls_read_issuance);
/* Reads one of the global options cert_issuer, cert_lifetime, key_type, preferred_chains,
 * renewal_window_ratio. Errors go to diags; what is found lives in a and in the document. */
void issuance_option(struct arena *a, struct cf_diags *diags, const struct cf_directive *d,
                     struct issuance *out);

#endif
