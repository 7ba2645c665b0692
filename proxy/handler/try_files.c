/* try_files <files...> { policy <try_policy> }
 *
 * Rewrites to the first of the files that is there (see the matcher file: names ending in "/" are
 * folders, =404 answers with that status). A file may have a query: "/index.php?{query}"; without
 * one the request's stays. */
#include "proxy/base/mem.h"
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/target.h"

struct try_files {
    struct route route; /* a rewrite for each group of files with the same query */
};

static enum handler_result try_request(const void *instance, struct exchange *ex)
{
    const struct try_files *t = instance;
    chain_enter(ex, &t->route);
    return HANDLER_ENTER;
}

static const struct handler_ops try_ops = {
    .name = "try_files", .nature = HANDLER_PREPARES, .on_request = try_request};

static enum handler_result found_request(const void *instance, struct exchange *ex)
{
    return target_apply(instance, ex, &ex->req) ? HANDLER_NEXT
                                                : chain_error(ex, 503, S("out of memory"));
}

static const struct handler_ops found_ops = {
    .name = "try_files", .nature = HANDLER_PREPARES, .on_request = found_request};

/* The handler "rewrite @file {http.matchers.file.relative}<query>". */
static bool add_group(struct build *b, struct try_files *t, const struct cf_token *files,
                      size_t count, struct slice query, const struct cf_directive *policy)
{
    struct cf_token *words = ARENA_ARRAY(b->arena, struct cf_token, count + 1);
    struct handler *h = &t->route.handlers[t->route.count++];
    struct matcher *matcher = NULL;
    must(words);
    words[0] = files[0];
    words[0].text = S("file");
    words[0].quote = CF_BARE;
    memcpy(words + 1, files, count * sizeof(*files));
    struct cf_token to = files[count - 1];
    to.text = arena_printf(b->arena, "{http.matchers.file.relative}%.*s", SLICE_ARG(query));
    h->ops = &found_ops;
    h->group = GROUP_REWRITE;
    h->instance = target_compile(b->arena, &to, b->diags);
    bool ok = matcher_from_words(b->arena, words, count + 1, policy, &matcher, b->diags);
    h->matcher = matcher;
    return ok && h->instance;
}

/* "policy x" is the matcher's try_policy. */
static bool read_policy(struct build *b, const struct cf_directive *d, struct cf_directive **out)
{
    *out = NULL;
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        if (!slice_eq(o->name.text, S("policy"))) {
            cf_error(b->diags, &o->name, "\"try_files\" has policy in its block, not \"%.*s\"",
                     SLICE_ARG(o->name.text));
            return false;
        }
        *out = ARENA_NEW(b->arena, struct cf_directive);
        must(*out);
        **out = *o;
        (*out)->name.text = S("try_policy");
        (*out)->next = NULL;
    }
    return true;
}

bool try_files_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                     size_t count, struct handler *out)
{
    struct cf_directive *policy;
    struct try_files *t = ARENA_NEW(b->arena, struct try_files);
    must(t);
    out->ops = &try_ops;
    out->instance = t;
    if (!expect_args(b, d, count, 1, 64) || !read_policy(b, d, &policy)) {
        return false;
    }
    t->route.handlers = ARENA_ARRAY(b->arena, struct handler, count);
    struct cf_token *files = ARENA_ARRAY(b->arena, struct cf_token, count);
    must(t->route.handlers && files);
    size_t from = 0;
    for (size_t i = 0; i < count; i++) {
        size_t question = slice_find(args[i].text, '?');
        files[i] = args[i];
        files[i].text = slice_upto(args[i].text, question);
        if (question == SLICE_NPOS) {
            continue;
        }
        if (i > from && !add_group(b, t, files + from, i - from, S(""), policy)) {
            return false;
        }
        if (!add_group(b, t, files + i, 1, slice_from(args[i].text, question), policy)) {
            return false;
        }
        from = i + 1;
    }
    return from == count || add_group(b, t, files + from, count - from, S(""), policy);
}
