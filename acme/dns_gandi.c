/* Gandi: dns gandi BEARER_TOKEN, or { bearer_token ... }: a personal access token. API:
 * api.gandi.net/docs/livedns. */
#include "acme/dns_values.h"

#define TTL_S 300 /* the least that Gandi takes */

static const struct dns_option options[] = {
    {S_INIT("bearer_token"), DNS_REQUIRED},
    {S_INIT("api_url"), DNS_OPTIONAL},
    {S_INIT(""), DNS_OPTIONAL},
};

static struct slice record_url(struct dns_call *c)
{
    return dns_url(c, "/domains/%.*s/records/%.*s/TXT", SLICE_ARG(c->zone),
                   SLICE_ARG(c->relative));
}

static bool write_values(struct dns_call *c, const struct dns_values *v, struct err *err)
{
    struct dstr body;
    int64_t ttl_s = c->dns->ttl_s > TTL_S ? c->dns->ttl_s : TTL_S;
    if (v->count == 0) {
        return dns_api_ask(c, "DELETE", record_url(c), (struct slice){NULL, 0}, err) &&
               (c->reply.status == 404 || dns_succeeded(c, "deleting the record", err));
    }
    dstr_init(&body, (size_t)1 << 18);
    dstr_append(&body, S("{\"rrset_values\":"));
    dns_values_json(v, &body);
    dstr_printf(&body, ",\"rrset_ttl\":%lld}", (long long)ttl_s);
    bool ok = (!body.failed || err_set(err, "the record is too long")) &&
              dns_api_ask(c, "PUT", record_url(c), dstr_slice(&body), err) &&
              dns_succeeded(c, "writing the record", err);
    dstr_fini(&body);
    return ok;
}

static bool change(struct dns_call *c, bool there, struct err *err)
{
    struct dns_values v = {.count = 0};
    return dns_api_find_zone(c, err) && dns_values_get(c, record_url(c), "rrset_values", &v, err) &&
           dns_values_change(c, &v, there, err) && (!v.changed || write_values(c, &v, err));
}

static bool put(struct dns_call *c, struct err *err)
{
    return change(c, true, err);
}

static bool take(struct dns_call *c, struct err *err)
{
    return change(c, false, err);
}

const struct dns_provider dns_gandi = {
    .name = S_INIT("gandi"),
    .options = options,
    .argument_count = 1,
    .api = {"https://api.gandi.net/v5/livedns", "Authorization: Bearer ", "bearer_token",
            "/domains/", NULL},
    .put = put,
    .take = take};
