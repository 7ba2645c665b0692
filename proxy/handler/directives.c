/* The table of directives, in Caddy's order, and the reading of a block into a route. */
#include "proxy/handler/directives.h"
#include "proxy/handler/directive_order.h"
#include "proxy/handler/mistakes.h"
#include "proxy/handler/unreachable.h"

#include "proxy/base/mem.h"
#include "proxy/base/sort.h"

/* Places are those of Caddy's default order; gaps are directives to come. */
static const struct directive table[] = {
    {S_INIT("map"), DIRECTIVE_HANDLER, MATCHER_FIRST, 20, map_parse},
    {S_INIT("vars"), DIRECTIVE_HANDLER, MATCHER_FIRST, 30, vars_parse},
    {S_INIT("root"), DIRECTIVE_HANDLER, MATCHER_NEVER_LAST, 50, root_parse},
    {S_INIT("log_append"), DIRECTIVE_HANDLER, MATCHER_FIRST, 55, log_append_parse},
    {S_INIT("skip_log"), DIRECTIVE_HANDLER, MATCHER_FIRST, 60, log_skip_parse},
    {S_INIT("log_skip"), DIRECTIVE_HANDLER, MATCHER_FIRST, 60, log_skip_parse},
    {S_INIT("log_name"), DIRECTIVE_HANDLER, MATCHER_FIRST, 65, log_name_parse},
    {S_INIT("header"), DIRECTIVE_HANDLER, MATCHER_FIRST, 70, header_parse},
    {S_INIT("copy_response_headers"), DIRECTIVE_HANDLER, MATCHER_FIRST, 80,
     copy_response_headers_parse},
    {S_INIT("request_body"), DIRECTIVE_HANDLER, MATCHER_FIRST, 90, request_body_parse},
    {S_INIT("redir"), DIRECTIVE_HANDLER, MATCHER_FIRST, 100, redir_parse},
    {S_INIT("method"), DIRECTIVE_HANDLER, MATCHER_FIRST, 110, method_parse},
    {S_INIT("rewrite"), DIRECTIVE_HANDLER, MATCHER_NEVER_LAST, 120, rewrite_parse},
    {S_INIT("uri"), DIRECTIVE_HANDLER, MATCHER_FIRST, 130, uri_parse},
    {S_INIT("try_files"), DIRECTIVE_HANDLER, MATCHER_NONE, 140, try_files_parse},
    {S_INIT("rate_limit"), DIRECTIVE_HANDLER, MATCHER_FIRST, 145, rate_limit_parse},
    {S_INIT("basicauth"), DIRECTIVE_HANDLER, MATCHER_FIRST, 150, basic_auth_parse},
    {S_INIT("basic_auth"), DIRECTIVE_HANDLER, MATCHER_FIRST, 150, basic_auth_parse},
    {S_INIT("forward_auth"), DIRECTIVE_HANDLER, MATCHER_FIRST, 160, forward_auth_parse},
    {S_INIT("request_header"), DIRECTIVE_HANDLER, MATCHER_FIRST, 170, request_header_parse},
    {S_INIT("encode"), DIRECTIVE_HANDLER, MATCHER_FIRST, 180, encode_parse},
    {S_INIT("intercept"), DIRECTIVE_HANDLER, MATCHER_FIRST, 200, intercept_parse},
    {S_INIT("invoke"), DIRECTIVE_HANDLER, MATCHER_FIRST, 210, invoke_parse},
    {S_INIT("handle"), DIRECTIVE_HANDLER, MATCHER_FIRST, 220, handle_parse},
    {S_INIT("handle_path"), DIRECTIVE_HANDLER, MATCHER_FIRST, 220, handle_path_parse},
    {S_INIT("route"), DIRECTIVE_HANDLER, MATCHER_FIRST, 240, route_parse},
    {S_INIT("abort"), DIRECTIVE_HANDLER, MATCHER_FIRST, 250, abort_parse},
    {S_INIT("error"), DIRECTIVE_HANDLER, MATCHER_FIRST, 260, error_parse},
    {S_INIT("copy_response"), DIRECTIVE_HANDLER, MATCHER_FIRST, 280, copy_response_parse},
    {S_INIT("respond"), DIRECTIVE_HANDLER, MATCHER_FIRST, 290, respond_parse},
    {S_INIT("metrics"), DIRECTIVE_HANDLER, MATCHER_FIRST, 300, metrics_parse},
    {S_INIT("reverse_proxy"), DIRECTIVE_HANDLER, MATCHER_FIRST, 310, reverse_proxy_parse},
    {S_INIT("php_fastcgi"), DIRECTIVE_HANDLER, MATCHER_FIRST, 320, php_fastcgi_parse},
    {S_INIT("file_server"), DIRECTIVE_HANDLER, MATCHER_FIRST, 330, file_server_parse},
    {S_INIT("handle_errors"), DIRECTIVE_SITE, MATCHER_NONE, 0, handle_errors_parse},
    {S_INIT("bind"), DIRECTIVE_SITE, MATCHER_NONE, 0, bind_parse},
    {S_INIT("log"), DIRECTIVE_SITE, MATCHER_NONE, 0, log_parse},
    {S_INIT("tls"), DIRECTIVE_SITE, MATCHER_NONE, 0, tls_parse},
};

