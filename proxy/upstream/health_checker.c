/* Active checks; see health.h. Each check is an exchange without a client: sent by upstream like
 * any other, on a connection of its own, answered to nobody.
 *
 * Course: timer -> begin_check -> on_head or on_failed or the deadline -> verdict -> timer. */
#include <stdlib.h>

#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/net/addr.h"
#include "proxy/upstream/upstream.h"

#define REDIRECTS_MAX 10u

struct health_checker {
    const struct health_check *config;
    struct origin *watched; /* counted */
    struct origin *asked;   /* counted */
    struct upstream *upstream; /* NULL: not started */
    struct timer timer;        /* the next check */
    struct timer deadline;     /* of the one under way */
    struct task body_task;     /* consumer of the answer's body */
    struct exchange *ex;       /* of the check under way; held */
    struct request out;
    struct upstream_request *request;
    struct slice target; /* of this check: where a redirect led; in ex's arena or the config */
    unsigned redirects;
    unsigned passes; /* in a row */
    unsigned fails;
};

/* ---- an exchange without a client ------------------------------------------------------------ */

static void no_response(struct exchange *ex)
{
    (void)ex;
}

static void no_interim(struct exchange *ex, const struct response *interim)
{
    (void)ex;
    (void)interim;
}

static void no_reset(struct exchange *ex, enum end_reason reason)
{
    (void)ex;
    (void)reason;
}

static const struct exchange_codec no_codec = {no_response, no_interim, no_reset};
static const struct http_service no_service = {no_response, no_response, no_response};
static const struct addr nobody;

