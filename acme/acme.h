/* Getting and renewing certificates: RFC 8555 against any ACME CA with HTTP-01, and the local CA
 * for names that no public CA will sign. On threads of its own, straight-line code per attempt.
 *
 * In:  a set of names with their issuers (acme_configure, again at every reload), a store.
 * Out: certificates, through on_certificate, and what is going on, through on_status. Both are
 *      called on one of acme's threads, never two at a time; they must not call back into acme,
 *      nor block for long.
 *
 * Promises. A name whose certificate is in the store and good is announced at once, before any
 * network traffic. Schedules (back-off, Retry-After, next renewal) live in the store and hold
 * across restarts. Two processes on one store make one order between them. A process killed at any
 * point resumes the order it had begun. Nothing is ordered that could not be saved. The thread
 * minds acme_stop() within a second, whatever the CA does; the process never needs to wait. */
#ifndef ACME_ACME_H
#define ACME_ACME_H

#include "store/challenge.h"
#include "store/store.h"

#define ACME_LETS_ENCRYPT "https://acme-v02.api.letsencrypt.org/directory"
#define ACME_LETS_ENCRYPT_STAGING "https://acme-staging-v02.api.letsencrypt.org/directory"

/* An issuer of a name is asked when the ones before it did not give a certificate. */
#define ACME_ISSUERS_MAX 4
#define ACME_CHAIN_NAMES_MAX 8
#define ACME_ROOT_FILES_MAX 8

enum acme_issuer_kind { ACME_ISSUER_ACME, ACME_ISSUER_LOCAL };

#define ACME_DNS_OPTIONS_MAX 16

/* Who puts DNS records, and how: `dns PROVIDER ...`. Made with the acme_dns_ functions below. */
struct acme_dns {
    struct slice provider; /* "cloudflare"; "persist": nobody does, dns-persist-01 is used */
    struct {
        struct slice name, value;
    } options[ACME_DNS_OPTIONS_MAX];
    size_t option_count;
    int64_t ttl_s;                  /* of the record; 0: what the provider thinks best */
    int64_t propagation_timeout_ms; /* 0: two minutes; negative: it is not looked for */
    int64_t propagation_delay_ms;   /* before it is looked for */
    struct slice override_name;     /* the record's whole name instead of _acme-challenge.NAME */
    struct slice resolvers;         /* "IP[:PORT],..." instead of the system's and the zone's */
};

/* How control of a name may be proven to one issuer. Read by authorise.c and the challenge files;
 * issuer.c copies and compares it. With dns nothing else is used, as in Caddy (but for addresses,
 * which no DNS challenge proves). */
struct acme_solvers {
    bool no_http;     /* HTTP-01 is not to be used */
    bool no_tls_alpn; /* TLS-ALPN-01 is not to be used */
    const struct acme_dns *dns; /* or NULL */
};

/* preferred_chains: which of a CA's chains to keep (RFC 8555 section 7.4.2). */
struct acme_chains {
    bool smallest;                                 /* the one with the fewest bytes */
    struct slice roots[ACME_CHAIN_NAMES_MAX];      /* common names of issuers of the last */
    struct slice any_names[ACME_CHAIN_NAMES_MAX];  /* common names of any issuer in the chain */
    size_t root_count, any_count;
};

struct acme_issuer {
    enum acme_issuer_kind kind;
    /* ---- ACME */
    struct slice directory_url; /* https:// only */
    struct slice test_url;      /* the CA's staging directory; empty: the one known, if any */
    struct slice root_files[ACME_ROOT_FILES_MAX]; /* PEM files of extra trusted roots */
    size_t root_file_count;
    struct slice email;       /* or empty */
    struct slice eab_key_id;  /* external account binding, or empty */
    struct slice eab_mac_key; /* base64url */
    bool eab_of_zerossl;      /* the binding is fetched from ZeroSSL by e-mail address or key */
    struct slice zerossl_key; /* its API access key, or empty: by e-mail */
    struct slice profile;     /* or empty */
    int64_t lifetime_ms;      /* asked for with notAfter; 0: what the CA gives */
    int64_t timeout_ms;       /* of one request; 0: the default */
    struct acme_chains chains;
    struct acme_solvers solvers;
    /* ---- the local CA */
    int64_t leaf_lifetime_ms; /* 0: acme_config's */
    bool sign_with_root;
};

