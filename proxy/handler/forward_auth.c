/* forward_auth [matcher] <origin>... {
 *     uri <to>
 *     copy_headers <field>[><as>]... | { <field>[><as>] ... }
 *     ...                      (and what reverse_proxy has)
 * }
 *
 * Asks another server (Authelia, Authentik, oauth2-proxy) about each request: a GET for <to> with
 * the request's fields, X-Forwarded-Method and X-Forwarded-Uri. Answers it 2xx, the request goes
 * on, with the named fields of that answer; whatever the client sent under those names is taken
 * out, also where the answer has none. Any other answer is the client's. It is reverse_proxy with
 * these settings. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/reverse_proxy_config.h"

#define COPIED_MAX 64

struct copied_field {
    struct slice from; /* in the answer */
    struct slice to;   /* in the request */
};

struct copied {
    struct copied_field items[COPIED_MAX];
    size_t count;
};

/* ---- running --------------------------------------------------------------------------------- */

/* All values of the answer's field as one list; p == NULL: memory. */
static struct slice answered(struct exchange *ex, struct slice name)
{
    struct dstr list;
    dstr_init(&list, EXCHANGE_ARENA_MAX / 8);
    for (unsigned i = 0; i < ex->origin_fields.count; i++) {
        const struct field *f = &ex->origin_fields.items[i];
        if (slice_eq_case(f->name, name)) {
            dstr_append(&list, list.n ? S(",") : S(""));
            dstr_append(&list, f->value);
        }
    }
    struct slice text = list.failed ? (struct slice){NULL, 0}
                        : list.n    ? arena_copy(&ex->arena, dstr_slice(&list))
                                    : S("");
    dstr_fini(&list);
    return text;
}

static enum handler_result copy_fields(const void *instance, struct exchange *ex)
{
    const struct copied *c = instance;
    for (size_t i = 0; i < c->count; i++) {
        struct slice value = answered(ex, c->items[i].from);
        fields_remove(&ex->req.fields, c->items[i].to);
        if (!value.p ||
            (value.n && !fields_add(&ex->req.fields, &ex->arena, c->items[i].to, value))) {
            return chain_error(ex, 503, S("out of memory"));
        }
    }
    return HANDLER_NEXT;
}

static const struct handler_ops copy_ops = {.name = "forward_auth", .on_request = copy_fields};

/* ---- reading --------------------------------------------------------------------------------- */

static bool read_copied(struct build *b, struct copied *c, const struct cf_token *t)
{
    struct slice to = t->text;
    struct slice from;
    (void)slice_cut(&to, '>', &from);
    to = to.p ? to : from;
    if (c->count == COPIED_MAX) {
        cf_error(b->diags, t, "more than %d fields to copy", COPIED_MAX);
        return false;
    }
    if (!field_name_valid(from) || !field_name_valid(to) || field_id(to) == FIELD_HOST ||
        field_id(to) == FIELD_CONTENT_LENGTH || (field_flags(field_id(to)) & FIELD_HOP)) {
        cf_error(b->diags, t, "\"%.*s\" is no field that can be copied", SLICE_ARG(t->text));
        return false;
    }
    c->items[c->count++] = (struct copied_field){from, to};
    return true;
}

static bool read_copy_headers(struct build *b, struct copied *c, const struct cf_directive *o)
{
    bool ok = true;
    for (size_t i = 0; i < o->arg_count; i++) {
        ok = read_copied(b, c, &o->args[i]) && ok;
    }
    for (const struct cf_directive *f = o->children; f; f = f->next) {
        ok = expect_args(b, f, f->arg_count, 0, 0) && read_copied(b, c, &f->name) && ok;
    }
    if (!o->arg_count && !o->children) {
        cf_error(b->diags, &o->name, "copy_headers needs a field: copy_headers Remote-User");
    }
    return ok && (o->arg_count || o->children);
}

/* A line of reverse_proxy's block, as if it stood at the place of `at`. */
static struct cf_directive *line(struct build *b, const struct cf_token *at, struct slice name,
                                 struct slice first, struct slice second)
{
    struct cf_directive *d = ARENA_NEW(b->arena, struct cf_directive);
    d->args = ARENA_ARRAY(b->arena, struct cf_token, 2);
    must(d && d->args);
    d->name = d->args[0] = d->args[1] = *at;
    d->name.text = name;
    d->args[0].text = first;
    d->args[1].text = second;
    d->arg_count = second.n ? 2 : 1;
    return d;
}

/* The answers that let a request through. */
static struct response_rule *admission(struct build *b, const struct cf_token *at,
                                       struct copied *copied)
{
    struct response_scope scope = {.first = NULL};
    struct cf_directive *matcher = line(b, at, S("@admitted"), S("status"), S("2xx"));
    struct response_rule *rule = ARENA_NEW(b->arena, struct response_rule);
    struct handler *handler = ARENA_NEW(b->arena, struct handler);
    must(rule && handler);
    response_matcher_define(b, &scope, matcher);
    rule->matcher = response_matcher_find(b, &scope, &matcher->name);
    *handler = (struct handler){.ops = &copy_ops, .instance = copied};
    rule->route = (struct route){.handlers = handler, .count = 1};
    return rule;
}

bool forward_auth_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                        size_t count, struct handler *out)
{
    struct copied *copied = ARENA_NEW(b->arena, struct copied);
    must(copied);
    struct cf_directive proxy = *d;
    struct cf_directive **tail = &proxy.children;
    const struct cf_directive *uri = NULL;
    bool ok = true;
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        if (slice_eq(o->name.text, S("copy_headers"))) {
            ok = read_copy_headers(b, copied, o) && ok;
        } else if (slice_eq(o->name.text, S("uri"))) {
            ok = expect_args(b, o, o->arg_count, 1, 1) && ok;
            if (uri) {
                cf_error(b->diags, &o->name, "uri is given twice (line %u)", uri->name.at.line);
                ok = false;
            }
            uri = o;
        } else {
            struct cf_directive *copy = ARENA_NEW(b->arena, struct cf_directive);
            must(copy);
            *copy = *o;
            *tail = copy;
            tail = &copy->next;
        }
    }
    if (!uri) {
        cf_error(b->diags, &d->name, "\"forward_auth\" needs the path to ask: uri /api/verify");
        ok = false;
    }
    if (!ok) {
        return false;
    }
    *tail = line(b, &d->name, S("method"), S("GET"), S(""));
    tail = &(*tail)->next;
    *tail = line(b, &uri->name, S("rewrite"), uri->args[0].text, S(""));
    tail = &(*tail)->next;
    *tail = line(b, &d->name, S("header_up"), S("X-Forwarded-Method"), S("{method}"));
    tail = &(*tail)->next;
    *tail = line(b, &d->name, S("header_up"), S("X-Forwarded-Uri"), S("{uri}"));
    (*tail)->next = NULL;
    if (!reverse_proxy_parse(b, &proxy, args, count, out)) {
        return false;
    }
    if (out->ops != &reverse_proxy_ops) {
        cf_error(b->diags, &d->name, "forward_auth asks a server over HTTP: resolve_root_symlink"
                 " has no place in it");
        out->ops->release(out->instance);
        return false;
    }
    struct reverse_proxy *p = out->instance;
    struct response_rule *rule = admission(b, &d->name, copied);
    rule->next = p->response_rules;
    p->response_rules = rule;
    p->asks = true;
    out->may_pass = true;
    return true;
}
