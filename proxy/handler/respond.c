/* respond [matcher] <status>|<body> [<status>] {
 *     body <text>
 *     close
 * }
 *
 * Answers with a fixed body (placeholders are filled in; default empty; text/plain, or
 * application/json where it is JSON) and status (a single argument of three digits is one; default
 * 200, inside handle_errors that of the error). 103 sends early hints, with the fields that header
 * directives set, and goes on. close ends the connection afterwards. */
#include <cjson/cJSON.h>

#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"

struct respond {
    struct template *status; /* NULL: 200, or that of the error being handled */
    struct template *body;   /* NULL: empty */
    bool json; /* the body, as it is written, is an object or array of JSON: its type says so */
    bool close;
};

static bool status_of(const struct respond *r, struct exchange *ex, int *out)
{
    uint64_t status = (uint64_t)chain_default_status(ex);
    bool ok = !r->status || (slice_u64(template_eval(r->status, ex), 599, &status) &&
                             (status == 103 || status >= 200));
    *out = (int)status;
    return ok;
}

/* Early hints (RFC 8297) are the fields that are known already; the answer is still to come. */
static enum handler_result early_hints(struct exchange *ex)
{
    ex->res.status = 103;
    ex->res.version = HTTP_1_1;
    ex->res.reason = http_reason(103);
    chain_run_early_hooks(ex);
    exchange_send_interim(ex, &ex->res);
    exchange_clear_response(ex);
    return HANDLER_NEXT;
}

static enum handler_result respond_request(const void *instance, struct exchange *ex)
{
    const struct respond *r = instance;
    struct slice body = r->body ? template_eval(r->body, ex) : S("");
    struct slice type = !body.n   ? S("")
                        : r->json ? S("application/json")
                                  : S("text/plain; charset=utf-8");
    int status;
    if (!status_of(r, ex, &status)) {
        return chain_error(ex, 500, S("respond was given no status"));
    }
    if (status == 103) {
        return early_hints(ex);
    }
    if (!exchange_simple(ex, status, type, body) ||
        (r->close && !fields_add(&ex->res.fields, &ex->arena, S("Connection"), S("close")))) {
        return chain_error(ex, 503, S("out of memory"));
    }
    exchange_respond(ex);
    return HANDLER_DONE;
}

static const struct handler_ops respond_ops = {
    .name = "respond", .nature = HANDLER_ANSWERS, .on_request = respond_request};

static bool is_json(const struct template *body)
{
    struct slice text = body ? template_literal(body) : S("");
    if (!text.p || !text.n || (text.p[0] != '{' && text.p[0] != '[')) {
        return false;
    }
    cJSON *parsed = cJSON_ParseWithLengthOpts(text.p, text.n, NULL, false);
    cJSON_Delete(parsed);
    return parsed != NULL;
}

static bool looks_like_status(struct slice s)
{
    uint64_t v;
    return s.n == 3 && slice_u64(s, 999, &v);
}

static bool read_status(struct build *b, const struct cf_token *t, struct respond *r)
{
    int status;
    r->status = template_compile(b->arena, t, b->diags);
    struct slice literal = r->status ? template_literal(r->status) : S("200");
    return r->status && (!literal.p || slice_eq(literal, S("103")) ||
                         parse_status(b, t, 200, 599, &status));
}

static bool parse_block(struct build *b, const struct cf_directive *first, struct respond *r)
{
    bool ok = true;
    for (const struct cf_directive *d = first; d; d = d->next) {
        if (slice_eq(d->name.text, S("body"))) {
            if (r->body) {
                cf_error(b->diags, &d->name, "the body is given twice");
                ok = false;
            }
            if (!expect_args(b, d, d->arg_count, 1, 1)) {
                ok = false;
                continue;
            }
            r->body = template_compile(b->arena, &d->args[0], b->diags);
            ok = ok && r->body;
        } else if (slice_eq(d->name.text, S("close"))) {
            ok = expect_args(b, d, d->arg_count, 0, 0) && ok;
            r->close = true;
        } else {
            cf_error(b->diags, &d->name, "\"respond\" has no option \"%.*s\" (it has body, close)",
                     SLICE_ARG(d->name.text));
            ok = false;
        }
    }
    return ok;
}

/* "respond hello world": false after an error. */
static bool no_second_word(struct build *b, const struct cf_token *t)
{
    if (looks_like_status(t->text) || slice_find(t->text, '{') != SLICE_NPOS) {
        return true;
    }
    struct cf_diag *d = cf_error(b->diags, t, "\"%.*s\" is not a status from 200 to 599",
                                 SLICE_ARG(t->text));
    if (d) {
        d->hint = S("a text of several words goes in quotes");
    }
    return false;
}

bool respond_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                   size_t count, struct handler *out)
{
    struct respond *r = ARENA_NEW(b->arena, struct respond);
    must(r);
    out->ops = &respond_ops;
    out->instance = r;
    if (!expect_args(b, d, count, d->has_block ? 0 : 1, 2)) {
        return false;
    }
    bool ok = true;
    if (count == 1 && looks_like_status(args[0].text)) {
        ok = read_status(b, &args[0], r);
    } else if (count > 0) {
        r->body = template_compile(b->arena, &args[0], b->diags);
        ok = r->body && (count < 2 || (no_second_word(b, &args[1]) && read_status(b, &args[1], r)));
    }
    ok = parse_block(b, d->children, r) && ok;
    r->json = is_json(r->body);
    out->may_pass = r->status && slice_eq(template_literal(r->status), S("103"));
    return ok;
}
