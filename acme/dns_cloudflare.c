/* Cloudflare: dns cloudflare API_TOKEN, or { api_token ...; zone_token ... }. The token needs
 * Zone:Read and DNS:Edit of the zone; with a zone_token for Zone:Read, api_token needs DNS:Edit
 * only. API: developers.cloudflare.com/api, DNS records. */
#include "acme/dns_provider.h"

#define TTL_S 120

static const struct dns_option options[] = {
    {S_INIT("api_token"), DNS_REQUIRED}, {S_INIT("zone_token"), DNS_OPTIONAL},
    {S_INIT("api_url"), DNS_OPTIONAL},   {S_INIT(""), DNS_OPTIONAL},
};

static struct slice token(struct dns_call *c, bool zone)
{
    bool own = zone && dns_value(c->dns, "zone_token").n;
    return dns_secret(c, "Authorization: Bearer ", own ? "zone_token" : "api_token");
}

/* The id of the first element of "result" whose content is value (empty: of any) in id. */
static bool first_id(struct dns_call *c, const cJSON *obj, struct slice value, struct slice *id)
{
    const cJSON *element;
    id->n = 0;
    cJSON_ArrayForEach(element, json_array(obj, "result"))
    {
        struct slice found = json_string(element, "id");
        if (id->n == 0 && found.n &&
            (value.n == 0 || dns_same_text(json_string(element, "content"), value))) {
            *id = arena_copy(&c->arena, found);
        }
    }
    return id->n > 0;
}

/* The id goes into c->zone's place later; here only whether there is one. */
static int zone_exists(struct dns_call *c, struct slice zone, struct err *err)
{
    struct dns_request r = {.verb = "GET",
                            .url = dns_url(c, "/zones?name=%.*s", SLICE_ARG(zone)),
                            .secrets = {token(c, true)}};
    struct slice id;
    if (!dns_send(c, &r, err) || !dns_succeeded(c, "looking for the zone", err)) {
        return -1;
    }
    cJSON *obj = dns_json(c, "looking for the zone", err);
    if (!obj) {
        return -1;
    }
    bool found = first_id(c, obj, (struct slice){NULL, 0}, &id);
    cJSON_Delete(obj);
    return found;
}

static bool zone_id(struct dns_call *c, struct slice *id, struct err *err)
{
    if (!dns_find_zone(c, zone_exists, err)) {
        return false;
    }
    /* The last answer is the one that had it. */
    cJSON *obj = dns_json(c, "looking for the zone", err);
    bool found = obj && first_id(c, obj, (struct slice){NULL, 0}, id);
    cJSON_Delete(obj);
    return found;
}

/* The record with our value, if there is one. */
static bool find_record(struct dns_call *c, struct slice zone, struct slice *id, struct err *err)
{
    struct dns_request r = {
        .verb = "GET",
        .url = dns_url(c, "/zones/%.*s/dns_records?type=TXT&per_page=100&name=%.*s",
                       SLICE_ARG(zone), SLICE_ARG(c->name)),
        .secrets = {token(c, false)}};
    if (!dns_send(c, &r, err) || !dns_succeeded(c, "listing records", err)) {
        return false;
    }
    cJSON *obj = dns_json(c, "listing records", err);
    if (!obj) {
        return false;
    }
    (void)first_id(c, obj, c->value, id);
    cJSON_Delete(obj);
    return true;
}

static bool put(struct dns_call *c, struct err *err)
{
    struct slice zone, record;
    if (!zone_id(c, &zone, err) || !find_record(c, zone, &record, err)) {
        return false;
    }
    if (record.n) {
        return true;
    }
    struct slice body = arena_printf(
        &c->arena, "{\"type\":\"TXT\",\"name\":\"%.*s\",\"content\":\"\\\"%.*s\\\"\",\"ttl\":%lld}",
        SLICE_ARG(c->name), SLICE_ARG(c->value),
        (long long)(c->dns->ttl_s ? c->dns->ttl_s : TTL_S));
    struct dns_request r = {.verb = "POST",
                            .url = dns_url(c, "/zones/%.*s/dns_records", SLICE_ARG(zone)),
                            .secrets = {token(c, false)},
                            .body = body};
    return dns_send(c, &r, err) && dns_succeeded(c, "making the record", err);
}

static bool take(struct dns_call *c, struct err *err)
{
    struct slice zone, record;
    if (!zone_id(c, &zone, err) || !find_record(c, zone, &record, err)) {
        return false;
    }
    if (record.n == 0) {
        return true;
    }
    struct dns_request r = {.verb = "DELETE",
                            .url = dns_url(c, "/zones/%.*s/dns_records/%.*s", SLICE_ARG(zone),
                                           SLICE_ARG(record)),
                            .secrets = {token(c, false)}};
    return dns_send(c, &r, err) && dns_succeeded(c, "deleting the record", err);
}

const struct dns_provider dns_cloudflare = {.name = S_INIT("cloudflare"),
                                            .options = options,
                                            .argument_count = 1,
                                            .api = {.url = "https://api.cloudflare.com/client/v4"},
                                            .put = put,
                                            .take = take};
