/* Problem documents (RFC 7807, with RFC 8555 section 6.7.1's subproblems) as a sentence for a
 * person, in the CA's own words. */
#ifndef ACME_PROBLEM_H
#define ACME_PROBLEM_H

#include "acme/json.h"

struct problem {
    char type[96];    /* "badNonce" for urn:ietf:params:acme:error:badNonce, else as sent, cut */
    char text[1500];  /* printable, one line; empty: there was no problem */
};

/* What an error response says. Never fails: a body that is no problem document becomes a sentence
 * with the status and the beginning of the body. */
void problem_parse(struct slice body, long http_status, struct problem *out);
/* The same of an object inside a message (order.error, challenge.error). obj may be NULL. */
void problem_from_json(const cJSON *obj, struct problem *out);
/* Is it RFC 8555's error of that short name ("badNonce")? */
bool problem_is(const struct problem *p, const char *short_name);

#endif
