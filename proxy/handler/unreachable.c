/* Rules that are never reached; see unreachable.h. Only what is certain is said: the earlier rule
 * always answers, and its matcher is true wherever the later one's is. */
#include "proxy/handler/unreachable.h"

/* Each rule is compared with those in front of it; beyond this many the check is left out. */
#define RULES_MAX 2000u

static bool takes_all_of(const struct handler *before, const struct handler *after)
{
    bool same_group = before->group && before->group == after->group;
    return (same_group || handler_always_answers(before)) &&
           matcher_covers(before->matcher, after->matcher);
}

void unreachable_warn(struct cf_diags *diags, const struct route *route)
{
    const struct handler *rules = route->handlers;
    size_t count = route->count;
    for (size_t i = 1; i < count && count <= RULES_MAX; i++) {
        size_t k = 0;
        while (k < i && !takes_all_of(&rules[k], &rules[i])) {
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
