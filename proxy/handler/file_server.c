/* file_server [matcher] [browse] {
 *     root <path>                 where the files are (default {vars.root}, which the directive
 *                                 root sets; else the working folder)
 *     index <names...>|off        of a folder (default index.html index.txt)
 *     hide <patterns...>          never shown: names, or paths where the pattern has a slash
 *     browse { ... }              lists folders without an index (file_browse.c)
 *     precompressed [br|zstd|gzip...]  takes index.html.br and the like where the client does
 *     status <code>               instead of 200
 *     disable_canonical_uris      no redirect to "/folder/" and "/file"
 *     pass_thru                   what is not there goes to the next handler
 *     dot_files                   names that begin with "." are served (but for /.well-known/ they
 *                                 are not; Caddy serves them all)
 *     follow_symlinks             links may lead out of the root (they may not; in Caddy they may)
 * }
 * Answers GET and HEAD with files: ETag, Last-Modified, conditions, ranges (file_conditions.c). */
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/rand.h"
#include "proxy/handler/accept_encoding.h"
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/file_conditions.h"
#include "proxy/handler/file_send.h"
#include "proxy/handler/file_server.h"
#include "proxy/handler/file_types.h"
#include "proxy/handler/target.h"
#include "proxy/route/path.h"
#include "proxy/route/vars.h"

#define LIST_MAX 10000u

struct file_hidden {
    struct file_hidden *next;
    const char *pattern; /* with a slash: an absolute path */
};

/* ---- what is hidden -------------------------------------------------------------------------- */

static bool name_hidden(const struct file_server *f, const char *name)
{
    if (!f->shows_dot_files && name[0] == '.' && strcmp(name, ".well-known") != 0) {
        return true;
    }
    for (const struct file_hidden *h = f->hidden; h; h = h->next) {
        if (!strchr(h->pattern, '/') && fnmatch(h->pattern, name, 0) == 0) {
            return true;
        }
    }
    return false;
}

static bool path_hidden(const struct file_hidden *h, const char *whole)
{
    size_t n = strlen(h->pattern);
    return (strncmp(h->pattern, whole, n) == 0 && (whole[n] == '/' || whole[n] == '\0')) ||
           fnmatch(h->pattern, whole, FNM_PATHNAME) == 0;
}

/* file_wanted's: path is below the root. */
static bool is_hidden(const void *ctx, const char *path)
{
    const struct file_look *look = ctx;
    char name[NAME_MAX + 1], whole[PATH_MAX];
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if (n > NAME_MAX) {
            return true;
        }
        memcpy(name, p, n);
        name[n] = '\0';
        if (n && name_hidden(look->server, name)) {
            return true;
        }
        p += n + (p[n] == '/');
    }
    for (const struct file_hidden *h = look->server->hidden; h; h = h->next) {
        const char *slash = path[0] == '/' ? "" : "/";
        int n = snprintf(whole, sizeof(whole), "%s%s%s", look->wanted.root, slash, path);
        if (n < 0 || (size_t)n >= sizeof(whole) ||
            (strchr(h->pattern, '/') && path_hidden(h, whole))) {
            return true;
        }
    }
    return false;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static bool add(struct exchange *ex, struct slice name, struct slice value)
{
    return fields_add(&ex->res.fields, &ex->arena, name, value);
}

static struct slice base36(struct arena *a, uint64_t v)
{
    char digits[16];
    size_t n = sizeof(digits);
    do {
        digits[--n] = "0123456789abcdefghijklmnopqrstuvwxyz"[v % 36];
        v /= 36;
    } while (v);
    return arena_copy(a, slice_of(digits + n, sizeof(digits) - n));
}

/* Caddy's own: the time of change and the size. Files of the epoch have no time of their own. */
static struct file_facts facts_of(struct exchange *ex, const struct stat *st)
{
    struct file_facts facts = {.size = (uint64_t)st->st_size};
    if (st->st_mtim.tv_sec > 1) {
        uint64_t ns = (uint64_t)st->st_mtim.tv_sec * 1000000000 + (uint64_t)st->st_mtim.tv_nsec;
        struct slice time = base36(&ex->arena, ns), size = base36(&ex->arena, facts.size);
        facts.etag = arena_printf(&ex->arena, "\"%.*s%.*s\"", SLICE_ARG(time), SLICE_ARG(size));
        facts.modified_s = st->st_mtim.tv_sec;
    }
    return facts;
}

