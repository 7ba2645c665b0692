/* DigitalOcean: dns digitalocean AUTH_TOKEN, or { auth_token ... }. API: docs.digitalocean.com,
 * domain records. */
#include "acme/dns_provider.h"

#define TTL_S 30
#define ID_MAX INT64_C(0x1fffffffffffff)

static const struct dns_option options[] = {
    {S_INIT("auth_token"), DNS_REQUIRED},
    {S_INIT("api_url"), DNS_OPTIONAL},
    {S_INIT(""), DNS_OPTIONAL},
};

static const struct slice none = {NULL, 0};

/* The id of the record with our value; 0: there is none. */
static bool find_record(struct dns_call *c, int64_t *id, struct err *err)
{
    *id = 0;
    if (!dns_api_find_zone(c, err)) {
        return false;
    }
    struct slice url =
        dns_url(c, "/domains/%.*s/records?type=TXT&per_page=200&name=%.*s",
                SLICE_ARG(c->zone), SLICE_ARG(c->name));
    if (!dns_api_ask(c, "GET", url, none, err) || !dns_succeeded(c, "listing records", err)) {
        return false;
    }
    cJSON *obj = dns_json(c, "listing records", err);
    const cJSON *element;
    cJSON_ArrayForEach(element, json_array(obj, "domain_records"))
    {
        int64_t found;
        if (dns_same_text(json_string(element, "data"), c->value) &&
            json_integer(element, "id", ID_MAX, &found)) {
            *id = found;
        }
    }
    cJSON_Delete(obj);
    return obj != NULL;
}

static bool put(struct dns_call *c, struct err *err)
{
    int64_t id;
    if (!find_record(c, &id, err)) {
        return false;
    }
    if (id) {
        return true;
    }
    struct slice body = arena_printf(
        &c->arena, "{\"type\":\"TXT\",\"name\":\"%.*s\",\"data\":\"%.*s\",\"ttl\":%lld}",
        SLICE_ARG(c->relative), SLICE_ARG(c->value),
        (long long)(c->dns->ttl_s ? c->dns->ttl_s : TTL_S));
    struct slice url = dns_url(c, "/domains/%.*s/records", SLICE_ARG(c->zone));
    return dns_api_ask(c, "POST", url, body, err) &&
           dns_succeeded(c, "making the record", err);
}

static bool take(struct dns_call *c, struct err *err)
{
    int64_t id;
    if (!find_record(c, &id, err)) {
        return false;
    }
    struct slice url =
        dns_url(c, "/domains/%.*s/records/%lld", SLICE_ARG(c->zone), (long long)id);
    return id == 0 || (dns_api_ask(c, "DELETE", url, none, err) &&
                       dns_succeeded(c, "deleting the record", err));
}

const struct dns_provider dns_digitalocean = {
    .name = S_INIT("digitalocean"),
    .options = options,
    .argument_count = 1,
    .api = {"https://api.digitalocean.com/v2", "Authorization: Bearer ", "auth_token",
            "/domains/", NULL},
    .put = put,
    .take = take};
