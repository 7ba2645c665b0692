/* Placeholders in what reverse_proxy forwards to: in origins ("{header.X}:8080"), in the names of
 * `dynamic` and in tls_server_name. What they come to is decided for each request, checked like an
 * address from a stranger, and remembered in bounded tables (upstream/named.h). */
#ifndef HANDLER_REVERSE_PROXY_NAMED_H
#define HANDLER_REVERSE_PROXY_NAMED_H

#include "proxy/handler/handler.h"
#include "proxy/route/template.h"
#include "proxy/upstream/dynamic.h"

struct forward;

/* An origin that is made from the request; its place in reverse_proxy's list is held by an origin
 * of the same settings, whose text is the one that is written. */
struct named_place {
    const struct template *address; /* NULL: as it is written; only server_name is made */
    const struct template *server_name; /* NULL: none of its own */
    bool unix_path; /* address is "unix/" and a path; `address` begins behind that */
    uint16_t port;  /* where the address has none */
    const struct cf_token *at;
};

/* Reads an origin with placeholders. False after an error. */
bool named_place_read(struct build *b, const struct cf_token *t, struct named_place *out);

/* The texts of a `dynamic` with placeholders. */
struct named_source {
    const struct template *name; /* NULL: as it is written */
    const struct template *port;
};

/* The origins of the request, where some are made from it: in f->origins. Those that come to no
 * address are left out (and told of in the log). False: all of them. */
bool named_origins(struct forward *f);
/* What is looked up for the request, counted; NULL: the placeholders give no name. */
struct dynamic *named_dynamic(struct forward *f);
/* The request needs none of it any more. */
void named_release(struct forward *f);

#endif
