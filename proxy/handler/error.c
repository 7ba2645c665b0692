/* error [matcher] <message>|<status> [<status>] { message <text> }
 *
 * Raises an error (500 by default): handle_errors answers it, or a plain page does. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"

struct raised {
    struct template *message; /* NULL: none */
    struct template *status;  /* NULL: 500 */
};

static enum handler_result error_request(const void *instance, struct exchange *ex)
{
    const struct raised *r = instance;
    uint64_t status = 500;
    if (r->status &&
        (!slice_u64(template_eval(r->status, ex), 599, &status) || status < 200)) {
        return chain_error(ex, 500, S("the error directive was given no status"));
    }
    return chain_error(ex, (int)status, r->message ? template_eval(r->message, ex) : S(""));
}

static const struct handler_ops error_ops = {
    .name = "error", .nature = HANDLER_ANSWERS, .on_request = error_request};

/* Is the text a status, or a placeholder that may become one? */
static bool looks_like_status(struct slice s)
{
    uint64_t v;
    return s.n == 3 && slice_u64(s, 999, &v);
}

static bool read_status(struct build *b, const struct cf_token *t, struct raised *r)
{
    int status;
    r->status = template_compile(b->arena, t, b->diags);
    return r->status &&
           (!template_literal(r->status).p || parse_status(b, t, 200, 599, &status));
}

static bool read_block(struct build *b, const struct cf_directive *first, struct raised *r)
{
    for (const struct cf_directive *o = first; o; o = o->next) {
        if (!slice_eq(o->name.text, S("message"))) {
            cf_error(b->diags, &o->name, "\"error\" has no option \"%.*s\" (it has message)",
                     SLICE_ARG(o->name.text));
            return false;
        }
        if (r->message) {
            cf_error(b->diags, &o->name, "the message is given twice");
            return false;
        }
        if (!expect_args(b, o, o->arg_count, 1, 1)) {
            return false;
        }
        r->message = template_compile(b->arena, &o->args[0], b->diags);
        if (!r->message) {
            return false;
        }
    }
    return true;
}

bool error_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                 size_t count, struct handler *out)
{
    struct raised *r = ARENA_NEW(b->arena, struct raised);
    must(r);
    out->ops = &error_ops;
    out->instance = r;
    if (!expect_args(b, d, count, d->has_block ? 0 : 1, 2)) {
        return false;
    }
    bool lone_status = count == 1 && looks_like_status(args[0].text);
    if (lone_status || count == 2) {
        if (!read_status(b, &args[count - 1], r)) {
            return false;
        }
    }
    if (count && !lone_status) {
        r->message = template_compile(b->arena, &args[0], b->diags);
        if (!r->message) {
            return false;
        }
    }
    return read_block(b, d->children, r);
}
