/* caddis adapt: the effective configuration as JSON. Options with their values, the addresses that
 * are listened on, the certificates that are looked after, and the sites with their routes in the
 * order they really run. It is a description of our own, for people and scripts, not the form that
 * Caddy's admin API takes. */
#include <cjson/cJSON.h>
#include <stdio.h>

#include "cmd/certificates.h"
#include "cmd/commands.h"
#include "cmd/json_out.h"
#include "cmd/load.h"
#include "proxy/server/site_paths.h"

#define JSON_MAX ((size_t)1 << 30)

static struct {
    const char *config;
    const char *adapter;
    bool pretty;
    bool validate;
    struct arg_texts envfiles;
} args;

static const struct arg table[] = {
    {"config", 'c', ARG_TEXT, &args.config,
     "the Caddyfile (default: Caddyfile in this folder; - is stdin)", NULL},
    {"adapter", 'a', ARG_TEXT, &args.adapter, "caddyfile, which is the default", "NAME"},
    {"pretty", 'p', ARG_FLAG, &args.pretty, "with line breaks and indentation", NULL},
    {"validate", 0, ARG_FLAG, &args.validate, "accepted: it is always checked", NULL},
    {"envfile", 0, ARG_TEXTS, &args.envfiles,
     "a file of NAME=value lines to put in the environment", NULL},
};

void adapt_help(void)
{
    printf("Prints what caddis makes of a Caddyfile: options with their values, listeners,\n"
           "certificates, and sites with their routes in the order they really run. The JSON is\n"
           "a description of caddis' own; it is not Caddy's, and nothing reads it back.\n\n");
    args_help(table, ARRAY_LEN(table));
}

/* ---- places and words -------------------------------------------------------------------- */

static void put_place(struct json_out *j, const struct cf_place *at)
{
    struct arena a;
    arena_init(&a, 1 << 16);
    struct slice text = arena_printf(&a, "%.*s:%u:%u", SLICE_ARG(at->source->name), at->line,
                                     at->column);
    json_text(j, "at", text.p ? text : S(""));
    arena_fini(&a);
}

static void put_words(struct json_out *j, const char *key, const struct cf_token *words,
                      size_t count)
{
    json_open(j, key, '[');
    for (size_t i = 0; i < count; i++) {
        json_text(j, NULL, words[i].text);
    }
    json_close(j, ']');
}

static void put_lines(struct json_out *j, const char *key, const struct cf_directive *d);

/* A line as it is written: {NAME_KEY, "arguments", "block", "at"}. */
static void put_line(struct json_out *j, const char *name_key, const struct cf_directive *d)
{
    json_open(j, NULL, '{');
    json_text(j, name_key, d->name.text);
    put_words(j, "arguments", d->args, d->arg_count);
    if (d->has_block) {
        put_lines(j, "block", d->children);
    }
    put_place(j, &d->name.at);
    json_close(j, '}');
}

static void put_lines(struct json_out *j, const char *key, const struct cf_directive *d)
{
    json_open(j, key, '[');
    for (; d; d = d->next) {
        put_line(j, "name", d);
    }
    json_close(j, ']');
}

/* ---- routes ------------------------------------------------------------------------------ */

static bool is_matcher(const struct cf_directive *d)
{
    return d->name.quote == CF_BARE && d->name.text.n && d->name.text.p[0] == '@';
}

/* The named matchers that a block defines. */
static void put_matchers(struct json_out *j, const struct cf_directive *first)
{
    json_open(j, "matchers", '[');
    for (const struct cf_directive *d = first; d; d = d->next) {
        if (is_matcher(d)) {
            json_open(j, NULL, '{');
            json_text(j, "name", d->name.text);
            if (d->arg_count) {
                put_words(j, "condition", d->args, d->arg_count);
            }
            if (d->has_block) {
                put_lines(j, d->arg_count ? "block" : "conditions", d->children);
            }
            put_place(j, &d->name.at);
            json_close(j, '}');
        }
    }
    json_close(j, ']');
}

static void put_route(struct json_out *j, const struct route *route);

