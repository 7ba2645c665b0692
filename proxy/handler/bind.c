/* bind <address>... {
 *     protocols h1|h2|h2c...       (instead of those of the global option servers)
 * }
 *
 * The addresses that the site is reached at, instead of those of default_bind, which has the same
 * form; with automatic HTTPS its redirects are there, too. An address is an IP address, the name of
 * a host (which is asked for once, when the Caddyfile is read) or of an interface (all of its
 * addresses), or unix//path or unix//path|mode: a Unix socket, whose file has the mode 0200 if none
 * is given, as in Caddy. There may be several. */
#include "proxy/handler/bind.h"

#include "proxy/handler/directives.h"
#include "proxy/net/host_addrs.h"

#define INTERFACE_MAX 16
#define UNIX_MODE 0200u

static bool add(struct cf_diags *diags, const struct cf_token *t, const struct bind_address *a,
                struct bind_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (slice_eq(list->items[i].text, a->text)) {
            return true;
        }
    }
    if (list->count == BIND_MAX) {
        cf_error(diags, t, "more than %d addresses to listen on", BIND_MAX);
        return false;
    }
    list->items[list->count++] = *a;
    return true;
}

static bool read_mode(struct slice text, unsigned *out)
{
    unsigned mode = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '7') {
            return false;
        }
        mode = mode * 8 + (unsigned)(text.p[i] - '0');
    }
    *out = mode;
    return text.n >= 3 && text.n <= 4 && mode <= 0777 && (mode & 0222);
}

static bool read_unix(struct cf_diags *diags, const struct cf_token *t, struct slice path,
                      struct bind_address *a, struct bind_list *list)
{
    struct addr unused;
    size_t bar = slice_find(path, '|');
    a->mode = UNIX_MODE;
    if (bar != SLICE_NPOS && !read_mode(slice_from(path, bar + 1), &a->mode)) {
        struct cf_diag *d = cf_error(diags, t, "\"%.*s\" is no mode of a socket's file",
                                     SLICE_ARG(slice_from(path, bar + 1)));
        if (d) {
            d->hint = S("whoever may connect has write permission: 0220 is owner and group, 0222"
                        " everybody");
        }
        return false;
    }
    a->text = slice_upto(path, bar);
    if (a->text.n < 2 || a->text.p[0] != '/' || !addr_unix(a->text, &unused)) {
        cf_error(diags, t, "\"%.*s\" is no Unix socket: unix//path/to/socket", SLICE_ARG(t->text));
        return false;
    }
    return add(diags, t, a, list);
}

static bool read_host(struct arena *arena, struct cf_diags *diags, const struct cf_token *t,
                      struct slice host, struct bind_address *a, struct bind_list *list)
{
    struct addr found[INTERFACE_MAX];
    struct err err = {""};
    if (addr_parse_ip(host, 1, &found[0])) {
        a->text = host;
        return add(diags, t, a, list);
    }
    size_t count = host_addrs(host, found, INTERFACE_MAX, &err);
    for (size_t i = 0; i < count; i++) {
        char buf[ADDR_TEXT_BYTES];
        a->text = arena_copy(arena, addr_host_text(&found[i], buf));
        if (!add(diags, t, a, list)) {
            return false;
        }
    }
    if (!count) {
        struct cf_diag *d = cf_error(diags, t, "\"%.*s\" is no address to listen on: %s",
                                     SLICE_ARG(t->text), err.text);
        if (d) {
            d->hint = slice_find(host, ':') != SLICE_NPOS
                          ? S("the port belongs to the site's address, not to bind")
                          : S("bind takes IP addresses, names of hosts or interfaces, and"
                              " unix//path");
        }
    }
    return count > 0;
}

static bool read_one(struct arena *arena, struct cf_diags *diags, const struct cf_token *t,
                     struct bind_address a, struct bind_list *list)
{
    static const struct slice networks[] = {S_INIT("tcp/"), S_INIT("tcp4/"), S_INIT("tcp6/")};
    static const struct slice others[] = {S_INIT("udp"), S_INIT("fd/"), S_INIT("fdgram/"),
                                          S_INIT("unixgram/"), S_INIT("unixpacket/")};
    struct slice text = t->text;
    if (slice_starts(text, S("unix/"))) {
        return read_unix(diags, t, slice_from(text, strlen("unix/")), &a, list);
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (slice_starts(text, others[i]) && slice_find(text, '/') != SLICE_NPOS) {
            cf_error(diags, t, "\"%.*s\": caddis listens on TCP and on Unix sockets",
                     SLICE_ARG(text));
            return false;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(networks); i++) {
        text = slice_starts(text, networks[i]) ? slice_from(text, networks[i].n) : text;
    }
    if (text.n > 2 && text.p[0] == '[' && text.p[text.n - 1] == ']') {
        text = slice_of(text.p + 1, text.n - 2);
    }
    return read_host(arena, diags, t, text, &a, list);
}

void bind_protocols_read(struct cf_diags *diags, const struct cf_directive *d, unsigned *out)
{
    bool h1 = false;
    *out = 0;
    for (size_t i = 0; i < d->arg_count; i++) {
        struct slice v = d->args[i].text;
        if (slice_eq(v, S("h1"))) {
            h1 = true;
        } else if (slice_eq(v, S("h2"))) {
            *out |= PROTOCOL_H2;
        } else if (slice_eq(v, S("h2c"))) {
            *out |= PROTOCOL_H2C;
        } else if (slice_eq(v, S("h3"))) {
            cf_warning(diags, &d->args[i], "caddis has no HTTP/3 yet; h3 is left out");
        } else {
            cf_error(diags, &d->args[i], "protocols are h1, h2, h2c and h3, not \"%.*s\"",
                     SLICE_ARG(v));
        }
    }
    if (!d->arg_count) {
        cf_error(diags, &d->name, "protocols needs at least one of h1, h2 and h2c");
    } else if (!h1) {
        cf_error(diags, &d->name, "caddis always speaks h1: name it among the protocols");
    }
}

bool bind_read(struct arena *a, struct cf_diags *diags, const struct cf_directive *d,
               struct bind_list *list)
{
    struct bind_address like = {.has_protocols = false};
    unsigned errors = diags->errors;
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        if (slice_eq(o->name.text, S("protocols"))) {
            like.has_protocols = true;
            bind_protocols_read(diags, o, &like.protocols);
        } else {
            cf_error(diags, &o->name, "\"%.*s\" has protocols in its block, not \"%.*s\"",
                     SLICE_ARG(d->name.text), SLICE_ARG(o->name.text));
        }
    }
    if (!d->arg_count) {
        cf_error(diags, &d->name, "\"%.*s\" needs an address", SLICE_ARG(d->name.text));
    }
    for (size_t i = 0; i < d->arg_count; i++) {
        (void)read_one(a, diags, &d->args[i], like, list);
    }
    return diags->errors == errors;
}

bool bind_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                size_t count, struct handler *out)
{
    struct site_settings *s = b->site;
    (void)args;
    (void)count;
    (void)out;
    if (!s->bind) {
        s->bind = ARENA_NEW(b->arena, struct bind_list);
        must(s->bind);
    }
    return bind_read(b->arena, b->diags, d, s->bind);
}
