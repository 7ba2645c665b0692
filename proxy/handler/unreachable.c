/* Rules that are never reached; see unreachable.h. Only what is certain is said: the earlier rule
 * always answers, and its matcher is true wherever the later one's is. */
#include "proxy/handler/unreachable.h"

/* Each rule is compared with those in front of it; beyond this many the check is left out. */
#define RULES_MAX 2000u

/* Does it answer whatever comes? */
static bool always_answers(const struct cf_directive *d)
{
    static const struct slice names[] = {S_INIT("respond"), S_INIT("redir"), S_INIT("error"),
                                         S_INIT("abort"), S_INIT("reverse_proxy"),
                                         S_INIT("file_server")};
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        if (slice_eq(c->name.text, S("handle_response")) ||
            slice_eq(c->name.text, S("pass_thru"))) {
            return false; /* may pass a request on */
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_eq(d->name.text, names[i])) {
            return true;
        }
    }
    return false;
}

static bool takes_all_of(const struct rule *before, const struct rule *after)
{
    unsigned group = before->handler->group;
    bool same_group = group && group == after->handler->group;
    return (same_group || always_answers(before->line)) &&
           matcher_covers(before->handler->matcher, after->handler->matcher);
}

void unreachable_warn(struct cf_diags *diags, const struct rule *rules, size_t count)
{
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
