/* php_fastcgi [matcher] <gateway>... {
 *     root, split, env, capture_stderr, dial_timeout, read_timeout, write_timeout
 *                                       transport fastcgi's (fastcgi.c); split: .php
 *     index <file>|off                  index.php
 *     try_files <files>...              {path} {path}/index.php index.php
 *     ...                               and what reverse_proxy has
 * }
 * Caddy's: stands for this block, which is built here and read as if it were written:
 *
 *     route {
 *         @canonical { file {path}/index.php ; not path, with a final slash }
 *         redir @canonical {http.request.orig_uri.path}/{?query} 308
 *         @index file {
 *             try_files {path} {path}/index.php index.php
 *             try_policy first_exist_fallback
 *             split_path .php
 *         }
 *         rewrite @index {file_match.relative}
 *         @scripts path *.php
 *         reverse_proxy @scripts <gateway>... { transport fastcgi { split .php } }
 *     } */
#include "proxy/handler/directives.h"

#define WORDS_MAX 66u

/* A line at the place of `at`, with so many words from an array. */
static struct cf_directive *line(struct build *b, const struct cf_token *at, struct slice name,
                                 const struct slice *words, size_t count)
{
    struct cf_directive *d = ARENA_NEW(b->arena, struct cf_directive);
    must(d);
    d->args = ARENA_ARRAY(b->arena, struct cf_token, count + 1);
    must(d->args);
    d->name = *at;
    d->name.text = name;
    d->name.quote = CF_BARE;
    for (size_t i = 0; i < count; i++) {
        d->args[i] = d->name;
        d->args[i].text = words[i];
    }
    d->arg_count = count;
    return d;
}

static struct cf_directive *append(struct cf_directive *to, struct cf_directive *child)
{
    struct cf_directive **tail = &to->children;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = child;
    to->has_block = true;
    return child;
}

/* What the block says. */
struct php {
    struct build *b;
    const struct cf_token *at;
    struct slice index; /* empty: off */
    struct slice split[WORDS_MAX];
    size_t split_count;
    struct slice files[WORDS_MAX];
    size_t file_count; /* 0: the standard ones */
    struct cf_directive *transport;
    struct cf_directive *proxy;
};

static bool is_transport(struct slice name)
{
    static const struct slice names[] = {
        S_INIT("root"), S_INIT("split"), S_INIT("env"), S_INIT("resolve_root_symlink"),
        S_INIT("capture_stderr"), S_INIT("dial_timeout"), S_INIT("read_timeout"),
        S_INIT("write_timeout")};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_eq(names[i], name)) {
            return true;
        }
    }
    return false;
}

static size_t take_words(struct php *p, const struct cf_directive *d, struct slice *words)
{
    size_t n = 0;
    if (expect_args(p->b, d, d->arg_count, 1, WORDS_MAX - 2)) {
        for (; n < d->arg_count; n++) {
            words[n] = d->args[n].text;
        }
    }
    return n;
}

static void read_option(struct php *p, const struct cf_directive *d)
{
    struct cf_directive *copy = ARENA_NEW(p->b->arena, struct cf_directive);
    must(copy);
    *copy = *d;
    copy->next = NULL;
    if (slice_eq(d->name.text, S("split"))) {
        p->split_count = take_words(p, d, p->split);
    } else if (slice_eq(d->name.text, S("try_files"))) {
        p->file_count = take_words(p, d, p->files);
    } else if (slice_eq(d->name.text, S("index"))) {
        if (expect_args(p->b, d, d->arg_count, 1, 1)) {
            p->index = slice_eq(d->args[0].text, S("off")) ? S("") : d->args[0].text;
        }
    } else if (is_transport(d->name.text)) {
        (void)append(p->transport, copy);
    } else if (slice_eq(d->name.text, S("transport"))) {
        cf_error(p->b->diags, &d->name, "php_fastcgi has its own transport; its options stand"
                 " directly in this block");
    } else {
        (void)append(p->proxy, copy);
    }
}

/* "{path}/index.php" */
static struct slice in_folder(const struct php *p)
{
    struct slice text = arena_printf(p->b->arena, "{http.request.uri.path}/%.*s",
                                     SLICE_ARG(p->index));
    must(text.p);
    return text;
}

