/* Does a name lead here? In: a name. Out: findings about its A and AAAA records, and about a token
 * of our own that is asked for at port 80 as a CA asks for HTTP-01's (RFC 8555 section 8.3). */
#include "acme/examine.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>

#include "acme/dns_ask.h"
#include "acme/transport.h"
#include "proxy/base/enc.h"
#include "proxy/base/rand.h"

#define ADDRESSES_MAX 8
#define ANSWER_TIMEOUT_MS 5000
#define TOKEN_BYTES 24
/* Answers lie apart from those of a real order, which may be under way. */
#define FOLDER S("caddis-doctor")

struct addresses {
    char text[ADDRESSES_MAX][INET6_ADDRSTRLEN];
    bool v6[ADDRESSES_MAX];
    size_t count;
};

static bool is_ours(const char *text, bool v6)
{
    struct ifaddrs *all = NULL;
    char own[INET6_ADDRSTRLEN];
    bool found = false;
    if (getifaddrs(&all) != 0) {
        return false; /* then the way there has to tell */
    }
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        if (i->ifa_addr && i->ifa_addr->sa_family == (v6 ? AF_INET6 : AF_INET)) {
            const void *bytes = &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr;
            if (v6) {
                bytes = &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr;
            }
            found = inet_ntop(v6 ? AF_INET6 : AF_INET, bytes, own, sizeof(own)) &&
                    strcmp(own, text) == 0;
        }
    }
    freeifaddrs(all);
    return found;
}

static void add(struct addresses *out, const struct dns_record *r)
{
    bool v6 = r->type == DNS_AAAA;
    if (out->count < ADDRESSES_MAX && r->data.n == (v6 ? 16 : 4) &&
        inet_ntop(v6 ? AF_INET6 : AF_INET, r->data.p, out->text[out->count],
                  sizeof(out->text[0]))) {
        out->v6[out->count++] = v6;
    }
}

/* False after a finding: the name servers gave no good answer. */
static bool look_up(struct examination *e, struct slice name, struct addresses *out)
{
    static const unsigned types[] = {DNS_A, DNS_AAAA};
    struct dstr answer;
    struct dns_message m;
    struct dns_record r;
    struct err err;
    bool ok = true;
    dstr_init(&answer, DNS_MESSAGE_MAX + 1);
    for (size_t i = 0; ok && i < ARRAY_LEN(types); i++) {
        ok = dns_ask(e->doctor->resolvers, name, types[i], true, e->stop, &answer, &m, &err);
        if (!ok) {
            e->dns_silent = true;
            examine_say(e, ACME_PROBLEM, name, "DNS: %s: check /etc/resolv.conf and the network;"
                        " no further question is asked", err.text);
        } else if (m.rcode != DNS_NOERROR && m.rcode != DNS_NXDOMAIN) {
            ok = false;
            examine_say(e, ACME_PROBLEM, name, "DNS: the name servers answer with code %u: look at"
                        " the zone's name servers and its DNSSEC", m.rcode);
        }
        while (ok && dns_next(&m, &r)) {
            if (r.section == DNS_ANSWER && r.type == types[i]) {
                add(out, &r);
            }
        }
    }
    dstr_fini(&answer);
    return ok;
}

static bool fetch(const struct examination *e, struct slice name, const char *address, bool v6,
                  struct slice token, struct slice expected, struct err *err)
{
    struct transport_options options = {.timeout_ms = ANSWER_TIMEOUT_MS, .plain_too = true,
                                        .direct = true};
    struct transport *t = transport_new(&options, e->stop, err);
    struct dstr url, host;
    struct reply reply;
    if (!t) {
        return false;
    }
    dstr_init(&url, 1024);
    dstr_init(&host, 512);
    reply_init(&reply);
    dstr_printf(&url, v6 ? "http://[%s]:%u" CHALLENGE_PREFIX "%.*s"
                         : "http://%s:%u" CHALLENGE_PREFIX "%.*s",
                address, e->doctor->port, SLICE_ARG(token));
    dstr_printf(&host, "Host: %.*s", SLICE_ARG(name));
    struct transport_request request = {.method = TRANSPORT_API, .verb = "GET",
                                        .url = dstr_slice(&url),
                                        .body_max = CHALLENGE_ANSWER_MAX * 16,
                                        .fields = {dstr_slice(&host)}, .field_count = 1};
    bool ok = transport_send(t, &request, &reply, err) == TRANSPORT_OK;
    if (ok && (reply.status != 200 || !slice_eq(slice_trim(dstr_slice(&reply.body)), expected))) {
        ok = err_set(err, "something else answers there, with status %ld", reply.status);
    }
    reply_fini(&reply);
    dstr_fini(&host);
    dstr_fini(&url);
    transport_free(t);
    return ok;
}