static bool common_fields(struct file_look *look, const struct file_facts *facts)
{
    struct exchange *ex = look->ex;
    char date[CLOCK_HTTP_DATE_BYTES];
    bool ok = add(ex, S("Accept-Ranges"), S("bytes"));
    if (facts->modified_s) {
        clock_http_date(facts->modified_s * 1000, date);
        ok = ok && add(ex, S("Last-Modified"), arena_copy(&ex->arena, slice_str(date))) &&
             add(ex, S("ETag"), facts->etag);
    }
    if (look->server->encoding_count) {
        ok = ok && add(ex, S("Vary"), S("Accept-Encoding"));
    }
    if (look->found.suffix >= 0) {
        ok = ok && add(ex, S("Content-Encoding"),
                       look->server->encodings[look->order[look->found.suffix]]);
    }
    return ok;
}

static struct slice type_of(const struct file_look *look)
{
    return file_type(look->found.index >= 0
                         ? slice_str(look->wanted.indexes[look->found.index])
                         : look->path);
}

/* Several ranges: multipart/byteranges (RFC 9110 section 14.6). */
static bool multipart(struct file_look *look, const struct file_facts *facts,
                      const struct file_range *ranges, unsigned count, struct file_part *parts,
                      uint64_t *total)
{
    struct exchange *ex = look->ex;
    unsigned long long random[2];
    struct slice type = type_of(look);
    if (!rand_bytes(random, sizeof(random))) {
        return false;
    }
    struct slice boundary = arena_printf(&ex->arena, "%016llx%016llx", random[0], random[1]);
    *total = 0;
    for (unsigned i = 0; i <= count; i++) {
        parts[i] = (struct file_part){.text = S("")};
        if (i == count) {
            parts[i].text = arena_printf(&ex->arena, "\r\n--%.*s--\r\n", SLICE_ARG(boundary));
        } else {
            parts[i].offset = ranges[i].first;
            parts[i].length = ranges[i].length;
            parts[i].text = arena_printf(
                &ex->arena, "%s--%.*s\r\n%s%.*s%sContent-Range: bytes %llu-%llu/%llu\r\n\r\n",
                i ? "\r\n" : "", SLICE_ARG(boundary), type.n ? "Content-Type: " : "",
                SLICE_ARG(type), type.n ? "\r\n" : "", (unsigned long long)ranges[i].first,
                (unsigned long long)(ranges[i].first + ranges[i].length - 1),
                (unsigned long long)facts->size);
        }
        *total += parts[i].text.n + parts[i].length;
    }
    return add(ex, S("Content-Type"),
               arena_printf(&ex->arena, "multipart/byteranges; boundary=%.*s",
                            SLICE_ARG(boundary)));
}

static bool content_range(struct exchange *ex, const struct file_range *r, uint64_t size)
{
    return add(ex, S("Content-Range"),
               r ? arena_printf(&ex->arena, "bytes %llu-%llu/%llu", (unsigned long long)r->first,
                                (unsigned long long)(r->first + r->length - 1),
                                (unsigned long long)size)
                 : arena_printf(&ex->arena, "bytes */%llu", (unsigned long long)size));
}

/* Head and parts of a 200 or 206; how many parts, 0: memory. */
static unsigned whole_or_parts(struct file_look *look, const struct file_facts *facts,
                               const struct file_range *ranges, unsigned count,
                               struct file_part *parts)
{
    struct exchange *ex = look->ex;
    struct slice type = type_of(look);
    uint64_t total = count == 1 ? ranges[0].length : facts->size;
    parts[0] = (struct file_part){S(""), count == 1 ? ranges[0].first : 0, total};
    bool ok = count > 1     ? multipart(look, facts, ranges, count, parts, &total)
              : type.n == 0 ? true
                            : add(ex, S("Content-Type"), type);
    if (count == 1) {
        ok = ok && content_range(ex, &ranges[0], facts->size);
    }
    ex->res.content_length = (int64_t)total;
    return !ok ? 0 : count > 1 ? count + 1 : 1;
}

