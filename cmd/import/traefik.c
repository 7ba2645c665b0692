/* Traefik's docker labels as sites. In: a compose file (services with labels), or labels alone, a
 * line each. Out: a site for each set of hosts. */
#include "cmd/import/traefik_convert.h"
#include "cmd/import/yaml.h"

/* ---- labels ------------------------------------------------------------------------------ */

/* compose's ${NAME} and ${NAME:-default} as a Caddyfile has them. */
static struct slice with_environment(struct traefik *t, struct slice text)
{
    struct dstr out;
    dstr_init(&out, IMPORT_TEXT_MAX);
    for (size_t k = 0; k < text.n; k++) {
        size_t end = slice_find(slice_from(text, k), '}');
        bool escaped = k > 0 && text.p[k - 1] == '$';
        if (end == SLICE_NPOS || escaped || !slice_starts(slice_from(text, k), S("${"))) {
            dstr_byte(&out, text.p[k]);
            continue;
        }
        struct slice name = slice_of(text.p + k + 2, end - 2);
        size_t colon = slice_find(name, ':');
        struct slice usual = colon == SLICE_NPOS ? S("") : slice_from(name, colon + 1);
        usual = slice_from(usual, slice_starts(usual, S("-")) ? 1 : 0);
        dstr_printf(&out, "{$%.*s%s%.*s}", SLICE_ARG(slice_upto(name, colon)),
                    usual.n ? ":" : "", SLICE_ARG(usual));
        k += end;
    }
    struct slice copy = arena_copy(&t->i->arena, dstr_slice(&out));
    dstr_fini(&out);
    return copy;
}

static void add(struct traefik *t, struct slice service, struct slice text, unsigned line)
{
    struct slice key = S("");
    text = slice_trim(text);
    if (!slice_cut(&text, '=', &key) || !slice_starts(key, S("traefik."))) {
        return;
    }
    if (t->count == LABELS_MAX) {
        text_warning(t->i, &t->i->head, line, key, "too many labels");
        return;
    }
    t->labels[t->count++] = (struct label){service, slice_from(key, 8),
                                           with_environment(t, slice_trim(text)), line, false};
}

static void add_all(struct traefik *t, struct slice service, const struct yaml *labels)
{
    for (const struct yaml *l = labels ? labels->first : NULL; l; l = l->next) {
        struct slice text = labels->kind == YAML_LIST
                                ? l->value
                                : arena_printf(&t->i->arena, "%.*s=%.*s", SLICE_ARG(l->key),
                                               SLICE_ARG(l->value));
        add(t, service, text, l->line);
    }
}

/* Lines as `docker inspect` or a Dockerfile shows them: dashes, quotes and blanks around them. */
static void add_lines(struct traefik *t, struct slice text)
{
    struct slice line;
    unsigned number = 0;
    while (slice_cut(&text, '\n', &line)) {
        number++;
        size_t start = slice_find_slice(line, S("traefik."));
        if (start == SLICE_NPOS || slice_find(slice_upto(line, start), '#') != SLICE_NPOS) {
            continue;
        }
        line = slice_trim(slice_from(line, start));
        while (line.n && (line.p[line.n - 1] == '"' || line.p[line.n - 1] == '\r' ||
                          line.p[line.n - 1] == '\\' || line.p[line.n - 1] == ',')) {
            line.n--;
        }
        add(t, S("ORIGIN"), line, number);
    }
}

static struct label *find(struct traefik *t, struct slice key)
{
    for (size_t k = 0; k < t->count; k++) {
        if (slice_eq_case(t->labels[k].key, key)) {
            t->labels[k].used = true;
            return &t->labels[k];
        }
    }
    return NULL;
}

struct slice traefik_get(struct traefik *t, const char *kind, struct slice name,
                         const char *option)
{
    struct slice key = arena_printf(&t->i->arena, "http.%s.%.*s.%s", kind, SLICE_ARG(name), option);
    struct label *l = find(t, key);
    return l ? l->value : S("");
}

/* ---- services ---------------------------------------------------------------------------- */

/* The port that Docker would tell Traefik: the first one exposed. */
static struct slice exposed(struct traefik *t, struct slice service)
{
    const struct yaml *s = yaml_get(t->services, service), *list = yaml_get(s, S("expose"));
    list = list ? list : yaml_get(s, S("ports"));
    struct slice port = list && list->first ? list->first->value : S("");
    size_t colon = slice_rfind(port, ':');
    port = colon == SLICE_NPOS ? port : slice_from(port, colon + 1);
    return slice_upto(port, slice_find(port, '/'));
}

