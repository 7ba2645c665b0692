/* In: bytes that a CA (or a damaged file) calls JSON. Out: a cJSON tree, and its fields by type.
 * The caller owns the tree. */
#include "acme/json.h"

/* cJSON's parser recurses once for each level, so the depth is bounded before it runs. */
static bool depth_ok(struct slice text)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_DEPTH_MAX) {
                return false;
            }
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

static bool only_space(const char *p, const char *end)
{
    for (; p < end; p++) {
        if (*p != ' ' && *p != '\t' && *p != '\r' && *p != '\n') {
            return false;
        }
    }
    return true;
}

cJSON *json_parse_object(struct slice text, struct err *err)
{
    if (text.n == 0) {
        (void)err_set(err, "an empty body where JSON was expected");
        return NULL;
    }
    if (text.n > JSON_BYTES_MAX || !depth_ok(text)) {
        (void)err_set(err, "JSON that is too large or nested too deeply (%zu bytes)", text.n);
        return NULL;
    }
    const char *end = NULL;
    cJSON *obj = cJSON_ParseWithLengthOpts(text.p, text.n, &end, false);
    if (!obj || !cJSON_IsObject(obj) || !end || !only_space(end, text.p + text.n)) {
        cJSON_Delete(obj);
        (void)err_set(err, "something that is no JSON object");
        return NULL;
    }
    return obj;
}

struct slice json_element_string(const cJSON *element)
{
    return cJSON_IsString(element) && element->valuestring ? slice_str(element->valuestring)
                                                           : (struct slice){NULL, 0};
}

struct slice json_string(const cJSON *obj, const char *key)
{
    return json_element_string(cJSON_GetObjectItemCaseSensitive(obj, key));
}

const cJSON *json_array(const cJSON *obj, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(obj, key);
    return cJSON_IsArray(item) ? item : NULL;
}

const cJSON *json_object(const cJSON *obj, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(obj, key);
    return cJSON_IsObject(item) ? item : NULL;
}

bool json_true(const cJSON *obj, const char *key)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(obj, key));
}

bool json_integer(const cJSON *obj, const char *key, int64_t max, int64_t *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(obj, key);
    /* Doubles hold whole numbers exactly up to 2^53; NaN fails both comparisons. */
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) ||
        !(item->valuedouble <= 9007199254740992.0)) {
        return false;
    }
    int64_t value = (int64_t)item->valuedouble;
    if (value > max) {
        return false;
    }
    *out = value;
    return true;
}
