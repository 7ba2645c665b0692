/* Bytes from an origin into a whole HTTP/2 connection to it: nghttp2, our frame scanner, heads,
 * bodies, interim answers, resets, GOAWAY. Four requests are under way: GET, HEAD, an upload that
 * is complete and one that is not. The first byte chooses what the other side of the exchanges does
 * and how the bytes are cut. What must hold: nothing crashes, every request has exactly one outcome
 * and an end behind its head, everybody lets go, and no memory stays. */
#include <stdlib.h>

#include "proxy/h2/h2_client.h"
#include "tests/fuzz/h2/end.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CALLS 4

struct ask {
    struct exchange *ex;
    struct request out;
    struct h2_call *call;
    struct task body_task;
    unsigned heads;
    unsigned failures;
    unsigned overs;
    bool cancelled;
};

static struct {
    unsigned mode;
    struct ask asks[CALLS];
    bool over;
} world;

/* ---- the other side -------- */

static void no_response(struct exchange *ex)
{
    (void)ex;
}

static void interim(struct exchange *ex, const struct response *res)
{
    (void)ex;
    must(res->status >= 100 && res->status < 200);
    for (unsigned i = 0; i < res->fields.count; i++) {
        must(field_name_valid(res->fields.items[i].name));
    }
}

static void no_reset(struct exchange *ex, enum end_reason reason)
{
    (void)ex;
    (void)reason;
}

static const struct exchange_codec codec = {no_response, interim, no_reset};
static const struct http_service service = {no_response, no_response, no_response};
static const struct addr nobody;

static void on_body(struct task *t)
{
    struct ask *a = container_of(t, struct ask, body_task);
    struct body_slice s;
    if (world.mode & 1) {
        return; /* never reads */
    }
    while (body_take(&a->ex->res_body, &s)) {
        chunk_unref(s.chunk);
    }
    if (world.mode & 2) {
        body_stop(&a->ex->res_body, END_CLIENT_GONE);
    }
}

static void on_outcome(void *ctx, void *call_ctx, enum h2_client_outcome outcome,
                       const struct h2_client_failure *failure)
{
    (void)ctx;
    struct ask *a = call_ctx;
    a->call = NULL;
    must(!a->cancelled && a->heads + a->failures == 0);
    if (outcome == H2_CLIENT_FAILED) {
        must(failure->reason != END_NONE && failure->detail.n > 0);
        a->failures++;
        return;
    }
    a->heads++;
    must(a->ex->res.status >= 200 && a->ex->res.status < 600 && !a->ex->res.tunnel);
    for (unsigned i = 0; i < a->ex->res.fields.count; i++) {
        must(field_name_valid(a->ex->res.fields.items[i].name) &&
             field_value_valid(a->ex->res.fields.items[i].value));
    }
    if (world.mode & 4) {
        exchange_clear_response(a->ex);
    }
}

static void on_over(void *ctx, void *call_ctx)
{
    (void)ctx;
    struct ask *a = call_ctx;
    must(a->heads == 1 && a->overs == 0);
    must((world.mode & 4) || a->ex->res_body.state != BODY_OPEN);
    a->overs++;
}

static void on_change(void *ctx, struct h2_client *c)
{
    (void)ctx;
    must(h2_client_room(c) <= H2_CLIENT_CALLS_MAX);
}

static void on_close(void *ctx, struct h2_client *c)
{
    (void)ctx;
    (void)c;
    world.over = true;
}

static void begin(struct h2_client *c, struct loop *loop, unsigned i)
{
    static const struct client_info client = {.peer = &nobody, .local = &nobody};
    static const struct h2_client_limits limits = {.head_bytes_max = 4096, .fields_max = 30};
    static const struct slice methods[CALLS] = {S_INIT("GET"), S_INIT("HEAD"), S_INIT("PUT"),
                                                S_INIT("POST")};
    struct ask *a = &world.asks[i];
    a->ex = exchange_new(loop, loop_queue(loop), &codec, &service, &client);
    must(a->ex);
    a->out.method_text = methods[i];
    a->out.method = http_method_of(methods[i]);
    a->out.target = S("/");
    a->out.content_length = i == 2 ? 5 : i == 3 ? LENGTH_UNKNOWN : 0;
    task_init(&a->body_task, on_body);
    must(fields_add_id(&a->out.fields, &a->ex->arena, FIELD_HOST, S("Host"), S("a")));
    if (i >= 2) {
        must(body_push_copy(&a->ex->req_body, S("hello")));
    }
    if (i == 2) {
        body_end(&a->ex->req_body, NULL);
    }
    body_set_consumer(&a->ex->res_body, &a->body_task);
    a->call = h2_client_send(c, a->ex, &a->out, &limits, a);
    must(a->call);
}

static void finish(void)
{
    for (unsigned i = 0; i < CALLS; i++) {
        struct ask *a = &world.asks[i];
        must(a->cancelled || a->heads + a->failures == 1);
        must(a->overs == a->heads && a->ex->holds == 1);
        body_set_consumer(&a->ex->res_body, NULL);
        task_cancel(&a->body_task);
        exchange_release(a->ex);
    }
    must(chunk_bytes_in_use() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct h2_client_owner owner = {on_outcome, on_over, on_change, on_close, NULL};
    static struct loop *loop;
    if (!loop) {
        loop = loop_new(NULL);
    }
    if (size < 1) {
        return 0;
    }
    memset(&world, 0, sizeof(world));
    world.mode = data[0];
    struct end e;
    end_init(&e, loop, data[0] & 8 ? 3 : 65536);
    struct h2_client *c = h2_client_new(&e.stream, 4096, 0, &owner);
    if (!c) {
        return 0;
    }
    struct run_queue *q = loop_queue(loop);
    for (unsigned i = 0; i < CALLS; i++) {
        begin(c, loop, i);
    }
    run_queue_run(q);
    e.in = slice_of(data + 1, size - 1);
    while (!world.over && e.in.n > 0 && (e.stream.wanted & STREAM_READ)) {
        e.stream.on_event(&e.stream, STREAM_READ);
        run_queue_run(q);
    }
    if (data[0] & 32) {
        body_abort(&world.asks[3].ex->req_body, END_CLIENT_GONE);
        run_queue_run(q);
    }
    if (world.asks[0].call && (data[0] & 64)) {
        h2_call_cancel(world.asks[0].call);
        world.asks[0].cancelled = true;
    }
    if (!world.over) {
        h2_client_drain(c);
        run_queue_run(q);
    }
    if (!world.over) {
        e.fin = true;
        e.stream.on_event(&e.stream, STREAM_READ);
        run_queue_run(q);
    }
    must(world.over && e.closed);
    finish();
    return 0;
}
