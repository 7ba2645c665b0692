/* In: an issuer, a store. Out: a session with a key and an account URL. The key is written before
 * the account is made, so that a lost answer or a kill leaves an account that can be looked up. */
#include "acme/account.h"

#include "acme/key.h"
#include "acme/zerossl.h"
#include "proxy/base/log.h"

#define LOCK_WAIT_MS 60000

struct account_keys {
    struct slice key, json;
};

static bool load_key(struct session *s, struct store *store, struct slice key, struct failure *f)
{
    struct dstr pem;
    struct err err;
    key_text_init(&pem);
    enum store_result got = store_get(store, key, &pem, &err);
    EVP_PKEY *pkey = got == STORE_OK ? key_from_pem(dstr_slice(&pem), &err) : NULL;
    key_text_fini(&pem);
    if (got == STORE_FAILED) {
        return failure_set(f, FAILURE_STORE, "reading the account key: %s", err.text);
    }
    jws_key_fini(&s->key);
    if (pkey && jws_key_init(&s->key, pkey, &err)) {
        return true;
    }
    if (got != STORE_MISSING) {
        log_event(LOG_WARN, "acme", "the account key in the store is damaged; set aside",
                  LOG_S("key", key), LOG_Z("error", err.text));
        if (store_set_aside(store, key, &err) != STORE_OK) {
            return failure_set(f, FAILURE_STORE, "setting the account key aside: %s", err.text);
        }
    }
    f->kind = FAILURE_NONE;
    return false;
}

static void read_location(struct slice record, struct dstr *out)
{
    struct err err; /* a damaged record has no URL */
    cJSON *obj = json_parse_object(record, &err);
    struct slice location = json_string(obj, "location");
    if (message_url_ok(location)) {
        dstr_append(out, location);
    }
    cJSON_Delete(obj);
}

void account_url(struct store *store, const struct acme_issuer *issuer, struct slice ca,
                 struct dstr *out)
{
    struct arena a;
    struct dstr text;
    struct err err; /* whoever needs the account reports it */
    arena_init(&a, 16384);
    dstr_init(&text, JSON_BYTES_MAX);
    if (store_get(store, store_account_key(&a, ca, issuer->email, ".json"), &text, &err) ==
        STORE_OK) {
        read_location(dstr_slice(&text), out);
    }
    dstr_fini(&text);
    arena_fini(&a);
}

/* The account's URL as CertMagic keeps it ("location"); kid stays empty when it is not there. */
static void load_location(struct session *s, struct store *store, struct slice json)
{
    struct dstr text;
    struct err err;
    dstr_init(&text, JSON_BYTES_MAX);
    dstr_reset(&s->kid);
    enum store_result got = store_get(store, json, &text, &err);
    if (got == STORE_UNUSABLE && store_set_aside(store, json, &err) == STORE_FAILED) {
        log_event(LOG_WARN, "acme", "the account's record cannot be set aside",
                  LOG_Z("error", err.text));
    }
    if (got == STORE_OK) {
        read_location(dstr_slice(&text), &s->kid);
    }
    dstr_fini(&text);
}

static bool new_key(struct session *s, struct store *store, struct slice key, struct failure *f)
{
    struct err err;
    struct dstr pem;
    key_text_init(&pem);
    EVP_PKEY *pkey = key_new_p256(&err);
    bool ok = pkey && key_to_pem(pkey, &pem, &err) &&
              store_put(store, key, dstr_slice(&pem), &err) == STORE_OK;
    key_text_fini(&pem);
    if (!ok) {
        EVP_PKEY_free(pkey);
        return failure_set(f, FAILURE_STORE, "saving a new account key: %s", err.text);
    }
    return jws_key_init(&s->key, pkey, &err) || failure_set(f, FAILURE_STORE, "%s", err.text);
}

