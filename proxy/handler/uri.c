/* uri [matcher] strip_prefix <prefix>
 * uri [matcher] strip_suffix <suffix>
 * uri [matcher] replace <find> <replacement> [<limit>]
 * uri [matcher] path_regexp <regexp> <replacement>
 * uri [matcher] query [-|+]<key> [<value>] | <key>><new key> | <key> <regexp> <replacement>
 * uri [matcher] query { ... several of these ... }
 *
 * Changes parts of the request's path and query. strip and path_regexp see the path with its
 * escapes, dots and doubled slashes resolved; replace changes path and query. The operations on a
 * query run as rename, set, add, replace ("*": in the values of every key), delete, whatever the
 * order they are written in, and leave it sorted by key. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/target.h"
#include "proxy/handler/uri_query.h"
#include "proxy/route/path.h"
#include "proxy/route/regex.h"

enum uri_kind { URI_PREFIX, URI_SUFFIX, URI_REPLACE, URI_REGEXP, URI_QUERY };

struct uri {
    enum uri_kind kind;
    struct template *find;
    struct template *with;
    uint64_t limit; /* of URI_REPLACE; 0: all */
    bool keep_slashes;
    struct regex *regex;
    struct query_op *ops;
};

#define TEXT_MAX (EXCHANGE_ARENA_MAX / 8)

/* ---- running --------------------------------------------------------------------------------- */

static void replace_all(struct slice text, struct slice find, struct slice with, uint64_t limit,
                        struct dstr *out)
{
    size_t at;
    for (uint64_t n = 0; (!limit || n < limit) &&
                         (at = slice_find_slice(text, find)) != SLICE_NPOS; n++) {
        dstr_append(out, slice_upto(text, at));
        dstr_append(out, with);
        text = slice_from(text, at + find.n);
    }
    dstr_append(out, text);
}

static bool replace_in_uri(const struct uri *u, struct exchange *ex)
{
    struct slice find = template_eval(u->find, ex);
    struct slice with = template_eval(u->with, ex);
    struct slice path = path_clean_raw(&ex->arena, ex->req.path, u->keep_slashes);
    if (!path.p || !find.n) {
        return path.p != NULL;
    }
    struct dstr out;
    dstr_init(&out, TEXT_MAX);
    replace_all(path, find, with, u->limit, &out);
    size_t path_bytes = out.n;
    if (ex->req.query.n) {
        replace_all(ex->req.query, find, with, u->limit, &out);
    }
    struct slice query = ex->req.query.n ? slice_from(dstr_slice(&out), path_bytes)
                                         : ex->req.query;
    bool ok = !out.failed &&
              target_set(ex, &ex->req, slice_upto(dstr_slice(&out), path_bytes), query);
    dstr_fini(&out);
    return ok;
}

static enum handler_result replace_by_regexp(const struct uri *u, struct exchange *ex)
{
    struct slice path = path_clean_raw(&ex->arena, ex->req.path, u->keep_slashes);
    struct dstr out;
    dstr_init(&out, TEXT_MAX);
    enum regex_result found =
        path.p ? regex_replace_all(u->regex, path, template_eval(u->with, ex), &out) : REGEX_NO;
    bool ok = path.p && !out.failed &&
              (found != REGEX_MATCH || target_set(ex, &ex->req, dstr_slice(&out), ex->req.query));
    dstr_fini(&out);
    if (found == REGEX_LIMIT) {
        return chain_error(ex, 500, S("a regular expression of uri hit its limit"));
    }
    return ok ? HANDLER_NEXT : chain_error(ex, 503, S("out of memory"));
}

static enum handler_result uri_request(const void *instance, struct exchange *ex)
{
    const struct uri *u = instance;
    bool ok = false;
    switch (u->kind) {
    case URI_PREFIX:
    case URI_SUFFIX: {
        struct slice text = template_eval(u->find, ex);
        if (u->kind == URI_PREFIX && !slice_starts(text, S("/"))) {
            text = arena_printf(&ex->arena, "/%.*s", SLICE_ARG(text));
        }
        ok = text.p && target_strip(ex, text, u->kind == URI_PREFIX);
        break;
    }
    case URI_REPLACE:
        ok = replace_in_uri(u, ex);
        break;
    case URI_REGEXP:
        return replace_by_regexp(u, ex);
    case URI_QUERY: {
        enum query_result result = query_ops_apply(u->ops, ex);
        if (result == QUERY_LIMIT) {
            return chain_error(ex, 500, S("a regular expression of uri hit its limit"));
        }
        ok = result == QUERY_DONE;
        break;
    }
    }
    return ok ? HANDLER_NEXT : chain_error(ex, 503, S("out of memory"));
}