/* Caddy's directives that will not be here, and why. */
static const struct {
    struct slice name;
    const char *why;
} left_out[] = {
    {S_INIT("push"), "HTTP/2 push is dead: browsers took it out. \"respond 103\" with Link fields"
                     " sends early hints instead"},
    {S_INIT("timeouts"), "write request_body { read_timeout 30s; write_timeout 5m }"},
    {S_INIT("tracing"), "it sends spans to OpenTelemetry"},
    {S_INIT("templates"), "it runs Go's templates in pages; an app behind reverse_proxy can do"
                          " that"},
    {S_INIT("acme_server"), "it lets the local CA serve other machines over ACME"},
};

/* Caddy's directives that are not here yet: the message says so instead of guessing. */
static const struct slice elsewhere[] = {
    S_INIT("fs"),
};

const struct directive *directive_table(size_t *count)
{
    *count = ARRAY_LEN(table);
    return table;
}

const struct directive *directive_find(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (slice_eq(table[i].name, name)) {
            return &table[i];
        }
    }
    return NULL;
}

bool directive_is_known(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
        if (slice_eq(elsewhere[i], name)) {
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(left_out); i++) {
        if (slice_eq(left_out[i].name, name)) {
            return true;
        }
    }
    return directive_find(name) != NULL;
}