static bool binding(struct session *s, const struct acme_issuer *issuer, struct dstr *out,
                    struct failure *f)
{
    struct err err;
    struct arena a;
    arena_init(&a, 16384);
    struct slice id = issuer->eab_key_id, mac = issuer->eab_mac_key;
    bool ok = !issuer->eab_of_zerossl || zerossl_binding(s, issuer, &a, &id, &mac, f);
    if (ok) {
        dstr_append(out, S(",\"externalAccountBinding\":"));
        ok = jws_external_binding(&s->key, id, mac, s->directory.new_account, out, &err) ||
             failure_set(f, FAILURE_REFUSED, "%s", err.text);
    }
    if (issuer->eab_of_zerossl) {
        key_wipe(mac);
    }
    arena_fini(&a);
    return ok;
}

static bool registration(struct session *s, const struct acme_issuer *issuer, struct dstr *out,
                         struct failure *f)
{
    dstr_append(out, S("{\"termsOfServiceAgreed\":true"));
    if (issuer->email.n) {
        struct dstr contact;
        dstr_init(&contact, 1024);
        dstr_append(&contact, S("mailto:"));
        dstr_append(&contact, issuer->email);
        dstr_append(out, S(",\"contact\":["));
        dstr_json(out, dstr_slice(&contact));
        dstr_byte(out, ']');
        dstr_fini(&contact);
    }
    if (issuer->eab_key_id.n || issuer->eab_of_zerossl) {
        if (!binding(s, issuer, out, f)) {
            return false;
        }
    } else if (s->directory.binding_required) {
        return failure_set(f, FAILURE_REFUSED,
                           "this CA wants an external account: give its key id and MAC key with "
                           "the global option acme_eab");
    }
    dstr_byte(out, '}');
    return !out->failed || failure_set(f, FAILURE_REFUSED, "the account's data are too large");
}

static bool save_location(struct session *s, struct store *store, const struct acme_issuer *issuer,
                          struct slice json, struct failure *f)
{
    struct err err;
    struct dstr text;
    dstr_init(&text, 8192);
    dstr_append(&text, S("{\"status\":\"valid\","));
    if (issuer->email.n) {
        struct dstr contact;
        dstr_init(&contact, 1024);
        dstr_append(&contact, S("mailto:"));
        dstr_append(&contact, issuer->email);
        dstr_append(&text, S("\"contact\":["));
        dstr_json(&text, dstr_slice(&contact));
        dstr_append(&text, S("],"));
        dstr_fini(&contact);
    }
    dstr_append(&text, S("\"termsOfServiceAgreed\":true,\"orders\":\"\",\"location\":"));
    dstr_json(&text, dstr_slice(&s->kid));
    dstr_append(&text, S("}\n"));
    bool ok = !text.failed && store_put(store, json, dstr_slice(&text), &err) == STORE_OK;
    dstr_fini(&text);
    return ok || failure_set(f, FAILURE_STORE, "saving the account: %s", err.text);
}

/* RFC 8555 section 7.3: 201 for a new account, 200 for the one that has this key already. */
static bool register_account(struct session *s, struct store *store,
                             const struct acme_issuer *issuer, const struct account_keys *keys,
                             struct failure *f)
{
    struct dstr payload;
    struct reply reply;
    dstr_init(&payload, 64 * 1024);
    reply_init(&reply);
    struct session_request request = {.url = s->directory.new_account, .with_jwk = true};
    bool ok = registration(s, issuer, &payload, f);
    if (ok) {
        request.payload = dstr_slice(&payload);
        ok = session_post(s, &request, &reply, f);
        if (!ok && f->kind != FAILURE_STOPPED) {
            (void)err_prefix(&f->err, "the account: ");
            if (problem_is(&f->problem, "userActionRequired") && reply.links.n) {
                (void)err_prefix(&f->err, "(see %.*s) ",
                                 SLICE_ARG(slice_upto(dstr_slice(&reply.links), 300)));
            }
        }
    }
    if (ok && !message_url_ok(dstr_slice(&reply.location))) {
        ok = failure_set(f, FAILURE_CA, "the CA's new account has no https Location");
    }
    if (ok) {
        dstr_reset(&s->kid);
        dstr_append(&s->kid, dstr_slice(&reply.location));
        log_event(LOG_INFO, "acme", reply.status == 201 ? "account registered" : "account found",
                  LOG_S("ca", s->directory_url), LOG_S("account", dstr_slice(&s->kid)));
        ok = save_location(s, store, issuer, keys->json, f);
    }
    reply_fini(&reply);
    dstr_fini(&payload);
    return ok;
}

