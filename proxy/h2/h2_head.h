/* A field section, from decoded fields to a request or a response. Pure: no library, no stream.
 *
 * In: the fields of one section in order, as HPACK gave them (the library has checked names,
 * values, the set and order of pseudo-fields and connection-specific fields; RFC 9113 section 8).
 * Out: the request or the response; its bytes are in the arena that is given, the exchange's. */
#ifndef H2_HEAD_H
#define H2_HEAD_H

#include "proxy/http/message.h"

struct h2_crumb;

struct h2_head_limits {
    size_t bytes_max; /* names, values, 32 for each field: as SETTINGS_MAX_HEADER_LIST_SIZE */
    unsigned fields_max; /* crumbs of a cookie are one field */
};

struct h2_head {
    struct slice method;
    struct slice scheme;
    struct slice authority; /* p == NULL: no such field */
    struct slice path;
    struct slice protocol; /* of an extended CONNECT (RFC 8441) */
    struct slice host;     /* the Host field */
    struct h2_crumb *crumbs; /* in order; last is where the next one goes */
    struct h2_crumb *last_crumb;
    size_t cookie_bytes;
    size_t bytes;
    unsigned count;
};

enum h2_field_result {
    H2_FIELD_OK,
    H2_FIELD_TOO_MUCH,  /* past the limits: not kept */
    H2_FIELD_NO_MEMORY,
};

/* Takes one field of the head. */
enum h2_field_result h2_head_field(struct h2_head *h, const struct h2_head_limits *l,
                                   struct arena *a, struct request *req, struct slice name,
                                   struct slice value);
/* Takes one field of the trailer section; what may not be in one is left out. */
enum h2_field_result h2_trailer_field(struct h2_head *h, const struct h2_head_limits *l,
                                      struct arena *a, struct fields *trailers, struct slice name,
                                      struct slice value);
/* The section is complete: fills req (scheme is what the connection is: "http" or "https"; ended:
 * no content follows). 0, or the status of the refusal and why (static text). An extended CONNECT
 * becomes what it means to the next hop: GET with Upgrade, Connection and Sec-WebSocket-Key. */
int h2_head_finish(struct h2_head *h, struct arena *a, struct request *req, struct slice scheme,
                   bool ended, const char **why);

/* Takes one field of a response's head, final or interim. */
enum h2_field_result h2_response_field(struct h2_head *h, const struct h2_head_limits *l,
                                       struct arena *a, struct response *res, struct slice name,
                                       struct slice value);
/* The head of a response to method is complete: fills in res (ended: no content follows). False: it
 * is malformed, and *why says how (static text). */
NODISCARD bool h2_response_finish(struct response *res, enum http_method method, bool ended,
                                  const char **why);

#endif
