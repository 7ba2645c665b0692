/* For providers that know only the whole set of values of a name: the set read, one value added or
 * taken out, and written again. */
#ifndef ACME_DNS_VALUES_H
#define ACME_DNS_VALUES_H

#include "acme/dns_provider.h"

#define DNS_VALUES_MAX 64

struct dns_values {
    struct slice values[DNS_VALUES_MAX]; /* as the provider writes them, in the call's arena */
    size_t count;
    bool changed;
};

/* Asks url (dns_api_ask) for an object whose member `list` is an array of strings, the values; 404:
 * there are none. */
NODISCARD bool dns_values_get(struct dns_call *c, struct slice url, const char *list,
                              struct dns_values *v, struct err *err);
/* Appends one; false: there are too many (err set). */
NODISCARD bool dns_values_add(struct dns_call *c, struct dns_values *v, struct slice value,
                              struct err *err);
/* Brings the call's value, in quotes, into the set or out of it; changed says if it was not so
 * before. */
NODISCARD bool dns_values_change(struct dns_call *c, struct dns_values *v, bool there,
                                 struct err *err);
/* As a JSON array. */
void dns_values_json(const struct dns_values *v, struct dstr *out);

#endif
