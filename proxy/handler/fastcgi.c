/* transport fastcgi {
 *     root <path>                  where the scripts are for the responder ({vars.root})
 *     split <text>...              the path ends behind the first of these; the rest is PATH_INFO
 *     env <name> <value>           another variable; placeholders
 *     resolve_root_symlink         scripts are named by where root leads to, looked up for each
 *                                  request, so that a release can be switched by a link
 *     capture_stderr               what a script says there is logged
 *     dial_timeout, read_timeout, write_timeout <duration>
 * }
 * In: the request as reverse_proxy would send it. Out: its CGI variables. */
#include "proxy/handler/fastcgi.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/handler/chain.h"
#include "proxy/loop/jobs.h"
#include "proxy/net/stream.h"
#include "proxy/route/path.h"
#include "proxy/route/vars.h"

#define ENV_MAX 64u
#define SPLIT_MAX 16u

struct fastcgi {
    struct template *root;
    struct slice folder; /* the working folder: what a relative root is relative to */
    struct slice split[SPLIT_MAX];
    size_t split_count;
    struct {
        struct slice name;
        struct template *value;
    } env[ENV_MAX];
    size_t env_count;
    bool capture_stderr;
    bool resolves_root;
};

/* What resolve_root_symlink has found, for the request. */
#define RESOLVED_ROOT S("fastcgi.resolved_root")

bool fastcgi_logs_stderr(const struct fastcgi *c)
{
    return c->capture_stderr;
}

/* ---- the path -------------------------------------------------------------------------------- */

struct script {
    struct slice name;      /* below root, "/index.php" */
    struct slice path_info; /* "/more", or empty */
    struct slice root;
    struct slice filename;  /* root and name */
};

/* Where the script's name ends: behind the first of the split texts, at the end of a part of the
 * path as Caddy has it or not; letters in any case. SLICE_NPOS: nowhere. */
static size_t split_at(const struct fastcgi *c, struct slice path)
{
    for (size_t i = 0; i < c->split_count; i++) {
        struct slice text = c->split[i];
        for (size_t at = 0; at + text.n <= path.n; at++) {
            if (slice_eq_case(slice_of(path.p + at, text.n), text)) {
                return at + text.n;
            }
        }
    }
    return SLICE_NPOS;
}

static struct slice root_of(const struct fastcgi *c, struct exchange *ex)
{
    struct slice resolved = c->resolves_root ? vars_value(ex, RESOLVED_ROOT) : S("");
    if (resolved.n) {
        return resolved;
    }
    struct slice root = c->root ? template_eval(c->root, ex) : vars_value(ex, S("http.vars.root"));
    while (root.n > 1 && root.p[root.n - 1] == '/') {
        root.n--;
    }
    if (root.n == 0 || slice_eq(root, S("."))) {
        return c->folder;
    }
    return root.p[0] == '/' ? root
                            : arena_printf(&ex->arena, "%.*s/%.*s", SLICE_ARG(c->folder),
                                           SLICE_ARG(root));
}

static bool find_script(const struct fastcgi *c, struct exchange *ex, struct slice raw,
                        struct script *s)
{
    /* Dots are resolved, so nothing leads out of root. */
    struct slice path = path_clean(&ex->arena, raw, false);
    if (!path.p) {
        return false;
    }
    size_t at = split_at(c, path);
    s->name = at == SLICE_NPOS ? path : slice_upto(path, at);
    s->path_info = at == SLICE_NPOS ? S("") : slice_from(path, at);
    if (!s->path_info.n) {
        s->path_info = vars_value(ex, S("http.matchers.file.remainder"));
    }
    s->root = root_of(c, ex);
    s->filename = arena_printf(&ex->arena, "%.*s%.*s",
                               SLICE_ARG(slice_eq(s->root, S("/")) ? S("") : s->root),
                               SLICE_ARG(s->name));
    return s->root.p && s->filename.p;
}

/* ---- resolve_root_symlink -------------------------------------------------------------------- */

struct resolving {
    struct exchange *ex; /* held */
    struct job job;
    const char *root;
    char *found; /* from malloc; NULL: errno is in error */
    int error;
};

static void resolve(struct job *job)
{
    struct resolving *r = container_of(job, struct resolving, job);
    r->found = realpath(r->root, NULL);
    r->error = r->found ? 0 : errno;
}

