/* deSEC: dns desec { token ... }. API: desec.readthedocs.io, retrieving and creating RRsets. */
#include "acme/dns_values.h"

#define TTL_S 3600 /* the least that deSEC takes */
#define TTL_MAX_S 86400

static const struct dns_option options[] = {
    {S_INIT("token"), DNS_REQUIRED},
    {S_INIT("api_url"), DNS_OPTIONAL},
    {S_INIT(""), DNS_OPTIONAL},
};

static struct slice record_url(struct dns_call *c)
{
    return dns_url(c, "/domains/%.*s/rrsets/%.*s/TXT/", SLICE_ARG(c->zone),
                   SLICE_ARG(c->relative));
}

/* A list of one set: no values take the set away. */
static bool write_values(struct dns_call *c, const struct dns_values *v, struct err *err)
{
    struct dstr body;
    int64_t ttl_s = c->dns->ttl_s > TTL_S ? c->dns->ttl_s : TTL_S;
    bool apex = slice_eq(c->relative, S("@"));
    dstr_init(&body, (size_t)1 << 18);
    dstr_append(&body, S("[{\"subname\":"));
    dstr_json(&body, apex ? S("") : c->relative);
    dstr_printf(&body, ",\"type\":\"TXT\",\"ttl\":%lld,\"records\":",
                (long long)(ttl_s < TTL_MAX_S ? ttl_s : TTL_MAX_S));
    dns_values_json(v, &body);
    dstr_append(&body, S("}]"));
    struct slice url = dns_url(c, "/domains/%.*s/rrsets/", SLICE_ARG(c->zone));
    bool ok = (!body.failed || err_set(err, "the record is too long")) &&
              dns_api_ask(c, "PUT", url, dstr_slice(&body), err) &&
              dns_succeeded(c, "writing the record", err);
    dstr_fini(&body);
    return ok;
}

static bool change(struct dns_call *c, bool there, struct err *err)
{
    struct dns_values v = {.count = 0};
    return dns_api_find_zone(c, err) && dns_values_get(c, record_url(c), "records", &v, err) &&
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

const struct dns_provider dns_desec = {
    .name = S_INIT("desec"),
    .options = options,
    .api = {"https://desec.io/api/v1", "Authorization: Token ", "token", "/domains/", "/"},
    .put = put,
    .take = take};
