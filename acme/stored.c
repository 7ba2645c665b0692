/* In: a store, a CA's store name, a name. Out: what is kept there, checked. */
#include "acme/stored.h"

#include "acme/key.h"
#include "acme/local_ca.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"

enum stored_result stored_pair(struct store *s, struct slice ca, struct slice name,
                               struct store_pair *out, struct cert_facts *facts, struct err *err)
{
    bool damaged = false;
    enum store_result got =
        store_pair_get(s, ca, name, cert_pair_matches, NULL, out, &damaged, err);
    if (got == STORE_FAILED) {
        return STORED_FAILED;
    }
    if (got == STORE_MISSING) {
        if (damaged) {
            log_event(LOG_WARN, "acme", "a damaged certificate in the store was set aside",
                      LOG_S("name", name), LOG_S("ca", ca));
        }
        return damaged ? STORED_DAMAGED : STORED_MISSING;
    }
    if (cert_check(dstr_slice(&out->chain_pem), NULL, &name, 1, CERT_NAMES_INCLUDE, facts, err)) {
        return STORED_OK;
    }
    log_event(LOG_WARN, "acme", "the certificate in the store is not usable; set aside",
              LOG_S("name", name), LOG_S("ca", ca), LOG_Z("error", err->text));
    struct arena a;
    arena_init(&a, 16384);
    enum store_result aside = store_set_aside(s, store_cert_key(&a, ca, name, ".crt"), err);
    arena_fini(&a);
    return aside == STORE_FAILED ? STORED_FAILED : STORED_DAMAGED;
}

bool stored_better(const struct slice *cas, size_t i, int64_t not_before_ms, size_t best,
                   int64_t best_not_before_ms)
{
    bool kinds = slice_eq(cas[i], LOCAL_CA_NAME) != slice_eq(cas[best], LOCAL_CA_NAME);
    return kinds ? i < best : not_before_ms > best_not_before_ms;
}

bool stored_best(struct store *s, const struct slice *cas, size_t ca_count, struct slice name,
                 int64_t now_ms, struct store_pair *out, struct stored_best *best)
{
    bool found = false;
    *best = (struct stored_best){.at = 0};
    for (size_t i = 0; i < ca_count; i++) {
        struct store_pair pair;
        struct cert_facts facts;
        struct err err;
        store_pair_init(&pair);
        enum stored_result got = stored_pair(s, cas[i], name, &pair, &facts, &err);
        if (got == STORED_FAILED && !best->failed) {
            best->failed = true;
            best->err = err;
        }
        if (got == STORED_OK && facts.not_after_ms > now_ms &&
            (!found || stored_better(cas, i, facts.not_before_ms, best->at,
                                     best->facts.not_before_ms))) {
            store_pair_fini(out);
            *out = pair; /* moved */
            store_pair_init(&pair);
            best->at = i;
            best->facts = facts;
            found = true;
        }
        store_pair_fini(&pair);
    }
    return found;
}

bool stored_hash(struct store *s, struct slice ca, struct slice name,
                 unsigned char out[CERT_HASH_BYTES], bool *missing)
{
    struct arena a;
    struct dstr pem;
    struct err err;
    struct cert_chain chain;
    arena_init(&a, 16384);
    dstr_init(&pem, CERT_PEM_MAX);
    enum store_result got = store_get(s, store_cert_key(&a, ca, name, ".crt"), &pem, &err);
    *missing = got == STORE_MISSING;
    bool ok = got == STORE_OK && cert_chain_parse(dstr_slice(&pem), &chain, &err);
    if (got == STORE_OK && !ok) {
        *missing = true; /* garbled: as good as gone */
    }
    if (ok) {
        unsigned n = 0;
        ok = X509_digest(chain.certs[0], EVP_sha256(), out, &n) == 1;
        cert_chain_free(&chain);
    }
    dstr_fini(&pem);
    arena_fini(&a);
    return ok;
}

bool stored_save(struct store *s, struct slice ca, struct slice name, struct store_pair *pair,
                 struct err *err)
{
    return store_pair_put(s, ca, name, pair, err) == STORE_OK;
}

void stored_meta(struct slice name, struct slice ca_url, struct slice certificate_url,
                 struct dstr *out)
{
    dstr_append(out, S("{\n\t\"sans\": [\n\t\t"));
    dstr_json(out, name);
    dstr_append(out, S("\n\t],\n\t\"issuer_data\": "));
    if (certificate_url.n) {
        dstr_append(out, S("{\n\t\t\"url\": "));
        dstr_json(out, certificate_url);
        dstr_append(out, S(",\n\t\t\"ca\": "));
        dstr_json(out, ca_url);
        dstr_append(out, S("\n\t}\n}\n"));
    } else {
        dstr_append(out, S("null\n}\n"));
    }
}

void stored_schedule(struct store *s, struct slice ca, struct slice name, struct schedule *out)
{
    struct arena a;
    struct dstr text;
    struct err err;
    arena_init(&a, 16384);
    dstr_init(&text, 65536);
    *out = (struct schedule){.failures = 0};
    enum store_result got = store_get(s, store_schedule_key(&a, ca, name), &text, &err);
    if (got == STORE_UNUSABLE && store_set_aside(s, store_schedule_key(&a, ca, name), &err) ==
                                     STORE_FAILED) {
        log_event(LOG_WARN, "acme", "the record of attempts cannot be set aside",
                  LOG_S("name", name), LOG_Z("error", err.text));
    }
    if (got == STORE_OK && !schedule_read(dstr_slice(&text), out)) {
        log_event(LOG_WARN, "acme", "the record of attempts is damaged and begins anew",
                  LOG_S("name", name), LOG_S("ca", ca));
    }
    if (schedule_heal(out, clock_wall_ms()) && !stored_schedule_save(s, ca, name, out, &err)) {
        log_event(LOG_WARN, "acme", "a mended schedule could not be saved", LOG_S("name", name),
                  LOG_Z("error", err.text));
    }
    dstr_fini(&text);
    arena_fini(&a);
}

bool stored_schedule_save(struct store *s, struct slice ca, struct slice name,
                          const struct schedule *schedule, struct err *err)
{
    struct arena a;
    struct dstr text;
    arena_init(&a, 16384);
    dstr_init(&text, 65536);
    schedule_write(schedule, &text);
    bool ok = !text.failed && store_put(s, store_schedule_key(&a, ca, name), dstr_slice(&text),
                                        err) == STORE_OK;
    dstr_fini(&text);
    arena_fini(&a);
    return ok;
}

void stored_schedule_clear(struct store *s, struct slice ca, struct slice name)
{
    struct arena a;
    struct err err;
    arena_init(&a, 16384);
    if (store_delete(s, store_schedule_key(&a, ca, name), &err) != STORE_OK) {
        log_event(LOG_WARN, "acme", "the record of attempts could not be removed",
                  LOG_S("name", name), LOG_Z("error", err.text));
    }
    arena_fini(&a);
}

bool stored_has_order(struct store *s, struct slice ca, struct slice name)
{
    struct arena a;
    struct dstr text;
    struct err err;
    arena_init(&a, 16384);
    dstr_init(&text, 65536);
    bool there = store_get(s, store_order_key(&a, ca, name, ".json"), &text, &err) == STORE_OK &&
                 text.n > 0;
    dstr_fini(&text);
    arena_fini(&a);
    return there;
}
