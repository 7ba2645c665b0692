/* The life of an exchange: who holds it, which tasks it posts, when it is freed. See exchange.h
 * for the course of events.
 *
 * In: calls of the codec, the chain and the origin codec. Out: calls of the service, always from
 * a task. Memory: a short free list for each thread keeps exchanges with their first arena
 * block; under the address sanitizer nothing is recycled, so that a late use is seen. */
#include "proxy/http/exchange.h"

#include <stdlib.h>

#include "proxy/base/clock.h"

#define EXCHANGE_MAGIC 0x45584348u
#define POOL_MAX 128u
/* A pooled exchange keeps at most this much arena. */
#define POOLED_ARENA_MAX ((size_t)16 * 1024)

static _Thread_local struct exchange *pool; /* linked through chain */
static _Thread_local unsigned pool_count;

#if defined(__SANITIZE_ADDRESS__)
#define RECYCLE false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RECYCLE false
#endif
#endif
#ifndef RECYCLE
#define RECYCLE true
#endif

static void check(const struct exchange *ex)
{
    must(ex && ex->magic == EXCHANGE_MAGIC);
}

/* ---- tasks -------- */

static void run_begin(struct task *t)
{
    struct exchange *ex = container_of(t, struct exchange, begin_task);
    check(ex);
    ex->begun = true;
    ex->service->begin(ex);
}

static void run_respond(struct task *t)
{
    struct exchange *ex = container_of(t, struct exchange, respond_task);
    check(ex);
    if (ex->finished) {
        return;
    }
    ex->service->respond(ex);
}

/* The codec's hold is given up after the service has seen the end; so is the chain's where the
 * chain never heard of the exchange. */
static void run_end(struct task *t)
{
    struct exchange *ex = container_of(t, struct exchange, end_task);
    check(ex);
    if (ex->begun) {
        ex->service->end(ex);
    } else if (ex->begin_posted) {
        exchange_release(ex);
    }
    exchange_release(ex);
}

/* ---- making and freeing -------- */

static struct exchange *take_memory(void)
{
    struct exchange *ex = pool;
    if (!ex) {
        ex = malloc(sizeof(*ex));
        if (ex) {
            arena_init(&ex->arena, EXCHANGE_ARENA_MAX);
        }
        return ex;
    }
    pool = ex->chain;
    pool_count--;
    return ex;
}

static void give_memory(struct exchange *ex)
{
    arena_reset(&ex->arena);
    if (!RECYCLE || pool_count >= POOL_MAX) {
        arena_fini(&ex->arena);
        free(ex);
        return;
    }
    if (ex->arena.used_bytes > POOLED_ARENA_MAX) {
        arena_fini(&ex->arena);
    }
    ex->chain = pool;
    pool = ex;
    pool_count++;
}

void exchange_pool_drain(void)
{
    while (pool) {
        struct exchange *next = pool->chain;
        arena_fini(&pool->arena);
        free(pool);
        pool = next;
    }
    pool_count = 0;
}

struct exchange *exchange_new(struct loop *l, struct run_queue *q,
                              const struct exchange_codec *codec,
                              const struct http_service *service,
                              const struct client_info *client)
{
    struct exchange *ex = take_memory();
    if (!ex) {
        return NULL;
    }
    memset(ex, 0, offsetof(struct exchange, arena));
    ex->magic = EXCHANGE_MAGIC;
    ex->holds = 1;
    ex->loop = l;
    ex->queue = q;
    ex->codec = codec;
    ex->service = service;
    ex->client = *client;
    ex->client_addr = client->peer;
    ex->res.content_length = LENGTH_UNKNOWN;
    body_init(&ex->req_body, q, 0);
    body_init(&ex->res_body, q, 0);
    ex->out = &ex->res_body;
    task_init(&ex->begin_task, run_begin);
    task_init(&ex->respond_task, run_respond);
    task_init(&ex->end_task, run_end);
    return ex;
}

static void unpin_from(struct exchange *ex, size_t first)
{
    for (size_t i = first; i < ARRAY_LEN(ex->pinned); i++) {
        chunk_unref(ex->pinned[i]);
        ex->pinned[i] = NULL;
    }
}

void exchange_release(struct exchange *ex)
{
    check(ex);
    must(ex->holds > 0);
    if (--ex->holds > 0) {
        return;
    }
    /* Begun but not ended would lose the service's end. */
    must(!ex->begin_posted || ex->finished);
    task_cancel(&ex->begin_task);
    task_cancel(&ex->respond_task);
    task_cancel(&ex->end_task);
    body_filters_remove(ex);
    body_fini(&ex->req_body);
    body_fini(&ex->res_body);
    unpin_from(ex, 0);
    ex->magic = 0;
    give_memory(ex);
}

bool exchange_pin(struct exchange *ex, struct chunk *c)
{
    check(ex);
    for (size_t i = 0; i < ARRAY_LEN(ex->pinned); i++) {
        if (ex->pinned[i] == c) {
            return true;
        }
        if (!ex->pinned[i]) {
            ex->pinned[i] = chunk_ref(c);
            return true;
        }
    }
    return false;
}

