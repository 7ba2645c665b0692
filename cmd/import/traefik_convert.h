/* Inside the conversion of Traefik: traefik.c does routers and services, traefik_middleware.c what
 * stands between them. */
#ifndef CMD_IMPORT_TRAEFIK_CONVERT_H
#define CMD_IMPORT_TRAEFIK_CONVERT_H

#include "cmd/import/traefik_rule.h"

#define LABELS_MAX 5000
#define ROUTES_MAX 500

struct label {
    struct slice service; /* of the compose file */
    struct slice key;     /* behind "traefik." */
    struct slice value;
    unsigned line;
    bool used;
};

/* One handle block of a site. */
struct route {
    struct import_site *site;
    struct rule_term term;
    size_t priority; /* Traefik's: the longest rule first */
    struct import_text body;
};

struct traefik {
    struct import *i;
    struct label labels[LABELS_MAX];
    size_t count;
    struct route routes[ROUTES_MAX];
    size_t route_count;
    struct slice hosts[ROUTES_MAX]; /* of every rule: "a.test,b.test" */
    size_t hosts_count;
    const struct yaml *services;
};

/* The value of the label "http.<kind>.<name>.<option>", which counts as used; empty when it is not
 * there. */
struct slice traefik_get(struct traefik *t, const char *kind, struct slice name,
                         const char *option);

static inline bool traefik_is_true(struct slice v)
{
    return slice_eq_case(v, S("true"));
}

/* Directives for the middlewares of the list ("auth,strip@docker"); depth: of chains. */
void traefik_middlewares(struct traefik *t, struct import_text *out, struct slice list,
                         unsigned depth);

#endif
