/* See ports.h. */
#include "proxy/server/ports.h"

#include "proxy/handler/bind.h"

static bool is_unix(const struct bind_address *bind)
{
    return bind && bind->text.p[0] == '/';
}

struct port_table *ports_find(struct config *c, const struct bind_address *bind, uint16_t port)
{
    for (struct port_table *t = c->ports; t; t = t->next) {
        bool same = bind ? t->bind && slice_eq(t->bind->text, bind->text) : !t->bind;
        if (same && (t->port == port || is_unix(bind))) {
            return t;
        }
    }
    return NULL;
}

static struct port_table *add_port(struct config *c, const struct bind_address *bind,
                                   uint16_t port, bool tls)
{
    struct port_table *t = ARENA_NEW(&c->arena, struct port_table);
    must(t);
    t->port = port;
    t->bind = bind;
    t->tls = tls;
    t->next = c->ports;
    map_init(&t->exact);
    map_init(&t->wildcard);
    map_init(&t->redirect_ports);
    c->ports = t;
    return t;
}

/* What `servers` says of the address: as Caddy has it, what is written for it, or else for all. */
static const struct server_options *server_for(struct config *c, const struct binding *b,
                                               bool implicit)
{
    char buf[ADDR_TEXT_BYTES];
    struct slice name = addr_is_unix(&b->addr)
                            ? b->table->bind->text
                            : implicit ? arena_printf(&c->arena, ":%u", addr_port(&b->addr))
                                       : addr_text(&b->addr, buf);
    for (struct server_options *s = c->options->listed_servers; s; s = s->next) {
        if (slice_eq(s->address, name)) {
            s->used = true;
            return s;
        }
    }
    return &c->options->servers;
}

static bool taken(const struct config *c, struct cf_diags *diags, const struct binding *b,
                  const struct cf_token *at)
{
    char buf[ADDR_TEXT_BYTES];
    for (size_t i = 0; i < c->binding_count; i++) {
        if (addr_eq(&c->bindings[i].addr, &b->addr)) {
            cf_error(diags, at, "%.*s is listened on for other sites, which have no bind; give them"
                     " one, too", SLICE_ARG(addr_text(&b->addr, buf)));
            return true;
        }
    }
    return false;
}

static void add_binding(struct config *c, struct cf_diags *diags, const struct port_table *t,
                        const struct bind_address *where, bool implicit, const struct cf_token *at)
{
    struct binding b = {.table = t, .optional = implicit && slice_eq(where->text, S("::")),
                        .mode = where->mode, .at = at};
    if (c->binding_count == BINDINGS_MAX) {
        cf_error(diags, at, "more than %d addresses to listen on", BINDINGS_MAX);
        return;
    }
    bool ok = is_unix(where) ? addr_unix(where->text, &b.addr)
                             : addr_parse_ip(where->text, t->port, &b.addr);
    must(ok); /* it was looked at when it was read */
    if (taken(c, diags, &b, at)) {
        return;
    }
    b.server = server_for(c, &b, implicit);
    b.protocols = where->has_protocols ? where->protocols : b.server->protocols;
    c->bindings[c->binding_count++] = b;
}

static void add_bindings(struct config *c, struct cf_diags *diags, const struct port_table *t,
                         const struct cf_token *at)
{
    static const struct bind_address everywhere[] = {{.text = S_INIT("0.0.0.0")},
                                                     {.text = S_INIT("::")}};
    const struct bind_list *usual = &c->options->default_bind;
    if (t->bind) {
        add_binding(c, diags, t, t->bind, false, at);
    } else if (!usual->count) {
        for (size_t i = 0; i < ARRAY_LEN(everywhere); i++) {
            add_binding(c, diags, t, &everywhere[i], true, at);
        }
    }
    for (size_t i = 0; !t->bind && i < usual->count; i++) {
        add_binding(c, diags, t, &usual->items[i], false, at);
    }
}

/* The table is there already: does it fit? */
static bool fits(const struct port_table *t, struct cf_diags *diags,
                 const struct bind_address *bind, bool tls, const struct cf_token *at)
{
    if (t->tls != tls && is_unix(bind)) {
        cf_error(diags, at, "%.*s would have to serve both HTTP and HTTPS", SLICE_ARG(bind->text));
    } else if (t->tls != tls) {
        cf_error(diags, at, "port %u would have to serve both HTTP and HTTPS", t->port);
    } else if (bind && (bind->has_protocols != t->bind->has_protocols ||
                        bind->protocols != t->bind->protocols || bind->mode != t->bind->mode)) {
        cf_error(diags, at, "another site binds %.*s with other protocols or another mode",
                 SLICE_ARG(bind->text));
    } else {
        return true;
    }
    return false;
}

struct port_table *ports_get(struct config *c, struct cf_diags *diags,
                             const struct bind_address *bind, uint16_t port, bool tls,
                             const struct cf_token *at)
{
    struct port_table *t = ports_find(c, bind, port);
    if (t) {
        return fits(t, diags, bind, tls, at) ? t : NULL;
    }
    t = add_port(c, bind, port, tls);
    t->challenges = !tls && (is_unix(bind) || port == c->options->http_port);
    add_bindings(c, diags, t, at);
    return t;
}

void ports_check_servers(const struct config *c, struct cf_diags *diags)
{
    for (const struct server_options *s = c->options->listed_servers; s; s = s->next) {
        if (s->used) {
            continue;
        }
        struct cf_diag *d = cf_warning(diags, s->at, "nothing listens on \"%.*s\": this block does"
                                       " nothing", SLICE_ARG(s->at->text));
        if (d) {
            d->hint = S(":443 is for sites without bind, 127.0.0.1:443 for sites with that"
                        " address in bind or default_bind");
        }
    }
}
