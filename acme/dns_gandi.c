/* Gandi: dns gandi BEARER_TOKEN, or { bearer_token ... }: a personal access token. API:
 * api.gandi.net/docs/livedns. */
#include "acme/dns_values.h"

#define API "https://api.gandi.net/v5/livedns"
#define TTL_S 300 /* the least that Gandi takes */

static const struct dns_option options[] = {
    {S_INIT("bearer_token"), DNS_REQUIRED},
    {S_INIT("api_url"), DNS_OPTIONAL},
    {S_INIT(""), DNS_OPTIONAL},
};

static bool ask(struct dns_call *c, const char *verb, struct slice url, struct slice body,
                struct err *err)
{
    struct dns_request r = {.verb = verb,
                            .url = url,
                            .secrets = {dns_secret(c, "Authorization: Bearer ", "bearer_token")},
                            .body = body};
    return dns_send(c, &r, err);
}

static int zone_exists(struct dns_call *c, struct slice zone, struct err *err)
{
    struct slice url = dns_url(c, API, "/domains/%.*s", SLICE_ARG(zone));
    if (!ask(c, "GET", url, (struct slice){NULL, 0}, err)) {
        return -1;
    }
    return c->reply.status == 404 ? 0 : dns_succeeded(c, "looking for the domain", err) ? 1 : -1;
}

static struct slice record_url(struct dns_call *c)
{
    return dns_url(c, API, "/domains/%.*s/records/%.*s/TXT", SLICE_ARG(c->zone),
                   SLICE_ARG(c->relative));
}

static bool read_values(struct dns_call *c, struct dns_values *v, struct err *err)
{
    if (!ask(c, "GET", record_url(c), (struct slice){NULL, 0}, err)) {
        return false;
    }
    if (c->reply.status == 404) {
        return true;
    }
    cJSON *obj = dns_succeeded(c, "reading the record", err)
                     ? dns_json(c, "reading the record", err)
                     : NULL;
    bool ok = obj && dns_values_read(c, json_array(obj, "rrset_values"), v, err);
    cJSON_Delete(obj);
    return ok;
}

static bool write_values(struct dns_call *c, const struct dns_values *v, struct err *err)
{
    struct dstr body;
    int64_t ttl_s = c->dns->ttl_s > TTL_S ? c->dns->ttl_s : TTL_S;
    if (v->count == 0) {
        return ask(c, "DELETE", record_url(c), (struct slice){NULL, 0}, err) &&
               (c->reply.status == 404 || dns_succeeded(c, "deleting the record", err));
    }
    dstr_init(&body, (size_t)1 << 18);
    dstr_append(&body, S("{\"rrset_values\":"));
    dns_values_json(v, &body);
    dstr_printf(&body, ",\"rrset_ttl\":%lld}", (long long)ttl_s);
    bool ok = (!body.failed || err_set(err, "the record is too long")) &&
              ask(c, "PUT", record_url(c), dstr_slice(&body), err) &&
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

const struct dns_provider dns_gandi = {.name = S_INIT("gandi"),
                                       .options = options,
                                       .argument_count = 1,
                                       .put = put,
                                       .take = take};