void directive_unknown(struct cf_diags *diags, const struct cf_token *name,
                       const struct cf_directive *line)
{
    struct slice names[ARRAY_LEN(table)];
    for (size_t i = 0; i < ARRAY_LEN(left_out); i++) {
        if (slice_eq(left_out[i].name, name->text)) {
            cf_error(diags, name, "the directive \"%.*s\" is Caddy's and not in caddis: %s",
                     SLICE_ARG(name->text), left_out[i].why);
            return;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
        if (slice_eq(elsewhere[i], name->text)) {
            cf_error(diags, name, "the directive \"%.*s\" is Caddy's and not yet in caddis",
                     SLICE_ARG(name->text));
            return;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        names[i] = table[i].name;
    }
    struct cf_diag *diag = cf_error(diags, name, "unknown directive \"%.*s\"",
                                    SLICE_ARG(name->text));
    if (!diag) {
        return;
    }
    diag->hint = mistake_directive(diags, name, line);
    if (diag->hint.n) {
        return;
    }
    if (name->quote == CF_BARE && name->text.n > 1 && name->text.p[0] == '{') {
        diag->hint = S("a space is missing behind \"{\"");
    } else {
        cf_did_you_mean(diags, diag, name->text, names, ARRAY_LEN(names));
    }
}

/* "handle /x < ... >" inside braces. */
static void hint_angle(const struct cf_directive *d, struct cf_diag *diag)
{
    for (size_t i = 0; diag && i < d->arg_count; i++) {
        if (d->args[i].quote == CF_BARE && slice_eq(d->args[i].text, S("<"))) {
            diag->hint = S("inside \"{\" and \"}\" blocks are opened with \"{\", too");
        }
    }
}

bool expect_args(struct build *b, const struct cf_directive *d, size_t count, size_t min,
                 size_t max)
{
    if (count >= min && count <= max) {
        return true;
    }
    const struct cf_token *at = count > max ? &d->args[d->arg_count - (count - max)] : &d->name;
    if (count < min) {
        struct cf_diag *diag = cf_error(b->diags, at, "\"%.*s\" needs %s%zu argument%s",
                                        SLICE_ARG(d->name.text), min == max ? "" : "at least ", min,
                                        min == 1 ? "" : "s");
        if (diag && d->arg_count > count) {
            diag->hint = arena_printf(&b->diags->arena, "\"%.*s\" is taken for a matcher; write:"
                                      " %.*s * %.*s", SLICE_ARG(d->args[0].text),
                                      SLICE_ARG(d->name.text), SLICE_ARG(d->args[0].text));
        }
    } else if (max == 0) {
        struct cf_diag *diag = cf_error(b->diags, at, "\"%.*s\" takes no arguments",
                                        SLICE_ARG(d->name.text));
        if (diag) {
            diag->hint = mistake_arguments(b->diags, d);
        }
        hint_angle(d, diag);
    } else {
        struct cf_diag *diag = cf_error(b->diags, at, "\"%.*s\" takes at most %zu argument%s",
                                        SLICE_ARG(d->name.text), max, max == 1 ? "" : "s");
        if (diag) {
            diag->hint = mistake_arguments(b->diags, d);
        }
        hint_angle(d, diag);
    }
    return false;
}

bool expect_no_block(struct build *b, const struct cf_directive *d)
{
    if (d->has_block) {
        cf_error(b->diags, &d->name, "\"%.*s\" takes no block", SLICE_ARG(d->name.text));
    }
    return !d->has_block;
}

bool parse_status(struct build *b, const struct cf_token *t, unsigned min, unsigned max, int *out)
{
    uint64_t v;
    if (!slice_u64(t->text, max, &v) || v < min) {
        cf_error(b->diags, t, "\"%.*s\" is not a status from %u to %u", SLICE_ARG(t->text), min,
                 max);
        return false;
    }
    *out = (int)v;
    return true;
}

/* map [matcher] {source} {output}... { ... } */
static void declare_outputs(struct cf_diags *diags, const struct cf_directive *d)
{
    size_t from = d->arg_count && matcher_is_token(&d->args[0]) ? 2 : 1;
    for (size_t i = from; i < d->arg_count; i++) {
        struct slice text = d->args[i].text;
        if (text.n > 2 && text.p[0] == '{' && text.p[text.n - 1] == '}') {
            cf_declare(diags, slice_of(text.p + 1, text.n - 2));
        }
    }
}

void directives_declare(struct cf_diags *diags, const struct cf_directive *first)
{
    for (const struct cf_directive *d = first; d; d = d->next) {
        if (slice_eq(d->name.text, S("map"))) {
            declare_outputs(diags, d);
        } else {
            directives_declare(diags, d->children);
        }
    }
}

/* ---- blocks into routes ---------------------------------------------------------------------- */

struct entry {
    struct handler handler;
    const struct directive *directive;
    unsigned place; /* in the order of directives */
};

/* Caddy's rule: by directive; of one name the more specific path first, and as written where the
 * matchers do not say. That is no order in the mathematical sense ("/a", "@b", "/abc": each pair of
 * neighbours is left alone while the outer two would change places), so that the result depends on
 * how it is sorted: stable_sort does it as Caddy does. */
static bool goes_before(const void *pa, const void *pb)
{
    const struct entry *a = pa;
    const struct entry *b = pb;
    if (a->place != b->place) {
        return a->place < b->place;
    }
    bool more = matcher_more_specific(a->handler.matcher, b->handler.matcher);
    /* Of several vars the less specific runs first, so that the last one wins. */
    return slice_eq(a->directive->name, S("vars")) ? !more : more;
}

static bool takes_matcher(const struct directive *d, const struct cf_token *args, size_t count)
{
    return d->matcher != MATCHER_NONE && count > (d->matcher == MATCHER_NEVER_LAST ? 1 : 0) &&
           matcher_is_token(&args[0]);
}

/* What says something of a site is no step of handling a request. */
static bool place_allowed(struct build *b, const struct directive *directive,
                          const struct cf_directive *d)
{
    if (directive->kind == DIRECTIVE_SITE && b->depth > 1) {
        cf_error(b->diags, &d->name, "\"%.*s\" is about a whole site and belongs directly into its"
                 " block", SLICE_ARG(d->name.text));
        return false;
    }
    return true;
}

static bool build_one(struct build *b, const struct cf_directive *d, struct entry *out)
{
    const struct directive *directive = directive_find(d->name.text);
    if (!directive) {
        directive_unknown(b->diags, &d->name, d);
        return false;
    }
    if (!place_allowed(b, directive, d)) {
        return false;
    }
    if (d->torn && !mistake_is_own_block(d->name.text)) {
        return false; /* whether it is right depends on what could not be imported */
    }
    mistakes_of_directive(b->diags, d);
    const struct cf_token *args = d->args;
    size_t count = d->arg_count;
    struct matcher *matcher = NULL;
    if (takes_matcher(directive, args, count)) {
        if (!matcher_from_token(b->arena, b->scope, &args[0], &matcher, b->diags)) {
            return false;
        }
        args++;
        count--;
    }
    *out = (struct entry){.handler = {.matcher = matcher,
                                      .line = d,
                                      .matcher_words = (size_t)(args - d->args)},
                          .directive = directive,
                          .place = directive_place(b->order, directive)};
    if (!directive->parse(b, d, args, count, &out->handler)) {
        return false;
    }
    if (directive->kind == DIRECTIVE_HANDLER && out->handler.ops->release) {
        struct build_release *r = ARENA_NEW(b->arena, struct build_release);
        must(r);
        *r = (struct build_release){b->releases, out->handler.ops, out->handler.instance};
        b->releases = r;
    }
    return true;
}

static size_t count_directives(const struct cf_directive *first)
{
    size_t n = 0;
    for (; first; first = first->next) {
        n++;
    }
    return n;
}

static bool is_matcher_definition(const struct cf_directive *d)
{
    return d->name.quote == CF_BARE && d->name.text.n && d->name.text.p[0] == '@';
}

static void entries_into_route(struct build *b, const struct entry *entries, size_t count,
                               struct route *out)
{
    out->handlers = ARENA_ARRAY(b->arena, struct handler, count + 1);
    out->count = count;
    must(out->handlers);
    for (size_t i = 0; i < count; i++) {
        out->handlers[i] = entries[i].handler;
    }
}

static size_t build_entries(struct build *b, const struct cf_directive *first,
                            struct entry *entries)
{
    size_t count = 0;
    for (const struct cf_directive *d = first; d; d = d->next) {
        if (is_matcher_definition(d) || !build_one(b, d, &entries[count]) ||
            entries[count].directive->kind == DIRECTIVE_SITE) {
            continue;
        }
        count++;
    }
    return count;
}

static bool build_route(struct build *b, const struct cf_directive *first, bool sorted,
                        struct route *out)
{
    unsigned errors = b->diags->errors;
    struct matcher_scope scope = {.outer = NULL};
    const struct matcher_scope *outer = b->scope;
    scope.outer = (struct matcher_scope *)(uintptr_t)outer;
    for (const struct cf_directive *d = first; d; d = d->next) {
        if (is_matcher_definition(d)) {
            matcher_define(b->arena, &scope, d, b->diags);
        }
    }
    b->scope = &scope;
    b->depth++;
    struct entry *entries = mem_zalloc((count_directives(first) + 1) * sizeof(*entries));
    size_t count = build_entries(b, first, entries);
    if (sorted) {
        stable_sort(entries, count, sizeof(*entries), goes_before);
    }
    entries_into_route(b, entries, count, out);
    unreachable_warn(b->diags, out);
    free(entries);
    matcher_scope_end(&scope, b->diags);
    b->scope = outer;
    b->depth--;
    return b->diags->errors == errors;
}

bool route_build(struct build *b, const struct cf_directive *first, struct route *out)
{
    return build_route(b, first, true, out);
}

bool route_build_as_written(struct build *b, const struct cf_directive *first, struct route *out)
{
    return build_route(b, first, false, out);
}

void build_release_all(struct build_release *first)
{
    for (; first; first = first->next) {
        first->ops->release(first->instance);
    }
}
