/* DNS-01 (RFC 8555 section 8.4): a TXT record at _acme-challenge.NAME, or where its CNAME leads,
 * put by one of dns_provider.c's providers and looked for before the CA is told.
 *
 * What is put is written down in the store first (caddis/dns/NAME.json), so that it is taken away
 * in the end also when this process dies or the provider does not answer in between. One name at a
 * time is changed by all instances on a store: several values of one name (NAME and *.NAME) do not
 * push one another out. */
#include "acme/challenge_dns.h"

#include <openssl/evp.h>

#include "acme/challenge_type.h"
#include "acme/csr.h"
#include "acme/dns_check.h"
#include "acme/dns_provider.h"
#include "proxy/base/enc.h"
#include "proxy/base/log.h"
#include "store/backend.h"
#include "store/names.h"

#define RECORD_MAX ((size_t)4096)
#define VALUE_BYTES 44
#define NS_PORT 53
#define LOCK_WAIT_MS INT64_C(300000)

bool challenge_dns_address(struct slice name)
{
    unsigned char ip[16];
    return csr_ip_bytes(name, ip) > 0;
}

static bool usable(const struct acme_solvers *s, struct slice name)
{
    return s->dns && dns_provider_of(s->dns) && !challenge_dns_address(name);
}

/* base64url of the hash of the key authorisation. */
static struct slice value_of(struct slice key_authorization, char out[VALUE_BYTES])
{
    unsigned char hash[32];
    unsigned n = 0;
    struct dstr text;
    must(EVP_Digest(key_authorization.p, key_authorization.n, hash, &n, EVP_sha256(), NULL) == 1);
    dstr_init(&text, VALUE_BYTES);
    enc_base64url(&text, slice_of(hash, n));
    struct slice value = slice_upto(dstr_slice(&text), VALUE_BYTES);
    memcpy(out, value.p, value.n);
    dstr_fini(&text);
    return slice_of(out, value.n);
}

/* ---- the note in the store ------------------------------------------------------------------- */

static bool note(struct store *s, struct slice name, struct slice record, struct slice value,
                 struct err *err)
{
    struct arena a;
    struct dstr text;
    arena_init(&a, 4096);
    dstr_init(&text, RECORD_MAX);
    dstr_append(&text, S("{\"record\":"));
    dstr_json(&text, record);
    dstr_append(&text, S(",\"value\":"));
    dstr_json(&text, value);
    dstr_append(&text, S("}\n"));
    bool ok = store_put(s, store_dns_key(&a, name), dstr_slice(&text), err) == STORE_OK;
    dstr_fini(&text);
    arena_fini(&a);
    return ok;
}

static void forget(struct store *s, struct slice name)
{
    struct arena a;
    struct err ignored; /* then it is taken away once more, which is no failure */
    arena_init(&a, 4096);
    store_ignore(store_delete(s, store_dns_key(&a, name), &ignored));
    arena_fini(&a);
}

/* ---- putting and taking away ----------------------------------------------------------------- */

typedef bool change_fn(struct dns_call *c, struct err *err);

static bool locked(struct store *s, const struct acme_dns *dns, struct stop *stop,
                   struct slice record, struct slice value, change_fn *change, struct err *err)
{
    struct arena a;
    struct dns_call call;
    arena_init(&a, 4096);
    err->text[0] = '\0';
    struct store_lock *lock = store_lock(s, arena_printf(&a, "dns_%.*s", SLICE_ARG(record)),
                                         LOCK_WAIT_MS, stop_cancelled, stop, err);
    bool ok = lock != NULL;
    if (ok) {
        dns_call_init(&call, dns, stop, record, value);
        ok = change(&call, err);
        dns_call_fini(&call);
        store_unlock(lock);
    } else if (!err->text[0]) {
        (void)err_set(err, "another process is changing %.*s", SLICE_ARG(record));
    }
    arena_fini(&a);
    return ok;
}

static bool take(struct store *s, const struct acme_dns *dns, struct stop *stop,
                 struct slice name, struct slice record, struct slice value)
{
    struct err err;
    if (!locked(s, dns, stop, record, value, dns_provider_of(dns)->take, &err)) {
        log_event(LOG_WARN, "acme", "a record could not be taken away; it is tried again with the"
                  " next certificate", LOG_S("record", record), LOG_S("value", value),
                  LOG_Z("error", err.text));
        return false;
    }
    forget(s, name);
    log_event(LOG_INFO, "acme", "record taken away", LOG_S("record", record));
    return true;
}

