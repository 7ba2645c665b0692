/* Amazon Route 53: dns route53 { access_key_id ...; secret_access_key ...; session_token ...;
 * region ...; hosted_zone_id ... }; what is not given comes from AWS_ACCESS_KEY_ID,
 * AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. API:
 * docs.aws.amazon.com/Route53/latest/APIReference. */
#include "acme/dns_values.h"

#include <stdlib.h>

#include "acme/sigv4.h"
#include "acme/xml_parse.h"
#include "proxy/base/clock.h"

#define VERSION "/2013-04-01"
#define TTL_S 60
#define TRIES_MAX 5

static const struct dns_option options[] = {
    {S_INIT("access_key_id"), DNS_OPTIONAL},
    {S_INIT("secret_access_key"), DNS_OPTIONAL},
    {S_INIT("session_token"), DNS_OPTIONAL},
    {S_INIT("region"), DNS_OPTIONAL},
    {S_INIT("hosted_zone_id"), DNS_OPTIONAL},
    {S_INIT("api_url"), DNS_OPTIONAL},
    {S_INIT("max_retries"), DNS_IGNORED},
    {S_INIT("wait_for_route53_sync"), DNS_IGNORED},
    {S_INIT("wait_for_propagation"), DNS_IGNORED},
    {S_INIT("skip_route53_sync_on_delete"), DNS_IGNORED},
    {S_INIT("route53_max_wait"), DNS_IGNORED},
    {S_INIT("max_wait_dur"), DNS_IGNORED},
    {S_INIT("debug_logging"), DNS_IGNORED},
    {S_INIT(""), DNS_OPTIONAL},
};

static struct slice given(const struct acme_dns *dns, const char *option, const char *variable)
{
    struct slice value = dns_value(dns, option);
    return value.n ? value : slice_str(getenv(variable));
}

static bool check(const struct acme_dns *dns, struct err *err)
{
    return (given(dns, "access_key_id", "AWS_ACCESS_KEY_ID").n &&
            given(dns, "secret_access_key", "AWS_SECRET_ACCESS_KEY").n) ||
           err_set(err, "route53 needs access_key_id and secret_access_key, or AWS_ACCESS_KEY_ID"
                        " and AWS_SECRET_ACCESS_KEY in the environment");
}

/* https://HOST/PATH?QUERY in parts. */
static void split(struct slice url, struct sigv4 *s)
{
    struct slice rest = slice_from(url, slice_find_slice(url, S("://")) + 3);
    size_t slash = slice_find(rest, '/');
    s->host = slice_upto(rest, slash);
    s->path = slice_from(rest, slash);
    size_t mark = slice_find(s->path, '?');
    s->query = mark == SLICE_NPOS ? S("") : slice_from(s->path, mark + 1);
    s->path = slice_upto(s->path, mark);
}

static bool ask(struct dns_call *c, const char *verb, struct slice url, struct slice body,
                struct err *err)
{
    char time[SIGV4_TIME_BYTES];
    struct dstr authorization;
    struct slice region = given(c->dns, "region", "AWS_REGION");
    struct sigv4 s = {
        .access_key_id = given(c->dns, "access_key_id", "AWS_ACCESS_KEY_ID"),
        .secret_access_key = given(c->dns, "secret_access_key", "AWS_SECRET_ACCESS_KEY"),
        .session_token = given(c->dns, "session_token", "AWS_SESSION_TOKEN"),
        .region = region.n ? region : S("us-east-1"),
        .service = S("route53"),
        .time = time,
        .method = verb,
        .body = body};
    sigv4_time(clock_wall_ms(), time);
    split(url, &s);
    dstr_init(&authorization, 2048);
    if (!sigv4_authorization(&s, &authorization, err)) {
        dstr_fini(&authorization);
        return false;
    }
    struct dns_request r = {.verb = verb,
                            .url = url,
                            .fields = {arena_printf(&c->arena, "X-Amz-Date: %s", time),
                                       arena_printf(&c->arena, "Authorization: %.*s",
                                                    SLICE_ARG(dstr_slice(&authorization)))},
                            .body = body,
                            .content_type = "application/xml"};
    if (s.session_token.n) {
        r.secrets[0] =
            arena_printf(&c->arena, "X-Amz-Security-Token: %.*s", SLICE_ARG(s.session_token));
    }
    dstr_fini(&authorization);
    return dns_send(c, &r, err);
}

