/* Origins that are made from requests; see reverse_proxy_named.h.
 *
 * As in Caddy a placeholder may stand for a host, a port or both, not for a scheme. Unlike there
 * nothing that it comes to is taken on trust: a host is a name or an IP address and never empty
 * (which would be this machine), what is written beside the placeholder stays what it is, and a
 * Unix socket is only meant where "unix/" is written. */
#include "proxy/handler/reverse_proxy_named.h"

#include "proxy/base/log.h"
#include "proxy/handler/reverse_proxy_forward.h"
#include "proxy/upstream/named.h"

/* ---- reading --------------------------------------------------------------------------------- */

/* The port that is written at the end, or 0. */
static uint16_t written_port(struct slice text)
{
    uint64_t port = 0;
    size_t colon = slice_rfind(text, ':');
    return colon != SLICE_NPOS && slice_u64(slice_from(text, colon + 1), 65535, &port)
               ? (uint16_t)port
               : 0;
}

bool named_place_read(struct build *b, const struct cf_token *t, struct named_place *out)
{
    struct cf_token address = *t;
    *out = (struct named_place){.at = t, .port = written_port(t->text)};
    if (slice_find_slice(t->text, S("://")) != SLICE_NPOS) {
        struct cf_diag *d = cf_error(b->diags, t, "an origin with placeholders has no scheme");
        if (d) {
            d->hint = S("write host:port; for https a block with transport http { tls }");
        }
        return false;
    }
    if (slice_starts(t->text, S("unix+h2c/"))) {
        cf_error(b->diags, t, "unix+h2c/ takes no placeholders; write unix/... and transport http {"
                 " versions h2c }");
        return false;
    }
    if (slice_starts(t->text, S("unix/"))) {
        address.text = slice_from(t->text, strlen("unix/"));
        out->unix_path = true;
        out->port = 0;
    }
    out->address = template_compile(b->arena, &address, b->diags);
    if (out->address && template_literal(out->address).p) {
        cf_error(b->diags, t, "\"%.*s\" is no origin: host:port", SLICE_ARG(t->text));
        return false;
    }
    if (out->address && template_names_origin(out->address)) {
        cf_error(b->diags, t, "what the origin is cannot depend on what the origin is");
        return false;
    }
    return out->address != NULL;
}

/* ---- for a request --------------------------------------------------------------------------- */

static void complain(const struct forward *f, struct slice written, struct slice value)
{
    log_event(LOG_WARN, "http.handlers.reverse_proxy", "placeholders give no address to forward to",
              LOG_S("origin", written), LOG_S("value", slice_upto(value, 256)),
              LOG_S("host", f->ex->req.host), LOG_S("uri", f->ex->req.target));
}

/* The name that TLS asks for: false if it is none. */
static bool server_name(const struct forward *f, const struct named_place *at, struct slice *out)
{
    struct named_address unused;
    *out = S("");
    if (!at->server_name) {
        return true;
    }
    *out = template_eval(at->server_name, f->ex);
    return named_address_parse(*out, 1, &unused) && slice_eq(unused.host, *out);
}

static struct origin *make(const struct forward *f, size_t i)
{
    const struct reverse_proxy *p = f->proxy;
    const struct named_place *place = &p->places[i];
    const struct origin *like = p->origins[i];
    struct named_address address = {like->host, like->port, like->unix_path};
    struct slice tls_name = S("");
    struct slice text = place->address ? template_eval(place->address, f->ex) : like->text;
    bool ok = server_name(f, place, &tls_name) &&
              (!place->address ? true
               : place->unix_path ? named_unix_parse(text, &address)
                                  : named_address_parse(text, place->port, &address));
    struct slice key = arena_printf(&f->ex->arena, "%zu %.*s %.*s", i, SLICE_ARG(text),
                                    SLICE_ARG(tls_name));
    if (!ok || !key.p || f->ex->arena.failed) {
        complain(f, like->text, ok || !tls_name.n ? text : tls_name);
        return NULL;
    }
    struct origin *o = named_get(p->named, key);
    return o ? o : named_put(p->named, key, named_origin_new(like, &address, tls_name));
}

bool named_origins(struct forward *f)
{
    const struct reverse_proxy *p = f->proxy;
    bool any = false;
    if (!f->named) { /* they are the same in every round */
        f->named = ARENA_ARRAY(&f->ex->arena, struct origin *, p->origin_count);
        for (size_t i = 0; f->named && i < p->origin_count; i++) {
            bool made = p->places[i].address || p->places[i].server_name;
            f->named[i] = made ? make(f, i) : origin_ref(p->origins[i]);
            f->named_count = i + 1;
        }
    }
    f->origins = f->named;
    f->origin_count = f->named_count;
    for (size_t i = 0; i < f->named_count; i++) {
        any = any || f->named[i];
        f->tried |= (uint64_t)!f->named[i] << i;
    }
    return any;
}

/* ---- dynamic --------------------------------------------------------------------------------- */

/* The sources with their placeholders filled in, and a key for all of them. False: one has no name
 * or no port. */
static bool fill_in(const struct forward *f, struct dynamic_source *sources, struct slice *key)
{
    const struct dynamic_sources *all = &f->proxy->sources;
    for (size_t i = 0; i < all->count; i++) {
        const struct named_source *n = &all->named[i];
        struct dynamic_source *s = &sources[i];
        struct named_address name;
        uint64_t port = s->port;
        *s = all->items[i];
        s->name = n->name ? template_eval(n->name, f->ex) : s->name;
        struct slice text = n->port ? template_eval(n->port, f->ex) : S("");
        bool port_ok = !n->port || (slice_u64(text, 65535, &port) && port > 0);
        if (!port_ok || !named_address_parse(s->name, 1, &name) || !slice_eq(name.host, s->name)) {
            complain(f, all->items[i].name, port_ok ? s->name : text);
            return false;
        }
        s->port = n->port ? (uint16_t)port : s->port;
        *key = arena_printf(&f->ex->arena, "%.*s %.*s:%u", SLICE_ARG(*key), SLICE_ARG(s->name),
                            s->port);
    }
    return !f->ex->arena.failed;
}

struct dynamic *named_dynamic(struct forward *f)
{
    const struct reverse_proxy *p = f->proxy;
    struct dynamic_source sources[DYNAMIC_SOURCES_MAX];
    struct slice key = S("");
    if (!f->named_dynamic && fill_in(f, sources, &key)) {
        f->named_dynamic = named_get(p->named_dynamics, key);
        if (!f->named_dynamic) {
            f->named_dynamic = named_put(p->named_dynamics, key,
                                         dynamic_new(sources, p->sources.count, p->dynamic_like));
        }
    }
    return f->named_dynamic;
}

void named_release(struct forward *f)
{
    for (size_t i = 0; i < f->named_count; i++) {
        origin_unref(f->named[i]);
    }
    f->named = NULL;
    f->named_count = 0;
    dynamic_unref(f->named_dynamic);
    f->named_dynamic = NULL;
}
