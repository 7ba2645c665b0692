/* Hetzner: dns hetzner API_TOKEN, or { api_token ... }: a token of the project in the Hetzner
 * Console that holds the zone. API: docs.hetzner.cloud, DNS (the older one of dns.hetzner.com has
 * been shut down). */
#include <stdio.h>

#include "acme/dns_provider.h"


static const struct dns_option options[] = {
    {S_INIT("api_token"), DNS_REQUIRED},
    {S_INIT("api_url"), DNS_OPTIONAL},
    {S_INIT(""), DNS_OPTIONAL},
};

/* Values are added to the set of the name and taken out of it one by one. */
static bool change(struct dns_call *c, const char *action, struct err *err)
{
    char ttl[40] = "";
    if (!dns_api_find_zone(c, err)) {
        return false;
    }
    bool add = strcmp(action, "add_records") == 0;
    if (add && c->dns->ttl_s) {
        (void)snprintf(ttl, sizeof(ttl), ",\"ttl\":%lld", (long long)c->dns->ttl_s);
    }
    struct slice url = dns_url(c, "/zones/%.*s/rrsets/%.*s/TXT/actions/%s",
                               SLICE_ARG(c->zone), SLICE_ARG(c->relative), action);
    struct slice body = arena_printf(&c->arena, "{\"records\":[{\"value\":\"\\\"%.*s\\\"\"}]%s}",
                                     SLICE_ARG(c->value), ttl);
    if (!dns_api_ask(c, "POST", url, body, err)) {
        return false;
    }
    /* Not there (any more): what is to be taken away is. There already: likewise. */
    bool same = add ? c->reply.status == 409 : c->reply.status == 404;
    return same || dns_succeeded(c, add ? "adding the record" : "removing the record", err);
}

static bool put(struct dns_call *c, struct err *err)
{
    return change(c, "add_records", err);
}

static bool take(struct dns_call *c, struct err *err)
{
    return change(c, "remove_records", err);
}

const struct dns_provider dns_hetzner = {
    .name = S_INIT("hetzner"),
    .options = options,
    .argument_count = 1,
    .api = {"https://api.hetzner.cloud/v1", "Authorization: Bearer ", "api_token", "/zones/", NULL},
    .put = put,
    .take = take};
