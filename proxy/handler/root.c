/* root [matcher] <path>
 *
 * Where files are: sets {vars.root} for file_server, the matcher file, try_files and php_fastcgi. A
 * relative path is one of the working folder. Of several beside each other the first that matches
 * holds. With a single argument that is the path, even where it looks like a matcher. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/route/vars.h"

static enum handler_result root_request(const void *instance, struct exchange *ex)
{
    if (!vars_set(ex, S("http.vars.root"), template_eval(instance, ex))) {
        return chain_error(ex, 503, S("out of memory"));
    }
    return HANDLER_NEXT;
}

static const struct handler_ops root_ops = {
    .name = "root", .nature = HANDLER_PREPARES, .on_request = root_request};

bool root_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                size_t count, struct handler *out)
{
    if (!expect_args(b, d, count, 1, 1) || !expect_no_block(b, d)) {
        return false;
    }
    out->ops = &root_ops;
    out->instance = template_compile(b->arena, &args[0], b->diags);
    out->group = GROUP_ROOT;
    return out->instance != NULL;
}
