/* redir [matcher] <to> [<code>]
 *
 * Redirects to <to> (placeholders are filled in). code: permanent (301), temporary (302, the
 * default), a number from 300 to 399 or 401, or html (a page that redirects, for clients without
 * redirects; 200). */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"

struct redir {
    struct template *to;
    int status;
    bool html;
};

static enum handler_result redir_page(struct exchange *ex, struct slice to)
{
    struct dstr page;
    dstr_init(&page, EXCHANGE_ARENA_MAX / 4);
    dstr_append(&page, S("<!DOCTYPE html>\n<html>\n\t<head>\n\t\t<title>Redirecting...</title>\n"
                         "\t\t<script>window.location.replace(document.querySelector("
                         "'meta[http-equiv=refresh]').content.replace(/^0; URL=/, ''));</script>\n"
                         "\t\t<meta http-equiv=\"refresh\" content=\"0; URL="));
    dstr_html(&page, to);
    dstr_append(&page, S("\">\n\t</head>\n\t<body>Redirecting to <a href=\""));
    dstr_html(&page, to);
    dstr_append(&page, S("\">"));
    dstr_html(&page, to);
    dstr_append(&page, S("</a>...</body>\n</html>\n"));
    bool ok = !page.failed &&
              exchange_simple(ex, 200, S("text/html; charset=utf-8"), dstr_slice(&page));
    dstr_fini(&page);
    if (!ok) {
        return chain_error(ex, 503, S("out of memory"));
    }
    exchange_respond(ex);
    return HANDLER_DONE;
}

static enum handler_result redir_request(const void *instance, struct exchange *ex)
{
    const struct redir *r = instance;
    struct slice to = template_eval(r->to, ex);
    if (!field_value_valid(to)) {
        return chain_error(ex, 400, S("the redirect would hold control characters"));
    }
    if (r->html) {
        return redir_page(ex, to);
    }
    if (!exchange_simple(ex, r->status, S(""), S("")) ||
        !fields_add(&ex->res.fields, &ex->arena, S("Location"), to)) {
        return chain_error(ex, 503, S("out of memory"));
    }
    exchange_respond(ex);
    return HANDLER_DONE;
}

static const struct handler_ops redir_ops = {
    .name = "redir", .nature = HANDLER_ANSWERS, .on_request = redir_request};

bool redir_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                 size_t count, struct handler *out)
{
    struct redir *r = ARENA_NEW(b->arena, struct redir);
    must(r);
    r->status = 302;
    out->ops = &redir_ops;
    out->instance = r;
    if (!expect_args(b, d, count, 1, 2) || !expect_no_block(b, d)) {
        return false;
    }
    uint64_t number;
    if (count == 1 && args[0].text.n == 3 && slice_u64(args[0].text, 999, &number)) {
        struct cf_diag *diag = cf_error(b->diags, &args[0], "\"%.*s\" is a status; where to"
                                        " redirect to is missing", SLICE_ARG(args[0].text));
        if (diag && d->arg_count > count) {
            diag->hint = arena_printf(&b->diags->arena, "\"%.*s\" is taken for a matcher; write:"
                                      " redir * %.*s %.*s", SLICE_ARG(d->args[0].text),
                                      SLICE_ARG(d->args[0].text), SLICE_ARG(args[0].text));
        }
        return false;
    }
    r->to = template_compile(b->arena, &args[0], b->diags);
    if (count == 2) {
        struct slice code = args[1].text;
        if (slice_eq(code, S("permanent"))) {
            r->status = 301;
        } else if (slice_eq(code, S("html"))) {
            r->html = true;
        } else if (slice_eq(code, S("401"))) {
            r->status = 401;
        } else if (!slice_eq(code, S("temporary")) &&
                   !parse_status(b, &args[1], 300, 399, &r->status)) {
            return false;
        }
    }
    return r->to != NULL;
}
