/* Rules that are never reached; see unreachable.h. Only what is certain is said: the earlier rule
 * always answers, and its matcher is true wherever the later one's is. */
#include "proxy/handler/unreachable.h"

/* Each rule is compared with those in front of it; beyond this many the check is left out. */
#define RULES_MAX 2000u

/* Is every request that gets to h answered there, also where that is done inside its block? */
static bool answers(const struct handler *h)
{
    const struct route *inner = h->ops->inner ? h->ops->inner(h->instance) : NULL;
    return handler_always_answers(h) || (inner && inner->always_answers);
}

/* For each rule: is what it and those of its group in front of it take answered by them? */
static void find_answering(struct route *r, bool *answering)
{
    bool whole_group[GROUP_COUNT] = {true, true, true, true};
    for (size_t i = 0; i < r->count; i++) {
        const struct handler *h = &r->handlers[i];
        answering[i] = answers(h) && (!h->group || whole_group[h->group]);
        whole_group[h->group] = whole_group[h->group] && answering[i];
        r->always_answers = r->always_answers || (answering[i] && !h->matcher);
    }
}

static bool takes_all_of(const struct route *r, const bool *answering, size_t k, size_t i)
{
    const struct handler *before = &r->handlers[k];
    bool same_group = before->group && before->group == r->handlers[i].group;
    return (same_group || answering[k]) &&
           matcher_covers(before->matcher, r->handlers[i].matcher);
}

void unreachable_warn(struct cf_diags *diags, struct route *route)
{
    const struct handler *rules = route->handlers;
    size_t count = route->count;
    bool answering[RULES_MAX];
    if (count > RULES_MAX) {
        return;
    }
    find_answering(route, answering);
    for (size_t i = 1; i < count; i++) {
        size_t k = 0;
        while (k < i && !takes_all_of(route, answering, k, i)) {
            k++;
        }
        if (k == i) {
            continue;
        }
        const struct cf_directive *by = rules[k].line;
        const struct cf_token *name = &rules[i].line->name;
        struct cf_diag *d = cf_warning(diags, name, "this \"%.*s\" is never reached",
                                       SLICE_ARG(name->text));
        if (d) {
            d->hint = arena_printf(&diags->arena, "the \"%.*s\" of line %u runs first, for every"
                                   " request that this one is for", SLICE_ARG(by->name.text),
                                   by->name.at.line);
        }
    }
}
