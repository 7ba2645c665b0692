/* Variables of one exchange; see vars.h. A short array, looked through from the front: most
 * exchanges have none, few have more than ten. */
#include "proxy/route/vars.h"

struct var {
    struct slice name;
    struct slice value;
};

struct vars {
    struct var *items;
    unsigned count;
    unsigned cap;
};

static struct var *find(const struct exchange *ex, struct slice name)
{
    for (unsigned i = 0; ex->vars && i < ex->vars->count; i++) {
        if (slice_eq(ex->vars->items[i].name, name)) {
            return &ex->vars->items[i];
        }
    }
    return NULL;
}

static bool grow(struct exchange *ex)
{
    struct vars *v = ex->vars ? ex->vars : ARENA_NEW(&ex->arena, struct vars);
    if (!v) {
        return false;
    }
    ex->vars = v;
    if (v->count < v->cap) {
        return true;
    }
    unsigned cap = v->cap ? v->cap * 2 : 8;
    struct var *items = cap <= VARS_MAX ? ARENA_ARRAY(&ex->arena, struct var, cap) : NULL;
    if (!items) {
        return false;
    }
    if (v->count) {
        memcpy(items, v->items, v->count * sizeof(*items));
    }
    v->items = items;
    v->cap = cap;
    return true;
}

bool vars_set(struct exchange *ex, struct slice name, struct slice value)
{
    struct var *there = find(ex, name);
    if (there) {
        there->value = value;
        return true;
    }
    if (!grow(ex)) {
        return false;
    }
    ex->vars->items[ex->vars->count++] = (struct var){name, value};
    return true;
}

bool vars_get(const struct exchange *ex, struct slice name, struct slice *out)
{
    const struct var *v = find(ex, name);
    if (v) {
        *out = v->value;
    }
    return v != NULL;
}

struct slice vars_value(const struct exchange *ex, struct slice name)
{
    const struct var *v = find(ex, name);
    return v ? v->value : S("");
}

bool vars_own(struct exchange *ex)
{
    for (unsigned i = 0; ex->vars && i < ex->vars->count; i++) {
        struct var *v = &ex->vars->items[i];
        v->name = arena_copy(&ex->arena, v->name);
        v->value = arena_copy(&ex->arena, v->value);
    }
    return !ex->arena.failed;
}

void vars_remove_prefix(struct exchange *ex, struct slice prefix)
{
    unsigned kept = 0;
    for (unsigned i = 0; ex->vars && i < ex->vars->count; i++) {
        if (!slice_starts(ex->vars->items[i].name, prefix)) {
            ex->vars->items[kept++] = ex->vars->items[i];
        }
    }
    if (ex->vars) {
        ex->vars->count = kept;
    }
}