/* "/hostedzone/Z123" -> "Z123". */
static struct slice bare_id(struct slice id)
{
    size_t slash = slice_rfind(id, '/');
    return slash == SLICE_NPOS ? id : slice_from(id, slash + 1);
}

/* Public zones of exactly that name in the last answer; the id in the arena, or empty. */
static struct slice zone_in(struct dns_call *c, struct slice zone)
{
    struct slice rest = dstr_slice(&c->reply.body), one;
    while (xml_element(&rest, "HostedZone", &one)) {
        struct slice name, id, private, look = one, again = one, third = one;
        if (xml_element(&look, "Name", &name) && xml_element(&again, "Id", &id) &&
            name.n == zone.n + 1 && slice_eq_case(slice_upto(name, zone.n), zone) &&
            !(xml_element(&third, "PrivateZone", &private) && slice_eq(private, S("true")))) {
            return arena_copy(&c->arena, bare_id(id));
        }
    }
    return (struct slice){NULL, 0};
}

static int zone_exists(struct dns_call *c, struct slice zone, struct err *err)
{
    struct slice url = dns_url(c, VERSION "/hostedzonesbyname?dnsname=%.*s.&maxitems=10",
                               SLICE_ARG(zone));
    if (!ask(c, "GET", url, (struct slice){NULL, 0}, err) ||
        !dns_succeeded(c, "looking for the zone", err)) {
        return -1;
    }
    return zone_in(c, zone).n > 0;
}

static bool zone_id(struct dns_call *c, struct slice *id, struct err *err)
{
    *id = bare_id(dns_value(c->dns, "hosted_zone_id"));
    if (id->n) {
        return true;
    }
    if (!dns_find_zone(c, zone_exists, err)) {
        return false;
    }
    *id = zone_in(c, c->zone); /* the last answer is the one that had it */
    return id->n > 0;
}

/* What the name has now: the values as XML text, and the time to live. */
static bool read_values(struct dns_call *c, struct slice zone, struct dns_values *v,
                        struct slice *ttl, struct err *err)
{
    struct slice url =
        dns_url(c, VERSION "/hostedzone/%.*s/rrset?maxitems=1&name=%.*s.&type=TXT",
                SLICE_ARG(zone), SLICE_ARG(c->name));
    if (!ask(c, "GET", url, (struct slice){NULL, 0}, err) ||
        !dns_succeeded(c, "reading the record", err)) {
        return false;
    }
    struct slice rest = dstr_slice(&c->reply.body), set, name, type, value;
    if (!xml_element(&rest, "ResourceRecordSet", &set)) {
        /* Not told, there may be values, which ours would be written over. */
        return slice_find_slice(rest, S("<ResourceRecordSets")) != SLICE_NPOS ||
               err_set(err, "route53, reading the record: the answer is no list of records");
    }
    struct slice look = set, again = set, third = set;
    if (!xml_element(&look, "Name", &name) || !xml_element(&again, "Type", &type) ||
        !slice_eq(type, S("TXT")) || name.n != c->name.n + 1 ||
        !slice_eq_case(slice_upto(name, c->name.n), c->name)) {
        return true; /* the next name after ours */
    }
    if (xml_element(&third, "TTL", ttl)) {
        *ttl = arena_copy(&c->arena, *ttl);
    }
    while (xml_element(&set, "Value", &value)) {
        if (!dns_values_add(c, v, value, err)) {
            return false;
        }
    }
    return true;
}

