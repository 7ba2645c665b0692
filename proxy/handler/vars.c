/* vars [matcher] <name> <value>
 * vars [matcher] { <name> <value> ... }
 *
 * Sets variables of the request, {vars.name}: for other directives, and for the matchers vars and
 * vars_regexp. Where several set the same name the more specific one holds. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/route/vars.h"

struct variable {
    struct variable *next;
    struct slice name; /* long: "http.vars.x" */
    struct template *value;
};

static enum handler_result vars_request(const void *instance, struct exchange *ex)
{
    for (const struct variable *v = instance; v; v = v->next) {
        if (!vars_set(ex, v->name, template_eval(v->value, ex))) {
            return chain_error(ex, 503, S("out of memory"));
        }
    }
    return HANDLER_NEXT;
}

static const struct handler_ops vars_ops = {
    .name = "vars", .nature = HANDLER_PREPARES, .on_request = vars_request};

static struct variable *read_variable(struct build *b, const struct cf_token *name,
                                      const struct cf_token *value)
{
    struct variable *v = ARENA_NEW(b->arena, struct variable);
    must(v);
    v->name = arena_printf(b->arena, "http.vars.%.*s", SLICE_ARG(name->text));
    v->value = template_compile(b->arena, value, b->diags);
    if (!name->text.n || slice_find(name->text, '{') != SLICE_NPOS) {
        cf_error(b->diags, name, "\"%.*s\" is no name of a variable", SLICE_ARG(name->text));
        return NULL;
    }
    return v->value ? v : NULL;
}

bool vars_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                size_t count, struct handler *out)
{
    struct variable *first = NULL;
    struct variable **tail = &first;
    out->ops = &vars_ops;
    if (count == 1 || count > 2 || (!count && !d->children)) {
        cf_error(b->diags, &d->name, "\"vars\" needs a name and a value: vars name value");
        return false;
    }
    if (count == 2) {
        first = read_variable(b, &args[0], &args[1]);
        tail = first ? &first->next : tail;
    }
    bool ok = !count || first;
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        struct variable *v = expect_args(b, o, o->arg_count, 1, 1)
                                 ? read_variable(b, &o->name, &o->args[0])
                                 : NULL;
        ok = ok && v;
        *tail = v;
        tail = v ? &v->next : tail;
    }
    out->instance = first;
    return ok;
}
