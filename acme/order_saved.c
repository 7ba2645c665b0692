/* In: an order's URL and key. Out: the same after a restart. Key text is cleared after use. */
#include "acme/order_saved.h"

#include "acme/json.h"
#include "acme/key.h"
#include "acme/message.h"
#include "proxy/base/log.h"

void order_saved_init(struct order_saved *o)
{
    o->key = NULL;
    dstr_init(&o->url, MESSAGE_URL_MAX);
}

void order_saved_fini(struct order_saved *o)
{
    EVP_PKEY_free(o->key);
    o->key = NULL;
    dstr_fini(&o->url);
}

static bool parse(struct slice json, struct order_saved *out)
{
    cJSON *obj = json_parse_object(json, NULL);
    struct slice url = json_string(obj, "url");
    bool ok = message_url_ok(url);
    if (ok) {
        dstr_reset(&out->url);
        dstr_append(&out->url, url);
    }
    cJSON_Delete(obj);
    return ok;
}

/* Whatever is there that can be no value is in the way of the next order's. */
static enum store_result get_or_make_way(struct store *s, struct slice key, struct dstr *out,
                                         struct err *err)
{
    enum store_result got = store_get(s, key, out, err);
    if (got != STORE_UNUSABLE) {
        return got;
    }
    return store_set_aside(s, key, err) == STORE_FAILED ? STORE_FAILED : STORE_MISSING;
}

enum store_result order_saved_load(struct store *s, struct slice ca, struct slice name,
                                   struct order_saved *out, struct err *err)
{
    struct arena a;
    struct dstr json, pem;
    arena_init(&a, 16384);
    dstr_init(&json, 16384);
    key_text_init(&pem);
    enum store_result result =
        get_or_make_way(s, store_order_key(&a, ca, name, ".json"), &json, err);
    enum store_result key =
        get_or_make_way(s, store_order_key(&a, ca, name, ".key"), &pem, err);
    result = result == STORE_OK ? key : result;
    if (result == STORE_OK) {
        EVP_PKEY_free(out->key);
        out->key = key_from_pem(dstr_slice(&pem), err);
        if (!out->key || !parse(dstr_slice(&json), out)) {
            result = STORE_MISSING;
        }
    }
    key_text_fini(&pem);
    dstr_fini(&json);
    arena_fini(&a);
    return result;
}

enum store_result order_saved_put(struct store *s, struct slice ca, struct slice name,
                                  const struct order_saved *o, struct err *err)
{
    struct arena a;
    struct dstr json, pem;
    arena_init(&a, 16384);
    dstr_init(&json, 16384);
    key_text_init(&pem);
    dstr_append(&json, S("{\"url\":"));
    dstr_json(&json, dstr_slice(&o->url));
    dstr_append(&json, S("}\n"));
    enum store_result result = STORE_FAILED;
    if (key_to_pem(o->key, &pem, err)) {
        result = store_put(s, store_order_key(&a, ca, name, ".key"), dstr_slice(&pem), err);
    }
    if (result == STORE_OK) {
        result = store_put(s, store_order_key(&a, ca, name, ".json"), dstr_slice(&json), err);
    }
    key_text_fini(&pem);
    dstr_fini(&json);
    arena_fini(&a);
    return result;
}

void order_saved_delete(struct store *s, struct slice ca, struct slice name)
{
    struct arena a;
    struct err err;
    arena_init(&a, 16384);
    if (store_delete(s, store_order_key(&a, ca, name, ".json"), &err) != STORE_OK ||
        store_delete(s, store_order_key(&a, ca, name, ".key"), &err) != STORE_OK) {
        log_event(LOG_WARN, "acme", "an order that is over could not be removed from the store",
                  LOG_S("name", name), LOG_Z("error", err.text));
    }
    arena_fini(&a);
}