static void sticky(struct traefik *t, struct import_text *out, struct slice name)
{
    if (traefik_is_true(traefik_get(t, "services", name, "loadbalancer.sticky.cookie")) ||
        traefik_get(t, "services", name, "loadbalancer.sticky.cookie.name").n) {
        struct slice cookie = traefik_get(t, "services", name, "loadbalancer.sticky.cookie.name");
        text_line(out, "lb_policy cookie %.*s", SLICE_ARG((cookie.n ? cookie : S("lb"))));
    }
    struct slice uri = traefik_get(t, "services", name, "loadbalancer.healthcheck.path");
    struct slice every = traefik_get(t, "services", name, "loadbalancer.healthcheck.interval");
    if (uri.n) {
        text_line(out, "health_uri %.*s", SLICE_ARG(uri));
    }
    if (every.n) {
        text_line(out, "health_interval %.*s", SLICE_ARG(every));
    }
}

static void service(struct traefik *t, struct import_text *out, struct slice container,
                    struct slice name)
{
    struct import_text sub = {.depth = out->depth + 1};
    struct slice port = traefik_get(t, "services", name, "loadbalancer.server.port");
    struct slice scheme = traefik_get(t, "services", name, "loadbalancer.server.scheme");
    struct slice pass = traefik_get(t, "services", name, "loadbalancer.passhostheader");
    dstr_init(&sub.out, IMPORT_TEXT_MAX);
    port = port.n ? port : exposed(t, container);
    if (port.n == 0) {
        text_warning(t->i, out, 0, container, "no port is known; 80 is a guess");
        port = S("80");
    }
    sticky(t, &sub, name);
    bool tls = slice_eq(scheme, S("https"));
    if (slice_eq_case(pass, S("false")) && !tls) {
        text_line(&sub, "header_up Host {upstream_hostport}");
    } else if (tls && !slice_eq_case(pass, S("false"))) {
        text_line(&sub, "header_up Host {hostport}");
    }
    const char *prefix = tls ? "https://" : slice_eq(scheme, S("h2c")) ? "h2c://" : "";
    if (sub.out.n) {
        text_open(out, "reverse_proxy %s%.*s:%.*s", prefix, SLICE_ARG(container), SLICE_ARG(port));
        dstr_append(&out->out, dstr_slice(&sub.out));
        text_close(out);
    } else {
        text_line(out, "reverse_proxy %s%.*s:%.*s", prefix, SLICE_ARG(container), SLICE_ARG(port));
    }
    dstr_fini(&sub.out);
}

/* ---- routers ----------------------------------------------------------------------------- */

/* The service of a router: named, or the only one of its container, or of the router's name. */
static struct slice service_of(struct traefik *t, const struct label *rule, struct slice router)
{
    struct slice named = traefik_get(t, "routers", router, "service");
    if (named.n) {
        return slice_upto(named, slice_find(named, '@'));
    }
    for (size_t k = 0; k < t->count; k++) {
        struct slice key = t->labels[k].key;
        if (slice_eq(t->labels[k].service, rule->service) &&
            slice_starts(key, S("http.services."))) {
            key = slice_from(key, sizeof("http.services.") - 1);
            return slice_upto(key, slice_find(key, '.'));
        }
    }
    return router;
}

/* Labels of containers that Traefik does not look at. */
static void drop_disabled(struct traefik *t)
{
    for (size_t k = 0; k < t->count; k++) {
        const struct label *off = &t->labels[k];
        if (!slice_eq_case(off->key, S("enable")) || !slice_eq_case(off->value, S("false"))) {
            continue;
        }
        for (size_t n = 0; n < t->count; n++) {
            struct label *l = &t->labels[n];
            if (t->services && slice_eq(l->service, off->service)) {
                l->used = true;
            }
        }
    }
}

static bool only_redirects(struct traefik *t, struct slice list)
{
    struct slice item;
    bool redirects = false;
    while (slice_cut(&list, ',', &item)) {
        item = slice_trim(item);
        struct slice name = slice_upto(item, slice_find(item, '@'));
        struct slice scheme = traefik_get(t, "middlewares", name, "redirectscheme.scheme");
        redirects = redirects || slice_eq(scheme, S("https")) ||
                    slice_find_slice(name, S("redirect")) != SLICE_NPOS;
    }
    return redirects;
}

static bool is_plain(struct traefik *t, struct slice name, struct slice entry)
{
    (void)traefik_get(t, "routers", name, "tls.certresolver");
    (void)traefik_get(t, "routers", name, "tls.domains[0].main");
    (void)traefik_get(t, "routers", name, "tls.domains[0].sans");
    bool tls = traefik_is_true(traefik_get(t, "routers", name, "tls"));
    bool web = slice_eq_case(entry, S("web")) || slice_eq_case(entry, S("http"));
    return web && !tls;
}

