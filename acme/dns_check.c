/* In: a name and a value. Out: where, and whether the value is there. */
#include "acme/dns_check.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "acme/dns_ask.h"
#include "proxy/base/clock.h"

#define FOLLOW_MAX 8
#define SERVERS_MAX 16
#define SERVER_BYTES 64 /* "[IPv6]:PORT" */
#define INTERVAL_MS 2000
#define TIMEOUT_MS (INT64_C(120) * 1000)

struct servers {
    char text[SERVERS_MAX][SERVER_BYTES];
    char name[SERVERS_MAX][DNS_TEXT_BYTES]; /* for people */
    size_t count;
    bool recursion;
};

/* The first record of that name and type in the answer; false: there is none. */
static bool find(struct dns_message *m, enum dns_section section, const char *name, unsigned type,
                 struct dns_record *r)
{
    while (dns_next(m, r)) {
        if (r->section == section && r->type == type && r->class == DNS_IN &&
            (!name || strcmp(r->name, name) == 0)) {
            return true;
        }
    }
    return false;
}

void dns_follow(const struct dns_check *c, struct slice name, char out[DNS_TEXT_BYTES])
{
    struct dstr answer;
    struct dns_message m;
    struct dns_record r;
    struct err ignored; /* what is wrong shows when the record is looked for */
    name = slice_upto(name, DNS_TEXT_BYTES - 1);
    memcpy(out, name.p, name.n);
    out[name.n] = '\0';
    dstr_init(&answer, DNS_MESSAGE_MAX + 1);
    for (int i = 0; i < FOLLOW_MAX; i++) {
        char target[DNS_TEXT_BYTES];
        if (!dns_ask(c->dns->resolvers, slice_str(out), DNS_CNAME, true, c->stop, &answer, &m,
                     &ignored) ||
            !find(&m, DNS_ANSWER, out, DNS_CNAME, &r) || !dns_data_name(&m, &r, target) ||
            !dns_name_plain(slice_str(target))) {
            break;
        }
        memcpy(out, target, sizeof(target));
    }
    dstr_fini(&answer);
}

/* ---- the servers ----------------------------------------------------------------------------- */

static void add(const struct dns_check *c, struct servers *s, const char *name,
                const struct dns_record *r)
{
    char text[INET6_ADDRSTRLEN];
    bool v6 = r->type == DNS_AAAA;
    if (s->count == SERVERS_MAX || r->data.n != (v6 ? 16 : 4) ||
        !inet_ntop(v6 ? AF_INET6 : AF_INET, r->data.p, text, sizeof(text))) {
        return;
    }
    (void)snprintf(s->text[s->count], SERVER_BYTES, v6 ? "[%s]:%u" : "%s:%u", text, c->port);
    (void)snprintf(s->name[s->count], DNS_TEXT_BYTES, "%s", name);
    s->count++;
}

static void add_addresses(const struct dns_check *c, struct servers *s, const char *name)
{
    static const unsigned types[] = {DNS_A, DNS_AAAA};
    struct dstr answer;
    struct dns_message m;
    struct dns_record r;
    struct err ignored; /* the other servers are asked */
    dstr_init(&answer, DNS_MESSAGE_MAX + 1);
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (!dns_ask(c->system, slice_str(name), types[i], true, c->stop, &answer, &m,
                     &ignored)) {
            continue;
        }
        while (dns_next(&m, &r)) {
            if (r.section == DNS_ANSWER && r.type == types[i]) {
                add(c, s, name, &r);
            }
        }
    }
    dstr_fini(&answer);
}

/* The zone that name is in: the owner of the SOA record that every answer about it carries. */
static bool zone_of(const struct dns_check *c, struct slice name, struct dstr *answer,
                    char out[DNS_TEXT_BYTES], struct err *err)
{
    struct dns_message m;
    struct dns_record r;
    if (!dns_ask(c->system, name, DNS_SOA, true, c->stop, answer, &m, err)) {
        return false;
    }
    while (dns_next(&m, &r)) {
        if (r.type == DNS_SOA && r.section != DNS_ADDITIONAL &&
            slice_ends(name, slice_str(r.name)) && r.name[0]) {
            memcpy(out, r.name, sizeof(r.name));
            return true;
        }
    }
    return err_set(err, "the zone of %.*s is not known to the system's name servers (code %u)",
                   SLICE_ARG(name), m.rcode);
}

