/* In: an error body from a CA. Out: its type and one printable line. Nothing is owned. */
#include "acme/problem.h"

#include <stdio.h>

#define SUBPROBLEMS_MAX 10
#define EXCERPT_MAX ((size_t)160)

static const struct slice type_prefix = S_INIT("urn:ietf:params:acme:error:");

/* Text from a CA ends up in logs and on a page: control bytes become spaces, the rest stays. */
static void append_clean(struct problem *p, struct slice s)
{
    size_t at = strlen(p->text);
    for (size_t i = 0; i < s.n && at + 1 < sizeof(p->text); i++) {
        unsigned char c = (unsigned char)s.p[i];
        p->text[at++] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
    }
    p->text[at] = '\0';
}

static struct slice short_type(struct slice type)
{
    return slice_starts(type, type_prefix) ? slice_from(type, type_prefix.n) : type;
}

static void append_one(struct problem *p, const cJSON *obj)
{
    struct slice detail = json_string(obj, "detail");
    if (detail.n == 0) {
        detail = json_string(obj, "title");
    }
    struct slice type = short_type(json_string(obj, "type"));
    append_clean(p, detail.n ? detail : S("no detail was given"));
    if (type.n && !slice_eq(type, S("about:blank"))) {
        append_clean(p, S(" ("));
        append_clean(p, slice_upto(type, sizeof(p->type)));
        append_clean(p, S(")"));
    }
}

void problem_from_json(const cJSON *obj, struct problem *out)
{
    *out = (struct problem){.text = ""};
    if (!cJSON_IsObject(obj)) {
        return;
    }
    struct slice type = slice_upto(short_type(json_string(obj, "type")), sizeof(out->type) - 1);
    if (type.n) {
        memcpy(out->type, type.p, type.n);
    }
    append_one(out, obj);
    int count = 0;
    const cJSON *sub;
    cJSON_ArrayForEach(sub, json_array(obj, "subproblems"))
    {
        if (!cJSON_IsObject(sub) || count++ >= SUBPROBLEMS_MAX) {
            continue;
        }
        append_clean(out, S("; "));
        struct slice who = json_string(json_object(sub, "identifier"), "value");
        if (who.n) {
            append_clean(out, slice_upto(who, 255));
            append_clean(out, S(": "));
        }
        append_one(out, sub);
    }
}

void problem_parse(struct slice body, long http_status, struct problem *out)
{
    struct err ignored;
    cJSON *obj = json_parse_object(body, &ignored);
    if (obj && (json_string(obj, "type").p || json_string(obj, "detail").p)) {
        problem_from_json(obj, out);
        char status[32];
        (void)snprintf(status, sizeof(status), " [HTTP %ld]", http_status);
        append_clean(out, slice_str(status));
        cJSON_Delete(obj);
        return;
    }
    cJSON_Delete(obj);
    *out = (struct problem){.text = ""};
    (void)snprintf(out->text, sizeof(out->text), "HTTP status %ld", http_status);
    struct slice excerpt = slice_upto(body, EXCERPT_MAX);
    if (excerpt.n) {
        append_clean(out, S(" with a body that is no problem document: "));
        append_clean(out, excerpt);
    } else {
        append_clean(out, S(" and no explanation"));
    }
}

bool problem_is(const struct problem *p, const char *short_name)
{
    return strcmp(p->type, short_name) == 0;
}