static void change_body(struct dns_call *c, const struct dns_values *v, const char *action,
                        struct slice ttl, struct dstr *out)
{
    dstr_printf(out,
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
                "<ChangeResourceRecordSetsRequest"
                " xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\">"
                "<ChangeBatch><Changes><Change><Action>%s</Action><ResourceRecordSet>"
                "<Name>%.*s.</Name><Type>TXT</Type><TTL>%.*s</TTL><ResourceRecords>",
                action, SLICE_ARG(c->name), SLICE_ARG(ttl));
    for (size_t i = 0; i < v->count; i++) {
        dstr_printf(out, "<ResourceRecord><Value>%.*s</Value></ResourceRecord>",
                    SLICE_ARG(v->values[i]));
    }
    dstr_append(out, S("</ResourceRecords></ResourceRecordSet></Change></Changes></ChangeBatch>"
                       "</ChangeResourceRecordSetsRequest>"));
}

/* Route 53 takes one change of a zone after the other, and a few requests a second. */
static bool later(const struct dns_call *c)
{
    struct slice body = dstr_slice(&c->reply.body);
    return slice_find_slice(body, S("PriorRequestNotComplete")) != SLICE_NPOS ||
           slice_find_slice(body, S("Throttling")) != SLICE_NPOS;
}

static bool write_values(struct dns_call *c, struct slice zone, const struct dns_values *v,
                         const char *action, struct slice ttl, struct err *err)
{
    struct dstr body;
    struct slice url =
        dns_url(c, VERSION "/hostedzone/%.*s/rrset/", SLICE_ARG(zone));
    int64_t wait_ms = 1000;
    dstr_init(&body, (size_t)1 << 18);
    change_body(c, v, action, ttl, &body);
    bool ok = !body.failed || err_set(err, "the record is too long");
    for (int tries = 1; ok; tries++) {
        ok = ask(c, "POST", url, dstr_slice(&body), err);
        if (!ok || tries == TRIES_MAX || !later(c) || stop_wait(c->stop, wait_ms)) {
            break;
        }
        wait_ms *= 2;
    }
    dstr_fini(&body);
    return ok && dns_succeeded(c, "changing the record", err);
}

static bool put(struct dns_call *c, struct err *err)
{
    struct dns_values v = {.count = 0};
    struct slice zone, ttl = {NULL, 0};
    if (!zone_id(c, &zone, err) || !read_values(c, zone, &v, &ttl, err)) {
        return false;
    }
    for (size_t i = 0; i < v.count; i++) {
        if (xml_quoted_is(v.values[i], c->value)) {
            return true;
        }
    }
    ttl = arena_printf(&c->arena, "%lld", (long long)(c->dns->ttl_s ? c->dns->ttl_s : TTL_S));
    return dns_values_add(c, &v, arena_printf(&c->arena, "\"%.*s\"", SLICE_ARG(c->value)), err) &&
           write_values(c, zone, &v, "UPSERT", ttl, err);
}

/* A set is deleted as a whole, by saying what it is; or written without the value. */
static bool take(struct dns_call *c, struct err *err)
{
    struct dns_values v = {.count = 0}, rest = {.count = 0};
    struct slice zone, ttl = {NULL, 0};
    if (!zone_id(c, &zone, err) || !read_values(c, zone, &v, &ttl, err)) {
        return false;
    }
    for (size_t i = 0; i < v.count; i++) {
        if (!xml_quoted_is(v.values[i], c->value)) {
            rest.values[rest.count++] = v.values[i];
        }
    }
    if (rest.count == v.count) {
        return true;
    }
    ttl = ttl.n ? ttl : S("60");
    return rest.count ? write_values(c, zone, &rest, "UPSERT", ttl, err)
                      : write_values(c, zone, &v, "DELETE", ttl, err);
}

const struct dns_provider dns_route53 = {
    .name = S_INIT("route53"),
    .options = options,
    .api = {.url = "https://route53.amazonaws.com"},
    .put = put,
    .take = take,
    .check = check};
