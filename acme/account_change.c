/* Changes of an account: another key (RFC 8555 section 7.3.5), its end (section 7.3.6). In: a
 * session that signs as the account. Out: the CA and the store agree again. A key that the CA may
 * have taken is never lost: it is in the store before the CA hears of it. */
#include "acme/account.h"
#include "acme/key.h"
#include "proxy/base/log.h"

static bool store_trouble(struct failure *f, const char *what, const struct err *err)
{
    return failure_set(f, FAILURE_STORE, "%s: %s", what, err->text);
}

/* The next key: the one of a change that was cut off, or a new one, written down. */
static bool next_key(struct store *store, struct slice where, struct jws_key *out,
                     struct failure *f)
{
    struct dstr pem;
    struct err err;
    key_text_init(&pem);
    EVP_PKEY *key = NULL;
    enum store_result got = store_get(store, where, &pem, &err);
    if (got == STORE_OK) {
        key = key_from_pem(dstr_slice(&pem), &err);
    }
    bool ok = key != NULL;
    if (!ok && got != STORE_FAILED) {
        dstr_reset(&pem);
        key = key_new_p256(&err);
        ok = key && key_to_pem(key, &pem, &err) &&
             store_put(store, where, dstr_slice(&pem), &err) == STORE_OK;
    }
    key_text_fini(&pem);
    if (!ok) {
        EVP_PKEY_free(key);
        return store_trouble(f, "saving the new account key", &err);
    }
    return jws_key_init(out, key, &err) || store_trouble(f, "the new account key", &err);
}

static bool tell_ca(struct session *s, const struct jws_key *next, struct failure *f)
{
    struct dstr inner, claim;
    struct err err;
    struct reply reply;
    dstr_init(&claim, 8192);
    dstr_init(&inner, 32768);
    reply_init(&reply);
    dstr_append(&claim, S("{\"account\":"));
    dstr_json(&claim, dstr_slice(&s->kid));
    dstr_printf(&claim, ",\"oldKey\":%s}", s->key.jwk);
    const struct slice none = {NULL, 0};
    bool ok = (!claim.failed && jws_sign(next, none, s->directory.key_change, none,
                                         dstr_slice(&claim), &inner, &err)) ||
              failure_set(f, FAILURE_STORE, "signing with the new key: %s", err.text);
    if (ok) {
        struct session_request request = {.url = s->directory.key_change,
                                          .payload = dstr_slice(&inner),
                                          .once = true};
        ok = session_post(s, &request, &reply, f);
    }
    reply_fini(&reply);
    dstr_fini(&inner);
    dstr_fini(&claim);
    return ok;
}

/* No clear answer came, or one that refuses the old key: does the account have the new one? */
static bool has_new_key(struct session *s, struct jws_key *next, struct failure *f)
{
    struct reply reply;
    struct jws_key old = s->key;
    reply_init(&reply);
    s->key = *next;
    struct session_request request = {.url = s->directory.new_account,
                                      .payload = S("{\"onlyReturnExisting\":true}"),
                                      .with_jwk = true};
    bool ok = session_post(s, &request, &reply, f) &&
              slice_eq(dstr_slice(&reply.location), dstr_slice(&s->kid));
    s->key = old;
    reply_fini(&reply);
    return ok;
}

bool account_roll_over(struct session *s, struct store *store, const struct acme_issuer *issuer,
                       struct slice ca, struct failure *f)
{
    struct arena a;
    struct err err = {.text = ""};
    struct jws_key next;
    if (!s->directory.key_change.n) {
        return failure_set(f, FAILURE_REFUSED, "the CA's directory has no keyChange");
    }
    arena_init(&a, 32768);
    struct slice key = store_account_key(&a, ca, issuer->email, ".key");
    struct slice coming = store_account_key(&a, ca, issuer->email, ".key.new");
    struct store_lock *lock = account_lock(store, ca, s->stop, &err);
    if (!lock) {
        arena_fini(&a);
        return failure_set(f, FAILURE_STORE, "locking the account: %s",
                           err.text[0] ? err.text : "another process holds it");
    }
    bool ok = next_key(store, coming, &next, f);
    if (ok) {
        struct failure why;
        ok = tell_ca(s, &next, f) || has_new_key(s, &next, &why);
        ok = ok && (store_rename(store, coming, key, &err) == STORE_OK ||
                    store_trouble(f, "keeping the new account key", &err));
        jws_key_fini(&next);
    }
    store_unlock(lock);
    arena_fini(&a);
    if (ok) {
        log_event(LOG_INFO, "acme", "the account has a new key", LOG_S("ca", ca),
                  LOG_S("account", dstr_slice(&s->kid)));
    }
    return ok;
}

bool account_deactivate(struct session *s, struct store *store, const struct acme_issuer *issuer,
                        struct slice ca, struct failure *f)
{
    struct arena a;
    struct err err;
    struct reply reply;
    arena_init(&a, 32768);
    reply_init(&reply);
    struct session_request request = {.url = dstr_slice(&s->kid),
                                      .payload = S("{\"status\":\"deactivated\"}")};
    bool ok = session_post(s, &request, &reply, f);
    if (ok) {
        /* Set aside, not deleted: the key may still be wanted to prove whose account it was. */
        ok = (store_set_aside(store, store_account_key(&a, ca, issuer->email, ".json"), &err) !=
                  STORE_FAILED &&
              store_set_aside(store, store_account_key(&a, ca, issuer->email, ".key"), &err) !=
                  STORE_FAILED) ||
             store_trouble(f, "the CA has ended the account, but its record stays", &err);
    }
    reply_fini(&reply);
    arena_fini(&a);
    return ok;
}