void challenge_dns_tidy(struct store *s, const struct acme_solvers *solvers, struct stop *stop,
                        struct slice name)
{
    struct arena a;
    struct dstr text;
    struct err ignored;
    arena_init(&a, 4096);
    dstr_init(&text, RECORD_MAX);
    if (store_get(s, store_dns_key(&a, name), &text, &ignored) == STORE_OK) {
        cJSON *obj = json_parse_object(dstr_slice(&text), &ignored);
        struct slice record = json_string(obj, "record"), value = json_string(obj, "value");
        if (!dns_name_plain(record) || !value.n) {
            forget(s, name);
        } else if (usable(solvers, name)) {
            (void)take(s, solvers->dns, stop, name, record, value);
        } else {
            log_event(LOG_WARN, "acme", "a record is left from before and there is no way to"
                      " change the DNS any more; take it away by hand", LOG_S("record", record),
                      LOG_S("value", value));
            forget(s, name);
        }
        cJSON_Delete(obj);
    }
    dstr_fini(&text);
    arena_fini(&a);
}

/* The record's name before CNAMEs are followed. */
static bool record_name(const struct challenge_context *c, struct arena *a, struct slice *out)
{
    struct slice base = slice_starts(c->name, S("*.")) ? slice_from(c->name, 2) : c->name;
    struct slice own = c->solvers->dns->override_name;
    if (own.n && own.p[own.n - 1] == '.') {
        own.n--;
    }
    *out = own.n ? arena_lower(a, own)
                 : arena_printf(a, "_acme-challenge.%.*s", SLICE_ARG(base));
    return dns_name_plain(*out);
}

static struct dns_check check_of(const struct challenge_context *c)
{
    return (struct dns_check){.dns = c->solvers->dns,
                              .stop = c->stop,
                              .port = NS_PORT,
                              .say = c->say,
                              .say_ctx = c->say_ctx};
}

static bool put_and_await(const struct challenge_context *c, struct slice record,
                          struct slice value, struct err *err)
{
    const struct acme_dns *dns = c->solvers->dns;
    struct dns_check check = check_of(c);
    if (!note(c->store, c->name, record, value, err)) {
        return err_prefix(err, "noting the record %.*s: ", SLICE_ARG(record));
    }
    if (locked(c->store, dns, c->stop, record, value, dns_provider_of(dns)->put, err)) {
        log_event(LOG_INFO, "acme", "record put", LOG_S("record", record), LOG_S("value", value),
                  LOG_S("provider", dns->provider));
        if (dns_await(&check, record, value, err)) {
            return true;
        }
    }
    if (!stop_requested(c->stop)) {
        (void)take(c->store, dns, c->stop, c->name, record, value);
    }
    return false;
}

static bool present(const struct challenge_context *c, struct slice token,
                    struct slice key_authorization, struct err *err)
{
    (void)token;
    struct arena a;
    char value[VALUE_BYTES], target[DNS_TEXT_BYTES];
    struct slice record;
    struct dns_check check = check_of(c);
    arena_init(&a, 4096);
    challenge_dns_tidy(c->store, c->solvers, c->stop, c->name);
    bool ok = record_name(c, &a, &record) ||
              err_set(err, "%.*s cannot be in the DNS", SLICE_ARG(c->name));
    if (ok) {
        dns_follow(&check, record, target);
        ok = put_and_await(c, slice_str(target), value_of(key_authorization, value), err);
    }
    arena_fini(&a);
    return ok;
}

static void take_away(const struct challenge_context *c, struct slice token,
                      struct slice key_authorization)
{
    (void)token;
    (void)key_authorization; /* what was put is in the note */
    challenge_dns_tidy(c->store, c->solvers, c->stop, c->name);
}

const struct challenge_type challenge_dns01 = {
    .type = S_INIT("dns-01"),
    .needs_token = true,
    .usable = usable,
    .present = present,
    .remove = take_away,
};
