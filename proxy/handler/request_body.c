/* request_body [matcher] {
 *     max_size <size>
 *     set <text>                  (with placeholders; instead of what the client sends)
 *     read_timeout <duration>     (for the whole of it, from here on: else 408)
 *     write_timeout <duration>    (for the response, from here on: else the connection is cut off)
 * }
 *
 * A larger body is answered with 413: at once where its length is announced, else when it gets too
 * long. (servers { max_request_body; timeouts { read_body; write } } are the same for everything.)
 * Tunnels have neither body nor timeouts. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/loop/loop.h"
#include "proxy/route/template.h"

struct request_body {
    uint64_t max_bytes; /* 0: none, as in Caddy */
    const struct template *set; /* NULL: the body stays */
    int64_t read_timeout_ms;    /* 0: none */
    int64_t write_timeout_ms;
};

/* False: it is too large already. */
static bool limit_body(struct exchange *ex, uint64_t max)
{
    uint64_t *held = &ex->req_body.total_max_bytes;
    if ((ex->req.content_length > 0 && (uint64_t)ex->req.content_length > max) ||
        ex->req_body.pushed_bytes > max) {
        return false;
    }
    if (!ex->req.upgrade && (!*held || *held > max)) {
        *held = max; /* from here on the body itself minds it */
    }
    return true;
}

/* ---- set ------------------------------------------------------------------------------------- */

/* While the client's body is read to its end, because its connection goes on behind it. */
struct replacing {
    struct exchange *ex; /* held */
    struct task task;    /* the body's consumer */
    struct body_slice text;
};

static void put_in_place(struct replacing *r)
{
    struct exchange *ex = r->ex;
    body_keep(&ex->req_body, &r->text, r->text.n ? 1 : 0);
    if (!body_rewind(&ex->req_body)) {
        (void)chain_error(ex, 500, S("the request body cannot be replaced"));
        return;
    }
    ex->req.content_length = (int64_t)r->text.n;
    ex->resume(ex);
}

static void on_body(struct task *t)
{
    struct replacing *r = container_of(t, struct replacing, task);
    struct exchange *ex = r->ex;
    struct body *body = &ex->req_body;
    struct body_slice unwanted;
    while (body_take(body, &unwanted)) {
        chunk_unref(unwanted.chunk);
    }
    if (body->state == BODY_OPEN) {
        return;
    }
    body_set_consumer(body, NULL);
    if (ex->finished || body->state == BODY_ABORTED) {
        /* nobody is left to be answered, or the codec answers */
    } else if (body->state == BODY_STOPPED) {
        bool large = body->reason == END_TOO_LARGE;
        (void)chain_error(ex, large ? 413 : 500,
                          large ? S("the request body is larger than this site allows")
                                : S("the request body went somewhere else already"));
    } else {
        put_in_place(r);
    }
    chunk_unref(r->text.chunk);
    exchange_release(ex);
}

static enum handler_result replace_body(const struct request_body *b, struct exchange *ex)
{
    struct slice text = template_eval(b->set, ex);
    struct replacing *r = ARENA_NEW(&ex->arena, struct replacing);
    struct chunk *chunk = r && !ex->arena.failed ? chunk_new(text.n + 1) : NULL;
    if (!chunk) {
        return chain_error(ex, 503, S("out of memory"));
    }
    if (!body_rewind(&ex->req_body)) { /* inside a handle_response, which comes afterwards */
        chunk_unref(chunk);
        return chain_error(ex, 502, S("the request body was sent to an origin already"));
    }
    memcpy(chunk_end(chunk), text.p, text.n);
    r->text = (struct body_slice){chunk, chunk_end(chunk), text.n};
    chunk->fill += (uint32_t)text.n;
    r->ex = ex;
    task_init(&r->task, on_body);
    exchange_hold(ex);
    body_set_consumer(&ex->req_body, &r->task);
    return HANDLER_WAIT;
}

/* ---- the request ----------------------------------------------------------------------------- */

static enum handler_result body_request(const void *instance, struct exchange *ex)
{
    const struct request_body *r = instance;
    int64_t now_ms = loop_now_ms(ex->loop);
    if (r->max_bytes && !limit_body(ex, r->max_bytes)) {
        return chain_error(ex, 413, S("the request body is larger than this site allows"));
    }
    if (r->read_timeout_ms) {
        ex->body_deadline_ms = now_ms + r->read_timeout_ms;
    }
    if (r->write_timeout_ms) {
        ex->write_deadline_ms = now_ms + r->write_timeout_ms;
    }
    return r->set && !ex->req.upgrade ? replace_body(r, ex) : HANDLER_NEXT;
}

static const struct handler_ops body_ops = {.name = "request_body", .on_request = body_request};

/* ---- reading --------------------------------------------------------------------------------- */

static bool read_option(struct build *b, const struct cf_directive *o, struct request_body *r)
{
    const struct cf_token *value = o->args;
    struct slice name = o->name.text;
    bool size = slice_eq(name, S("max_size"));
    bool set = slice_eq(name, S("set"));
    bool read = slice_eq(name, S("read_timeout"));
    if (!size && !set && !read && !slice_eq(name, S("write_timeout"))) {
        cf_error(b->diags, &o->name, "\"request_body\" has max_size, set, read_timeout and"
                 " write_timeout, not \"%.*s\"", SLICE_ARG(name));
        return false;
    }
    if (!expect_args(b, o, o->arg_count, 1, 1)) {
        return false;
    }
    if (set) {
        r->set = template_compile(b->arena, value, b->diags);
        return r->set != NULL;
    }
    if (size ? !cf_parse_size(value->text, &r->max_bytes)
             : !cf_parse_duration(value->text, read ? &r->read_timeout_ms : &r->write_timeout_ms)) {
        cf_error(b->diags, value, size ? "\"%.*s\" is no size such as 10MB or 512KiB"
                                       : "\"%.*s\" is no duration such as 30s or 5m",
                 SLICE_ARG(value->text));
        return false;
    }
    return true;
}

bool request_body_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                        size_t count, struct handler *out)
{
    struct request_body *r = ARENA_NEW(b->arena, struct request_body);
    must(r);
    (void)args;
    out->ops = &body_ops;
    out->instance = r;
    if (!expect_args(b, d, count, 0, 0)) {
        return false;
    }
    bool ok = d->children != NULL;
    if (!ok) {
        cf_error(b->diags, &d->name, "\"request_body\" needs a block: request_body { max_size"
                 " 10MB }");
    }
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        ok = read_option(b, o, r) && ok;
    }
    return ok;
}