static void resolve_dropped(struct job *job)
{
    exchange_release(container_of(job, struct resolving, job)->ex);
}

static void go_on(struct exchange *ex, const struct resolving *r, struct slice found)
{
    if (!r->found) {
        struct slice why = arena_printf(&ex->arena, "the root %s cannot be resolved: %s", r->root,
                                        strerror(r->error));
        (void)chain_error(ex, 500, why);
    } else if (!found.p || !vars_set(ex, RESOLVED_ROOT, found)) {
        (void)chain_error(ex, 503, S("out of memory"));
    } else {
        ex->resume(ex);
    }
}

static void resolved(struct job *job)
{
    struct resolving *r = container_of(job, struct resolving, job);
    struct exchange *ex = r->ex;
    struct slice found = r->found ? arena_copy(&ex->arena, slice_str(r->found)) : S("");
    free(r->found);
    if (!ex->finished) {
        go_on(ex, r, found);
    }
    exchange_release(ex);
}

static enum handler_result resolve_request(const void *instance, struct exchange *ex)
{
    const struct fastcgi *c = instance;
    struct resolving *r = ARENA_NEW(&ex->arena, struct resolving);
    vars_remove_prefix(ex, RESOLVED_ROOT);
    const char *root = r ? arena_cstr(&ex->arena, root_of(c, ex)) : NULL;
    if (!root) {
        return chain_error(ex, 503, S("out of memory"));
    }
    r->ex = ex;
    r->root = root;
    r->job = (struct job){.work = resolve, .done = resolved, .dropped = resolve_dropped};
    exchange_hold(ex);
    if (!ex->jobs || !job_submit(ex->jobs, ex->loop, &r->job)) {
        exchange_release(ex);
        return chain_error(ex, 503, S("too many requests wait for the disk"));
    }
    return HANDLER_WAIT;
}

static const struct handler_ops resolve_ops = {.name = "resolve_root_symlink",
                                               .on_request = resolve_request};

static enum handler_result both_request(const void *instance, struct exchange *ex)
{
    chain_enter(ex, instance);
    return HANDLER_ENTER;
}

static void both_release(void *instance)
{
    const struct route *both = instance;
    both->handlers[1].ops->release(both->handlers[1].instance);
}

static const struct handler_ops both_ops = {
    .name = "reverse_proxy", .on_request = both_request, .release = both_release};

void fastcgi_resolve_before(struct build *b, const struct fastcgi *c, struct handler *proxy)
{
    if (!c->resolves_root) {
        return;
    }
    struct route *both = ARENA_NEW(b->arena, struct route);
    struct handler *handlers = ARENA_ARRAY(b->arena, struct handler, 2);
    must(both && handlers);
    handlers[0] = (struct handler){.ops = &resolve_ops, .instance = (void *)(uintptr_t)c};
    handlers[1] = (struct handler){.ops = proxy->ops, .instance = proxy->instance};
    *both = (struct route){.handlers = handlers, .count = 2};
    proxy->ops = &both_ops;
    proxy->instance = both;
}

/* ---- variables ------------------------------------------------------------------------------- */

struct making {
    struct exchange *ex;
    struct fields vars;
    bool failed; /* memory, or too many */
};

static void put(struct making *m, struct slice name, struct slice value)
{
    m->failed = m->failed || !fields_add_id(&m->vars, &m->ex->arena, FIELD_OTHER, name, value);
}

/* "X-Name" is HTTP_X_NAME. */
static struct slice variable_name(struct arena *a, struct slice field)
{
    struct slice name = arena_printf(a, "HTTP_%.*s", SLICE_ARG(field));
    char *at = (char *)(uintptr_t)name.p;
    for (size_t i = 0; i < name.n; i++) {
        at[i] = at[i] == '-' ? '_'
                             : (char)(at[i] - (at[i] >= 'a' && at[i] <= 'z' ? 'a' - 'A' : 0));
    }
    return name;
}

/* All values of fields[i]'s name, as one. */
static struct slice joined(struct arena *a, const struct fields *fields, unsigned i)
{
    struct slice text = fields->items[i].value;
    struct slice between = fields->items[i].id == FIELD_COOKIE ? S("; ") : S(", ");
    for (unsigned k = i + 1; k < fields->count && text.p; k++) {
        if (slice_eq_case(fields->items[k].name, fields->items[i].name)) {
            text = arena_printf(a, "%.*s%.*s%.*s", SLICE_ARG(text), SLICE_ARG(between),
                                SLICE_ARG(fields->items[k].value));
        }
    }
    return text;
}