static struct import_site *site_for(struct traefik *t, struct slice hosts, bool plain)
{
    struct slice all = S(""), host;
    if (hosts.n == 0) {
        return import_site_of(t->i, plain ? S("http://") : S("https://"));
    }
    while (slice_cut(&hosts, ',', &host)) {
        all = arena_printf(&t->i->arena, "%.*s%s%s%.*s", SLICE_ARG(all), all.n ? ", " : "",
                           plain ? "http://" : "", SLICE_ARG(slice_trim(host)));
    }
    return import_site_of(t->i, all);
}

/* ---- sites of hosts that are in several rules -------------------------------------------- */

static bool is_among(struct slice list, struct slice host)
{
    struct slice one;
    while (slice_cut(&list, ',', &one)) {
        if (slice_eq(slice_trim(one), slice_trim(host))) {
            return true;
        }
    }
    return false;
}

/* Is one of these hosts in another rule beside others? Then each gets a site of its own. */
static bool overlaps(const struct traefik *t, struct slice hosts)
{
    for (size_t k = 0; k < t->hosts_count; k++) {
        struct slice rest = hosts, host;
        while (!slice_eq(t->hosts[k], hosts) && slice_cut(&rest, ',', &host)) {
            if (is_among(t->hosts[k], host)) {
                return true;
            }
        }
    }
    return false;
}

/* Before any router is read. */
static void note_hosts(struct traefik *t)
{
    for (size_t k = 0; k < t->count; k++) {
        const struct label *l = &t->labels[k];
        struct rule *parsed = ARENA_NEW(&t->i->arena, struct rule);
        struct err err;
        if (!slice_starts(l->key, S("http.routers.")) || !slice_ends(l->key, S(".rule")) ||
            !parsed || !rule_parse(&t->i->arena, l->value, parsed, &err)) {
            continue;
        }
        for (size_t n = 0; n < parsed->count && t->hosts_count < ROUTES_MAX; n++) {
            t->hosts[t->hosts_count++] = parsed->terms[n].hosts;
        }
    }
}

/* One rule's part for these hosts. False: there is no room for it. */
static bool add_route(struct traefik *t, const struct label *rule, struct slice name,
                      const struct rule_term *term, struct slice hosts, bool plain)
{
    struct import_site *site = site_for(t, hosts, plain);
    if (!site || t->route_count == ROUTES_MAX) {
        return false;
    }
    struct route *r = &t->routes[t->route_count++];
    *r = (struct route){site, *term, rule->value.n, {.depth = 3}};
    dstr_init(&r->body.out, IMPORT_TEXT_MAX);
    traefik_middlewares(t, &r->body, traefik_get(t, "routers", name, "middlewares"), 0);
    service(t, &r->body, rule->service, service_of(t, rule, name));
    return true;
}

static bool add_routes(struct traefik *t, const struct label *rule, struct slice name,
                       const struct rule_term *term, bool plain)
{
    struct slice rest = term->hosts, host;
    if (!overlaps(t, term->hosts)) {
        return add_route(t, rule, name, term, term->hosts, plain);
    }
    while (slice_cut(&rest, ',', &host)) {
        if (!add_route(t, rule, name, term, slice_trim(host), plain)) {
            return false;
        }
    }
    return true;
}

/* The usual two are ports 80 and 443; another may have been for a few only. */
static void entry_points(struct traefik *t, const struct label *rule, struct slice name,
                         struct slice list)
{
    static const struct slice usual[] = {S_INIT("web"), S_INIT("http"), S_INIT("websecure"),
                                         S_INIT("web-secure"), S_INIT("https")};
    struct slice entry;
    while (slice_cut(&list, ',', &entry)) {
        bool known = slice_trim(entry).n == 0;
        for (size_t k = 0; k < ARRAY_LEN(usual); k++) {
            known = known || slice_eq_case(slice_trim(entry), usual[k]);
        }
        if (!known) {
            text_warning(t->i, &t->i->head, rule->line, name, "entry point %.*s: its port, and who"
                         " reached it, is not known; see `bind`", SLICE_ARG(slice_trim(entry)));
        }
    }
}

