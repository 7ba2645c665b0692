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

/* May matchers behind it see another request than those in front of it? */
static bool may_change(const struct handler *h)
{
    static const struct slice changing[] = {S_INIT("rewrite"),   S_INIT("uri"),
                                            S_INIT("try_files"), S_INIT("method"),
                                            S_INIT("vars"),      S_INIT("request_header"),
                                            S_INIT("map"),       S_INIT("php_fastcgi")};
    if (!h->line || (h->ops->inner && !answers(h))) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(changing); i++) {
        if (slice_eq(h->line->name.text, changing[i])) {
            return true;
        }
    }
    return false;
}

/* What is known of each rule. */
struct rules {
    bool answering[RULES_MAX]; /* what it and those of its group in front of it take is answered */
    bool changing[RULES_MAX];  /* see may_change */
};

static void look_at(struct route *r, struct rules *rules)
{
    bool whole_group[GROUP_COUNT] = {true, true, true, true};
    for (size_t i = 0; i < r->count; i++) {
        const struct handler *h = &r->handlers[i];
        bool answering = answers(h) && (!h->group || whole_group[h->group]);
        whole_group[h->group] = whole_group[h->group] && answering;
        r->always_answers = r->always_answers || (answering && !h->matcher);
        rules->answering[i] = answering;
        rules->changing[i] = may_change(h);
    }
}

static bool takes_all_of(const struct route *r, const struct rules *rules, size_t k, size_t i)
{
    const struct handler *before = &r->handlers[k];
    bool same_group = before->group && before->group == r->handlers[i].group;
    return (same_group || rules->answering[k]) &&
           matcher_covers(before->matcher, r->handlers[i].matcher);
}

/* The rule that takes all that rule i is for, of those in front of it; i: none does. Only a rule
 * without a matcher does where the request may be another one by then. */
static size_t taker_of(const struct route *r, const struct rules *rules, size_t i)
{
    size_t changed = 0; /* the first rule behind the last change */
    unsigned group = r->handlers[i].group;
    for (size_t k = 0; k < i; k++) {
        bool sibling = group && r->handlers[k].group == group; /* then i is not run at all */
        changed = !sibling && rules->changing[k] ? k + 1 : changed;
    }
    for (size_t k = 0; k < i; k++) {
        if ((k >= changed || !r->handlers[k].matcher) && takes_all_of(r, rules, k, i)) {
            return k;
        }
    }
    return i;
}

void unreachable_warn(struct cf_diags *diags, struct route *route)
{
    const struct handler *rules = route->handlers;
    size_t count = route->count;
    struct rules known;
    if (count > RULES_MAX) {
        return;
    }
    look_at(route, &known);
    for (size_t i = 1; i < count; i++) {
        size_t k = taker_of(route, &known, i);
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