/* As a CA would, but from here. */
static void knock(struct examination *e, struct slice name, const struct addresses *at)
{
    const struct acme_doctor *d = e->doctor;
    unsigned char bytes[TOKEN_BYTES];
    struct dstr token, answer;
    struct err err = {.text = ""};
    dstr_init(&token, CHALLENGE_TOKEN_MAX);
    dstr_init(&answer, CHALLENGE_ANSWER_MAX);
    bool ok = rand_bytes(bytes, sizeof(bytes)) || err_set(&err, "no random numbers");
    if (ok) {
        enc_base64url(&token, slice_of(bytes, sizeof(bytes)));
        dstr_printf(&answer, "%.*s.doctor", SLICE_ARG(dstr_slice(&token)));
        ok = challenge_put(d->challenges, FOLDER, name, dstr_slice(&token), dstr_slice(&answer),
                           &err);
    }
    if (!ok) {
        examine_say(e, ACME_ADVICE, name, "port %u: cannot be tried: %s", d->port, err.text);
    }
    for (size_t i = 0; ok && i < at->count; i++) {
        bool ours = is_ours(at->text[i], at->v6[i]);
        if (fetch(e, name, at->text[i], at->v6[i], dstr_slice(&token), dstr_slice(&answer),
                  &err)) {
            examine_say(e, ACME_FINE, name, "port %u: %s leads to this caddis", d->port,
                        at->text[i]);
        } else {
            examine_say(e, ACME_ADVICE, name, ours
                        ? "port %u: %s is this machine's, but our own answer does not come from"
                          " there (%s): see what listens there, and the firewall"
                        : "port %u: our own answer does not come from %s (%s): that address must"
                          " be this machine's, or its router must pass the port on; from inside it"
                          " may not be reachable although it is from outside (no hairpin NAT)",
                        d->port, at->text[i], err.text);
        }
    }
    challenge_remove(d->challenges, FOLDER, name, dstr_slice(&token));
    dstr_fini(&answer);
    dstr_fini(&token);
}

/* Without a caddis that answers. */
static void compare(struct examination *e, struct slice name, const struct addresses *at)
{
    for (size_t i = 0; i < at->count; i++) {
        if (!is_ours(at->text[i], at->v6[i])) {
            examine_say(e, ACME_ADVICE, name, "address: %s is not on this machine: if no router"
                        " passes ports 80 and 443 on to it, correct the %s record", at->text[i],
                        at->v6[i] ? "AAAA" : "A");
        } else {
            examine_say(e, ACME_FINE, name, "address: %s is this machine's", at->text[i]);
        }
    }
}

void examine_way(struct examination *e, const struct acme_name *name)
{
    struct addresses at = {.count = 0};
    unsigned char bytes[sizeof(struct in6_addr)];
    char text[INET6_ADDRSTRLEN];
    (void)snprintf(text, sizeof(text), "%.*s", SLICE_ARG(name->name));
    bool v4 = inet_pton(AF_INET, text, bytes) == 1;
    if (v4 || inet_pton(AF_INET6, text, bytes) == 1) {
        (void)snprintf(at.text[0], sizeof(at.text[0]), "%s", text);
        at.v6[0] = !v4;
        at.count = 1;
    } else if (e->dns_silent || !look_up(e, name->name, &at)) {
        return;
    }
    if (at.count == 0) {
        examine_say(e, ACME_PROBLEM, name->name, "address: there is no A or AAAA record: make one"
                    " with this machine's public address");
    } else if (e->doctor->running) {
        knock(e, name->name, &at);
    } else {
        compare(e, name->name, &at);
    }
}
