/* In: an e-mail address or a key. Out: a binding. One unsigned request, only while an account is
 * registered. */
#include "acme/zerossl.h"

#include "acme/key.h"

#define BY_EMAIL "https://api.zerossl.com/acme/eab-credentials-email"
#define BY_KEY "https://api.zerossl.com/acme/eab-credentials?access_key="

bool zerossl_parse(struct arena *a, struct slice body, struct slice *key_id,
                   struct slice *mac_key, struct err *err)
{
    cJSON *obj = json_parse_object(body, err);
    if (!obj) {
        return err_prefix(err, "ZeroSSL's answer is ");
    }
    const cJSON *error = json_object(obj, "error");
    struct slice why = json_string(error, "type");
    *key_id = arena_copy(a, json_string(obj, "eab_kid"));
    *mac_key = arena_copy(a, json_string(obj, "eab_hmac_key"));
    bool ok = key_id->n > 0 && mac_key->n > 0 && key_id->n <= 1024 && mac_key->n <= 1024;
    if (!ok) {
        (void)err_set(err, "ZeroSSL gave no credentials%s%.*s", why.n ? ": " : "",
                      SLICE_ARG(slice_upto(why, 200)));
    }
    cJSON_Delete(obj);
    return ok;
}

static void escape(struct dstr *out, struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (ascii_is_alpha(c) || ascii_is_digit(c) || c == '.' || c == '-' || c == '_') {
            dstr_byte(out, c);
        } else {
            dstr_printf(out, "%%%02X", (unsigned char)c);
        }
    }
}

bool zerossl_binding(struct session *s, const struct acme_issuer *issuer, struct arena *a,
                     struct slice *key_id, struct slice *mac_key, struct failure *f)
{
    struct err err;
    struct dstr url, body;
    struct reply reply;
    dstr_init(&url, MESSAGE_URL_MAX);
    dstr_init(&body, 4096);
    reply_init(&reply);
    if (issuer->zerossl_key.n) {
        dstr_append(&url, S(BY_KEY));
        escape(&url, issuer->zerossl_key);
    } else {
        dstr_append(&url, S(BY_EMAIL));
        dstr_append(&body, S("email="));
        escape(&body, issuer->email);
    }
    struct transport_request request = {.method = TRANSPORT_POST_FORM,
                                        .url = dstr_slice(&url),
                                        .body = body.n ? dstr_slice(&body) : S(""),
                                        .body_max = 65536};
    enum transport_result sent = transport_send(s->transport, &request, &reply, &err);
    bool ok = sent == TRANSPORT_OK;
    if (!ok) {
        /* The URL, which the transport's words begin with, may hold the access key. */
        (void)failure_set(f, sent == TRANSPORT_STOPPED ? FAILURE_STOPPED : FAILURE_UNREACHABLE,
                          "ZeroSSL, which is to give an account's credentials, cannot be reached");
    } else if (reply.status >= 500) {
        ok = failure_set(f, FAILURE_CA, "ZeroSSL answered the wish for credentials with status %ld",
                         reply.status);
    } else {
        ok = zerossl_parse(a, dstr_slice(&reply.body), key_id, mac_key, &err) ||
             failure_set(f, FAILURE_REFUSED, "%s", err.text);
    }
    key_wipe(dstr_slice(&url));
    reply_fini(&reply);
    dstr_fini(&body);
    dstr_fini(&url);
    return ok;
}