/* In the order of key.h's enum key_type. */
enum acme_key_type {
    ACME_KEY_P256,
    ACME_KEY_P384,
    ACME_KEY_RSA2048,
    ACME_KEY_RSA4096,
    ACME_KEY_ED25519
};

struct acme_name {
    struct slice name; /* DNS name, "*.name", or IP address text */
    const struct acme_issuer *issuers; /* in the order they are asked */
    size_t issuer_count;               /* 1 to ACME_ISSUERS_MAX */
    enum acme_key_type key_type;
    bool reuse_key;       /* a renewal keeps the private key */
    bool ask_first;       /* may_renew is asked before each renewal */
    unsigned ratio_ppm;   /* renew when this part of the lifetime is left; 0: a third or a half */
};

/* ZeroSSL's ACME directory; an account there needs an external binding. */
#define ACME_ZEROSSL "https://acme.zerossl.com/v2/DV90"

struct acme_config {
    const struct acme_name *names;
    size_t name_count;
    /* How often the store is looked at for what other processes renewed; 0: 10 minutes. Our own
     * renewals are made at their time, whatever this is. */
    int64_t renew_interval_ms;
    int64_t local_leaf_lifetime_ms; /* 0: 12 hours */
    bool local_root_wanted;    /* make the local CA even if no name uses it */
};

struct acme_status {
    bool ready;          /* a certificate that can be served exists */
    struct slice activity; /* "waiting for https://… to validate", "next attempt in 10m" */
    struct slice last_error; /* the CA's own words, or empty */
    int64_t next_attempt_wall_ms; /* 0: none planned */
};

enum acme_permission { ACME_PERMITTED, ACME_NOT_PERMITTED, ACME_PERMISSION_LATER };

struct acme_callbacks {
    /* A certificate to serve from now on. PEM; borrowed for the call. */
    void (*on_certificate)(void *ctx, struct slice name, struct slice chain_pem,
                           struct slice key_pem);
    void (*on_status)(void *ctx, struct slice name, const struct acme_status *status);
    /* The store has another certificate for the name, by the CA of that store name, than it had
     * (not for what was found at the start). Or NULL. */
    void (*on_change)(void *ctx, struct slice name, struct slice ca);
    /* May a name with ask_first be renewed? Unlike the others this may be called by several threads
     * at a time; it must not block. LATER: asked again in a second. NO: left alone for a minute,
     * and no failure (whoever says so takes the name away). NULL: always. */
    enum acme_permission (*may_renew)(void *ctx, struct slice name);
    /* Appends what on_certificate brought for the name, for a store that has lost it. Several
     * threads at a time; must not block. False: it is not there. NULL: it never is. */
    bool (*served)(void *ctx, struct slice name, struct dstr *chain_pem, struct dstr *key_pem);
    void *ctx;
};

/* What is known of one name. Strings are borrowed for the call. */
struct acme_report {
    struct slice name;
    bool ready;            /* a certificate is served */
    bool busy;             /* something is being done for it now */
    struct slice issuer;   /* who signed what is served: directory URL or "local"; else empty */
    struct slice ca;       /* the same as the store names it */
    int64_t not_before_ms, not_after_ms;
    struct slice asked;    /* who is, or was last, asked */
    int64_t next_ms;       /* the next attempt, or renewal if ready; 0: not known yet */
    bool suggested;        /* that moment is the CA's suggestion (RFC 9773) */
    struct slice explanation; /* the CA's URL about that suggestion, or empty */
    struct slice last_error; /* or empty */
};

struct acme;

/* Starts the thread, with nothing to do. store and challenges are borrowed. */
struct acme *acme_start(struct store *s, struct challenge_table *challenges,
                        const struct acme_callbacks *callbacks, struct err *err);
/* Replaces the set of names (deep copy). Returns at once. Names that stay keep their schedule and
 * an attempt under way; names that are gone are no longer renewed. Announcing what is in the
 * store begins at once on the ACME thread. */
void acme_configure(struct acme *a, const struct acme_config *config);
/* Reads from the store, synchronously and without network, the certificates of config's names and
 * hands them to on_certificate on this thread: for start-up, before acme_configure, so that what
 * is there is served from the first connection on. */
void acme_preload(struct acme *a, const struct acme_config *config);
/* Asks the thread to end; waits for it at most timeout_ms. True: ended and freed. False: it goes
 * on by itself and the caller must end the process without touching a again. */