static const struct handler_ops uri_ops = {
    .name = "uri", .nature = HANDLER_PREPARES, .on_request = uri_request};

/* ---- reading --------------------------------------------------------------------------------- */

static bool read_regexp(struct build *b, const struct cf_token *t, struct uri *u)
{
    struct slice why = S("");
    u->regex = regex_compile(b->arena, t->text, &why);
    if (!u->regex) {
        cf_error(b->diags, t, "\"%.*s\" is no regular expression: %.*s", SLICE_ARG(t->text),
                 SLICE_ARG(why));
    }
    return u->regex != NULL;
}

static bool read_texts(struct build *b, const struct cf_token *args, size_t count, struct uri *u)
{
    u->keep_slashes = slice_find_slice(args[0].text, S("//")) != SLICE_NPOS;
    if (u->kind == URI_REGEXP) {
        if (!read_regexp(b, &args[0], u)) {
            return false;
        }
    } else {
        u->find = template_compile(b->arena, &args[0], b->diags);
    }
    if (count > 1) {
        u->with = template_compile(b->arena, &args[1], b->diags);
    }
    if (count > 2 && !slice_u64(args[2].text, 1000000, &u->limit)) {
        cf_error(b->diags, &args[2], "\"%.*s\" is no number of replacements",
                 SLICE_ARG(args[2].text));
        return false;
    }
    return (u->find || u->regex) && (count < 2 || u->with);
}

static bool read_query(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                       size_t count, struct uri *u)
{
    if (count && d->children) {
        cf_error(b->diags, &d->name, "\"uri query\" has its operations either behind it or in its"
                 " block");
        return false;
    }
    if (!count && !d->children) {
        cf_error(b->diags, &d->name, "\"uri query\" needs an operation: uri query -token");
        return false;
    }
    bool ok = !count || query_op_read(b, &u->ops, args, count);
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        struct cf_token words[4] = {o->name};
        size_t n = o->arg_count < 3 ? o->arg_count : 3;
        for (size_t i = 0; i < n; i++) {
            words[i + 1] = o->args[i];
        }
        ok = expect_args(b, o, o->arg_count, 0, 2) && query_op_read(b, &u->ops, words, n + 1) &&
             ok;
    }
    return ok;
}

bool uri_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
               size_t count, struct handler *out)
{
    static const struct {
        struct slice name;
        enum uri_kind kind;
        size_t min, max; /* arguments behind the name */
    } kinds[] = {
        {S_INIT("strip_prefix"), URI_PREFIX, 1, 1}, {S_INIT("strip_suffix"), URI_SUFFIX, 1, 1},
        {S_INIT("replace"), URI_REPLACE, 2, 3},     {S_INIT("path_regexp"), URI_REGEXP, 2, 2},
        {S_INIT("query"), URI_QUERY, 0, 3},
    };
    struct uri *u = ARENA_NEW(b->arena, struct uri);
    must(u);
    out->ops = &uri_ops;
    out->instance = u;
    if (!expect_args(b, d, count, 1, 4)) {
        return false;
    }
    struct slice names[ARRAY_LEN(kinds)];
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        names[i] = kinds[i].name;
        if (!slice_eq(args[0].text, names[i])) {
            continue;
        }
        u->kind = kinds[i].kind;
        if (!expect_args(b, d, count, kinds[i].min + 1, kinds[i].max + 1)) {
            return false;
        }
        return u->kind == URI_QUERY ? read_query(b, d, args + 1, count - 1, u)
                                    : expect_no_block(b, d) &&
                                          read_texts(b, args + 1, count - 1, u);
    }
    struct cf_diag *diag = cf_error(b->diags, &args[0], "\"uri\" cannot \"%.*s\" (strip_prefix,"
                                    " strip_suffix, replace, path_regexp, query)",
                                    SLICE_ARG(args[0].text));
    if (diag) {
        cf_did_you_mean(b->diags, diag, args[0].text, names, ARRAY_LEN(names));
    }
    return false;
}
