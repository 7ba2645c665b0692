/* dynamic a [<name> <port>] {
 *     name <name>; port <port>
 *     refresh 1m; resolvers <ip[:port]>...; versions ipv4|ipv6...; grace_period 1m
 * }
 * dynamic srv [<full name>] {
 *     service <service>; proto tcp|udp; name <name>        (_service._proto.name)
 *     refresh 1m; resolvers <ip[:port]>...; grace_period 1m
 * }
 * dynamic multi { a ...; srv ... }                          (all of them together)
 *
 * Names and ports may have placeholders. When nothing can be looked up the origins that are written
 * beside it are used. */
#include "proxy/handler/reverse_proxy_dynamic.h"

#include "proxy/handler/directives.h"

#define REFRESH_MS (60 * 1000)

struct reading {
    struct build *b;
    struct dynamic_source *s;
    struct named_source *named;
    bool *any_named;
    struct slice service;
    struct slice proto;
};

struct slice resolvers_read(struct build *b, const struct cf_directive *d)
{
    struct slice list = S("");
    for (size_t i = 0; i < d->arg_count; i++) {
        struct slice one = d->args[i].text;
        one = slice_starts(one, S("udp/")) ? slice_from(one, 4) : one;
        if (!dns_servers_valid(one) || slice_find(one, ',') != SLICE_NPOS) {
            cf_error(b->diags, &d->args[i], "\"%.*s\" is no name server's IP address, with a port"
                     " or without", SLICE_ARG(d->args[i].text));
            return S("");
        }
        list = list.n ? arena_printf(b->arena, "%.*s,%.*s", SLICE_ARG(list), SLICE_ARG(one)) : one;
    }
    if (!dns_servers_valid(list)) {
        cf_error(b->diags, &d->name, list.n ? "too many resolvers" : "resolvers needs an address");
        return S("");
    }
    return list;
}

/* Has t placeholders? Then they are compiled, into *out. */
static bool read_template(struct reading *r, const struct cf_token *t, const struct template **out)
{
    if (slice_find(t->text, '{') == SLICE_NPOS) {
        return false;
    }
    *out = template_compile(r->b->arena, t, r->b->diags);
    *r->any_named = true;
    return true;
}

static bool read_name(struct reading *r, const struct cf_token *t, struct slice *out)
{
    if (t->text.n == 0 || t->text.n > DNS_NAME_MAX) {
        cf_error(r->b->diags, t, "\"%.*s\" is no name", SLICE_ARG(t->text));
        return false;
    }
    *out = t->text;
    return true;
}

static bool read_port(struct reading *r, const struct cf_token *t)
{
    uint64_t port;
    if (read_template(r, t, &r->named->port)) {
        r->s->port = 1; /* in its place */
        return true;
    }
    if (!slice_u64(t->text, 65535, &port) || port == 0) {
        cf_error(r->b->diags, t, "\"%.*s\" is no port from 1 to 65535", SLICE_ARG(t->text));
        return false;
    }
    r->s->port = (uint16_t)port;
    return true;
}

/* The whole name, once it is known. */
static void name_templates(struct reading *r, const struct cf_token *at)
{
    struct cf_token whole = *at;
    whole.text = r->s->name;
    (void)read_template(r, &whole, &r->named->name);
}

static void read_duration(struct reading *r, const struct cf_directive *d, int64_t *out)
{
    if (!expect_args(r->b, d, d->arg_count, 1, 1)) {
        return;
    }
    if (!cf_parse_duration(d->args[0].text, out) || *out <= 0) {
        cf_error(r->b->diags, &d->args[0], "\"%.*s\" is no duration such as 30s, 5m or 1h30m",
                 SLICE_ARG(d->args[0].text));
    }
}

static void read_versions(struct reading *r, const struct cf_directive *d)
{
    r->s->no_v4 = r->s->no_v6 = true;
    for (size_t i = 0; i < d->arg_count; i++) {
        if (slice_eq(d->args[i].text, S("ipv4"))) {
            r->s->no_v4 = false;
        } else if (slice_eq(d->args[i].text, S("ipv6"))) {
            r->s->no_v6 = false;
        } else {
            cf_error(r->b->diags, &d->args[i], "versions are ipv4 and ipv6");
        }
    }
    if (d->arg_count == 0) {
        cf_error(r->b->diags, &d->name, "versions are ipv4 and ipv6");
    }
}

