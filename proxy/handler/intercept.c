/* intercept [matcher] {
 *     @<name> status <code>|<n>xx... | header [!]<field> [<value>...] | { both }
 *     replace_status [@<name>] <status>
 *     handle_response [@<name>] { <directives> }
 * }
 *
 * Looks at the response of whatever handler answers behind it: the first rule that fits gives it
 * another status, or has other directives answer in its place; {resp.status_code} and
 * {resp.header.*} speak of the response then. When these do not answer, the response goes out as it
 * is. Error pages (handle_errors) and tunnels are not looked at. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/reverse_proxy_config.h"
#include "proxy/route/vars.h"

struct intercept {
    struct response_rule *rules;
    struct response_rule **tail;
    struct response_scope scope;
};

static enum handler_result intercept_request(const void *instance, struct exchange *ex)
{
    (void)instance;
    (void)ex;
    return HANDLER_NEXT;
}

static const struct route *look_at(const void *instance, struct exchange *ex)
{
    const struct intercept *in = instance;
    const struct response_rule *rule = in->rules;
    while (rule && rule->matcher &&
           !response_matches(rule->matcher, ex->res.status, &ex->res.fields)) {
        rule = rule->next;
    }
    if (!rule) {
        return NULL;
    }
    struct slice code = arena_printf(&ex->arena, "%d", ex->res.status);
    if (!code.p || !vars_set(ex, S("http.intercept.status_code"), code)) {
        return NULL; /* memory: the response goes out as it is */
    }
    uint64_t status;
    if (!rule->status) {
        return &rule->route;
    }
    if (slice_u64(template_eval(rule->status, ex), 599, &status) && status >= 200) {
        reverse_proxy_set_status(ex, (int)status);
    }
    return NULL;
}

static const struct handler_ops intercept_ops = {
    .name = "intercept", .on_request = intercept_request, .on_intercept = look_at};

/* ---- reading --------------------------------------------------------------------------------- */

static bool read_rule(struct build *b, struct intercept *in, const struct cf_directive *o)
{
    const struct cf_token *args = o->args;
    size_t count = o->arg_count;
    bool replaces = slice_eq(o->name.text, S("replace_status"));
    struct response_rule *rule = ARENA_NEW(b->arena, struct response_rule);
    must(rule);
    if (count && slice_starts(args[0].text, S("@"))) {
        rule->matcher = response_matcher_find(b, &in->scope, &args[0]);
        if (!rule->matcher) {
            return false;
        }
        args++;
        count--;
    }
    *in->tail = rule;
    in->tail = &rule->next;
    if (replaces) {
        int status;
        if (!expect_args(b, o, count, 1, 1) || !expect_no_block(b, o)) {
            return false;
        }
        rule->status = template_compile(b->arena, &args[0], b->diags);
        return rule->status && (!template_literal(rule->status).p ||
                                parse_status(b, &args[0], 200, 599, &status));
    }
    if (!o->has_block) {
        cf_error(b->diags, &o->name, "handle_response needs a block of directives");
        return false;
    }
    return expect_args(b, o, count, 0, 0) && route_build(b, o->children, &rule->route);
}

bool intercept_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                     size_t count, struct handler *out)
{
    struct intercept *in = ARENA_NEW(b->arena, struct intercept);
    must(in);
    (void)args;
    in->tail = &in->rules;
    out->ops = &intercept_ops;
    out->instance = in;
    bool ok = expect_args(b, d, count, 0, 0);
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        if (slice_starts(o->name.text, S("@"))) {
            response_matcher_define(b, &in->scope, o);
        }
    }
    for (const struct cf_directive *o = d->children; ok && o; o = o->next) {
        if (slice_eq(o->name.text, S("replace_status")) ||
            slice_eq(o->name.text, S("handle_response"))) {
            ok = read_rule(b, in, o);
        } else if (!slice_starts(o->name.text, S("@"))) {
            cf_error(b->diags, &o->name, "\"intercept\" has no option \"%.*s\" (it has"
                     " replace_status, handle_response and matchers of responses)",
                     SLICE_ARG(o->name.text));
            ok = false;
        }
    }
    if (ok && !in->rules) {
        cf_error(b->diags, &d->name, "\"intercept\" needs a block with replace_status or"
                 " handle_response");
        ok = false;
    }
    return ok;
}
