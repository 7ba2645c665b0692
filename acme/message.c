/* In: bodies of a CA's answers. Out: their fields, in the caller's arena. */
#include "acme/message.h"

#include "acme/json.h"
#include "proxy/base/clock.h"

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
    const cJSON *identity;
    cJSON_ArrayForEach(identity, json_array(meta, "caaIdentities"))
    {
        struct slice domain = json_element_string(identity);
        if (domain.n && domain.n <= 253 && out->caa_count < MESSAGE_CAA_MAX) {
            out->caa_identities[out->caa_count++] = arena_copy(a, domain);
        }
    }
    out->binding_required = json_true(meta, "externalAccountRequired");
    out->revoke_cert = url_field(a, obj, "revokeCert");
    out->key_change = url_field(a, obj, "keyChange");
    out->renewal_info = url_field(a, obj, "renewalInfo");
    const cJSON *profile;
    cJSON_ArrayForEach(profile, json_object(meta, "profiles"))
    {
        struct slice name = slice_str(profile->string);
        if (name.n && name.n <= 64 && out->profile_count < MESSAGE_PROFILES_MAX) {
            out->profiles[out->profile_count++] = arena_copy(a, name);
        }
    }
    cJSON_Delete(obj);
    return (out->new_nonce.n && out->new_account.n && out->new_order.n) ||
           err_set(err,
                   "the CA's directory lacks an https URL for newNonce, newAccount or newOrder");
}

bool directory_has_profile(const struct directory *d, struct slice profile)
{
    for (size_t i = 0; i < d->profile_count; i++) {
        if (slice_eq(d->profiles[i], profile)) {
            return true;
        }
    }
    return false;
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

bool message_renewal(struct arena *a, struct slice body, struct renewal_message *out,
                     struct err *err)
{
    *out = (struct renewal_message){.start_ms = 0};
    cJSON *obj = json_parse_object(body, err);
    if (!obj) {
        return err_prefix(err, "the CA's renewal information is ");
    }
    const cJSON *window = json_object(obj, "suggestedWindow");
    bool ok = clock_parse_rfc3339(json_string(window, "start"), &out->start_ms) &&
              clock_parse_rfc3339(json_string(window, "end"), &out->end_ms);
    out->explanation_url = url_field(a, obj, "explanationURL");
    cJSON_Delete(obj);
    if (!ok) {
        return err_set(err, "the CA's renewal information has no window with two dates");
    }
    /* Also keeps the dates where sums with them cannot overflow. */
    return (out->start_ms > 0 && out->end_ms > out->start_ms) ||
           err_set(err, "the CA's window for renewing ends before it begins");
}

/* ;name=value parameters behind a link's target: is one rel with the word alternate? */
static bool is_alternate(struct slice parameters)
{
    struct slice one;
    while (slice_cut(&parameters, ';', &one)) {
        struct slice value = one, name;
        if (!slice_cut(&value, '=', &name) || !value.p ||
            !slice_eq_case(slice_trim(name), S("rel"))) {
            continue;
        }
        value = slice_trim(value);
        if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"') {
            value = slice_of(value.p + 1, value.n - 2);
        }
        struct slice word;
        while (slice_cut(&value, ' ', &word)) {
            if (slice_eq_case(word, S("alternate"))) {
                return true;
            }
        }
    }
    return false;
}

size_t message_alternates(struct arena *a, struct slice links,
                          struct slice out[MESSAGE_ALTERNATES_MAX])
{
    size_t count = 0;
    size_t open;
    while (count < MESSAGE_ALTERNATES_MAX && (open = slice_find(links, '<')) != SLICE_NPOS) {
        links = slice_from(links, open + 1);
        size_t close = slice_find(links, '>');
        if (close == SLICE_NPOS) {
            break;
        }
        struct slice url = slice_upto(links, close);
        links = slice_from(links, close + 1);
        /* Several links in one field are told apart by the next '<'. */
        struct slice parameters = slice_upto(links, slice_find(links, '<'));
        size_t line = slice_find(parameters, '\n');
        parameters = slice_upto(parameters, line);
        while (parameters.n && (parameters.p[parameters.n - 1] == ',' ||
                                parameters.p[parameters.n - 1] == ' ')) {
            parameters.n--;
        }
        if (is_alternate(parameters) && message_url_ok(url)) {
            out[count++] = arena_copy(a, url);
        }
    }
    return count;
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
