/* The global option `order`; see directive_order.h. */
#include "proxy/handler/directive_order.h"

#include "proxy/handler/directives.h"

struct directive_order {
    size_t count;
    unsigned places[]; /* by the index in the table of directives */
};

struct directive_order *directive_order_new(struct arena *a)
{
    size_t count;
    const struct directive *table = directive_table(&count);
    struct directive_order *o = arena_alloc(a, sizeof(*o) + count * sizeof(o->places[0]));
    must(o);
    o->count = count;
    for (size_t i = 0; i < count; i++) {
        o->places[i] = table[i].order;
    }
    return o;
}

static size_t index_of(const struct directive *d)
{
    size_t count;
    return (size_t)(d - directive_table(&count));
}

unsigned directive_place(const struct directive_order *o, const struct directive *d)
{
    return o ? o->places[index_of(d)] : d->order;
}

/* Moves all at `from` and behind it one place back. */
static void make_room(struct directive_order *o, unsigned from)
{
    for (size_t i = 0; i < o->count; i++) {
        o->places[i] += o->places[i] >= from;
    }
}

static unsigned last_place(const struct directive_order *o)
{
    unsigned last = 0;
    for (size_t i = 0; i < o->count; i++) {
        last = o->places[i] > last ? o->places[i] : last;
    }
    return last;
}

/* The handler that a word names; NULL (*harmless: it is Caddy's and cannot be used here anyway). */
static const struct directive *find(struct cf_diags *diags, const struct cf_token *word,
                                    bool *harmless)
{
    const struct directive *d = directive_find(word->text);
    *harmless = !d && directive_is_known(word->text);
    if (*harmless) {
        cf_warning(diags, word, "the directive \"%.*s\" is Caddy's and not in caddis; its place in"
                   " the order does not matter", SLICE_ARG(word->text));
        return NULL;
    }
    if (!d) {
        directive_unknown(diags, word, NULL);
        return NULL;
    }
    if (d->kind != DIRECTIVE_HANDLER) {
        cf_error(diags, word, "\"%.*s\" says something of its site and is not ordered",
                 SLICE_ARG(word->text));
        return NULL;
    }
    return d;
}

void directive_order_change(struct directive_order *o, const struct cf_directive *line,
                            struct cf_diags *diags)
{
    static const struct slice words[] = {S_INIT("first"), S_INIT("last"), S_INIT("before"),
                                         S_INIT("after")};
    size_t how = 0;
    bool harmless;
    while (line->arg_count >= 2 && how < 4 && !slice_eq(line->args[1].text, words[how])) {
        how++;
    }
    if (line->arg_count < 2 || how == 4 || line->arg_count != (how < 2 ? 2 : 3)) {
        cf_error(diags, &line->name, "\"order\" is written: order DIRECTIVE first|last, or order"
                 " DIRECTIVE before|after OTHER");
        return;
    }
    const struct directive *moved = find(diags, &line->args[0], &harmless);
    const struct directive *other = moved && how >= 2 ? find(diags, &line->args[2], &harmless)
                                                      : NULL;
    if (!moved || (how >= 2 && !other)) {
        return;
    }
    if (moved == other) {
        cf_error(diags, &line->args[2], "a directive cannot stand %.*s itself",
                 SLICE_ARG(line->args[1].text));
        return;
    }
    unsigned to = how == 0   ? 0
                  : how == 1 ? last_place(o) + 1
                             : o->places[index_of(other)] + (how == 3 ? 1 : 0);
    make_room(o, to);
    o->places[index_of(moved)] = to;
}
