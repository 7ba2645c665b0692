/* In: `dns PROVIDER ...` and its companions as words. Out: struct acme_solvers, with what
 * {env.NAME} and {file.PATH} stand for put in. Here proxy's words and acme's table of providers
 * meet. */
#include "cmd/solvers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_MAX ((size_t)65536)

struct reader {
    struct arena *arena;
    struct cf_diags *diags;
    struct acme_dns *dns;
    bool ok;
};

static void wrong(struct reader *r, const struct cf_token *at, const char *what)
{
    cf_error(r->diags, at, "%s", what);
    r->ok = false;
}

/* The file's text without the end of its last line. */
static bool read_file(struct reader *r, const struct cf_token *at, struct slice path,
                      struct dstr *out)
{
    struct dstr text;
    char *name = arena_cstr(r->arena, path);
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd < 0) {
        cf_error(r->diags, at, "%.*s cannot be read: %s", SLICE_ARG(path), strerror(errno));
        return false;
    }
    dstr_init(&text, FILE_MAX);
    ssize_t n = 1;
    while (n > 0) {
        char *to = dstr_reserve(&text, 4096);
        n = to ? read(fd, to, 4096) : -1;
        text.n += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    while (text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r')) {
        text.n--;
    }
    dstr_append(out, dstr_slice(&text));
    if (text.p) {
        explicit_bzero(text.p, text.n);
    }
    dstr_fini(&text);
    if (n < 0) {
        cf_error(r->diags, at, "%.*s cannot be read, or is longer than 64 KiB", SLICE_ARG(path));
    }
    return n == 0;
}

/* {env.NAME} or {file.PATH}. */
static bool placeholder(struct reader *r, const struct cf_token *at, struct slice name,
                        struct dstr *out)
{
    if (slice_starts(name, S("env."))) {
        const char *variable = arena_cstr(r->arena, slice_from(name, 4));
        const char *value = variable ? getenv(variable) : NULL;
        if (!value || !value[0]) {
            cf_error(r->diags, at, "the environment variable %.*s is not set",
                     SLICE_ARG(slice_from(name, 4)));
            return false;
        }
        dstr_append(out, slice_str(value));
        return true;
    }
    if (slice_starts(name, S("file."))) {
        return read_file(r, at, slice_from(name, 5), out);
    }
    cf_error(r->diags, at, "{%.*s} has no value here: only {env.NAME} and {file.PATH} have",
             SLICE_ARG(name));
    return false;
}

/* The word with its placeholders replaced. */
static bool expand(struct reader *r, const struct cf_token *t, struct slice *out)
{
    struct dstr text;
    struct slice rest = t->text;
    bool ok = true;
    dstr_init(&text, FILE_MAX);
    while (ok && rest.n) {
        size_t open = slice_find(rest, '{');
        size_t close = open == SLICE_NPOS ? SLICE_NPOS : slice_find(rest, '}');
        if (close == SLICE_NPOS || close < open) {
            dstr_append(&text, rest);
            break;
        }
        dstr_append(&text, slice_upto(rest, open));
        ok = placeholder(r, t, slice_of(rest.p + open + 1, close - open - 1), &text);
        rest = slice_from(rest, close + 1);
    }
    *out = text.failed ? S("") : arena_copy(r->arena, dstr_slice(&text));
    if (text.p) {
        explicit_bzero(text.p, text.n);
    }
    dstr_fini(&text);
    r->ok = r->ok && ok;
    return ok;
}

static void read_option(struct reader *r, const struct cf_directive *o)
{
    struct err err;
    struct slice value;
    if (o->arg_count != 1 || o->children) {
        wrong(r, &o->name, "an option of a DNS provider has one value");
    } else if (expand(r, &o->args[0], &value) &&
               !acme_dns_option(r->dns, o->name.text, value, &err)) {
        wrong(r, &o->name, err.text);
    }
}

