/* deSEC: dns desec { token ... }. API: desec.readthedocs.io, retrieving and creating RRsets. */
#include "acme/dns_values.h"

#define API "https://desec.io/api/v1"
#define TTL_S 3600 /* the least that deSEC takes */
#define TTL_MAX_S 86400

static const struct dns_option options[] = {
    {S_INIT("token"), DNS_REQUIRED},
    {S_INIT("api_url"), DNS_OPTIONAL},
    {S_INIT(""), DNS_OPTIONAL},
};

static bool ask(struct dns_call *c, const char *verb, struct slice url, struct slice body,
                struct err *err)
{
    struct dns_request r = {.verb = verb,
                            .url = url,
                            .secrets = {dns_secret(c, "Authorization: Token ", "token")},
                            .body = body};
    return dns_send(c, &r, err);
}

static int zone_exists(struct dns_call *c, struct slice zone, struct err *err)
{
    struct slice url = dns_url(c, API, "/domains/%.*s/", SLICE_ARG(zone));
    if (!ask(c, "GET", url, (struct slice){NULL, 0}, err)) {
        return -1;
    }
    return c->reply.status == 404 ? 0 : dns_succeeded(c, "looking for the domain", err) ? 1 : -1;
}

static bool read_values(struct dns_call *c, struct dns_values *v, struct err *err)
{
    struct slice url = dns_url(c, API, "/domains/%.*s/rrsets/%.*s/TXT/", SLICE_ARG(c->zone),
                               SLICE_ARG(c->relative));
    if (!ask(c, "GET", url, (struct slice){NULL, 0}, err)) {
        return false;
    }
    if (c->reply.status == 404) {
        return true;
    }
    cJSON *obj = dns_succeeded(c, "reading the record", err)
                     ? dns_json(c, "reading the record", err)
                     : NULL;
    bool ok = obj && dns_values_read(c, json_array(obj, "records"), v, err);
    cJSON_Delete(obj);
    return ok;
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
    struct slice url = dns_url(c, API, "/domains/%.*s/rrsets/", SLICE_ARG(c->zone));
    bool ok = (!body.failed || err_set(err, "the record is too long")) &&
              ask(c, "PUT", url, dstr_slice(&body), err) &&
              dns_succeeded(c, "writing the record", err);
    dstr_fini(&body);
    return ok;
}

static bool change(struct dns_call *c, bool there, struct err *err)
{
    struct dns_values v = {.count = 0};
    return dns_find_zone(c, zone_exists, err) && read_values(c, &v, err) &&
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
    .name = S_INIT("desec"), .options = options, .put = put, .take = take};