static void out_of_memory(struct file_look *look)
{
    (void)chain_error(look->ex, 503, S("out of memory"));
}

static int status_wanted(const struct file_server *f, struct exchange *ex)
{
    uint64_t status;
    int standard = chain_default_status(ex);
    return f->status && slice_u64(template_eval(f->status, ex), 599, &status) && status >= 200
               ? (int)status
               : standard;
}

/* Takes look->found.fd. */
static void send_file(struct file_look *look)
{
    struct exchange *ex = look->ex;
    struct file_range ranges[FILE_RANGES_MAX];
    struct file_facts facts = facts_of(ex, &look->found.st);
    unsigned count = 0;
    int wanted = status_wanted(look->server, ex);
    int status = wanted == 200 ? file_conditions(&ex->req, &facts, ranges, &count) : wanted;
    if (status == 412 || status == 416) {
        (void)close(look->found.fd);
        if (!exchange_simple(ex, status, S(""), S("")) ||
            (status == 416 && !content_range(ex, NULL, facts.size))) {
            out_of_memory(look);
            return;
        }
        exchange_respond(ex);
        return;
    }
    struct file_part *parts = ARENA_ARRAY(&ex->arena, struct file_part, FILE_RANGES_MAX + 1);
    bool ok = parts && exchange_simple(ex, status, S(""), S("")) && common_fields(look, &facts);
    bool body = ok && status != 304 && exchange_client_method(ex) != METHOD_HEAD;
    unsigned n = ok && status != 304 ? whole_or_parts(look, &facts, ranges, count, parts) : 1;
    if (!ok || n == 0) {
        (void)close(look->found.fd);
        out_of_memory(look);
        return;
    }
    if (!body || ex->res.content_length == 0) {
        (void)close(look->found.fd);
    } else {
        body_fini(&ex->res_body); /* exchange_simple has ended it */
        body_init(&ex->res_body, ex->queue, 0);
        if (!file_send_start(ex, look->found.fd, parts, n)) {
            out_of_memory(look);
            return;
        }
    }
    exchange_respond(ex);
}

/* "/folder" to "/folder/", "/file/" to "/file". Not where the last part was rewritten. */
static bool canonical(struct file_look *look)
{
    struct exchange *ex = look->ex;
    struct slice was = ex->original.path, now = ex->req.path;
    bool folder = look->found.folder || look->found.index >= 0;
    bool slash = slice_ends(was, S("/"));
    if (look->server->not_canonical || folder == slash) {
        return true;
    }
    struct slice trimmed_was = slice_upto(was, was.n - slash);
    struct slice trimmed_now = slice_upto(now, now.n - slice_ends(now, S("/")));
    size_t a = slice_rfind(trimmed_was, '/'), b = slice_rfind(trimmed_now, '/');
    if (a == SLICE_NPOS || b == SLICE_NPOS ||
        !slice_eq(slice_from(trimmed_was, a), slice_from(trimmed_now, b))) {
        return true;
    }
    while (trimmed_was.n && (trimmed_was.p[0] == '/' || trimmed_was.p[0] == '\\')) {
        trimmed_was = slice_from(trimmed_was, 1); /* "//host/", "/\host/" would lead away */
    }
    struct slice query = ex->original.query;
    struct slice to = arena_printf(&ex->arena, "/%.*s%s%s%.*s", SLICE_ARG(trimmed_was),
                                   folder ? "/" : "", query.p ? "?" : "", SLICE_ARG(query));
    (void)close(look->found.fd);
    if (!to.p || !exchange_simple(ex, 308, S(""), S("")) || !add(ex, S("Location"), to)) {
        out_of_memory(look);
    } else {
        exchange_respond(ex);
    }
    return false;
}