void exchange_clear_response(struct exchange *ex)
{
    check(ex);
    must(!ex->response_started);
    if (ex->source) {
        ex->source->drop(ex->source);
        must(!ex->source);
    }
    unpin_from(ex, ex->request_pins);
    ex->res = (struct response){.content_length = LENGTH_UNKNOWN};
    if (ex->finished) {
        return; /* stays stopped */
    }
    body_filters_remove(ex);
    struct task *consumer = ex->res_body.consumer;
    size_t limit = ex->res_body.limit_bytes;
    body_fini(&ex->res_body);
    body_init(&ex->res_body, ex->queue, limit);
    ex->res_body.consumer = consumer;
}

/* ---- the course of events -------- */

void exchange_begin(struct exchange *ex)
{
    check(ex);
    must(!ex->begin_posted && !ex->finished);
    ex->begin_posted = true;
    ex->started_us = clock_mono_us();
    ex->original = (struct request_original){ex->req.method_text, ex->req.method, ex->req.target,
                                             ex->req.path, ex->req.query};
    while (ex->request_pins < ARRAY_LEN(ex->pinned) && ex->pinned[ex->request_pins]) {
        ex->request_pins++;
    }
    exchange_hold(ex);
    task_post(ex->queue, &ex->begin_task);
}

void exchange_respond(struct exchange *ex)
{
    check(ex);
    if (ex->finished || ex->responded) {
        return;
    }
    ex->responded = true;
    task_post(ex->queue, &ex->respond_task);
}

void exchange_reopen(struct exchange *ex)
{
    check(ex);
    must(!ex->response_started);
    ex->responded = false;
}

bool exchange_start_response(struct exchange *ex)
{
    check(ex);
    if (ex->finished) {
        return false;
    }
    must(!ex->response_started);
    ex->response_started = true;
    ex->codec->start_response(ex);
    return true;
}

void exchange_send_interim(struct exchange *ex, const struct response *interim)
{
    check(ex);
    if (!ex->finished && !ex->response_started) {
        ex->codec->send_interim(ex, interim);
    }
}

void exchange_reset(struct exchange *ex, enum end_reason reason)
{
    check(ex);
    if (!ex->finished) {
        ex->codec->reset(ex, reason);
    }
}

/* Whatever the other side still waits for has its end now; the codec's own tasks are forgotten,
 * because the codec may be gone before they would run. */
static void end_bodies(struct exchange *ex, enum end_reason reason)
{
    enum end_reason why = reason == END_NONE ? END_NOT_WANTED : reason;
    ex->req_body.producer = NULL;
    ex->out->consumer = NULL;
    body_abort(&ex->req_body, why);
    body_stop(ex->out, why);
    body_stop(&ex->res_body, why); /* not only when the filters get to it: before the log's end */
}

void exchange_finish(struct exchange *ex, enum end_reason reason)
{
    check(ex);
    must(!ex->finished);
    ex->finished = true;
    ex->codec = NULL;
    if (ex->reason == END_NONE) {
        ex->reason = reason;
    }
    end_bodies(ex, ex->reason);
    if (!ex->begun) {
        task_cancel(&ex->begin_task);
    }
    task_cancel(&ex->respond_task);
    if (ex->ended) {
        task_post(ex->queue, ex->ended);
    }
    task_post(ex->queue, &ex->end_task);
}

void exchange_client_gone(struct exchange *ex, enum end_reason reason)
{
    check(ex);
    must(!ex->finished);
    ex->gone = true;
    if (ex->cancel) {
        task_post(ex->queue, ex->cancel);
    }
    exchange_finish(ex, reason);
}

/* ---- responses of our own -------- */

bool exchange_simple(struct exchange *ex, int status, struct slice content_type, struct slice text)
{
    check(ex);
    if (ex->finished) {
        return true;
    }
    exchange_clear_response(ex);
    /* HEAD is told the length that GET would get; 204 and 304 have no content at all. */
    bool allowed = http_status_has_body(METHOD_GET, status);
    bool sent = http_status_has_body(exchange_client_method(ex), status);
    if (!allowed) {
        text.n = 0;
    }
    ex->res.status = status;
    ex->res.version = HTTP_1_1;
    ex->res.reason = http_reason(status);
    ex->res.content_length = status == 304 ? LENGTH_UNKNOWN : (int64_t)text.n;
    if (text.n && content_type.n &&
        !fields_add_id(&ex->res.fields, &ex->arena, FIELD_CONTENT_TYPE, S("Content-Type"),
                       content_type)) {
        return false;
    }
    if (sent && !body_push_copy(&ex->res_body, text)) {
        return false;
    }
    body_end(&ex->res_body, NULL);
    return true;
}

void exchange_error_page(struct exchange *ex, int status, struct slice detail)
{
    check(ex);
    if (ex->finished) {
        return;
    }
    if (ex->response_started) {
        exchange_reset(ex, END_INTERNAL);
        return;
    }
    struct slice reason = http_reason(status);
    struct slice text =
        detail.n ? arena_printf(&ex->arena, "%d %.*s\n\n%.*s\n", status, SLICE_ARG(reason),
                                SLICE_ARG(detail))
                 : arena_printf(&ex->arena, "%d %.*s\n", status, SLICE_ARG(reason));
    if (!text.p || !exchange_simple(ex, status, S("text/plain; charset=utf-8"), text) ||
        !fields_add_id(&ex->res.fields, &ex->arena, FIELD_CACHE_CONTROL, S("Cache-Control"),
                       S("no-store"))) {
        exchange_reset(ex, END_NO_MEMORY);
        return;
    }
    exchange_respond(ex);
}