/* words: the directive whose arguments are the provider and its arguments. */
static void read_provider(struct reader *r, const struct cf_directive *words)
{
    struct err err;
    struct slice value;
    if (!acme_dns_begin(r->dns, words->args[0].text, &err)) {
        wrong(r, &words->args[0], err.text);
        return;
    }
    for (size_t i = 1; i < words->arg_count; i++) {
        if (expand(r, &words->args[i], &value) && !acme_dns_argument(r->dns, value, &err)) {
            wrong(r, &words->args[i], err.text);
        }
    }
    for (const struct cf_directive *o = words->children; o; o = o->next) {
        read_option(r, o);
    }
    if (r->ok && !acme_dns_end(r->dns, &err)) {
        wrong(r, &words->args[0], err.text);
    }
}

/* The directive that names the provider; NULL: no DNS challenge (or an error). */
static const struct cf_directive *provider_words(struct reader *r, const struct cf_directive *dns,
                                                 const struct options *o)
{
    dns = dns ? dns : o->acme_dns;
    if (!dns || dns->arg_count) {
        return dns;
    }
    if (!o->dns) {
        struct cf_diag *d = cf_error(r->diags, &dns->name, "\"%.*s\" names no DNS provider",
                                     SLICE_ARG(dns->name.text));
        if (d) {
            d->hint = S("write one behind it, or once in the global option dns");
        }
        r->ok = false;
    }
    return o->dns;
}

static void companions(struct acme_dns *dns, const struct challenge_settings *own,
                       const struct challenge_settings *site, const struct options *o)
{
    dns->ttl_s = own->dns_ttl_s ? own->dns_ttl_s : site->dns_ttl_s;
    dns->propagation_timeout_ms = own->propagation_timeout_ms ? own->propagation_timeout_ms
                                                              : site->propagation_timeout_ms;
    dns->propagation_delay_ms =
        own->propagation_delay_ms ? own->propagation_delay_ms : site->propagation_delay_ms;
    dns->override_name = own->override_name.n ? own->override_name : site->override_name;
    dns->resolvers = own->resolvers.n ? own->resolvers : site->resolvers;
    dns->resolvers = dns->resolvers.n ? dns->resolvers : o->tls_resolvers;
}

/* Is there a port that is ours and open to the CA? */
static bool has_port(const struct config *c, bool tls, uint16_t alt)
{
    uint16_t usual = tls ? c->options->https_port : c->options->http_port;
    for (const struct port_table *t = c->ports; t; t = t->next) {
        if (t->tls == tls && (t->port == usual || (alt && t->port == alt))) {
            return true;
        }
    }
    return false;
}

/* A way whose port nobody listens on is left out while another one is there. */
static void leave_out(const struct config *c, const struct challenge_settings *own,
                      const struct challenge_settings *site, struct acme_solvers *out)
{
    bool http = has_port(c, false, own->alt_http_port ? own->alt_http_port : site->alt_http_port);
    bool tls = has_port(c, true,
                        own->alt_tls_alpn_port ? own->alt_tls_alpn_port : site->alt_tls_alpn_port);
    out->no_http = out->no_http || (!http && tls && !out->no_tls_alpn);
    out->no_tls_alpn = out->no_tls_alpn || (!tls && http && !out->no_http);
}

bool solvers_for(struct arena *a, const struct challenge_settings *own,
                 const struct challenge_settings *site, const struct config *c,
                 struct cf_diags *diags, struct acme_solvers *out)
{
    struct reader r = {.arena = a, .diags = diags, .ok = true};
    *out = (struct acme_solvers){.no_http = own->no_http || site->no_http,
                                 .no_tls_alpn = own->no_tls_alpn || site->no_tls_alpn};
    leave_out(c, own, site, out);
    const struct cf_directive *words =
        provider_words(&r, own->dns ? own->dns : site->dns, c->options);
    if (words) {
        r.dns = ARENA_NEW(a, struct acme_dns);
        must(r.dns);
        read_provider(&r, words);
        companions(r.dns, own, site, c->options);
        out->dns = r.dns;
    }
    return r.ok;
}
