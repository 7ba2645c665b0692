/* DigitalOcean: dns digitalocean AUTH_TOKEN, or { auth_token ... }. API: docs.digitalocean.com,
 * domain records. */
#include "acme/dns_provider.h"

#define API "https://api.digitalocean.com/v2"
#define TTL_S 30
#define ID_MAX INT64_C(0x1fffffffffffff)

static const struct dns_option options[] = {
    {S_INIT("auth_token"), DNS_REQUIRED},
    {S_INIT("api_url"), DNS_OPTIONAL},
    {S_INIT(""), DNS_OPTIONAL},
};

static bool ask(struct dns_call *c, const char *verb, struct slice url, struct slice body,
                struct err *err)
{
    struct dns_request r = {.verb = verb,
                            .url = url,
                            .secrets = {dns_secret(c, "Authorization: Bearer ", "auth_token")},
                            .body = body};
    return dns_send(c, &r, err);
}

static const struct slice none = {NULL, 0};

static int zone_exists(struct dns_call *c, struct slice zone, struct err *err)
{
    if (!ask(c, "GET", dns_url(c, API, "/domains/%.*s", SLICE_ARG(zone)), none, err)) {
        return -1;
    }
    return c->reply.status == 404                           ? 0
           : dns_succeeded(c, "looking for the domain", err) ? 1
                                                             : -1;
}

/* The id of the record with our value; 0: there is none. */
static bool find_record(struct dns_call *c, int64_t *id, struct err *err)
{
    *id = 0;
    if (!dns_find_zone(c, zone_exists, err)) {
        return false;
    }
    struct slice url =
        dns_url(c, API, "/domains/%.*s/records?type=TXT&per_page=200&name=%.*s",
                SLICE_ARG(c->zone), SLICE_ARG(c->name));
    if (!ask(c, "GET", url, none, err) || !dns_succeeded(c, "listing records", err)) {
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
    return ask(c, "POST", dns_url(c, API, "/domains/%.*s/records", SLICE_ARG(c->zone)), body,
               err) &&
           dns_succeeded(c, "making the record", err);
}

static bool take(struct dns_call *c, struct err *err)
{
    int64_t id;
    if (!find_record(c, &id, err)) {
        return false;
    }
    return id == 0 || (ask(c, "DELETE",
                           dns_url(c, API, "/domains/%.*s/records/%lld", SLICE_ARG(c->zone),
                                   (long long)id),
                           none, err) &&
                       dns_succeeded(c, "deleting the record", err));
}

const struct dns_provider dns_digitalocean = {.name = S_INIT("digitalocean"),
                                              .options = options,
                                              .argument_count = 1,
                                              .put = put,
                                              .take = take};
