/* In: a name. Out: a challenge type, from or to the store: caddis/challenge/<name>.json. */
#include "acme/challenge_worked.h"

#include "acme/json.h"
#include "store/backend.h"
#include "store/names.h"

#define RECORD_MAX ((size_t)1024)

struct slice worked_load(struct store *s, struct slice name, char out[WORKED_TYPE_MAX])
{
    struct arena a;
    struct dstr text;
    struct err ignored; /* no advice is no failure */
    struct slice found = {NULL, 0};
    arena_init(&a, 4096);
    dstr_init(&text, RECORD_MAX);
    if (store_get(s, store_worked_key(&a, name), &text, &ignored) == STORE_OK) {
        cJSON *obj = json_parse_object(dstr_slice(&text), &ignored);
        struct slice type = json_string(obj, "type");
        if (type.n && type.n <= WORKED_TYPE_MAX) {
            memcpy(out, type.p, type.n);
            found = slice_of(out, type.n);
        }
        cJSON_Delete(obj);
    }
    dstr_fini(&text);
    arena_fini(&a);
    return found;
}

void worked_save(struct store *s, struct slice name, struct slice type)
{
    char before[WORKED_TYPE_MAX];
    if (slice_eq(worked_load(s, name, before), type)) {
        return;
    }
    struct arena a;
    struct dstr text;
    struct err ignored;
    arena_init(&a, 4096);
    dstr_init(&text, RECORD_MAX);
    dstr_append(&text, S("{\"type\":"));
    dstr_json(&text, type);
    dstr_append(&text, S("}\n"));
    store_ignore(store_put(s, store_worked_key(&a, name), dstr_slice(&text), &ignored));
    dstr_fini(&text);
    arena_fini(&a);
}