static void send_listing(struct file_look *look)
{
    struct exchange *ex = look->ex;
    (void)close(look->found.fd);
    bool ok = !look->listing.failed &&
              exchange_simple(ex, status_wanted(look->server, ex),
                              look->json ? S("application/json; charset=utf-8")
                                         : S("text/html; charset=utf-8"),
                              dstr_slice(&look->listing)) &&
              add(ex, S("Vary"), S("Accept, Accept-Encoding"));
    dstr_fini(&look->listing);
    if (!ok) {
        out_of_memory(look);
        return;
    }
    exchange_respond(ex);
}

static void not_found(struct file_look *look)
{
    int error = look->found.error;
    int status = error == EACCES || error == EPERM                       ? 403
                 : error == EMFILE || error == ENFILE || error == ENOMEM ? 503
                 : error == EIO                                          ? 500
                                                                         : 404;
    if (status == 404 && look->server->passes) {
        look->ex->resume(look->ex);
        return;
    }
    (void)chain_error(look->ex, status, S(""));
}

/* ---- looking --------------------------------------------------------------------------------- */

static void work(struct job *job)
{
    struct file_look *look = container_of(job, struct file_look, job);
    file_open(&look->wanted, &look->found);
    if (look->found.fd >= 0 && look->found.folder) {
        file_browse_list(look);
    }
}

static void done(struct job *job)
{
    struct file_look *look = container_of(job, struct file_look, job);
    struct exchange *ex = look->ex;
    if (ex->finished || ex->gone) {
        if (look->found.fd >= 0) {
            (void)close(look->found.fd);
        }
        dstr_fini(&look->listing);
    } else if (look->found.fd < 0) {
        not_found(look);
    } else if (!canonical(look)) {
        dstr_fini(&look->listing);
    } else if (look->found.folder) {
        send_listing(look);
    } else {
        send_file(look);
    }
    exchange_release(ex);
}

static void dropped(struct job *job)
{
    exchange_release(container_of(job, struct file_look, job)->ex);
}

static const char *root_of(const struct file_server *f, struct exchange *ex)
{
    struct slice root = f->root ? template_eval(f->root, ex) : vars_value(ex, S("http.vars.root"));
    root = root.n ? root : S(".");
    while (root.n > 1 && root.p[root.n - 1] == '/') {
        root.n--;
    }
    return memchr(root.p, 0, root.n) ? NULL : arena_cstr(&ex->arena, root);
}

static void want_encodings(struct file_look *look)
{
    const struct file_server *f = look->server;
    unsigned order[ACCEPT_CODINGS_MAX];
    unsigned n = accept_encoding(&look->ex->req.fields, f->encodings, f->encoding_count, order);
    for (unsigned i = 0; i < n; i++) {
        look->order[i] = order[i];
        look->wanted.suffixes[i] = f->suffixes[order[i]];
    }
    look->wanted.suffix_count = n;
}

static void want_listing(struct file_look *look)
{
    struct exchange *ex = look->ex;
    const struct field *accept = fields_find(&ex->req.fields, S("Accept"));
    struct slice rest = ex->req.query, key, value;
    look->json = accept && slice_find_slice(accept->value, S("application/json")) != SLICE_NPOS;
    while (rest.p && query_next(&ex->arena, &rest, &key, &value)) {
        if (slice_eq(key, S("sort"))) {
            look->sort_query = value;
        } else if (slice_eq(key, S("order"))) {
            look->order_query = value;
        }
    }
    dstr_init(&look->listing, (size_t)16 << 20);
}

static enum handler_result wrong_method(struct exchange *ex)
{
    if (!exchange_simple(ex, 405, S(""), S("")) || !add(ex, S("Allow"), S("GET, HEAD"))) {
        return chain_error(ex, 503, S("out of memory"));
    }
    exchange_respond(ex);
    return HANDLER_DONE;
}