static void router(struct traefik *t, struct label *rule, struct slice name)
{
    struct rule *parsed = ARENA_NEW(&t->i->arena, struct rule);
    struct slice list = traefik_get(t, "routers", name, "middlewares");
    struct slice entry = traefik_get(t, "routers", name, "entrypoints");
    struct err err;
    bool plain = is_plain(t, name, entry);
    if (traefik_get(t, "routers", name, "tls.options").n) {
        text_warning(t->i, &t->i->head, rule->line, name, "tls.options: if it asks for client"
                     " certificates, write tls { client_auth }");
    }
    entry_points(t, rule, name, entry);
    (void)traefik_get(t, "routers", name, "priority");
    (void)traefik_get(t, "routers", name, "service");
    if (!parsed || !rule_parse(&t->i->arena, rule->value, parsed, &err)) {
        text_warning(t->i, &t->i->head, rule->line, rule->value, "%s",
                     parsed ? err.text : "out of memory");
        return;
    }
    if (plain && only_redirects(t, list)) {
        text_dropped(t->i, &t->i->head, rule->line, name, "HTTP is redirected to HTTPS by itself");
        return;
    }
    for (size_t k = 0; k < parsed->count; k++) {
        if (!add_routes(t, rule, name, &parsed->terms[k], plain)) {
            text_warning(t->i, &t->i->head, rule->line, name, "too many routers");
            return;
        }
    }
}

/* ---- writing ----------------------------------------------------------------------------- */

static void write_route(struct traefik *t, struct import_text *out, const struct route *r)
{
    if (r->term.path.n) {
        text_open(out, "handle %.*s", SLICE_ARG(r->term.path));
    } else if (r->term.count) {
        struct slice name = import_name(t->i);
        text_open(out, "@%.*s", SLICE_ARG(name));
        for (size_t k = 0; k < r->term.count; k++) {
            text_line(out, "%.*s", SLICE_ARG(r->term.lines[k]));
        }
        text_close(out);
        text_open(out, "handle @%.*s", SLICE_ARG(name));
    } else {
        text_open(out, "handle");
    }
    dstr_append(&out->out, dstr_slice(&r->body.out));
    text_close(out);
}

/* Longest rule first, as Traefik does it; `route` keeps that order. */
static void write_site(struct traefik *t, struct import_site *site)
{
    bool done[ROUTES_MAX] = {false};
    text_open(&site->body, "route");
    for (;;) {
        const struct route *next = NULL;
        for (size_t k = 0; k < t->route_count; k++) {
            const struct route *r = &t->routes[k];
            if (r->site == site && !done[k] && (!next || r->priority > next->priority)) {
                next = r;
            }
        }
        if (!next) {
            break;
        }
        done[next - t->routes] = true;
        struct import_text deeper = {.depth = 2};
        dstr_init(&deeper.out, IMPORT_TEXT_MAX);
        write_route(t, &deeper, next);
        dstr_append(&site->body.out, dstr_slice(&deeper.out));
        dstr_fini(&deeper.out);
    }
    text_close(&site->body);
}

static void convert(struct traefik *t)
{
    drop_disabled(t);
    note_hosts(t);
    for (size_t k = 0; k < t->count; k++) {
        struct label *l = &t->labels[k];
        if (!l->used && slice_starts(l->key, S("http.routers.")) &&
            slice_ends(l->key, S(".rule"))) {
            struct slice name = slice_from(l->key, sizeof("http.routers.") - 1);
            l->used = true;
            router(t, l, slice_upto(name, name.n - 5));
        }
    }
    for (struct import_site *s = t->i->sites; s; s = s->next) {
        write_site(t, s);
    }
    for (size_t k = 0; k < t->count; k++) {
        struct label *l = &t->labels[k];
        if (slice_eq(l->key, S("enable")) || slice_starts(l->key, S("docker."))) {
            text_dropped(t->i, &t->i->head, l->line, l->key, "the Caddyfile says what is served");
        } else if (!l->used && !slice_starts(l->key, S("http.middlewares."))) {
            text_warning(t->i, &t->i->head, l->line, l->key, "not carried over");
        }
    }
}

bool import_traefik(struct import *i, struct slice text, struct err *err)
{
    struct traefik *t = ARENA_NEW(&i->arena, struct traefik);
    struct err yaml_err = {""};
    if (!t) {
        return err_set(err, "out of memory");
    }
    t->i = i;
    const struct yaml *root = yaml_read(&i->arena, text, &yaml_err);
    t->services = yaml_get(root, S("services"));
    for (const struct yaml *s = t->services ? t->services->first : NULL; s; s = s->next) {
        add_all(t, s->key, yaml_get(s, S("labels")));
        add_all(t, s->key, yaml_get(yaml_get(s, S("deploy")), S("labels")));
    }
    if (!t->services) {
        add_lines(t, text);
    }
    if (t->count == 0) {
        return yaml_err.text[0] ? err_set(err, "%s", yaml_err.text)
                                : err_set(err, "there are no traefik.* labels in it");
    }
    text_line(&i->head, "# The origins are names of containers: caddis must run in their network.");
    convert(t);
    for (size_t k = 0; k < t->route_count; k++) {
        dstr_fini(&t->routes[k].body.out);
    }
    return i->sites || err_set(err, "none of its labels is a router's rule");
}
