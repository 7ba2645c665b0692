/* Walking a store. See walk.h. A folder's names are collected before any is looked at, because
 * each() may change it. */
#include "store/walk.h"

#include "proxy/base/arena.h"
#include "store/backend.h"

struct walk {
    struct store *store;
    bool (*each)(void *ctx, struct slice key);
    void *ctx;
    struct err *err;
    bool stopped;
};

static void collect(void *ctx, struct slice name, bool is_folder)
{
    /* The back end has bounded the list already. */
    must(store_names_add(ctx, name, is_folder));
}

static enum store_result walk_folder(struct walk *w, struct slice folder, int depth)
{
    struct store_names names = {0};
    enum store_result r = store_list(w->store, folder, collect, &names, w->err);
    for (size_t i = 0; i < names.count && r == STORE_OK && !w->stopped; i++) {
        struct arena a;
        arena_init(&a, ARENA_NO_MAX);
        struct slice name = slice_str(names.items[i].name);
        struct slice key = folder.n
                               ? arena_printf(&a, "%.*s/%.*s", SLICE_ARG(folder), SLICE_ARG(name))
                               : name;
        if (!names.items[i].is_folder) {
            w->stopped = !w->each(w->ctx, key);
        } else if (depth < STORE_DEPTH_MAX) {
            r = walk_folder(w, key, depth + 1);
            r = r == STORE_MISSING ? STORE_OK : r;
        }
        arena_fini(&a);
    }
    store_names_free(&names);
    return r;
}

enum store_result store_walk(struct store *s, struct slice prefix,
                             bool (*each)(void *ctx, struct slice key), void *ctx, struct err *err)
{
    struct walk w = {.store = s, .each = each, .ctx = ctx, .err = err};
    return walk_folder(&w, prefix, 1);
}