/* Nothing of the check is under way any more; the connection closes by itself. */
static void end_check(struct health_checker *c)
{
    timer_clear(&c->deadline);
    task_cancel(&c->body_task);
    if (c->request) {
        upstream_cancel(c->request);
        c->request = NULL;
    }
    if (c->ex) {
        struct exchange *ex = c->ex;
        c->ex = NULL;
        body_set_consumer(&ex->res_body, NULL);
        body_stop(&ex->res_body, END_NOT_WANTED);
        exchange_release(ex);
    }
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static void set_down(struct health_checker *c, bool down, struct slice why)
{
    if (atomic_exchange_explicit(&c->watched->health.down, down, memory_order_relaxed) == down) {
        return;
    }
    if (down) {
        log_event(LOG_WARN, "http.handlers.reverse_proxy.health_checker",
                  "the origin is not healthy; left alone",
                  LOG_S("origin", c->watched->text), LOG_S("reason", why));
    } else {
        log_event(LOG_INFO, "http.handlers.reverse_proxy.health_checker",
                  "the origin is healthy again",
                  LOG_S("origin", c->watched->text));
    }
}

/* why: empty if all was well. */
static void verdict(struct health_checker *c, struct slice why)
{
    if (why.n) {
        c->passes = 0;
        c->fails = c->fails < c->config->fails ? c->fails + 1 : c->fails;
    } else {
        c->fails = 0;
        c->passes = c->passes < c->config->passes ? c->passes + 1 : c->passes;
    }
    if (c->fails >= c->config->fails && why.n) {
        set_down(c, true, why);
    } else if (c->passes >= c->config->passes && !why.n) {
        set_down(c, false, why);
    }
    end_check(c);
    c->redirects = 0;
    c->target = c->config->target;
    (void)timer_set(&c->timer, c->config->interval_ms);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void look_at_body(struct health_checker *c)
{
    struct body *b = &c->ex->res_body;
    struct iovec iov[BODY_SLICES_MAX];
    if (b->state == BODY_OPEN && b->queued_bytes < HEALTH_BODY_MAX && b->count < BODY_SLICES_MAX) {
        (void)body_peek(b, iov, BODY_SLICES_MAX); /* says that it is wanted */
        return;
    }
    if (b->state == BODY_ABORTED) {
        verdict(c, S("the answer was cut off"));
        return;
    }
    struct dstr text;
    dstr_init(&text, HEALTH_BODY_MAX * 2);
    int n = body_peek(b, iov, BODY_SLICES_MAX);
    for (int i = 0; i < n; i++) {
        dstr_append(&text, slice_of(iov[i].iov_base, iov[i].iov_len));
    }
    struct slice body = dstr_slice(&text);
    bool fits = c->config->body_fits(c->config->ctx, body.p ? body : S(""));
    dstr_fini(&text);
    verdict(c, fits ? S("") : S("the body is not what health_body wants"));
}

static void body_changed(struct task *t)
{
    struct health_checker *c = container_of(t, struct health_checker, body_task);
    if (c->ex) {
        look_at_body(c);
    }
}

static void begin_check(struct health_checker *c);

/* The path of a Location on the same origin; p == NULL: it leads elsewhere. */
static struct slice redirect_target(const struct health_checker *c)
{
    const struct field *f = fields_find_id(&c->ex->res.fields, FIELD_LOCATION);
    struct slice to = f ? f->value : S("");
    size_t scheme = slice_find_slice(to, S("://"));
    if (scheme != SLICE_NPOS && scheme <= 5) {
        to = slice_from(to, scheme + 3);
        size_t slash = slice_find(to, '/');
        if (!slice_eq_case(slice_upto(to, slash), c->asked->text)) {
            return (struct slice){NULL, 0};
        }
        to = slash == SLICE_NPOS ? S("/") : slice_from(to, slash);
    }
    to = slice_upto(to, slice_find(to, '#'));
    bool path = to.n && to.p[0] == '/' && slice_find(to, ' ') == SLICE_NPOS;
    return path ? to : (struct slice){NULL, 0};
}

static void follow(struct health_checker *c)
{
    struct slice to = redirect_target(c);
    if (!to.p || ++c->redirects > REDIRECTS_MAX) {
        verdict(c, S("a redirect that leads elsewhere, or too many"));
        return;
    }
    struct exchange *old = c->ex;
    exchange_hold(old);
    end_check(c);
    c->target = to;
    begin_check(c); /* copies it */
    exchange_release(old);
}

static void on_head(void *ctx)
{
    struct health_checker *c = ctx;
    int status = c->ex->res.status;
    c->request = NULL;
    if (c->config->follow_redirects && status >= 300 && status <= 399 && status != 304) {
        follow(c);
        return;
    }
    bool ok = c->config->status.any ? status_set_has(&c->config->status, status)
                                    : status >= 200 && status <= 299;
    if (!ok) {
        char text[32];
        struct dstr why;
        dstr_init(&why, sizeof(text));
        dstr_printf(&why, "status %d", status);
        verdict(c, dstr_slice(&why));
        dstr_fini(&why);
    } else if (c->config->body_fits) {
        body_set_consumer(&c->ex->res_body, &c->body_task); /* wakes it */
    } else {
        verdict(c, S(""));
    }
}

static void on_failed(void *ctx, const struct upstream_failure *failure)
{
    struct health_checker *c = ctx;
    c->request = NULL;
    verdict(c, failure->detail.n ? failure->detail : S("no answer"));
}

static void too_late(struct timer *t)
{
    struct health_checker *c = container_of(t, struct health_checker, deadline);
    if (c->ex) {
        verdict(c, S("no answer in time"));
    }
}

/* ---- checks ---------------------------------------------------------------------------------- */

static bool fill_request(struct health_checker *c)
{
    const struct health_check *config = c->config;
    struct exchange *ex = c->ex;
    c->target = arena_copy(&ex->arena, c->target);
    c->out = (struct request){
        .method = http_method_of(config->method),
        .version = HTTP_1_1,
        .method_text = config->method,
        .scheme = c->asked->tls_client ? S("https") : S("http"),
        .authority = c->asked->unix_path.n ? S("localhost") : c->asked->text,
        .target = c->target,
        .content_length = (int64_t)config->body.n,
    };
    ex->req = c->out;
    if (!c->target.p || !fields_add_id(&c->out.fields, &ex->arena, FIELD_HOST, S("Host"),
                                       c->out.authority)) {
        return false;
    }
    bool agent = false;
    for (unsigned i = 0; i < config->fields.count; i++) {
        const struct field *f = &config->fields.items[i];
        agent = agent || f->id == FIELD_USER_AGENT;
        if (f->id == FIELD_HOST ? !fields_set(&c->out.fields, &ex->arena, f->name, f->value)
                                : !fields_add(&c->out.fields, &ex->arena, f->name, f->value)) {
            return false;
        }
    }
    if (config->body.n && !body_push_copy(&ex->req_body, config->body)) {
        return false;
    }
    body_end(&ex->req_body, NULL);
    return agent || fields_add(&c->out.fields, &ex->arena, S("User-Agent"), S("caddis-health"));
}

static void begin_check(struct health_checker *c)
{
    static const struct upstream_events events = {on_head, on_failed};
    struct loop *l = upstream_loop(c->upstream);
    struct client_info client = {.peer = &nobody, .local = &nobody};
    c->ex = exchange_new(l, loop_queue(l), &no_codec, &no_service, &client);
    if (!c->ex || !fill_request(c) || !timer_set(&c->deadline, c->config->timeout_ms) ||
        !(c->request = upstream_start(c->upstream, c->asked, c->ex, &c->out, S(""), &events, c))) {
        /* Our own memory is short: that says nothing of the origin. */
        end_check(c);
        (void)timer_set(&c->timer, c->config->interval_ms);
    }
}

static void due(struct timer *t)
{
    begin_check(container_of(t, struct health_checker, timer));
}

/* ---- life ------------------------------------------------------------------------------------ */

struct health_checker *health_checker_new(const struct health_check *config, struct origin *watched,
                                          struct origin *asked)
{
    struct health_checker *c = mem_zalloc(sizeof(*c));
    c->config = config;
    c->target = config->target;
    c->watched = origin_ref(watched);
    c->asked = origin_ref(asked);
    return c;
}

void health_checker_start(struct health_checker *c, struct upstream *u)
{
    c->upstream = u;
    timer_init(&c->timer, upstream_loop(u), due);
    timer_init(&c->deadline, upstream_loop(u), too_late);
    task_init(&c->body_task, body_changed);
    begin_check(c);
}

void health_checker_stop(struct health_checker *c)
{
    if (!c->upstream) {
        return;
    }
    end_check(c);
    timer_fini(&c->timer);
    timer_fini(&c->deadline);
    c->upstream = NULL;
}

void health_checker_free(struct health_checker *c)
{
    if (!c) {
        return;
    }
    must(!c->upstream);
    origin_unref(c->watched);
    origin_unref(c->asked);
    free(c);
}
