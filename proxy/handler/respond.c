/* respond [matcher] <status>|<body> [<status>] {
 *     body <text>
 *     close
 * }
 *
 * Answers with a fixed body (placeholders are filled in; default empty; text/plain, or
 * application/json where it is JSON) and status (default 200; a single argument of three digits is
 * a status). close ends the connection afterwards. */
#include <cjson/cJSON.h>

#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"

struct respond {
    int status;
    struct template *body; /* NULL: empty */
    bool json; /* the body, as it is written, is an object or array of JSON: its type says so */
    bool close;
};

static enum handler_result respond_request(const void *instance, struct exchange *ex)
{
    const struct respond *r = instance;
    struct slice body = r->body ? template_eval(r->body, ex) : S("");
    struct slice type = !body.n   ? S("")
                        : r->json ? S("application/json")
                                  : S("text/plain; charset=utf-8");
    if (!exchange_simple(ex, r->status, type, body) ||
        (r->close && !fields_add(&ex->res.fields, &ex->arena, S("Connection"), S("close")))) {
        exchange_error_page(ex, 503, S("out of memory"));
        return HANDLER_DONE;
    }
    exchange_respond(ex);
    return HANDLER_DONE;
}

static const struct handler_ops respond_ops = {.name = "respond", .on_request = respond_request};

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

static bool parse_block(struct build *b, const struct cf_directive *first, struct respond *r)
{
    bool ok = true;
    for (const struct cf_directive *d = first; d; d = d->next) {
        if (slice_eq(d->name.text, S("body"))) {
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

bool respond_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                   size_t count, struct handler *out)
{
    struct respond *r = ARENA_NEW(b->arena, struct respond);
    must(r);
    r->status = 200;
    out->ops = &respond_ops;
    out->instance = r;
    if (!expect_args(b, d, count, d->has_block ? 0 : 1, 2)) {
        return false;
    }
    bool ok = true;
    if (count == 1 && looks_like_status(args[0].text)) {
        ok = parse_status(b, &args[0], 200, 599, &r->status);
    } else if (count > 0) {
        r->body = template_compile(b->arena, &args[0], b->diags);
        ok = r->body && (count < 2 || parse_status(b, &args[1], 200, 599, &r->status));
    }
    ok = parse_block(b, d->children, r) && ok;
    r->json = is_json(r->body);
    return ok;
}
