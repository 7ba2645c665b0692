/* request_body [matcher] { max_size <size> }
 *
 * A larger body is answered with 413: at once where its length is announced, else when it gets too
 * long. (servers { max_request_body } is the same for everything.) */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"

struct request_body {
    uint64_t max_bytes; /* 0: none, as in Caddy */
};

/* False: it is too large already. */
static bool limit_body(struct exchange *ex, uint64_t max)
{
    uint64_t *held = &ex->req_body.total_max_bytes;
    if ((ex->req.content_length > 0 && (uint64_t)ex->req.content_length > max) ||
        ex->req_body.pushed_bytes > max) {
        return false;
    }
    if (!ex->req.upgrade && (!*held || *held > max)) {
        *held = max; /* from here on the body itself minds it */
    }
    return true;
}

static enum handler_result body_request(const void *instance, struct exchange *ex)
{
    const struct request_body *r = instance;
    if (r->max_bytes && !limit_body(ex, r->max_bytes)) {
        return chain_error(ex, 413, S("the request body is larger than this site allows"));
    }
    return HANDLER_NEXT;
}

static const struct handler_ops body_ops = {.name = "request_body", .on_request = body_request};

bool request_body_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                        size_t count, struct handler *out)
{
    struct request_body *r = ARENA_NEW(b->arena, struct request_body);
    must(r);
    (void)args;
    out->ops = &body_ops;
    out->instance = r;
    if (!expect_args(b, d, count, 0, 0)) {
        return false;
    }
    bool ok = d->children != NULL;
    if (!ok) {
        cf_error(b->diags, &d->name, "\"request_body\" needs a block: request_body { max_size"
                 " 10MB }");
    }
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        if (!slice_eq(o->name.text, S("max_size"))) {
            cf_error(b->diags, &o->name, "\"request_body\" has max_size in caddis, not \"%.*s\"",
                     SLICE_ARG(o->name.text));
            ok = false;
        } else if (!expect_args(b, o, o->arg_count, 1, 1)) {
            ok = false;
        } else if (!cf_parse_size(o->args[0].text, &r->max_bytes)) {
            cf_error(b->diags, &o->args[0], "\"%.*s\" is no size such as 10MB or 512KiB",
                     SLICE_ARG(o->args[0].text));
            ok = false;
        }
    }
    return ok;
}