static void put_handler(struct json_out *j, const struct handler *h)
{
    const struct cf_directive *d = h->line;
    json_open(j, NULL, '{');
    json_text(j, "directive", d->name.text);
    if (h->matcher_words) {
        json_text(j, "match", d->args[0].text);
    }
    put_words(j, "arguments", d->args + h->matcher_words, d->arg_count - h->matcher_words);
    if (h->group) {
        json_bool(j, "first_match_only", true);
    }
    if (h->ops->inner) {
        put_matchers(j, d->children);
        put_route(j, h->ops->inner(h->instance));
    } else if (d->has_block) {
        put_lines(j, "block", d->children);
    }
    put_place(j, &d->name.at);
    json_close(j, '}');
}

static void put_route(struct json_out *j, const struct route *route)
{
    json_open(j, "routes", '[');
    for (size_t i = 0; i < route->count; i++) {
        if (route->handlers[i].line) {
            put_handler(j, &route->handlers[i]);
        }
    }
    json_close(j, ']');
}

/* ---- sites ------------------------------------------------------------------------------- */

static void put_errors(struct json_out *j, const struct error_route *e)
{
    json_open(j, "error_routes", '[');
    for (; e; e = e->next) {
        json_open(j, NULL, '{');
        put_words(j, "statuses", e->line->args, e->line->arg_count);
        put_matchers(j, e->line->children);
        put_route(j, &e->route);
        put_place(j, &e->line->name.at);
        json_close(j, '}');
    }
    json_close(j, ']');
}

/* Directives of the site that are no steps of a request: tls, log. */
static void put_settings(struct json_out *j, const struct cf_directive *first)
{
    json_open(j, "settings", '[');
    for (const struct cf_directive *d = first; d; d = d->next) {
        const struct directive *known = is_matcher(d) ? NULL : directive_find(d->name.text);
        if (known && known->kind == DIRECTIVE_SITE &&
            !slice_eq(d->name.text, S("handle_errors"))) {
            put_line(j, "directive", d);
        }
    }
    json_close(j, ']');
}

static void put_sites(struct json_out *j, const struct config *c)
{
    json_open(j, "sites", '[');
    for (const struct site *s = c->sites; s; s = s->next) {
        json_open(j, NULL, '{');
        put_words(j, "addresses", s->source->addresses, s->source->address_count);
        put_settings(j, s->source->directives);
        put_matchers(j, s->source->directives);
        put_route(j, &s->route);
        put_errors(j, s->settings.errors);
        put_place(j, &s->name->at);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_open(j, "named_routes", '[');
    for (const struct cf_named_route *n = c->document->named_routes; n; n = n->next) {
        json_open(j, NULL, '{');
        json_text(j, "name", n->name.text);
        put_lines(j, "lines", n->directives);
        put_place(j, &n->name.at);
        json_close(j, '}');
    }
    json_close(j, ']');
}

/* ---- what is around them ----------------------------------------------------------------- */

static void put_options(struct json_out *j, const struct config *c)
{
    const struct options *o = c->options;
    static const char *const modes[] = {[AUTO_HTTPS_ON] = "on", [AUTO_HTTPS_OFF] = "off",
                                        [AUTO_HTTPS_NO_REDIRECTS] = "disable_redirects"};
    json_open(j, "options", '{');
    json_bool(j, "debug", o->debug);
    json_number(j, "http_port", o->http_port);
    json_number(j, "https_port", o->https_port);
    json_text(j, "auto_https", slice_str(modes[o->auto_https]));
    json_text(j, "email", o->email);
    json_text(j, "acme_ca", o->acme_ca.n ? o->acme_ca : S(ACME_LETS_ENCRYPT));
    json_bool(j, "local_certs", o->local_certs);
    json_number(j, "grace_period_ms", o->grace_period_ms);
    json_number(j, "max_request_body", (int64_t)o->servers.max_request_body);
    json_number(j, "max_connections", (int64_t)o->max_connections);
    json_close(j, '}');
    put_lines(j, "options_written", c->document->options);
}

/* A host that has several sites, by path, comes once for each. */
static void put_host(struct json_out *j, struct slice host, const struct site *s)
{
    const struct site_fork *f = s->forks;
    do {
        json_open(j, NULL, '{');
        json_text(j, "host", host);
        if (f && f->path.n) {
            json_text(j, "path", f->path);
        }
        put_place(j, f ? &f->site->name->at : &s->name->at);
        json_close(j, '}');
        f = f ? f->next : NULL;
    } while (f);
}

static void put_hosts(struct json_out *j, const struct map *hosts)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(hosts, &at));) {
        put_host(j, e->key, e->value);
    }
}