bool acme_stop(struct acme *a, int64_t timeout_ms);

/* Calls each() for every name; it must not call back into acme, nor block. Any thread. */
void acme_list(struct acme *a, void (*each)(void *ctx, const struct acme_report *r), void *ctx);
/* Somebody wants a new certificate now: nothing but a Retry-After of the CA and its known limits
 * holds it up. False: the name is not managed. Returns at once; acme_list shows how it goes. */
NODISCARD bool acme_renew(struct acme *a, struct slice name);
/* An account was changed from outside: it is read again from the store. */
void acme_accounts_changed(struct acme *a);

/* For commands, without a running manager. */
struct acme_hand {
    struct store *store;
    struct challenge_table *challenges; /* of the same store */
    void (*say)(void *ctx, const char *activity); /* what is being done, for people; or NULL */
    void *ctx;
};
/* A whole order for the name at its issuer's test directory, of which nothing is kept but the
 * account there. The challenge is answered by whoever serves the same store. */
NODISCARD bool acme_dry_run(const struct acme_hand *h, const struct acme_name *name,
                            struct err *err);
/* Has the CA revoke the certificate that is in the store (RFC 8555 section 7.6; reasons are those
 * of RFC 5280 section 5.3.1). One that was revoked already is as good. */
NODISCARD bool acme_revoke(const struct acme_hand *h, const struct acme_name *name, int reason,
                           struct err *err);
/* The account with the issuer gets another key, or is ended (RFC 8555 sections 7.3.5, 7.3.6). */
NODISCARD bool acme_roll_over(const struct acme_hand *h, const struct acme_issuer *issuer,
                              struct err *err);
NODISCARD bool acme_deactivate(const struct acme_hand *h, const struct acme_issuer *issuer,
                               struct err *err);

/* Before it hurts: looks at what a public CA will look at. Advice, never a barrier. */
enum acme_verdict { ACME_FINE, ACME_ADVICE, ACME_PROBLEM };
struct acme_doctor {
    struct store *store;
    struct challenge_table *challenges; /* of the same store */
    struct slice resolvers; /* "IP[:PORT],..."; empty: the system's */
    unsigned port;          /* at which HTTP-01 comes in: 80 */
    bool running;           /* a caddis answers challenges from the store */
    /* about: a name or a CA; text says what, and what to change. Both borrowed for the call. */
    void (*found)(void *ctx, enum acme_verdict verdict, struct slice about, const char *text);
    void *ctx;
};
/* Directory and clock of every CA that is asked for the names; addresses, the way here, CAA and
 * limits of every name that a public CA signs. Blocks, each question for some seconds; who gave no
 * answer is not asked again. */
void acme_examine(const struct acme_doctor *d, const struct acme_name *names, size_t count);

/* Must this name be signed by the local CA (localhost, *.localhost, .local, .internal,
 * .home.arpa, names without a dot, loopback, private and link-local addresses)? A public IP address
 * need not: a CA that offers the profile "shortlived" signs for it (RFC 8738). */
bool acme_name_is_local(struct slice name);
/* Can the name be on a certificate at all (caddy-behaviour 3.1.3)? */
bool acme_name_qualifies(struct slice name);

/* Making a struct acme_dns: the provider by its name (false: there is none; the names there are
 * in err), then its arguments in their order and the options of its block, then a look at the
 * whole. Strings are borrowed. err says what is wrong, without a place. */
NODISCARD bool acme_dns_begin(struct acme_dns *dns, struct slice provider, struct err *err);
NODISCARD bool acme_dns_argument(struct acme_dns *dns, struct slice value, struct err *err);
NODISCARD bool acme_dns_option(struct acme_dns *dns, struct slice name, struct slice value,
                               struct err *err);
NODISCARD bool acme_dns_end(const struct acme_dns *dns, struct err *err);
/* Clears what stood in the place of {env.NAME} and {file.PATH}: the DNS providers' keys, which
 * are the caller's copies. The other texts belong to the configuration. */
void acme_name_wipe(const struct acme_name *name);
/* Can the name be proven at all? */
bool acme_can_prove(const struct acme_solvers *solvers, struct slice name);

/* The local CA's root certificate (PEM) appended to out, made if it is not there: for
 * `caddis trust`. */
NODISCARD bool acme_local_root(struct store *s, struct dstr *out, struct err *err);

#endif
