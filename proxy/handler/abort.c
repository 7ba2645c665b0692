/* abort [matcher]
 *
 * Ends the connection (in HTTP/2 the stream) without an answer. */
#include "proxy/handler/directives.h"

static enum handler_result abort_request(const void *instance, struct exchange *ex)
{
    (void)instance;
    ex->error_detail = S("aborted by the configuration");
    exchange_reset(ex, END_NOT_WANTED);
    return HANDLER_DONE;
}

static const struct handler_ops abort_ops = {
    .name = "abort", .nature = HANDLER_ANSWERS, .on_request = abort_request};

bool abort_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                 size_t count, struct handler *out)
{
    (void)args;
    out->ops = &abort_ops;
    return expect_args(b, d, count, 0, 0) && expect_no_block(b, d);
}
