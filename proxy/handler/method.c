/* method [matcher] <method>
 *
 * Changes the request's method. What the client is sent goes by the method that it used: no body
 * for HEAD. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"

static enum handler_result method_request(const void *instance, struct exchange *ex)
{
    struct slice given = template_eval(instance, ex);
    char *p = arena_alloc(&ex->arena, given.n + 1);
    if (!p) {
        return chain_error(ex, 503, S("out of memory"));
    }
    for (size_t i = 0; i < given.n; i++) {
        bool small = given.p[i] >= 'a' && given.p[i] <= 'z';
        p[i] = small ? (char)(given.p[i] - 'a' + 'A') : given.p[i];
    }
    struct slice method = slice_of(p, given.n);
    if (!field_name_valid(method)) { /* a method is a token, as a field's name is */
        return chain_error(ex, 500, S("the method directive was given no method"));
    }
    ex->req.method_text = method;
    ex->req.method = http_method_of(method);
    return HANDLER_NEXT;
}

static const struct handler_ops method_ops = {
    .name = "method", .nature = HANDLER_PREPARES, .on_request = method_request};

bool method_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                  size_t count, struct handler *out)
{
    if (!expect_args(b, d, count, 1, 1) || !expect_no_block(b, d)) {
        return false;
    }
    struct template *t = template_compile(b->arena, &args[0], b->diags);
    struct slice literal = t ? template_literal(t) : S("GET");
    if (literal.p && !field_name_valid(literal)) {
        cf_error(b->diags, &args[0], "\"%.*s\" is no method", SLICE_ARG(literal));
        return false;
    }
    out->ops = &method_ops;
    out->instance = t;
    return t != NULL;
}
