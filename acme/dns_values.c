/* In: a name's values as a provider lists them. Out: the same with one more or less. */
#include "acme/dns_values.h"

bool dns_values_add(struct dns_call *c, struct dns_values *v, struct slice value, struct err *err)
{
    if (v->count == DNS_VALUES_MAX) {
        return err_set(err, "%.*s has more than %d values already", SLICE_ARG(c->name),
                       DNS_VALUES_MAX);
    }
    v->values[v->count++] = arena_copy(&c->arena, value);
    return true;
}

static bool read_array(struct dns_call *c, const cJSON *array, struct dns_values *v,
                       struct err *err)
{
    const cJSON *element;
    cJSON_ArrayForEach(element, array)
    {
        struct slice text = json_element_string(element);
        if (!text.p) {
            return err_set(err, "%.*s lists a value that is no text", SLICE_ARG(c->dns->provider));
        }
        if (!dns_values_add(c, v, text, err)) {
            return false;
        }
    }
    return true;
}

bool dns_values_get(struct dns_call *c, struct slice url, const char *list, struct dns_values *v,
                    struct err *err)
{
    static const char what[] = "reading the record";
    if (!dns_api_ask(c, "GET", url, (struct slice){NULL, 0}, err)) {
        return false;
    }
    if (c->reply.status == 404) {
        return true;
    }
    cJSON *obj = dns_succeeded(c, what, err) ? dns_json(c, what, err) : NULL;
    /* Without the list there is nothing to add to: the others' values would be written over. */
    const cJSON *array = obj ? json_array(obj, list) : NULL;
    bool ok = array ? read_array(c, array, v, err)
                    : obj && err_set(err, "%.*s, %s: the answer has no %s",
                                     SLICE_ARG(c->dns->provider), what, list);
    cJSON_Delete(obj);
    return ok;
}

bool dns_values_change(struct dns_call *c, struct dns_values *v, bool there, struct err *err)
{
    size_t kept = 0;
    bool was = false;
    for (size_t i = 0; i < v->count; i++) {
        bool same = dns_same_text(v->values[i], c->value);
        was = was || same;
        if (!same || there) {
            v->values[kept++] = v->values[i];
        }
    }
    v->count = kept;
    v->changed = was != there;
    return was || !there ||
           dns_values_add(c, v, arena_printf(&c->arena, "\"%.*s\"", SLICE_ARG(c->value)), err);
}

void dns_values_json(const struct dns_values *v, struct dstr *out)
{
    dstr_byte(out, '[');
    for (size_t i = 0; i < v->count; i++) {
        if (i) {
            dstr_byte(out, ',');
        }
        dstr_json(out, v->values[i]);
    }
    dstr_byte(out, ']');
}