static bool is_first(const struct fields *fields, unsigned i)
{
    for (unsigned k = 0; k < i; k++) {
        if (slice_eq_case(fields->items[k].name, fields->items[i].name)) {
            return false;
        }
    }
    return true;
}

/* What libraries take for configuration of their own must not come from a client: HTTP_PROXY names
 * a proxy for requests that the script makes (httpoxy). */
static bool is_dangerous(const struct field *f)
{
    return slice_eq_case(f->name, S("proxy"));
}

static void put_request_fields(struct making *m, const struct fields *fields)
{
    struct arena *a = &m->ex->arena;
    for (unsigned i = 0; i < fields->count && !m->failed; i++) {
        if (is_dangerous(&fields->items[i]) || !is_first(fields, i)) {
            continue;
        }
        struct slice name = variable_name(a, fields->items[i].name);
        struct slice value = joined(a, fields, i);
        m->failed = m->failed || !name.p || !value.p;
        put(m, name, value);
    }
}

static void put_script(struct making *m, const struct script *s)
{
    put(m, S("DOCUMENT_ROOT"), s->root);
    put(m, S("DOCUMENT_URI"), s->name);
    put(m, S("SCRIPT_NAME"), s->name);
    put(m, S("SCRIPT_FILENAME"), s->filename);
    put(m, S("PATH_INFO"), s->path_info);
    if (s->path_info.n) {
        struct slice translated = arena_printf(&m->ex->arena, "%.*s%.*s", SLICE_ARG(s->root),
                                               SLICE_ARG(s->path_info));
        m->failed = m->failed || !translated.p;
        put(m, S("PATH_TRANSLATED"), translated);
    }
}

static void put_peer(struct making *m)
{
    char buf[ADDR_TEXT_BYTES];
    struct arena *a = &m->ex->arena;
    const struct addr *peer = m->ex->client.peer;
    bool named = peer->len && !addr_is_unix(peer);
    struct slice host = named ? arena_copy(a, addr_host_text(peer, buf)) : S("");
    put(m, S("REMOTE_ADDR"), host);
    put(m, S("REMOTE_HOST"), host);
    if (named) {
        put(m, S("REMOTE_PORT"), arena_printf(a, "%u", addr_port(peer)));
    }
    put(m, S("REMOTE_IDENT"), S(""));
    put(m, S("REMOTE_USER"), vars_value(m->ex, S("http.auth.user.id")));
    m->failed = m->failed || a->failed;
}

static void put_server(struct making *m)
{
    const struct request *req = &m->ex->req;
    const struct stream_tls *tls = m->ex->client.tls;
    put(m, S("GATEWAY_INTERFACE"), S("CGI/1.1"));
    put(m, S("SERVER_SOFTWARE"), S("caddis"));
    put(m, S("SERVER_NAME"), req->host);
    put(m, S("SERVER_PORT"), req->port.n ? req->port : tls ? S("443") : S("80"));
    put(m, S("SERVER_PROTOCOL"), http_version_text(req->version));
    put(m, S("REQUEST_SCHEME"), req->scheme);
    if (tls) {
        put(m, S("HTTPS"), S("on"));
        put(m, S("SSL_PROTOCOL"), slice_eq(tls->version, S("tls1.3"))   ? S("TLSv1.3")
                                  : slice_eq(tls->version, S("tls1.2")) ? S("TLSv1.2")
                                                                        : tls->version);
        put(m, S("SSL_CIPHER"), tls->cipher);
    }
}

static void put_request(struct making *m, const struct request *out)
{
    const struct field *type = fields_find_id(&out->fields, FIELD_CONTENT_TYPE);
    put(m, S("AUTH_TYPE"), S(""));
    put(m, S("REQUEST_METHOD"), out->method_text);
    put(m, S("REQUEST_URI"), m->ex->original.target);
    put(m, S("QUERY_STRING"), out->query.p ? out->query : S(""));
    if (type) {
        put(m, S("CONTENT_TYPE"), type->value);
    }
}