static enum handler_result file_request(const void *instance, struct exchange *ex)
{
    const struct file_server *f = instance;
    if (ex->req.method != METHOD_GET && ex->req.method != METHOD_HEAD) {
        return f->passes ? HANDLER_NEXT : wrong_method(ex);
    }
    struct file_look *look = arena_zalloc(&ex->arena, sizeof(*look));
    struct slice path = path_clean(&ex->arena, ex->req.path, false);
    if (path.n && memchr(path.p, 0, path.n)) {
        return chain_error(ex, 400, S("the path holds a NUL byte"));
    }
    /* "/file/" is looked for as "/file", and then redirected there. */
    struct slice name = slice_upto(path, path.n - (path.n > 1 && slice_ends(path, S("/"))));
    const char *text = path.p ? arena_cstr(&ex->arena, name) : NULL;
    const char *root = root_of(f, ex);
    if (!look || !text || !root) {
        return chain_error(ex, ex->arena.failed ? 503 : 404, S(""));
    }
    *look = (struct file_look){.ex = ex, .server = f, .path = path,
                               .job = {.work = work, .done = done, .dropped = dropped}};
    look->wanted = (struct file_wanted){.root = root, .path = text, .hidden = is_hidden,
                                        .ctx = look, .follow_outside = f->follows_outside,
                                        .want_folder = f->browses,
                                        .index_count = f->index_count};
    memcpy(look->wanted.indexes, f->indexes, sizeof(f->indexes));
    want_encodings(look);
    want_listing(look);
    exchange_hold(ex);
    if (!ex->jobs || !job_submit(ex->jobs, ex->loop, &look->job)) {
        exchange_release(ex);
        return chain_error(ex, 503, S("too many requests wait for the disk"));
    }
    return HANDLER_WAIT;
}

static const struct handler_ops file_ops = {
    .name = "file_server", .nature = HANDLER_ANSWERS, .on_request = file_request};

/* ---- reading --------------------------------------------------------------------------------- */

/* Relative paths are of the working folder, as in Caddy. */
static const char *absolute(struct arena *a, struct slice text)
{
    char folder[PATH_MAX];
    if (slice_find(text, '/') == SLICE_NPOS || slice_starts(text, S("/")) ||
        !getcwd(folder, sizeof(folder))) {
        return arena_cstr(a, text);
    }
    text = slice_from(text, slice_starts(text, S("./")) ? 2 : 0);
    struct slice whole = arena_printf(a, "%s/%.*s", folder, SLICE_ARG(text));
    return whole.p;
}

static void hide(struct build *b, struct file_server *f, struct slice text)
{
    struct file_hidden *h = ARENA_NEW(b->arena, struct file_hidden);
    must(h);
    h->pattern = absolute(b->arena, text);
    must(h->pattern);
    h->next = f->hidden;
    f->hidden = h;
}

static bool read_index(struct build *b, struct file_server *f, const struct cf_directive *o)
{
    f->index_count = 0;
    if (o->arg_count == 1 && slice_eq(o->args[0].text, S("off"))) {
        return true;
    }
    for (size_t i = 0; i < o->arg_count; i++) {
        if (slice_find(o->args[i].text, '/') != SLICE_NPOS) {
            cf_error(b->diags, &o->args[i], "an index is a name, without slashes");
            return false;
        }
        f->indexes[f->index_count++] = arena_cstr(b->arena, o->args[i].text);
    }
    return true;
}

static bool read_precompressed(struct build *b, struct file_server *f,
                               const struct cf_directive *o)
{
    static const struct {
        struct slice name;
        const char *suffix;
    } known[] = {{S_INIT("br"), ".br"}, {S_INIT("zstd"), ".zst"}, {S_INIT("gzip"), ".gz"}};
    f->encoding_count = 0;
    for (size_t i = 0; i < (o->arg_count ? o->arg_count : ARRAY_LEN(known)); i++) {
        size_t k = o->arg_count ? 0 : i;
        while (o->arg_count && k < ARRAY_LEN(known) && !slice_eq(known[k].name, o->args[i].text)) {
            k++;
        }
        if (k == ARRAY_LEN(known)) {
            cf_error(b->diags, &o->args[i], "\"%.*s\" is none of br, zstd, gzip",
                     SLICE_ARG(o->args[i].text));
            return false;
        }
        f->encodings[f->encoding_count] = known[k].name;
        f->suffixes[f->encoding_count++] = known[k].suffix;
    }
    return true;
}

