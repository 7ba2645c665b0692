/* &(name) { directives }      a named route, at the top of the file
 * invoke [matcher] <name>     runs it
 *
 * A named route is compiled once, and shared by all that invoke it. One that would invoke itself,
 * directly or through others, is an error. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"

enum named_state { NAMED_NEW, NAMED_BEING_BUILT, NAMED_BUILT };

struct named_route {
    const struct cf_named_route *source;
    struct route route;
    enum named_state state;
    bool invoked;
};

static void free_map(void *map)
{
    map_fini(map);
}

struct map *named_routes_new(struct arena *a, const struct cf_named_route *first)
{
    struct map *m = ARENA_NEW(a, struct map);
    must(m);
    map_init(m);
    arena_on_fini(a, free_map, m);
    for (; first; first = first->next) {
        struct named_route *n = ARENA_NEW(a, struct named_route);
        must(n);
        n->source = first;
        (void)map_put(m, first->name.text, n);
    }
    return m;
}

/* In a scope of its own: it sees none of the matchers of who invokes it. */
static void build_named(struct build *b, struct named_route *n)
{
    struct build outer = *b;
    n->state = NAMED_BEING_BUILT;
    b->scope = NULL;
    b->depth = 1;
    b->in_handle_response = false;
    if (!route_build(b, n->source->directives, &n->route)) {
        /* Its errors are in diags; go on, so that the rest is checked too. */
    }
    b->scope = outer.scope;
    b->depth = outer.depth;
    b->in_handle_response = outer.in_handle_response;
    n->state = NAMED_BUILT;
}

void named_routes_build(struct build *b)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(b->named_routes, &at));) {
        struct named_route *n = e->value;
        if (n->state == NAMED_NEW) {
            build_named(b, n);
        }
    }
}

void named_routes_end(const struct build *b)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(b->named_routes, &at));) {
        const struct named_route *n = e->value;
        if (!n->invoked && b->diags->errors == 0) {
            cf_warning(b->diags, &n->source->name, "the named route \"%.*s\" is never invoked",
                       SLICE_ARG(e->key));
        }
    }
}

static enum handler_result invoke_request(const void *instance, struct exchange *ex)
{
    const struct named_route *n = instance;
    chain_enter(ex, &n->route);
    return HANDLER_ENTER;
}

static const struct handler_ops invoke_ops = {
    .name = "invoke", .nature = HANDLER_PREPARES, .on_request = invoke_request};

static struct named_route *find(struct build *b, const struct cf_token *name)
{
    struct slice names[64];
    size_t count = 0;
    size_t at = 0;
    struct named_route *n = map_get(b->named_routes, name->text);
    if (n) {
        return n;
    }
    if (b->diags->incomplete) {
        return NULL; /* what failed to be imported may define it */
    }
    for (struct map_entry *e; count < ARRAY_LEN(names) && (e = map_next(b->named_routes, &at));) {
        names[count++] = e->key;
    }
    struct cf_diag *d = cf_error(b->diags, name, "there is no named route \"%.*s\"",
                                 SLICE_ARG(name->text));
    if (d) {
        d->hint = arena_printf(&b->diags->arena, "define it at the top of the file: &(%.*s)"
                               " { ... }", SLICE_ARG(name->text));
        cf_did_you_mean(b->diags, d, name->text, names, count);
    }
    return NULL;
}

bool invoke_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                  size_t count, struct handler *out)
{
    if (!expect_args(b, d, count, 1, 1) || !expect_no_block(b, d)) {
        return false;
    }
    struct named_route *n = find(b, &args[0]);
    if (!n) {
        return false;
    }
    if (n->state == NAMED_BEING_BUILT) {
        cf_error(b->diags, &args[0], "the named route \"%.*s\" invokes itself",
                 SLICE_ARG(args[0].text));
        return false;
    }
    if (n->state == NAMED_NEW) {
        build_named(b, n);
    }
    n->invoked = true;
    out->ops = &invoke_ops;
    out->instance = n;
    return true;
}