/* After all others: an administrator's word holds. */
static void put_env(struct making *m, const struct fastcgi *c)
{
    for (size_t i = 0; i < c->env_count && !m->failed; i++) {
        struct slice value = template_eval(c->env[i].value, m->ex);
        m->failed = m->ex->arena.failed ||
                    !fields_set(&m->vars, &m->ex->arena, c->env[i].name, value);
    }
}

static bool all_valid(const struct fields *vars)
{
    for (unsigned i = 0; i < vars->count; i++) {
        if (!field_value_valid(vars->items[i].value)) {
            return false;
        }
    }
    return true;
}

int fastcgi_request(const struct fastcgi *c, struct exchange *ex, struct request *out,
                    struct slice *detail)
{
    struct making m = {.ex = ex};
    struct script script;
    if (out->content_length < 0) {
        *detail = S("a script must be told how long the request body is");
        return 411;
    }
    *detail = S("out of memory");
    if (!find_script(c, ex, out->path, &script)) {
        return 503;
    }
    put_script(&m, &script);
    put_request(&m, out);
    put_server(&m);
    put_peer(&m);
    put_request_fields(&m, &out->fields);
    put_env(&m, c);
    if (m.failed) {
        return 503;
    }
    if (!all_valid(&m.vars)) {
        *detail = S("the path holds control characters");
        return 400;
    }
    out->fields = m.vars;
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static const struct slice option_names[] = {S_INIT("root"), S_INIT("split"), S_INIT("env"),
                                            S_INIT("resolve_root_symlink"),
                                            S_INIT("capture_stderr")};

size_t fastcgi_option_names(struct slice *out, size_t max)
{
    size_t n = 0;
    while (n < ARRAY_LEN(option_names) && n < max) {
        out[n] = option_names[n];
        n++;
    }
    return n;
}

struct fastcgi *fastcgi_new(struct build *b, const struct cf_token *at)
{
    struct fastcgi *c = ARENA_NEW(b->arena, struct fastcgi);
    char folder[PATH_MAX];
    must(c);
    if (getcwd(folder, sizeof(folder))) {
        c->folder = arena_copy(b->arena, slice_str(folder));
        must(c->folder.p);
    } else {
        cf_error(b->diags, at, "the working folder, which scripts are found from, is gone");
    }
    return c;
}

static void read_split(struct build *b, struct fastcgi *c, const struct cf_directive *d)
{
    if (!expect_args(b, d, d->arg_count, 1, SPLIT_MAX)) {
        return;
    }
    c->split_count = d->arg_count;
    for (size_t i = 0; i < d->arg_count; i++) {
        c->split[i] = d->args[i].text;
        if (c->split[i].n == 0) {
            cf_error(b->diags, &d->args[i], "an empty text cannot end a script's name");
        }
    }
}

static void read_env(struct build *b, struct fastcgi *c, const struct cf_directive *d)
{
    if (!expect_args(b, d, d->arg_count, 2, 2)) {
        return;
    }
    if (c->env_count == ENV_MAX) {
        cf_error(b->diags, &d->name, "more than %u variables", ENV_MAX);
    } else if (!field_name_valid(d->args[0].text)) {
        cf_error(b->diags, &d->args[0], "\"%.*s\" is no name of a variable",
                 SLICE_ARG(d->args[0].text));
    } else {
        c->env[c->env_count].name = d->args[0].text;
        c->env[c->env_count++].value = template_compile(b->arena, &d->args[1], b->diags);
    }
}

bool fastcgi_read_option(struct build *b, struct fastcgi *c, const struct cf_directive *d)
{
    if (slice_eq(d->name.text, S("root"))) {
        if (expect_args(b, d, d->arg_count, 1, 1)) {
            c->root = template_compile(b->arena, &d->args[0], b->diags);
        }
    } else if (slice_eq(d->name.text, S("split"))) {
        read_split(b, c, d);
    } else if (slice_eq(d->name.text, S("env"))) {
        read_env(b, c, d);
    } else if (slice_eq(d->name.text, S("capture_stderr"))) {
        c->capture_stderr = expect_args(b, d, d->arg_count, 0, 0);
    } else if (slice_eq(d->name.text, S("resolve_root_symlink"))) {
        c->resolves_root = expect_args(b, d, d->arg_count, 0, 0);
    } else {
        return false;
    }
    return true;
}
