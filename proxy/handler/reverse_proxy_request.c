/* The request that goes to the origin: which fields are dropped, added and changed. */
#include "proxy/handler/reverse_proxy_forward.h"

#define FORWARD_ADDS 8u /* fields that are added below, and one or two by rules */

static bool dropped_from_request(const struct field *f)
{
    switch ((int)f->id) {
    case FIELD_HOST:
    case FIELD_EXPECT:
    case FIELD_CONTENT_LENGTH:
    case FIELD_X_FORWARDED_FOR:
    case FIELD_X_FORWARDED_PROTO:
    case FIELD_X_FORWARDED_HOST:
        return true; /* written anew */
    default:
        return (field_flags(f->id) & FIELD_HOP) != 0 ||
               (f->id == FIELD_OTHER && (slice_find(f->name, '_') != SLICE_NPOS ||
                                         slice_eq_case(f->name, S("http2-settings"))));
    }
}

/* Does a Connection field name this field (RFC 9110 section 7.6.1)? */
static bool named_by_connection(const struct request *req, const struct field *f)
{
    return fields_have_token(&req->fields, FIELD_CONNECTION, f->name);
}

static bool copy_fields(struct forward *fw, const struct request *req)
{
    bool has_connection = fields_find_id(&req->fields, FIELD_CONNECTION) != NULL;
    if (!fields_reserve(&fw->base, &fw->ex->arena, req->fields.count + FORWARD_ADDS)) {
        return false;
    }
    for (unsigned i = 0; i < req->fields.count; i++) {
        const struct field *f = &req->fields.items[i];
        if (dropped_from_request(f) || (has_connection && named_by_connection(req, f))) {
            continue;
        }
        fw->base.items[fw->base.count++] = *f; /* as it was received, if it was */
    }
    return true;
}

/* ---- X-Forwarded-* --------------------------------------------------------------------------- */

/* All values that a trusted peer gave, as one list, and ours behind them. */
static struct slice with_prior(struct exchange *ex, enum field_id id, struct slice ours)
{
    struct dstr list;
    dstr_init(&list, EXCHANGE_ARENA_MAX / 8);
    for (unsigned i = 0; i < ex->req.fields.count; i++) {
        const struct field *f = &ex->req.fields.items[i];
        if (f->id == id && f->value.n) {
            dstr_append(&list, f->value);
            dstr_append(&list, S(", "));
        }
    }
    dstr_append(&list, ours);
    struct slice text = list.failed ? (struct slice){NULL, 0}
                                    : arena_copy(&ex->arena, dstr_slice(&list));
    dstr_fini(&list);
    return text;
}

/* The last value that a trusted peer gave, or ours. */
static struct slice last_prior(const struct exchange *ex, enum field_id id, struct slice ours)
{
    for (unsigned i = ex->req.fields.count; i-- > 0;) {
        const struct field *f = &ex->req.fields.items[i];
        if (f->id == id) {
            return f->value.n ? f->value : ours;
        }
    }
    return ours;
}

/* Untrusted peers: what we saw, whatever they claim. Trusted ones: theirs, with the peer added to
 * the list of addresses. A Unix socket's peer has no address to be named. */
static bool add_forwarded(struct forward *fw)
{
    struct exchange *ex = fw->ex;
    struct arena *a = &ex->arena;
    char buf[ADDR_TEXT_BYTES];
    bool is_unix = addr_is_unix(ex->client.peer);
    bool trusted = ex->peer_trusted || ip_ranges_have(&fw->proxy->trusted, ex->client.peer);
    if (is_unix && !trusted) {
        return true;
    }
    struct slice peer = addr_host_text(ex->client.peer, buf);
    struct slice proto = ex->req.scheme;
    struct slice host = ex->req.authority;
    struct slice list = trusted ? with_prior(ex, FIELD_X_FORWARDED_FOR, is_unix ? S("") : peer)
                                : arena_copy(a, peer);
    if (is_unix && slice_ends(list, S(", "))) {
        list = slice_upto(list, list.n - 2);
    }
    if (trusted) {
        proto = last_prior(ex, FIELD_X_FORWARDED_PROTO, proto);
        host = last_prior(ex, FIELD_X_FORWARDED_HOST, host);
    }
    return list.p &&
           (!list.n || fields_add_id(&fw->base, a, FIELD_X_FORWARDED_FOR, S("X-Forwarded-For"),
                                     list)) &&
           fields_add_id(&fw->base, a, FIELD_X_FORWARDED_PROTO, S("X-Forwarded-Proto"), proto) &&
           fields_add_id(&fw->base, a, FIELD_X_FORWARDED_HOST, S("X-Forwarded-Host"), host);
}