static void put_listeners(struct json_out *j, const struct config *c)
{
    char buf[ADDR_TEXT_BYTES];
    json_open(j, "listeners", '[');
    for (size_t i = 0; i < c->binding_count; i++) {
        const struct port_table *t = c->bindings[i].table;
        json_open(j, NULL, '{');
        json_text(j, "address", addr_text(&c->bindings[i].addr, buf));
        json_bool(j, "tls", t->tls);
        json_open(j, "hosts", '[');
        put_hosts(j, &t->exact);
        put_hosts(j, &t->wildcard);
        json_close(j, ']');
        if (t->any) {
            json_open(j, "every_other_host", '{');
            put_place(j, &t->any->name->at);
            json_close(j, '}');
        }
        json_bool(j, "redirects_to_https", t->redirects);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void put_certificates(struct json_out *j, const struct config *c)
{
    struct cert_plan plan;
    struct cf_diags diags;
    cf_diags_init(&diags); /* said already */
    cert_plan_init(&plan, c, NULL, 0, &diags);
    json_open(j, "certificates", '[');
    for (size_t i = 0; i < plan.acme.name_count; i++) {
        const struct acme_name *n = &plan.acme.names[i];
        json_open(j, NULL, '{');
        json_text(j, "name", n->name);
        json_open(j, "issuers", '[');
        for (size_t k = 0; k < n->issuer_count; k++) {
            bool local = n->issuers[k].kind == ACME_ISSUER_LOCAL;
            json_text(j, NULL, local ? S("local") : n->issuers[k].directory_url);
        }
        json_close(j, ']');
        json_close(j, '}');
    }
    json_close(j, ']');
    cert_plan_fini(&plan);
    cf_diags_fini(&diags);
}

static bool print_pretty(struct slice text)
{
    cJSON *tree = cJSON_ParseWithLength(text.p, text.n);
    char *pretty = tree ? cJSON_Print(tree) : NULL;
    bool ok = pretty && printf("%s\n", pretty) > 0;
    cJSON_free(pretty);
    cJSON_Delete(tree);
    return ok;
}

static int print_config(const struct config *c)
{
    struct dstr out;
    struct json_out j = {.out = &out};
    dstr_init(&out, JSON_MAX);
    json_open(&j, NULL, '{');
    json_text(&j, "caddis", S(CADDIS_VERSION));
    put_options(&j, c);
    put_listeners(&j, c);
    put_certificates(&j, c);
    put_sites(&j, c);
    json_close(&j, '}');
    bool ok = !out.failed && (args.pretty ? print_pretty(dstr_slice(&out))
                                          : printf("%s\n", out.p) > 0);
    if (!ok || fflush(stdout) != 0) {
        (void)fprintf(stderr, "caddis adapt: the result cannot be written\n");
        ok = false;
    }
    dstr_fini(&out);
    return ok ? 0 : 1;
}

int adapt_command(const struct command *self, int argc, char **argv)
{
    const char *path = NULL;
    if (!args_parse(self->name, table, ARRAY_LEN(table), argc, argv, &path) ||
        !adapter_allowed(self->name, args.adapter)) {
        return 1;
    }
    path = config_or_default(self->name, path ? path : args.config);
    if (!path || !envfiles_load(self->name, &args.envfiles)) {
        return 1;
    }
    struct config *config = load_for_command(path);
    int status = config ? print_config(config) : 1;
    config_unref(config);
    return status;
}
