/* PyServe's YAML: server.reverse_proxy is a list of {host, path, port, ssl}; server.static,
 * ssl: {enabled, cert_file, key_file}. PyServe takes the path off before it passes a request on. */
#include "cmd/import/yaml.h"

static void route(struct import *i, struct import_text *t, const struct yaml *entry)
{
    struct slice path = yaml_text(entry, S("path")), host = yaml_text(entry, S("host"));
    struct slice port = yaml_text(entry, S("port"));
    bool tls = yaml_true(entry, S("ssl"));
    path = import_without_slash(path);
    if (path.n) {
        text_open(t, "handle_path %.*s", SLICE_ARG(import_below(i, path)));
    } else {
        text_open(t, "handle");
    }
    for (const struct yaml *c = entry->first; c; c = c->next) {
        if (slice_eq(c->key, S("websocket"))) {
            text_dropped(i, t, c->line, S("websocket"), "WebSockets are automatic");
        } else if (!slice_eq(c->key, S("path")) && !slice_eq(c->key, S("host")) &&
                   !slice_eq(c->key, S("port")) && !slice_eq(c->key, S("ssl"))) {
            text_warning(i, t, c->line, c->key, "not carried over");
        }
    }
    text_line(t, "reverse_proxy %s%.*s:%.*s", tls ? "https://" : "",
              SLICE_ARG(host.n ? host : S("localhost")),
              SLICE_ARG(port.n ? port : tls ? S("443") : S("80")));
    text_close(t);
}

static void routes(struct import *i, struct import_text *t, const struct yaml *list)
{
    for (const struct yaml *e = list && list->kind == YAML_LIST ? list->first : NULL; e;
         e = e->next) {
        if (e->kind == YAML_MAP) {
            route(i, t, e);
        } else {
            text_warning(i, t, e->line, e->value, "no map with host, path and port");
        }
    }
}

static void rest(struct import *i, const struct yaml *map, const struct slice *known, size_t count)
{
    for (const struct yaml *c = map && map->kind == YAML_MAP ? map->first : NULL; c; c = c->next) {
        bool is_known = false;
        for (size_t k = 0; k < count; k++) {
            is_known = is_known || slice_eq(c->key, known[k]);
        }
        if (!is_known) {
            text_warning(i, &i->head, c->line, c->key, "not carried over");
        }
    }
}

bool import_pyserve(struct import *i, struct slice text, struct err *err)
{
    static const struct slice known[] = {S_INIT("host"), S_INIT("port"), S_INIT("reverse_proxy"),
                                         S_INIT("server_name"), S_INIT("backlog")};
    static const struct slice top[] = {S_INIT("server"), S_INIT("ssl")};
    const struct yaml *root = yaml_read(&i->arena, text, err);
    if (!root) {
        return false;
    }
    const struct yaml *server = yaml_get(root, S("server")), *ssl = yaml_get(root, S("ssl"));
    if (!server || server->kind != YAML_MAP) {
        return err_set(err, "there is no `server:` in it; is it PyServe's configuration?");
    }
    bool tls = yaml_true(ssl, S("enabled"));
    struct slice port = yaml_text(server, S("port")), name = yaml_text(server, S("server_name"));
    struct slice address = arena_printf(&i->arena, "%s%.*s:%.*s", tls ? "https://" : "http://",
                                        SLICE_ARG(name),
                                        SLICE_ARG(port.n ? port : tls ? S("443") : S("80")));
    struct import_site *site = import_site_of(i, address);
    if (!site) {
        return err_set(err, "out of memory");
    }
    struct slice cert = yaml_text(ssl, S("cert_file")), key = yaml_text(ssl, S("key_file"));
    if (tls && cert.n) {
        text_line(&site->body, "tls %.*s %.*s", SLICE_ARG(import_quoted(i, cert)),
                  SLICE_ARG(import_quoted(i, key)));
    }
    struct slice host = yaml_text(server, S("host"));
    if (host.n && !slice_eq(host, S("0.0.0.0")) && !slice_eq(host, S("localhost"))) {
        text_line(&site->body, "bind %.*s", SLICE_ARG(host));
    } else if (slice_eq(host, S("localhost"))) {
        text_line(&site->body, "bind 127.0.0.1");
    }
    routes(i, &site->body, yaml_get(server, S("reverse_proxy")));
    rest(i, server, known, ARRAY_LEN(known));
    rest(i, root, top, ARRAY_LEN(top));
    return true;
}
