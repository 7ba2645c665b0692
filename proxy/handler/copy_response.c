/* copy_response [matcher] [<status>]
 * copy_response_headers [matcher] { include <field>... | exclude <field>... }
 *
 * Only inside reverse_proxy's handle_response. The first answers with the origin's response as it
 * is (with header_down), perhaps with another status; the second adds fields of the origin's
 * response to the one that another handler makes. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/reverse_proxy_config.h"

struct copy_response {
    struct template *status; /* NULL: the origin's */
};

static enum handler_result copy_request(const void *instance, struct exchange *ex)
{
    const struct copy_response *c = instance;
    uint64_t status = 0;
    if (c->status &&
        (!slice_u64(template_eval(c->status, ex), 599, &status) || status < 200)) {
        return chain_error(ex, 500, S("copy_response was given no status"));
    }
    reverse_proxy_copy(ex, (int)status);
    return HANDLER_WAIT; /* it may be collected first (response_buffers) */
}

static const struct handler_ops copy_response_ops = {
    .name = "copy_response", .nature = HANDLER_ANSWERS, .on_request = copy_request};

static bool check_place(struct build *b, const struct cf_directive *d)
{
    if (!b->in_handle_response) {
        cf_error(b->diags, &d->name, "\"%.*s\" stands only inside reverse_proxy's handle_response",
                 SLICE_ARG(d->name.text));
    }
    return b->in_handle_response;
}

bool copy_response_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                         size_t count, struct handler *out)
{
    struct copy_response *c = ARENA_NEW(b->arena, struct copy_response);
    must(c);
    out->ops = &copy_response_ops;
    out->instance = c;
    if (!check_place(b, d) || !expect_args(b, d, count, 0, 1) || !expect_no_block(b, d)) {
        return false;
    }
    if (count == 1) {
        c->status = template_compile(b->arena, &args[0], b->diags);
    }
    return count == 0 || c->status;
}

/* ---- copy_response_headers ------------------------------------------------------------------- */

struct copy_headers {
    bool include; /* only the names; else all but them */
    struct slice *names;
    size_t count;
};

static enum handler_result headers_request(const void *instance, struct exchange *ex)
{
    (void)instance;
    (void)ex;
    return HANDLER_NEXT;
}

static bool is_named(const struct copy_headers *c, struct slice name)
{
    for (size_t i = 0; i < c->count; i++) {
        if (slice_eq_case(c->names[i], name)) {
            return true;
        }
    }
    return false;
}

static void headers_response(const void *instance, struct exchange *ex)
{
    const struct copy_headers *c = instance;
    for (unsigned i = 0; i < ex->origin_fields.count; i++) {
        const struct field *f = &ex->origin_fields.items[i];
        /* What the origin said of its own body does not hold for another one. */
        bool framing = f->id == FIELD_CONTENT_LENGTH || f->id == FIELD_CONTENT_ENCODING ||
                       (field_flags(f->id) & FIELD_HOP);
        if (is_named(c, f->name) == c->include && !framing &&
            !fields_add_id(&ex->res.fields, &ex->arena, f->id, f->name, f->value)) {
            return; /* memory: the response goes out with what there is */
        }
    }
}

static const struct handler_ops copy_headers_ops = {.name = "copy_response_headers",
                                                    .on_request = headers_request,
                                                    .on_response_early = headers_response};

static void read_names(struct build *b, struct copy_headers *c, const struct cf_directive *o)
{
    bool include = slice_eq(o->name.text, S("include"));
    if ((!include && !slice_eq(o->name.text, S("exclude"))) ||
        (c->names && c->include != include)) {
        cf_error(b->diags, &o->name, "copy_response_headers has either include or exclude");
        return;
    }
    struct slice *names = ARENA_ARRAY(b->arena, struct slice, c->count + o->arg_count + 1);
    must(names);
    if (c->count) {
        memcpy(names, c->names, c->count * sizeof(*names));
    }
    for (size_t i = 0; i < o->arg_count; i++) {
        names[c->count++] = o->args[i].text;
    }
    c->names = names;
    c->include = include;
}

bool copy_response_headers_parse(struct build *b, const struct cf_directive *d,
                                 const struct cf_token *args, size_t count, struct handler *out)
{
    unsigned errors = b->diags->errors;
    struct copy_headers *c = ARENA_NEW(b->arena, struct copy_headers);
    must(c);
    (void)args;
    out->ops = &copy_headers_ops;
    out->instance = c;
    if (!check_place(b, d) || !expect_args(b, d, count, 0, 0)) {
        return false;
    }
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        read_names(b, c, o);
    }
    return b->diags->errors == errors;
}
