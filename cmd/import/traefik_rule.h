/* Traefik's rules ("Host(`a`) && PathPrefix(`/x`)") as alternatives. */
#ifndef CMD_IMPORT_TRAEFIK_RULE_H
#define CMD_IMPORT_TRAEFIK_RULE_H

#include "cmd/import/import.h"

#define RULE_TERMS_MAX 32
#define RULE_LINES_MAX 16

/* All of it must hold. */
struct rule_term {
    struct slice hosts;  /* "a.example, b.example"; empty: any */
    struct slice path;   /* "/x*": the only matcher is one path; else empty */
    struct slice lines[RULE_LINES_MAX]; /* matchers, a line each */
    size_t count;
};

struct rule {
    struct rule_term terms[RULE_TERMS_MAX]; /* one of them must hold */
    size_t count;
};

/* In a's memory. False and err for what cannot be said in a Caddyfile. */
NODISCARD bool rule_parse(struct arena *a, struct slice text, struct rule *out, struct err *err);

#endif
