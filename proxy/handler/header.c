/* header [matcher] [+|-|?|>]<field> [<value>|<find> <replace>] [{ defer }]
 * header [matcher] { ... several of these ... ; defer; match status|header ... | { both } }
 * request_header [matcher] [+|-]<field> [<value>|<find> <replace>]
 *
 * Changes fields of the response, or of the request before the handlers behind this one see it. The
 * rules are field_rules.h's. Those of a response are applied when it is known, so that they hold
 * whatever handler answers. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/field_rules.h"
#include "proxy/handler/response_match.h"

#define RULE_TOKENS_MAX 4

struct header {
    struct field_rules rules;
    const struct response_matcher *match; /* only for responses like this; NULL: all */
};

static enum handler_result header_request(const void *instance, struct exchange *ex)
{
    (void)instance;
    (void)ex;
    return HANDLER_NEXT;
}

static void header_response(const void *instance, struct exchange *ex)
{
    const struct header *h = instance;
    if (h->match && !response_matches(h->match, ex->res.status, &ex->res.fields)) {
        return;
    }
    if (field_rules_apply(&h->rules, &ex->res.fields, ex) == RULES_LIMIT) {
        /* A rule may be what hides something: nothing of this response goes out. */
        ex->res.status = 500;
        ex->res.reason = http_reason(500);
        ex->res.fields.count = 0;
        ex->res.content_length = 0;
        ex->res.tunnel = false;
        ex->error_detail = S("a regular expression of a header rule hit its limit");
    } /* out of memory: the response goes out with what was done */
}

/* Caddy's order: the directives as they stand in the route; then what is deferred (blocks with
 * "-", "?", ">" or defer), the last directive first. */
static const struct handler_ops header_ops = {
    .name = "header", .on_request = header_request, .on_response_early = header_response};
static const struct handler_ops deferred_header_ops = {
    .name = "header", .on_request = header_request, .on_response = header_response};

/* The Host field is also the request's authority, which routing and reverse_proxy go by. */
static bool take_host(struct exchange *ex)
{
    const struct field *host = fields_find_id(&ex->req.fields, FIELD_HOST);
    if (!host || slice_eq(host->value, ex->req.authority)) {
        return true;
    }
    ex->req.authority = host->value;
    return http_split_authority(&ex->arena, host->value, &ex->req.host, &ex->req.port);
}

static enum handler_result request_header_request(const void *instance, struct exchange *ex)
{
    switch (field_rules_apply(instance, &ex->req.fields, ex)) {
    case RULES_NO_MEMORY:
        return chain_error(ex, 503, S("out of memory"));
    case RULES_LIMIT:
        return chain_error(ex, 500, S("a regular expression of a header rule hit its limit"));
    case RULES_DONE:
        break;
    }
    if (!take_host(ex)) {
        return chain_error(ex, 400, S("the Host that request_header set is none"));
    }
    return HANDLER_NEXT;
}

static const struct handler_ops request_header_ops = {
    .name = "request_header", .nature = HANDLER_PREPARES, .on_request = request_header_request};

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_defer(const struct cf_directive *d)
{
    return slice_eq(d->name.text, S("defer")) && d->arg_count == 0;
}

/* `match`: as in Caddy these rules are then among the late ones. */
static bool read_match(struct build *b, const struct cf_directive *d, struct header *h)
{
    struct response_scope scope = {NULL};
    if (!slice_eq(d->name.text, S("match"))) {
        return false;
    }
    response_matcher_define(b, &scope, d);
    h->match = scope.first;
    h->rules.deferred = true;
    return true;
}

static void parse_block(struct build *b, const struct cf_directive *first,
                        struct field_rules *rules, struct header *header, const char *signs)
{
    for (const struct cf_directive *d = first; d; d = d->next) {
        struct cf_token tokens[RULE_TOKENS_MAX];
        if (is_defer(d) && rules->side == RULES_RESPONSE) {
            rules->deferred = true;
            continue;
        }
        if (header && read_match(b, d, header)) {
            continue;
        }
        tokens[0] = d->name;
        if (slice_ends(tokens[0].text, S(":"))) {
            tokens[0].text.n--; /* people write fields as they stand in a message */
        }
        size_t n = d->arg_count < RULE_TOKENS_MAX - 1 ? d->arg_count : RULE_TOKENS_MAX - 1;
        for (size_t i = 0; i < n; i++) {
            tokens[i + 1] = d->args[i];
        }
        (void)field_rules_parse(b, rules, tokens, n + 1, signs);
    }
}

bool header_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                  size_t count, struct handler *out)
{
    struct header *h = ARENA_NEW(b->arena, struct header);
    must(h);
    struct field_rules *rules = &h->rules;
    rules->side = RULES_RESPONSE;
    out->instance = h;
    unsigned errors = b->diags->errors;
    out->ops = &header_ops;
    if (count > 0) {
        if (!expect_args(b, d, count, 1, 3)) {
            return false;
        }
        for (const struct cf_directive *o = d->children; o; o = o->next) {
            if (!is_defer(o)) {
                cf_error(b->diags, &o->name, "the block behind a field has only defer in it");
            }
            rules->deferred = true;
        }
        (void)field_rules_parse(b, rules, args, count, "+-?>");
    } else if (!d->children) {
        cf_error(b->diags, &d->name, "\"header\" needs a field: header X-Name value");
    } else {
        parse_block(b, d->children, rules, h, "+-?>");
    }
    out->ops = rules->deferred ? &deferred_header_ops : &header_ops;
    return b->diags->errors == errors;
}

bool request_header_parse(struct build *b, const struct cf_directive *d,
                          const struct cf_token *args, size_t count, struct handler *out)
{
    struct field_rules *rules = ARENA_NEW(b->arena, struct field_rules);
    must(rules);
    rules->side = RULES_REQUEST;
    out->ops = &request_header_ops;
    out->instance = rules;
    unsigned errors = b->diags->errors;
    if (count > 0) {
        return expect_no_block(b, d) && expect_args(b, d, count, 1, 3) &&
               field_rules_parse(b, rules, args, count, "+-");
    }
    if (!d->children) {
        cf_error(b->diags, &d->name,
                 "\"request_header\" needs a field: request_header X-Name value");
    }
    parse_block(b, d->children, rules, NULL, "+-");
    return b->diags->errors == errors;
}
