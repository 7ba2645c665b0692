/* The ways to prove control of a name (RFC 8555 section 8). One file each: it presents an answer
 * and takes it away again. authorise.c has the table, in order of preference; adding a type is
 * adding a file and a row. */
#ifndef ACME_CHALLENGE_TYPE_H
#define ACME_CHALLENGE_TYPE_H

#include "acme/acme.h"
#include "acme/stop.h"

struct challenge_context {
    struct challenge_table *table;
    struct store *store;
    struct stop *stop;
    const struct acme_solvers *solvers;
    struct slice ca;      /* store name of the CA */
    struct slice name;    /* as in the configuration, "*.x" for wildcards */
    struct slice account; /* the account's URL at the CA */
    /* What is being done, for people. */
    void (*say)(void *ctx, const char *activity);
    void *say_ctx;
};

struct challenge_type {
    struct slice type; /* "http-01" */
    bool needs_token;
    /* May this name be proven in this way, as the configuration has it? */
    bool (*usable)(const struct acme_solvers *s, struct slice name);
    /* Makes the answer visible before the CA is told to look. False: err says why, and what was
     * begun has been taken away. May take minutes; minds stop. */
    bool (*present)(const struct challenge_context *c, struct slice token,
                    struct slice key_authorization, struct err *err);
    void (*remove)(const struct challenge_context *c, struct slice token,
                   struct slice key_authorization);
};

extern const struct challenge_type challenge_http01;
extern const struct challenge_type challenge_tls_alpn01;
extern const struct challenge_type challenge_dns01;
extern const struct challenge_type challenge_dns_persist01;

#endif