/* ---- method and rewrite ---------------------------------------------------------------------- */

static bool change_request(struct forward *f)
{
    const struct reverse_proxy *p = f->proxy;
    if (p->method.n) {
        f->out.method_text = p->method;
        f->out.method = http_method_of(p->method);
        if (f->out.method == METHOD_GET || f->out.method == METHOD_HEAD) {
            f->out.content_length = 0; /* the body goes nowhere */
        }
    }
    return !p->rewrite || target_apply(p->rewrite, f->ex, &f->out);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* The protocol to ask the origin for. Not HTTP/2: behind such a switch (RFC 7540 section 3.2, gone
 * from RFC 9113) a client could ask the origin for anything, past every matcher of ours. */
static struct slice wanted_upgrade(const struct request *req)
{
    const struct field *f = req->upgrade ? fields_find_id(&req->fields, FIELD_UPGRADE) : NULL;
    if (!f || fields_have_token(&req->fields, FIELD_UPGRADE, S("h2c")) ||
        fields_have_token(&req->fields, FIELD_UPGRADE, S("h2"))) {
        return S("");
    }
    return f->value;
}

size_t forward_collected_bytes(const struct forward *f)
{
    bool must_know = f->proxy->fastcgi && f->out.content_length < 0;
    uint64_t bytes = f->proxy->request_buffer_bytes;
    if (f->out.content_length == 0 || f->upgrade.n) {
        return 0; /* there is no body */
    }
    return (size_t)(must_know && !bytes ? FASTCGI_BUFFER_BYTES : bytes);
}

struct forward_buffer *forward_collect(struct forward *f, struct body *body, size_t max_bytes,
                                       void (*done)(struct body_buffer *self))
{
    struct forward_buffer *b = ARENA_NEW(&f->ex->arena, struct forward_buffer);
    if (b) {
        b->forward = f;
        exchange_hold(f->ex);
        body_buffer_start(&b->buffer, body, max_bytes, done);
    }
    return b;
}

enum rules_result forward_build(struct forward *f)
{
    struct exchange *ex = f->ex;
    const struct request *req = &ex->req;
    f->out = *req;
    f->out.fields = (struct fields){0};
    f->upgrade = f->proxy->asks || f->proxy->fastcgi ? S("") : wanted_upgrade(req);
    if (!change_request(f)) {
        return RULES_NO_MEMORY;
    }
    bool trailers = fields_have_token(&req->fields, FIELD_TE, S("trailers"));
    if (!fields_add_id(&f->base, &ex->arena, FIELD_HOST, S("Host"), req->authority) ||
        !copy_fields(f, req) || !add_forwarded(f) ||
        (trailers &&
         !fields_add_id(&f->base, &ex->arena, FIELD_TE, S("TE"), S("trailers"))) ||
        !fields_add_id(&f->base, &ex->arena, FIELD_VIA, S("Via"), S("1.1 caddis"))) {
        return RULES_NO_MEMORY;
    }
    return RULES_DONE;
}

enum rules_result forward_prepare(struct forward *f)
{
    struct arena *a = &f->ex->arena;
    struct fields *out = &f->out.fields;
    const struct field_rules *rules = &f->proxy->header_up;
    if (f->prepared_for == f->origin) {
        return RULES_DONE; /* a long row of retries must not fill the arena with the same values */
    }
    f->prepared_for = f->origin;
    bool as_it_is = !rules->first && !f->origin->tls_client && !f->proxy->fastcgi;
    if (as_it_is) {
        *out = f->base; /* nobody changes it: no copy for each attempt */
        return RULES_DONE;
    }
    if (out->items == f->base.items) {
        *out = (struct fields){0};
    }
    if (!fields_copy(out, a, &f->base)) {
        return RULES_NO_MEMORY;
    }
    if (f->origin->tls_client && !f->origin->unix_path.n) {
        fields_find_id(out, FIELD_HOST)->value = f->origin->text;
    }
    enum rules_result r = field_rules_apply(rules, out, f->ex);
    if (r == RULES_DONE && f->proxy->fastcgi) {
        f->refused = fastcgi_request(f->proxy->fastcgi, f->ex, &f->out, &f->refused_why);
    }
    return r;
}
