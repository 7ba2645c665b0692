/* In: bodies of a CA's answers. Out: their fields, in the caller's arena. */
#include "acme/message.h"

#include "acme/json.h"

bool message_url_ok(struct slice url)
{
    if (url.n > MESSAGE_URL_MAX || url.n <= 8 ||
        !slice_eq_case(slice_upto(url, 8), S("https://"))) {
        return false;
    }
    for (size_t i = 0; i < url.n; i++) {
        unsigned char c = (unsigned char)url.p[i];
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>') {
            return false;
        }
    }
    return url.p[8] != '/';
}

static struct slice url_field(struct arena *a, const cJSON *obj, const char *key)
{
    struct slice url = json_string(obj, key);
    return message_url_ok(url) ? arena_copy(a, url) : (struct slice){NULL, 0};
}

bool message_directory(struct arena *a, struct slice body, struct directory *out, struct err *err)
{
    *out = (struct directory){.binding_required = false};
    cJSON *obj = json_parse_object(body, err);
    if (!obj) {
        return err_prefix(err, "the CA's directory is ");
    }
    out->new_nonce = url_field(a, obj, "newNonce");
    out->new_account = url_field(a, obj, "newAccount");
    out->new_order = url_field(a, obj, "newOrder");
    const cJSON *meta = json_object(obj, "meta");
    out->terms_of_service = arena_copy(a, slice_upto(json_string(meta, "termsOfService"), 1024));
    out->binding_required = json_true(meta, "externalAccountRequired");
    cJSON_Delete(obj);
    return (out->new_nonce.n && out->new_account.n && out->new_order.n) ||
           err_set(err,
                   "the CA's directory lacks an https URL for newNonce, newAccount or newOrder");
}

static enum message_status status_of(const cJSON *obj)
{
    static const struct {
        struct slice text;
        enum message_status status;
    } table[] = {
        {S_INIT("pending"), STATUS_PENDING},         {S_INIT("ready"), STATUS_READY},
        {S_INIT("processing"), STATUS_PROCESSING},   {S_INIT("valid"), STATUS_VALID},
        {S_INIT("invalid"), STATUS_INVALID},         {S_INIT("deactivated"), STATUS_GONE},
        {S_INIT("expired"), STATUS_GONE},            {S_INIT("revoked"), STATUS_GONE},
    };
    struct slice text = json_string(obj, "status");
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (slice_eq(text, table[i].text)) {
            return table[i].status;
        }
    }
    return STATUS_UNKNOWN;
}

static bool order_fields(struct arena *a, const cJSON *obj, struct order_message *out,
                         struct err *err)
{
    out->status = status_of(obj);
    out->finalize = url_field(a, obj, "finalize");
    out->certificate = url_field(a, obj, "certificate");
    problem_from_json(json_object(obj, "error"), &out->error);
    if (out->status == STATUS_UNKNOWN || !out->finalize.n) {
        return err_set(err, "the CA's order has no known status or no https finalize URL");
    }
    const cJSON *element;
    cJSON_ArrayForEach(element, json_array(obj, "authorizations"))
    {
        struct slice url = json_element_string(element);
        if (!message_url_ok(url) || out->authorization_count >= MESSAGE_AUTHZ_MAX) {
            return err_set(err, "the CA's order has an authorization that is no https URL, or "
                                "too many of them");
        }
        out->authorizations[out->authorization_count++] = arena_copy(a, url);
    }
    return true;
}

bool message_order(struct arena *a, struct slice body, struct order_message *out, struct err *err)
{
    *out = (struct order_message){.authorization_count = 0};
    cJSON *obj = json_parse_object(body, err);
    if (!obj) {
        return err_prefix(err, "the CA's order is ");
    }
    bool ok = order_fields(a, obj, out, err);
    cJSON_Delete(obj);
    return ok;
}

static void add_challenge(struct arena *a, const cJSON *obj, struct authz_message *out)
{
    struct slice type = json_string(obj, "type");
    struct slice url = url_field(a, obj, "url");
    if (out->challenge_count >= MESSAGE_CHALLENGES_MAX || !type.n || type.n > 64 || !url.n) {
        return;
    }
    struct challenge_message *c = &out->challenges[out->challenge_count++];
    c->type = arena_copy(a, type);
    c->url = url;
    c->token = arena_copy(a, slice_upto(json_string(obj, "token"), 1024));
    c->status = status_of(obj);
    problem_from_json(json_object(obj, "error"), &c->error);
}

bool message_authz(struct arena *a, struct slice body, struct authz_message *out, struct err *err)
{
    *out = (struct authz_message){.challenge_count = 0};
    cJSON *obj = json_parse_object(body, err);
    if (!obj) {
        return err_prefix(err, "the CA's authorisation is ");
    }
    out->status = status_of(obj);
    out->identifier =
        arena_copy(a, slice_upto(json_string(json_object(obj, "identifier"), "value"), 253));
    const cJSON *element;
    cJSON_ArrayForEach(element, json_array(obj, "challenges"))
    {
        add_challenge(a, element, out);
    }
    cJSON_Delete(obj);
    return out->status != STATUS_UNKNOWN ||
           err_set(err, "the CA's authorisation has no known status");
}

bool message_is_challenge(struct slice body, struct err *err)
{
    cJSON *obj = json_parse_object(body, err);
    if (!obj) {
        return err_prefix(err, "the CA's challenge is ");
    }
    bool is = json_string(obj, "type").n && json_string(obj, "url").n &&
              status_of(obj) != STATUS_UNKNOWN;
    cJSON_Delete(obj);
    return is || err_set(err, "the CA's challenge has no type, URL or known status");
}