/* What both kinds have. */
static bool read_common(struct reading *r, const struct cf_directive *d)
{
    struct slice name = d->name.text;
    int64_t unused = 0;
    if (slice_eq(name, S("name"))) {
        if (expect_args(r->b, d, d->arg_count, 1, 1)) {
            (void)read_name(r, &d->args[0], &r->s->name);
        }
    } else if (slice_eq(name, S("refresh"))) {
        read_duration(r, d, &r->s->refresh_ms);
    } else if (slice_eq(name, S("grace_period"))) {
        read_duration(r, d, &r->s->grace_ms);
    } else if (slice_eq(name, S("resolvers"))) {
        r->s->resolvers = resolvers_read(r->b, d);
    } else if (slice_eq(name, S("dial_timeout")) || slice_eq(name, S("dial_fallback_delay"))) {
        read_duration(r, d, &unused);
        cf_warning(r->b->diags, &d->name, "\"%.*s\" of dynamic is about reaching name servers,"
                   " which caddis asks with times of its own: it is left out", SLICE_ARG(name));
    } else {
        return false;
    }
    return true;
}

static bool read_own(struct reading *r, const struct cf_directive *d)
{
    struct slice name = d->name.text;
    bool service = slice_eq(name, S("service"));
    if (r->s->srv && (service || slice_eq(name, S("proto")))) {
        if (expect_args(r->b, d, d->arg_count, 1, 1)) {
            (void)read_name(r, &d->args[0], service ? &r->service : &r->proto);
        }
    } else if (!r->s->srv && slice_eq(name, S("port"))) {
        if (expect_args(r->b, d, d->arg_count, 1, 1)) {
            (void)read_port(r, &d->args[0]);
        }
    } else if (!r->s->srv && slice_eq(name, S("versions"))) {
        read_versions(r, d);
    } else {
        return false;
    }
    return true;
}

static void finish(struct reading *r, const struct cf_token *at)
{
    struct dynamic_source *s = r->s;
    if (s->srv && (r->service.n || r->proto.n)) {
        if (!r->service.n || !r->proto.n) {
            cf_error(r->b->diags, at, "service and proto go together");
        }
        s->name = arena_printf(r->b->arena, "_%.*s._%.*s.%.*s", SLICE_ARG(r->service),
                               SLICE_ARG(r->proto), SLICE_ARG(s->name));
    }
    name_templates(r, at);
    if (!s->name.n || (!s->srv && !s->port)) {
        cf_error(r->b->diags, at,
                 s->srv ? "dynamic srv needs a name: dynamic srv _http._tcp.example"
                        : "dynamic a needs a name and a port: dynamic a app 8000");
    }
}

/* `a` or `srv`; args: what stands behind that word. */
static void read_source(struct build *b, const struct cf_directive *d, const struct cf_token *kind,
                        const struct cf_token *args, size_t count, struct dynamic_sources *out)
{
    if (out->count == DYNAMIC_SOURCES_MAX) {
        cf_error(b->diags, kind, "more than %d dynamic sources", DYNAMIC_SOURCES_MAX);
        return;
    }
    struct reading r = {.b = b,
                        .s = &out->items[out->count],
                        .named = &out->named[out->count],
                        .any_named = &out->any_named};
    out->count++;
    *r.s = (struct dynamic_source){.srv = slice_eq(kind->text, S("srv")), .refresh_ms = REFRESH_MS};
    if (count > (r.s->srv ? 1U : 2U) || (!r.s->srv && count == 1)) {
        cf_error(b->diags, &args[count - 1], r.s->srv ? "dynamic srv takes one name"
                                                      : "dynamic a takes a name and a port");
        return;
    }
    if ((count && !read_name(&r, &args[0], &r.s->name)) ||
        (count == 2 && !read_port(&r, &args[1]))) {
        return;
    }
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        if (!read_common(&r, c) && !read_own(&r, c)) {
            cf_error(b->diags, &c->name, "dynamic %.*s has no option \"%.*s\"",
                     SLICE_ARG(kind->text), SLICE_ARG(c->name.text));
        }
    }
    finish(&r, kind);
}

static bool is_kind(struct slice s)
{
    return slice_eq(s, S("a")) || slice_eq(s, S("srv"));
}

bool dynamic_read(struct build *b, const struct cf_directive *d, struct dynamic_sources *out)
{
    unsigned errors = b->diags->errors;
    if (out->count) {
        cf_error(b->diags, &d->name,
                 "dynamic is given twice; several sources go into dynamic multi");
        return false;
    }
    if (d->arg_count == 1 && slice_eq(d->args[0].text, S("multi"))) {
        for (const struct cf_directive *c = d->children; c; c = c->next) {
            if (is_kind(c->name.text)) {
                read_source(b, c, &c->name, c->args, c->arg_count, out);
            } else {
                cf_error(b->diags, &c->name, "dynamic multi has a and srv");
            }
        }
        if (!out->count) {
            cf_error(b->diags, &d->name, "dynamic multi needs a block with a or srv");
        }
    } else if (d->arg_count && is_kind(d->args[0].text)) {
        read_source(b, d, &d->args[0], d->args + 1, d->arg_count - 1, out);
    } else {
        cf_error(b->diags, d->arg_count ? &d->args[0] : &d->name, "dynamic is a, srv or multi");
    }
    return b->diags->errors == errors;
}