/* Redirects folders that have an index to the name with "/", where their relative links work. */
static void add_canonical(struct php *p, struct cf_directive *route)
{
    struct slice file = in_folder(p), slash[] = {S("path"), S("*/")};
    struct slice to[] = {S("@php_canonical"),
                         S("{http.request.orig_uri.path}/{http.request.orig_uri.prefixed_query}"),
                         S("308")};
    struct cf_directive *matcher =
        append(route, line(p->b, p->at, S("@php_canonical"), NULL, 0));
    (void)append(matcher, line(p->b, p->at, S("file"), &file, 1));
    (void)append(matcher, line(p->b, p->at, S("not"), slash, 2));
    (void)append(route, line(p->b, p->at, S("redir"), to, 3));
}

static void standard_files(struct php *p)
{
    p->files[0] = S("{http.request.uri.path}");
    p->files[1] = in_folder(p);
    p->files[2] = p->index;
    p->file_count = 3;
}

static bool tries_index(const struct php *p)
{
    struct slice end = arena_printf(p->b->arena, "{path}/%.*s", SLICE_ARG(p->index));
    for (size_t i = 0; i < p->file_count; i++) {
        if (slice_eq(p->files[i], end) || slice_eq(p->files[i], in_folder(p))) {
            return true;
        }
    }
    return p->file_count == 0;
}

static void add_index(struct php *p, struct cf_directive *route)
{
    if (tries_index(p)) {
        add_canonical(p, route);
    }
    bool standard = p->file_count == 0;
    if (standard) {
        standard_files(p);
    }
    struct slice file[] = {S("file")}, fallback = S("first_exist_fallback");
    struct slice to[] = {S("@php_index"), S("{http.matchers.file.relative}")};
    struct cf_directive *matcher = append(route, line(p->b, p->at, S("@php_index"), file, 1));
    (void)append(matcher, line(p->b, p->at, S("try_files"), p->files, p->file_count));
    if (standard) { /* the last one needs no look at the disk */
        (void)append(matcher, line(p->b, p->at, S("try_policy"), &fallback, 1));
    }
    (void)append(matcher, line(p->b, p->at, S("split_path"), p->split, p->split_count));
    (void)append(route, line(p->b, p->at, S("rewrite"), to, 2));
}

static void add_scripts(struct php *p, struct cf_directive *route, const struct cf_token *args,
                        size_t count)
{
    struct slice patterns[WORDS_MAX] = {S("path")};
    for (size_t i = 0; i < p->split_count; i++) {
        patterns[i + 1] = arena_printf(p->b->arena, "*%.*s", SLICE_ARG(p->split[i]));
        must(patterns[i + 1].p);
    }
    (void)append(route, line(p->b, p->at, S("@php_scripts"), patterns, p->split_count + 1));
    struct cf_directive *proxy = p->proxy;
    proxy->args = ARENA_ARRAY(p->b->arena, struct cf_token, count + 1);
    must(proxy->args);
    proxy->args[0] = *p->at;
    proxy->args[0].quote = CF_BARE;
    proxy->args[0].text = S("@php_scripts");
    for (size_t i = 0; i < count; i++) {
        proxy->args[i + 1] = args[i];
    }
    proxy->arg_count = count + 1;
    (void)append(p->transport, line(p->b, p->at, S("split"), p->split, p->split_count));
    (void)append(proxy, p->transport);
    (void)append(route, proxy);
}

bool php_fastcgi_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                       size_t count, struct handler *out)
{
    unsigned errors = b->diags->errors;
    struct slice kind = S("fastcgi");
    struct php p = {.b = b, .at = &d->name, .index = S("index.php"), .split = {S(".php")},
                    .split_count = 1};
    p.transport = line(b, &d->name, S("transport"), &kind, 1);
    p.proxy = line(b, &d->name, S("reverse_proxy"), NULL, 0);
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        read_option(&p, o);
    }
    if (b->diags->errors != errors) {
        return false;
    }
    struct cf_directive *route = line(b, &d->name, S("route"), NULL, 0);
    if (p.index.n) {
        add_index(&p, route);
    }
    add_scripts(&p, route, args, count);
    return route_parse(b, route, NULL, 0, out);
}
