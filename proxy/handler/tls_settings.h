/* What a site's `tls` directive says, and the table of its subdirectives.
 *
 * A subdirective is a row in tls.c's table and a function in the file of its subject (tls_*.c),
 * declared here; what it finds goes into struct tls_settings, in the configuration's arena. */
#ifndef HANDLER_TLS_SETTINGS_H
#define HANDLER_TLS_SETTINGS_H

#include "proxy/base/dstr.h"
#include "proxy/base/slice.h"
#include "proxy/handler/challenges.h"
#include "proxy/tls/cert_source.h"
#include "proxy/tls/policy.h"

struct build;
struct cf_directive;
struct cf_token;
struct issuance;

struct tls_settings {
    const struct cf_token *token; /* the directive, for messages; NULL: the site has none */
    bool internal;                /* tls internal: the local CA */
    bool on_demand;               /* certificates when a handshake asks for them */
    const struct slice *managers; /* get_certificate http: URLs, asked in order */
    size_t manager_count;
    bool force_automate;          /* a certificate of its own, whatever else covers the name */
    struct slice email;           /* or empty */
    struct cert_source *own; /* CERT and KEY, or NULL; counted, given up with the configuration */
    struct cert_source **loaded; /* of `load`'s folders; the same */
    size_t loaded_count;
    const struct cf_token *policy_token; /* the first line that is about the policy; or NULL */
    struct tls_policy_spec policy;       /* in the arena; the defaults where nothing is said */
    bool mode_given;                     /* client_auth has a mode */
    struct challenge_settings challenges;
    struct issuance *issuance; /* tls_issuer.h; NULL: nothing was said */
};

/* Reads one line of the block (d, with its own arguments and block) into t. False after an error
 * in b->diags. */
#define TLS_SUBDIRECTIVE(name) \
    bool name(struct build *b, struct tls_settings *t, const struct cf_directive *d)

typedef TLS_SUBDIRECTIVE(tls_subdirective_fn);

/* tls_policy.c: how handshakes are made. */
TLS_SUBDIRECTIVE(tls_read_protocols);
TLS_SUBDIRECTIVE(tls_read_ciphers);
TLS_SUBDIRECTIVE(tls_read_curves);
TLS_SUBDIRECTIVE(tls_read_alpn);
TLS_SUBDIRECTIVE(tls_read_secrets_log);
/* tls_load.c */
TLS_SUBDIRECTIVE(tls_read_load);
/* challenges.c: how names are proven. */
TLS_SUBDIRECTIVE(tls_read_challenges);
/* tls_client_auth.c */
TLS_SUBDIRECTIVE(tls_read_client_auth);
/* tls_trust.c: the lines of client_auth that name certificates. */
TLS_SUBDIRECTIVE(tls_read_trust_pool);
TLS_SUBDIRECTIVE(tls_read_verifier);
TLS_SUBDIRECTIVE(tls_read_trusted_text);
TLS_SUBDIRECTIVE(tls_read_trusted_files);
/* tls_managers.c: who brings certificates during handshakes. */
TLS_SUBDIRECTIVE(tls_read_get_certificate);

/* The whole file (at most 1 MiB) in the arena; false after an error at the token that names it. */
bool tls_read_file(struct build *b, const struct cf_token *path, struct slice *out);
/* The same appended to out, for what is to be zeroed afterwards; path is a C string. */
bool tls_read_into(struct build *b, const struct cf_token *at, const char *path, struct dstr *out);
/* Calls each with every file *.pem in the folder that at names, and below it; ends with the first
 * false. False also after an error at the token. */
bool tls_each_pem(struct build *b, const struct cf_token *at,
                  bool (*each)(void *ctx, const struct cf_token *at, const char *path), void *ctx);
/* Ties source to the configuration's life. */
void tls_own(struct build *b, struct cert_source *source);

#endif