static bool own_servers(const struct dns_check *c, struct slice name, struct servers *s,
                        struct err *err)
{
    char zone[DNS_TEXT_BYTES], names[SERVERS_MAX][DNS_TEXT_BYTES];
    size_t count = 0;
    struct dstr answer;
    struct dns_message m;
    struct dns_record r;
    dstr_init(&answer, DNS_MESSAGE_MAX + 1);
    bool ok = zone_of(c, name, &answer, zone, err) &&
              dns_ask(c->system, slice_str(zone), DNS_NS, true, c->stop, &answer, &m, err);
    while (ok && count < SERVERS_MAX / 2 && find(&m, DNS_ANSWER, zone, DNS_NS, &r)) {
        count += dns_data_name(&m, &r, names[count]);
    }
    dstr_fini(&answer);
    for (size_t i = 0; i < count; i++) {
        add_addresses(c, s, names[i]);
    }
    return ok && (s->count > 0 ||
                  err_set(err, "the name servers of %s have no addresses", zone));
}

static bool find_servers(const struct dns_check *c, struct slice name, struct servers *s,
                         struct err *err)
{
    struct slice list = c->dns->resolvers, one;
    s->count = 0;
    s->recursion = list.n > 0;
    if (!list.n) {
        return own_servers(c, name, s, err);
    }
    while (s->count < SERVERS_MAX && slice_cut(&list, ',', &one)) {
        (void)snprintf(s->text[s->count], SERVER_BYTES, "%.*s", SLICE_ARG(one));
        (void)snprintf(s->name[s->count], DNS_TEXT_BYTES, "%.*s", SLICE_ARG(one));
        s->count++;
    }
    return true;
}

/* ---- looking --------------------------------------------------------------------------------- */

enum seen { SEEN, MISSING, SILENT };

static enum seen look_at(const struct dns_check *c, const struct servers *s, size_t i,
                         struct slice name, struct slice value, struct dstr *answer,
                         struct err *err)
{
    struct dns_message m;
    struct dns_record r;
    unsigned others = 0;
    if (!dns_ask(slice_str(s->text[i]), name, DNS_TXT, s->recursion, c->stop, answer, &m, err)) {
        return SILENT;
    }
    while (dns_next(&m, &r)) {
        if (r.section == DNS_ANSWER && r.type == DNS_TXT) {
            char text[DNS_TEXT_MAX];
            if (c->fits ? c->fits(c->fits_ctx, dns_text(&r, text)) : dns_text_is(&r, value)) {
                return SEEN;
            }
            others++;
        }
    }
    if (m.rcode != DNS_NOERROR && m.rcode != DNS_NXDOMAIN) {
        (void)err_set(err, "%s answers with code %u", s->name[i], m.rcode);
        return SILENT;
    }
    (void)err_set(err, others ? "%s has other values there" : "%s has nothing there", s->name[i]);
    return MISSING;
}

/* Silent ones are left out as long as another one has it. */
static bool look(const struct dns_check *c, const struct servers *s, struct slice name,
                 struct slice value, struct err *err)
{
    struct dstr answer;
    size_t seen = 0, missing = 0;
    dstr_init(&answer, DNS_MESSAGE_MAX + 1);
    for (size_t i = 0; i < s->count && missing == 0 && !stop_requested(c->stop); i++) {
        enum seen one = look_at(c, s, i, name, value, &answer, err);
        seen += one == SEEN;
        missing += one == MISSING;
    }
    dstr_fini(&answer);
    return seen > 0 && missing == 0;
}

static bool tell(const struct dns_check *c, struct slice name)
{
    char text[400];
    (void)snprintf(text, sizeof(text), "waiting for the record %.*s to be visible",
                   SLICE_ARG(name));
    if (c->say) {
        c->say(c->say_ctx, text);
    }
    return true;
}

bool dns_visible(const struct dns_check *c, struct slice name, struct slice value, struct err *err)
{
    struct servers s;
    return c->dns->propagation_timeout_ms < 0 ||
           (find_servers(c, name, &s, err) && look(c, &s, name, value, err));
}

bool dns_await(const struct dns_check *c, struct slice name, struct slice value, struct err *err)
{
    struct servers s;
    int64_t timeout = c->dns->propagation_timeout_ms;
    timeout = timeout ? timeout : TIMEOUT_MS;
    if (stop_wait(c->stop, c->dns->propagation_delay_ms)) {
        return err_set(err, "stopping");
    }
    if (timeout < 0) {
        return true;
    }
    int64_t end_ms = clock_mono_ms() + timeout;
    struct err why = {.text = ""};
    bool known = false;
    (void)tell(c, name);
    for (;;) {
        known = known || find_servers(c, name, &s, &why);
        if (known && look(c, &s, name, value, &why)) {
            return true;
        }
        if (clock_mono_ms() >= end_ms) {
            return err_set(err, "the record %.*s is not visible after %lld s: %s (the wait is"
                                " propagation_timeout; -1 leaves the look out)",
                           SLICE_ARG(name), (long long)(timeout / 1000), why.text);
        }
        if (stop_wait(c->stop, INTERVAL_MS)) {
            return err_set(err, "stopping");
        }
    }
}
