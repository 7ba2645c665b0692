/* caddis doctor's part that knows CAs. In: names with their issuers. Out: findings, one by one. */
#include "acme/examine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "acme/account.h"
#include "acme/caa.h"
#include "acme/issuer.h"
#include "acme/ledger.h"
#include "acme/message.h"
#include "acme/stored.h"
#include "acme/transport.h"
#include "proxy/base/clock.h"

#define CAS_MAX 16
#define CA_TIMEOUT_MS 15000
#define FINDING_MAX 4096
/* More, and certificates and dates of what is signed begin to look wrong. */
#define CLOCK_ADVICE_MS (60 * SCHEDULE_SECOND_MS)
#define CLOCK_PROBLEM_MS (10 * SCHEDULE_MINUTE_MS)

struct seen_ca {
    struct slice url;
    struct directory directory;
};

struct seen_cas {
    struct arena arena; /* the directories' texts */
    struct seen_ca list[CAS_MAX];
    size_t count;
};

void examine_say(const struct examination *e, enum acme_verdict verdict, struct slice about,
                 const char *fmt, ...)
{
    char text[FINDING_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    for (char *p = text; *p; p++) {
        *p = (unsigned char)*p < ' ' ? ' ' : *p; /* a finding is one line */
    }
    e->doctor->found(e->doctor->ctx, verdict, about, text);
}

/* ---- the CA ---------------------------------------------------------------------------------- */

static void look_at_clock(const struct examination *e, struct slice url, const struct reply *reply)
{
    if (!reply->date_ms) {
        examine_say(e, ACME_ADVICE, url, "clock: the CA does not tell the time: compare this"
                    " machine's yourself (date -u)");
        return;
    }
    int64_t off_ms = clock_wall_ms() - reply_now_ms(reply);
    int64_t size_ms = off_ms < 0 ? -off_ms : off_ms;
    if (size_ms < CLOCK_ADVICE_MS) {
        examine_say(e, ACME_FINE, url, "clock: this machine's agrees with the CA's");
        return;
    }
    examine_say(e, size_ms < CLOCK_PROBLEM_MS ? ACME_ADVICE : ACME_PROBLEM, url,
                "clock: this machine's is %lld s %s the CA's: set it, and keep it right with NTP"
                " (timedatectl set-ntp true)",
                (long long)(size_ms / 1000), off_ms < 0 ? "behind" : "ahead of");
}

static void look_at_ca(const struct examination *e, const struct acme_issuer *issuer,
                       struct arena *a, struct directory *out)
{
    struct transport_options options = {.root_files = issuer->root_files,
                                        .root_file_count = issuer->root_file_count,
                                        .timeout_ms = CA_TIMEOUT_MS};
    struct transport_request request = {.method = TRANSPORT_GET,
                                        .url = issuer->directory_url,
                                        .body_max = TRANSPORT_JSON_MAX};
    struct slice url = issuer->directory_url;
    struct reply reply;
    struct err err;
    struct transport *t = transport_new(&options, e->stop, &err);
    reply_init(&reply);
    bool ok = t && transport_send(t, &request, &reply, &err) == TRANSPORT_OK;
    if (ok) {
        look_at_clock(e, url, &reply);
        ok = reply.status == 200 || err_set(&err, "it answers with status %ld", reply.status);
    }
    ok = ok && message_directory(a, dstr_slice(&reply.body), out, &err);
    if (ok) {
        examine_say(e, ACME_FINE, url, "CA: its directory can be read");
    } else {
        examine_say(e, ACME_PROBLEM, url, "CA: its directory cannot be read: %s: check the address,"
                    " the network and the firewall's way out", err.text);
    }
    reply_fini(&reply);
    transport_free(t);
}

/* NULL: there are too many. */
static const struct seen_ca *ca_of(const struct examination *e, struct seen_cas *cas,
                                   const struct acme_issuer *issuer)
{
    for (size_t i = 0; i < cas->count; i++) {
        if (slice_eq(cas->list[i].url, issuer->directory_url)) {
            return &cas->list[i];
        }
    }
    if (cas->count == CAS_MAX) {
        return NULL;
    }
    struct seen_ca *ca = &cas->list[cas->count++];
    ca->url = issuer->directory_url;
    look_at_ca(e, issuer, &cas->arena, &ca->directory);
    return ca;
}

/* ---- a name at a CA -------------------------------------------------------------------------- */

/* The CA's own list, or what its documentation says. */
static size_t identities_of(const struct seen_ca *ca, struct slice out[MESSAGE_CAA_MAX])
{
    static const struct {
        struct slice start, identity;
    } known[] = {
        {S_INIT("https://acme-v02.api.letsencrypt.org/"), S_INIT("letsencrypt.org")},
        {S_INIT("https://acme-staging-v02.api.letsencrypt.org/"), S_INIT("letsencrypt.org")},
        {S_INIT("https://acme.zerossl.com/"), S_INIT("sectigo.com")},
    };
    size_t count = ca->directory.caa_count;
    for (size_t i = 0; i < count; i++) {
        out[i] = ca->directory.caa_identities[i];
    }
    for (size_t i = 0; i < ARRAY_LEN(known) && count == 0; i++) {
        if (slice_starts(ca->url, known[i].start)) {
            out[count++] = known[i].identity;
        }
    }
    return count;
}

static void look_at_caa(struct examination *e, const struct seen_ca *ca, struct slice name,
                        struct slice account)
{
    struct slice identities[MESSAGE_CAA_MAX];
    struct err err;
    struct caa_question q = {.name = name,
                             .resolvers = e->doctor->resolvers,
                             .identities = identities,
                             .identity_count = identities_of(ca, identities),
                             .account = account,
                             .stop = e->stop};
    switch (caa_ask(&q, &err)) {
    case CAA_NONE:
        examine_say(e, ACME_FINE, name, "CAA: no record keeps a CA away");
        break;
    case CAA_ALLOWED:
        examine_say(e, ACME_FINE, name, "CAA: the records allow %.*s", SLICE_ARG(ca->url));
        break;
    case CAA_UNKNOWN:
        examine_say(e, ACME_PROBLEM, name, "CAA: %s: a CA that gets no answer refuses: look at the"
                    " zone's name servers", err.text);
        break;
    case CAA_FORBIDDEN:
        if (q.identity_count == 0) {
            examine_say(e, ACME_ADVICE, name, "CAA: %s: %.*s does not tell by which identity it"
                        " goes: see its documentation", err.text, SLICE_ARG(ca->url));
            break;
        }
        examine_say(e, ACME_PROBLEM, name, "CAA: %s: add a record: %s \"%.*s\"%s%.*s", err.text,
                    slice_starts(name, S("*.")) ? "0 issuewild" : "0 issue",
                    SLICE_ARG(identities[0]), account.n ? ", of which accounturi, if any, is " : "",
                    SLICE_ARG(account));
        break;
    }
}

static void look_at_limits(struct examination *e, const struct acme_issuer *issuer,
                           struct slice ca, struct slice name)
{
    struct schedule schedule;
    struct err why = {.text = ""};
    char when[CLOCK_RFC3339_BYTES];
    struct ledger l = {.store = e->doctor->store,
                       .directory_url = issuer->directory_url,
                       .ca = ca,
                       .account = issuer->email.n ? issuer->email : S("default"),
                       .name = name};
    int64_t now_ms = clock_wall_ms();
    int64_t wait_ms = ledger_wait_ms(&l, now_ms, &why);
    if (wait_ms > 0) {
        clock_rfc3339(now_ms + wait_ms, when);
        examine_say(e, ACME_ADVICE, name, "limits: %s: nothing new is ordered before %s; use what"
                    " is there, or try with --staging", why.text, when);
    }
    stored_schedule(e->doctor->store, ca, name, &schedule);
    if (schedule.failures > 0 && schedule.last_error[0]) {
        clock_rfc3339(schedule.next_attempt_ms, when);
        examine_say(e, ACME_ADVICE, name, "attempts: %lld failed, the next is not before %s; when"
                    " the cause is gone: caddis renew %.*s. The last one: %s",
                    (long long)schedule.failures, when, SLICE_ARG(name), schedule.last_error);
    } else if (wait_ms <= 0) {
        examine_say(e, ACME_FINE, name, "limits: none is close, no attempt has failed of late");
    }
}

static bool needs_way(const struct acme_issuer *issuer, struct slice name)
{
    return !issuer->solvers.dns && !slice_starts(name, S("*."));
}

static bool is_address(struct slice name)
{
    return slice_find(name, ':') < name.n || (name.n && name.p[name.n - 1] <= '9');
}

static void look_at_name(struct examination *e, struct seen_cas *cas, const struct acme_name *n)
{
    bool way = false, public = false;
    for (size_t i = 0; i < n->issuer_count; i++) {
        bool acme = n->issuers[i].kind == ACME_ISSUER_ACME;
        public = public || acme;
        way = way || (acme && needs_way(&n->issuers[i], n->name));
    }
    if (!public) {
        return; /* the local CA signs it, and asks nobody */
    }
    if (way) {
        examine_way(e, n);
    }
    for (size_t i = 0; i < n->issuer_count; i++) {
        const struct acme_issuer *issuer = &n->issuers[i];
        const struct seen_ca *ca =
            issuer->kind == ACME_ISSUER_ACME ? ca_of(e, cas, issuer) : NULL;
        if (ca) {
            struct arena a;
            struct dstr account;
            arena_init(&a, 65536);
            dstr_init(&account, 4096);
            struct slice folder = issuer_store_name(&a, issuer);
            account_url(e->doctor->store, issuer, folder, &account);
            if (!e->dns_silent && !is_address(n->name)) {
                look_at_caa(e, ca, n->name, dstr_slice(&account));
            }
            look_at_limits(e, issuer, folder, n->name);
            dstr_fini(&account);
            arena_fini(&a);
        }
    }
}

void acme_examine(const struct acme_doctor *d, const struct acme_name *names, size_t count)
{
    struct stop stop;
    struct examination e = {.doctor = d, .stop = &stop};
    struct seen_cas *cas = calloc(1, sizeof(*cas));
    if (!cas) {
        examine_say(&e, ACME_PROBLEM, S("caddis"), "memory: there is not enough");
        return;
    }
    stop_init(&stop);
    arena_init(&cas->arena, (size_t)1 << 20);
    for (size_t i = 0; i < count; i++) {
        look_at_name(&e, cas, &names[i]);
    }
    arena_fini(&cas->arena);
    stop_fini(&stop);
    free(cas);
}
