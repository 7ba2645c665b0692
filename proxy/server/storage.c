/* `storage KIND …`: a kind of store is a row in the table below and one file under store/. See
 * storage.h. */
#include "proxy/server/storage.h"

static const struct store_kind *const kinds[] = {
    &store_kind_file_system,
    &store_kind_redis,
};

struct checking {
    const struct store_settings *settings;
    const struct cf_directive *d;
    struct cf_diags *diags;
};

/* The setting's own token, or the directive's. */
static void complain(void *ctx, const struct store_setting *at, const char *text)
{
    struct checking *c = ctx;
    const struct cf_directive *child = c->d->children;
    for (size_t i = 0; at && i < (size_t)(at - c->settings->items); i++) {
        child = child->next;
    }
    cf_error(c->diags, at ? &child->name : &c->d->name, at ? "\"%.*s\": %s" : "%.*s%s",
             SLICE_ARG(at ? at->name : S("")), text);
}

static const struct store_kind *find_kind(const struct cf_directive *d, struct cf_diags *diags)
{
    struct slice names[ARRAY_LEN(kinds)];
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        names[i] = kinds[i]->name;
        if (d->arg_count && slice_eq(d->args[0].text, kinds[i]->name)) {
            return kinds[i];
        }
    }
    const struct cf_token *at = d->arg_count ? &d->args[0] : &d->name;
    struct cf_diag *diag = cf_error(
        diags, at, "the storage is file_system (storage file_system /path/to/folder) or redis"
        " (storage redis { address HOST:PORT }), not \"%.*s\"",
        SLICE_ARG(d->arg_count ? d->args[0].text : S("")));
    if (diag && d->arg_count) {
        cf_did_you_mean(diags, diag, d->args[0].text, names, ARRAY_LEN(names));
    }
    return NULL;
}

static struct slice *texts_of(struct arena *a, const struct cf_token *tokens, size_t count)
{
    struct slice *out = ARENA_ARRAY(a, struct slice, count + 1);
    must(out);
    for (size_t i = 0; i < count; i++) {
        out[i] = tokens[i].text;
    }
    return out;
}

const struct store_settings *storage_read(struct arena *a, const struct cf_directive *d,
                                          struct cf_diags *diags)
{
    const struct store_kind *kind = find_kind(d, diags);
    struct store_settings *s = ARENA_NEW(a, struct store_settings);
    must(s);
    if (!kind) {
        return NULL;
    }
    size_t count = 0;
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        count++;
    }
    struct store_setting *items = ARENA_ARRAY(a, struct store_setting, count + 1);
    must(items);
    *s = (struct store_settings){
        .kind = kind,
        .args = texts_of(a, d->args + 1, d->arg_count - 1),
        .arg_count = d->arg_count - 1,
        .items = items,
        .count = count,
    };
    for (const struct cf_directive *c = d->children; c; c = c->next, items++) {
        *items = (struct store_setting){c->name.text, texts_of(a, c->args, c->arg_count),
                                        c->arg_count};
    }
    struct checking checking = {s, d, diags};
    unsigned before = diags->errors;
    kind->check(s, complain, &checking);
    return diags->errors == before ? s : NULL;
}

const struct store_settings *storage_of_folder(struct arena *a, struct slice folder)
{
    struct store_settings *s = ARENA_NEW(a, struct store_settings);
    struct slice *args = ARENA_ARRAY(a, struct slice, 1);
    must(s && args);
    args[0] = arena_copy(a, folder);
    *s = (struct store_settings){.kind = &store_kind_file_system, .args = args, .arg_count = 1};
    return s;
}