static const struct {
    struct slice name;
    size_t min, max;
} options[] = {
    {S_INIT("root"), 1, 1},
    {S_INIT("index"), 1, FILE_INDEXES_MAX},
    {S_INIT("hide"), 1, 64},
    {S_INIT("browse"), 0, 1},
    {S_INIT("precompressed"), 0, 3},
    {S_INIT("status"), 1, 1},
    {S_INIT("disable_canonical_uris"), 0, 0},
    {S_INIT("pass_thru"), 0, 0},
    {S_INIT("dot_files"), 0, 0},
    {S_INIT("follow_symlinks"), 0, 0},
};

static bool is_option(const struct cf_directive *o, struct slice name)
{
    return slice_eq(o->name.text, name);
}

static bool apply(struct build *b, struct file_server *f, const struct cf_directive *o)
{
    if (is_option(o, S("root"))) {
        f->root = template_compile(b->arena, &o->args[0], b->diags);
        return f->root != NULL;
    }
    if (is_option(o, S("index"))) {
        return read_index(b, f, o);
    }
    if (is_option(o, S("hide"))) {
        for (size_t i = 0; i < o->arg_count; i++) {
            hide(b, f, o->args[i].text);
        }
        return true;
    }
    if (is_option(o, S("browse"))) {
        return file_browse_parse(b, o, f);
    }
    if (is_option(o, S("precompressed"))) {
        return read_precompressed(b, f, o);
    }
    if (is_option(o, S("status"))) {
        int status;
        f->status = template_compile(b->arena, &o->args[0], b->diags);
        return f->status && (!template_literal(f->status).p ||
                             parse_status(b, &o->args[0], 200, 599, &status));
    }
    f->not_canonical = f->not_canonical || is_option(o, S("disable_canonical_uris"));
    f->passes = f->passes || is_option(o, S("pass_thru"));
    f->shows_dot_files = f->shows_dot_files || is_option(o, S("dot_files"));
    f->follows_outside = f->follows_outside || is_option(o, S("follow_symlinks"));
    return true;
}

static bool read_option(struct build *b, struct file_server *f, const struct cf_directive *o)
{
    struct slice names[ARRAY_LEN(options)];
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        names[i] = options[i].name;
        if (is_option(o, options[i].name)) {
            return expect_args(b, o, o->arg_count, options[i].min, options[i].max) &&
                   (is_option(o, S("browse")) || expect_no_block(b, o)) && apply(b, f, o);
        }
    }
    if (is_option(o, S("fs")) || is_option(o, S("etag_file_extensions"))) {
        cf_error(b->diags, &o->name, "file_server's \"%.*s\" is Caddy's and not in caddis",
                 SLICE_ARG(o->name.text));
        return false;
    }
    struct cf_diag *d = cf_error(b->diags, &o->name, "\"file_server\" has no option \"%.*s\"",
                                 SLICE_ARG(o->name.text));
    if (d) {
        cf_did_you_mean(b->diags, d, o->name.text, names, ARRAY_LEN(names));
    }
    return false;
}

bool file_server_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                       size_t count, struct handler *out)
{
    struct file_server *f = ARENA_NEW(b->arena, struct file_server);
    must(f);
    *f = (struct file_server){.indexes = {"index.html", "index.txt"}, .index_count = 2,
                              .list_max = LIST_MAX};
    out->ops = &file_ops;
    out->instance = f;
    if (!expect_args(b, d, count, 0, 1)) {
        return false;
    }
    f->browses = count == 1;
    if (count == 1 && !slice_eq(args[0].text, S("browse"))) {
        struct cf_diag *diag = cf_error(b->diags, &args[0], "\"file_server\" takes \"browse\" or"
                                        " nothing here, not \"%.*s\"", SLICE_ARG(args[0].text));
        if (diag) {
            diag->hint = S("the folder is given by a line of its own: root * /path");
        }
        return false;
    }
    bool ok = true;
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        ok = read_option(b, f, o) && ok;
    }
    out->may_pass = f->passes;
    /* The Caddyfile itself may lie in the root. */
    if (slice_find(d->name.at.source->name, '-') != 0) {
        struct slice name = d->name.at.source->name;
        hide(b, f, slice_find(name, '/') == SLICE_NPOS
                       ? arena_printf(b->arena, "./%.*s", SLICE_ARG(name))
                       : name);
    }
    return ok;
}
