/* Who can put and take away TXT records: one file and one row of dns_provider.c's table each. A
 * provider is told the record's whole name and one value; it leaves all other values of that name
 * alone. The caller keeps others from changing the same name meanwhile. */
#ifndef ACME_DNS_PROVIDER_H
#define ACME_DNS_PROVIDER_H

#include "acme/acme.h"
#include "acme/json.h"
#include "acme/transport.h"
#include "proxy/base/arena.h"

#define DNS_LABELS_MAX 16

/* One record to put or to take away. */
struct dns_call {
    const struct acme_dns *dns;
    const struct dns_provider *provider;
    struct stop *stop;
    struct slice name;  /* lower-case, no dot at its end */
    struct slice value; /* base64url, so that it needs no escaping */
    /* ---- the provider's */
    struct arena arena;
    struct transport *transport; /* made at the first request */
    struct reply reply;
    struct slice zone; /* found by dns_find_zone, and what is in front of it ("@": nothing) */
    struct slice relative;
};

struct dns_option {
    struct slice name;
    enum { DNS_OPTIONAL, DNS_REQUIRED, DNS_IGNORED } need; /* ignored: Caddy's, without use here */
};

struct dns_api {
    const char *url; /* the usual one; the option api_url names another */
    /* Where one token is all, and where each zone has a path of its own: dns_api_ask() and
     * dns_api_find_zone(). */
    const char *field;    /* the token's, up to it: "Authorization: Bearer " */
    const char *token;    /* the option that has it */
    const char *zone;     /* what stands before and behind a zone's name in its path; */
    const char *zone_end; /* NULL: nothing */
};

struct dns_provider {
    struct slice name;
    const struct dns_option *options; /* up to one without a name */
    size_t argument_count;            /* how many of them may be given as arguments, in order */
    bool many_arguments;              /* the last of those any number of times */
    struct dns_api api;               /* of those with an HTTP interface */
    /* Idempotent: what is there already, or is not there, is no failure. */
    bool (*put)(struct dns_call *c, struct err *err);
    bool (*take)(struct dns_call *c, struct err *err);
    /* A further look at the options, or NULL. */
    bool (*check)(const struct acme_dns *dns, struct err *err);
};

extern const struct dns_provider dns_acmedns, dns_cloudflare, dns_desec, dns_digitalocean, dns_exec,
    dns_gandi, dns_hetzner, dns_rfc2136, dns_route53;

/* NULL: there is none of that name ("persist" is none). */
const struct dns_provider *dns_provider_of(const struct acme_dns *dns);
/* The option's value, or an empty slice. */
struct slice dns_value(const struct acme_dns *dns, const char *option);

void dns_call_init(struct dns_call *c, const struct acme_dns *dns, struct stop *stop,
                   struct slice name, struct slice value);
void dns_call_fini(struct dns_call *c);

/* ---- for providers with an HTTP interface ---------------------------------------------------- */

struct dns_request {
    const char *verb;
    struct slice url;                          /* from dns_url */
    struct slice fields[4];                    /* up to an empty one */
    struct slice secrets[2];                   /* more, from dns_secret; cleared when sent */
    struct slice body;                         /* p == NULL: none */
    const char *content_type;                  /* NULL: application/json */
};

/* The base ("api_url", or the provider's api.url) with the rest behind it, in c's arena. */
struct slice dns_url(struct dns_call *c, const char *fmt, ...) PRINTF(2, 3);
/* A field with an option's value in it: dns_secret(c, "Authorization: Bearer ", "api_token"). */
struct slice dns_secret(struct dns_call *c, const char *field, const char *option);
/* Sends; true: there is an answer in c->reply, whatever its status. */
NODISCARD bool dns_send(struct dns_call *c, const struct dns_request *r, struct err *err);
/* Was it a 2xx? If not err has "what: status and what the provider says". */
NODISCARD bool dns_succeeded(const struct dns_call *c, const char *what, struct err *err);
/* The answer as an object for cJSON_Delete, NULL and err if it is none. */
cJSON *dns_json(const struct dns_call *c, const char *what, struct err *err);
/* Finds the zone of c->name: asks `exists` about it and each name above it, the longest first, up
 * to those of two labels. exists: 1 yes, 0 no, -1 failed (err set). */
NODISCARD bool dns_find_zone(struct dns_call *c,
                             int (*exists)(struct dns_call *c, struct slice zone, struct err *err),
                             struct err *err);
/* With a struct dns_api: sends with its token (body.p == NULL: none), as dns_send does; and finds
 * the zone as dns_find_zone does, where asking about one that is not there gives 404. */
NODISCARD bool dns_api_ask(struct dns_call *c, const char *verb, struct slice url,
                           struct slice body, struct err *err);
NODISCARD bool dns_api_find_zone(struct dns_call *c, struct err *err);
/* Is it value, with or without quotes around it? */
bool dns_same_text(struct slice text, struct slice value);

#endif