static bool usable(const struct session *s, struct slice lost_url)
{
    return s->key.pkey && s->kid.n && !slice_eq(dstr_slice(&s->kid), lost_url);
}

static bool ready_locked(struct session *s, struct store *store, const struct acme_issuer *issuer,
                         const struct account_keys *keys, struct slice lost_url,
                         struct failure *f)
{
    bool has_key = load_key(s, store, keys->key, f);
    if (!has_key && f->kind != FAILURE_NONE) {
        return false;
    }
    if (has_key) {
        load_location(s, store, keys->json);
        if (usable(s, lost_url)) {
            return true; /* another instance was faster */
        }
    } else if (!new_key(s, store, keys->key, f)) {
        return false;
    }
    return register_account(s, store, issuer, keys, f);
}

struct store_lock *account_lock(struct store *store, struct slice ca, struct stop *stop,
                                struct err *err)
{
    struct arena a;
    arena_init(&a, 8192);
    struct slice name = arena_printf(&a, "account_%.*s", SLICE_ARG(ca));
    struct store_lock *lock = store_lock(store, name, LOCK_WAIT_MS, stop_cancelled, stop, err);
    arena_fini(&a);
    return lock;
}

bool account_ready(struct session *s, struct store *store, const struct acme_issuer *issuer,
                   struct slice ca, struct slice lost_url, struct failure *f)
{
    if (usable(s, lost_url)) {
        return true;
    }
    struct arena a;
    arena_init(&a, 32 * 1024);
    struct account_keys keys = {.key = store_account_key(&a, ca, issuer->email, ".key"),
                                .json = store_account_key(&a, ca, issuer->email, ".json")};
    bool ok = load_key(s, store, keys.key, f);
    if (!ok && f->kind != FAILURE_NONE) {
        arena_fini(&a);
        return false;
    }
    if (ok) {
        load_location(s, store, keys.json);
        ok = usable(s, lost_url);
    }
    if (!ok) {
        struct err err = {.text = ""};
        struct store_lock *lock = account_lock(store, ca, s->stop, &err);
        if (lock) {
            ok = ready_locked(s, store, issuer, &keys, lost_url, f);
            store_unlock(lock);
        } else if (stop_requested(s->stop)) {
            ok = failure_set(f, FAILURE_STOPPED, "stopping");
        } else {
            ok = failure_set(f, FAILURE_STORE, "locking the account: %s",
                             err.text[0] ? err.text : "another process holds it");
        }
    }
    arena_fini(&a);
    return ok;
}

bool account_key_changed(const struct session *s, struct store *store,
                         const struct acme_issuer *issuer, struct slice ca)
{
    struct arena a;
    struct dstr pem;
    struct err err;
    arena_init(&a, 8192);
    key_text_init(&pem);
    EVP_PKEY *key = NULL;
    struct slice at = store_account_key(&a, ca, issuer->email, ".key");
    if (store_get(store, at, &pem, &err) == STORE_OK) {
        key = key_from_pem(dstr_slice(&pem), &err);
    }
    bool changed = key && s->key.pkey && EVP_PKEY_eq(key, s->key.pkey) != 1;
    EVP_PKEY_free(key);
    key_text_fini(&pem);
    arena_fini(&a);
    return changed;
}
