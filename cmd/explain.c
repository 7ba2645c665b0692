/* caddis explain: the routes of a Caddyfile in the order they really run, and with a URL what a
 * request for it would meet and why.
 *
 * In:  a Caddyfile; a URL, a method, fields and an address for the request that is made up.
 * Out: lines for people.
 *
 * The made-up request runs through the real chain (handler/chain.h) with a trace: matchers are
 * asked as they would be, files are looked for, rewrites change the request; what would answer it,
 * or would do something outside of it, is only told. */
#include "cmd/explain.h"

#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/load.h"
#include "proxy/net/addr.h"

static struct {
    const char *config;
    const char *adapter;
    const char *method;
    const char *client;
    struct arg_texts fields;
    struct arg_texts envfiles;
} args = {.method = "GET", .client = "203.0.113.1"};

static const struct arg table[] = {
    {"config", 'c', ARG_TEXT, &args.config,
     "the Caddyfile (default: Caddyfile in this folder; - is stdin)", NULL},
    {"adapter", 'a', ARG_TEXT, &args.adapter, "caddyfile, which is the default", "NAME"},
    {"method", 'X', ARG_TEXT, &args.method, "of the request (GET)", "METHOD"},
    {"header", 'H', ARG_TEXTS, &args.fields, "a field of the request", "'F: v'"},
    {"client", 0, ARG_TEXT, &args.client, "the client's address (203.0.113.1)", "IP"},
    {"envfile", 0, ARG_TEXTS, &args.envfiles,
     "a file of NAME=value lines to put in the environment", NULL},
};

void explain_help(void)
{
    printf("usage: caddis explain [OPTIONS] [URL]\n\n"
           "Without a URL: every site's directives in the order they really run. With one: which\n"
           "site, matchers and directives a request for it would meet, and why. Nothing is sent\n"
           "and nothing is changed; matchers that look for files do look.\n\n");
    args_help(table, ARRAY_LEN(table));
}

/* ---- lines ------------------------------------------------------------------------------- */

void explain_handler(const struct handler *h, struct dstr *out)
{
    const struct cf_directive *d = h->line;
    dstr_append(out, d->name.text);
    for (size_t i = 0; i < d->arg_count; i++) {
        struct slice text = d->args[i].text;
        bool bare = d->args[i].quote == CF_BARE && slice_find(text, '\n') == SLICE_NPOS;
        dstr_byte(out, ' ');
        if (bare) {
            dstr_append(out, text);
        } else if (text.n <= 60 && slice_find(text, '\n') == SLICE_NPOS) {
            dstr_printf(out, "\"%.*s\"", SLICE_ARG(text));
        } else {
            struct slice line = slice_upto(text, slice_find(text, '\n'));
            dstr_printf(out, "\"%.*s...\"", SLICE_ARG(slice_upto(line, 57)));
        }
    }
}

void explain_place(const struct cf_place *at, struct dstr *out)
{
    dstr_printf(out, "%.*s:%u:%u", SLICE_ARG(at->source->name), at->line, at->column);
}

#define PLACE_COLUMN 64

/* A line with its place at the right. */
static void print_line(unsigned depth, struct slice text, const struct cf_place *at)
{
    struct dstr line;
    dstr_init(&line, 1 << 16);
    dstr_printf(&line, "%*s%.*s", (int)(4 * depth), "", SLICE_ARG(text));
    dstr_printf(&line, "%*s  ", line.n < PLACE_COLUMN ? (int)(PLACE_COLUMN - line.n) : 0, "");
    explain_place(at, &line);
    printf("%s\n", line.p ? line.p : "");
    dstr_fini(&line);
}

/* ---- without a URL ----------------------------------------------------------------------- */

static void print_route(const struct route *route, unsigned depth)
{
    for (size_t i = 0; i < route->count; i++) {
        const struct handler *h = &route->handlers[i];
        struct dstr text;
        if (!h->line) {
            continue;
        }
        dstr_init(&text, 1 << 16);
        explain_handler(h, &text);
        print_line(depth, dstr_slice(&text), &h->line->name.at);
        dstr_fini(&text);
        if (h->ops->inner) {
            print_route(h->ops->inner(h->instance), depth + 1);
        }
    }
}

static void print_site(const struct site *s)
{
    for (size_t i = 0; i < s->source->address_count; i++) {
        printf("%s%.*s", i ? ", " : "", SLICE_ARG(s->source->addresses[i].text));
    }
    printf("\n");
    print_route(&s->route, 1);
    if (!s->route.count) {
        printf("    nothing: every request gets an empty 200\n");
    }
    for (const struct error_route *e = s->settings.errors; e; e = e->next) {
        struct handler h = {.line = e->line};
        struct dstr text;
        dstr_init(&text, 1 << 16);
        explain_handler(&h, &text);
        print_line(1, dstr_slice(&text), &e->line->name.at);
        dstr_fini(&text);
        print_route(&e->route, 2);
    }
}

static void print_all(const struct config *c)
{
    for (const struct site *s = c->sites; s; s = s->next) {
        print_site(s);
        printf("%s", s->next ? "\n" : "");
    }
}

/* ---- the command ------------------------------------------------------------------------- */

static int explain(const struct config *c, const char *url)
{
    struct explain_request r = {.url = slice_str(url),
                                .method = slice_str(args.method),
                                .client = slice_str(args.client),
                                .fields = args.fields.items,
                                .field_count = args.fields.count};
    struct err err;
    if (!explain_url(c, &r, &err)) {
        (void)fprintf(stderr, "caddis explain: %s\n", err.text);
        return 1;
    }
    return 0;
}

int explain_command(const struct command *self, int argc, char **argv)
{
    const char *url = NULL;
    if (!args_parse(self->name, table, ARRAY_LEN(table), argc, argv, &url) ||
        !adapter_allowed(self->name, args.adapter)) {
        return 1;
    }
    const char *path = config_or_default(self->name, args.config);
    if (!path || !envfiles_load(self->name, &args.envfiles)) {
        return 1;
    }
    struct config *c = load_for_command(path);
    int status = c ? 0 : 1;
    if (c && url) {
        status = explain(c, url);
    } else if (c) {
        print_all(c);
    }
    config_unref(c);
    return status;
}
