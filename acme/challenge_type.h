/* The ways to prove control of a name (RFC 8555 section 8). One file each: it presents an answer
 * and takes it away again. authorise.c has the table, in order of preference; adding a type is
 * adding a file and a row. */
#ifndef ACME_CHALLENGE_TYPE_H
#define ACME_CHALLENGE_TYPE_H

#include "store/challenge.h"

struct challenge_context {
    struct challenge_table *table;
    struct slice ca;   /* store name of the CA */
    struct slice name; /* as in the configuration, "*.x" for wildcards */
};

struct challenge_type {
    struct slice type; /* "http-01" */
    bool needs_token;
    bool proves_wildcards;
    /* Makes the answer visible before the CA is told to look. False: err says why, and another
     * type may be tried. */
    bool (*present)(const struct challenge_context *c, struct slice token,
                    struct slice key_authorization, struct err *err);
    void (*remove)(const struct challenge_context *c, struct slice token);
};

extern const struct challenge_type challenge_http01;

#endif
