/* Running handlers and hooks; see chain.h. The position is a stack of routes in the exchange's
 * arena, so that a handler may answer later. */
#include "proxy/handler/chain.h"

#include "proxy/base/rand.h"
#include "proxy/route/vars.h"

static void chain_continue(struct exchange *ex);

bool chain_new(struct exchange *ex, struct upstream *upstream, struct jobs *jobs)
{
    struct chain *c = arena_alloc(&ex->arena, sizeof(*c));
    if (!c) {
        return false;
    }
    c->depth = 0;
    c->hooks = c->few_hooks;
    c->hook_count = 0;
    c->hook_cap = CHAIN_HOOKS_FEW;
    c->enter = NULL;
    c->errors = NULL;
    c->error.status = 0;
    c->failed = c->intercepting = false;
    c->running = c->raised = false;
    c->upstream = upstream;
    c->slow_jobs = NULL;
    c->log = (struct log_notes){0};
    c->trace = NULL;
    c->pin = NULL;
    ex->chain = c;
    ex->jobs = jobs;
    ex->resume = chain_continue;
    return true;
}

static bool push_route(struct chain *c, const struct route *route)
{
    if (c->depth == CHAIN_DEPTH_MAX) {
        return false;
    }
    c->stack[c->depth].route = route;
    c->stack[c->depth].next = 0;
    c->stack[c->depth].groups_taken = 0;
    c->depth++;
    return true;
}

void chain_enter(struct exchange *ex, const struct route *route)
{
    chain_of(ex)->enter = route;
}

/* Finds the next handler whose matcher and group allow it: MATCH_YES and *out; MATCH_NO at the end
 * of everything. After MATCH_WAIT the same place is looked at again. */
static enum match_result next_handler(struct chain *c, struct exchange *ex,
                                      const struct handler **out)
{
    while (c->depth > 0) {
        unsigned top = c->depth - 1;
        const struct route *route = c->stack[top].route;
        if (c->stack[top].next == route->count) {
            c->depth--;
            continue;
        }
        const struct handler *h = &route->handlers[c->stack[top].next];
        enum match_result r = MATCH_NO;
        unsigned group = h->group ? 1u << h->group : 0;
        if (!(group & c->stack[top].groups_taken)) {
            r = matcher_matches(h->matcher, ex);
        }
        if (c->trace && r != MATCH_WAIT) {
            c->trace->looked(c->trace, ex, h, c->depth, r, group & c->stack[top].groups_taken);
        }
        if (r == MATCH_WAIT || r == MATCH_FAILED || ex->arena.failed) {
            return r;
        }
        c->stack[top].next++;
        ex->answers = NULL; /* what was learnt holds for this step */
        if (r == MATCH_YES) {
            c->stack[top].groups_taken |= group;
            *out = h;
            return MATCH_YES;
        }
    }
    return MATCH_NO;
}

/* All places that there may be, in the exchange's arena. False: they were there already, or memory.
 */
static bool more_hooks(struct chain *c, struct exchange *ex)
{
    if (c->hook_cap == CHAIN_HOOKS_MAX) {
        return false;
    }
    struct chain_hook *hooks = arena_alloc(&ex->arena, CHAIN_HOOKS_MAX * sizeof(*hooks));
    if (!hooks) {
        return false;
    }
    memcpy(hooks, c->hooks, c->hook_count * sizeof(*hooks));
    c->hooks = hooks;
    c->hook_cap = CHAIN_HOOKS_MAX;
    return true;
}

/* False: there are too many to remember, and leaving one out could open what it closes. Some
 * places are kept for chain_add_hook. */
static bool remember_hook(struct chain *c, struct exchange *ex, const struct handler *h)
{
    if (!h->ops->on_response && !h->ops->on_response_early && !h->ops->on_intercept) {
        return true;
    }
    if (c->hook_count >= c->hook_cap - CHAIN_HOOKS_ADDED_MAX && !more_hooks(c, ex)) {
        return false;
    }
    c->hooks[c->hook_count].ops = h->ops;
    c->hooks[c->hook_count].instance = h->instance;
    c->hook_count++;
    return true;
}

void chain_add_hook(struct exchange *ex, const struct handler_ops *ops, const void *instance)
{
    struct chain *c = chain_of(ex);
    if (c->hook_count < c->hook_cap) {
        c->hooks[c->hook_count].ops = ops;
        c->hooks[c->hook_count].instance = instance;
        c->hook_count++;
    }
}

/* For a trace: does h end the chain, or is it passed, as far as can be told without running it? */
static bool pretend(struct chain *c, struct exchange *ex, const struct handler *h)
{
    bool over = handler_always_answers(h);
    if (over) {
        c->trace->over(c->trace, ex, h, false);
    }
    return !over;
}

/* A handler was passed; false: the exchange is answered or waited for. */
static bool run_one(struct chain *c, struct exchange *ex, const struct handler *h)
{
    if (c->trace && h->ops->nature != HANDLER_PREPARES) {
        return pretend(c, ex, h);
    }
    enum handler_result result = h->ops->on_request(h->instance, ex);
    if (c->trace) {
        c->trace->ran(c->trace, ex, h, c->depth);
    }
    switch (result) {
    case HANDLER_NEXT:
        if (remember_hook(c, ex, h)) {
            return true;
        }
        if (ex->arena.failed) {
            exchange_error_page(ex, 503, S("out of memory"));
            return false;
        }
        (void)chain_error(ex, 500, S("more than 64 header directives apply to this request"));
        return false;
    case HANDLER_ENTER:
        if (push_route(c, c->enter)) {
            return true;
        }
        (void)chain_error(ex, 500, S("the configuration nests too deeply"));
        return false;
    case HANDLER_DONE:
    case HANDLER_WAIT:
        return false;
    }
    return false;
}

/* A matcher that could not look must not let the request through. */
static void match_failed(struct exchange *ex)
{
    struct chain_trace *trace = chain_of(ex)->trace;
    if (trace) {
        trace->over(trace, ex, NULL, true);
    } else if (ex->arena.failed) {
        exchange_error_page(ex, 503, S("out of memory"));
    } else {
        int status = ex->match_status ? ex->match_status : 500;
        struct slice detail = ex->error_detail.n || ex->match_status ? ex->error_detail
                                                                     : S("a matcher failed");
        ex->match_status = 0; /* what handle_errors asks is another question */
        ex->answers = NULL;
        (void)chain_error(ex, status, detail);
    }
}

/* Nothing answered: an empty 200, or the page of the error that nothing handled. */
static void answer_nothing(const struct chain *c, struct exchange *ex)
{
    if (c->trace) {
        c->trace->over(c->trace, ex, NULL, false);
    } else if (c->error.status) {
        exchange_error_page(ex, c->error.status, c->error.message);
    } else if (c->intercepting && ex->res.status) {
        exchange_respond(ex);
    } else if (!exchange_simple(ex, 200, S(""), S(""))) {
        exchange_error_page(ex, 503, S("out of memory"));
    } else {
        exchange_respond(ex);
    }
}

/* One step; false: the exchange is answered or waited for. */
static bool step(struct chain *c, struct exchange *ex)
{
    const struct handler *h = NULL;
    enum match_result r = next_handler(c, ex, &h);
    if (r == MATCH_WAIT && !ex->arena.failed) {
        return false;
    }
    if (r == MATCH_FAILED || ex->arena.failed) {
        match_failed(ex);
        return false;
    }
    if (!h) {
        answer_nothing(c, ex);
        return false;
    }
    return run_one(c, ex, h);
}

static void chain_continue(struct exchange *ex)
{
    struct chain *c = chain_of(ex);
    c->running = true;
    do {
        c->raised = false;
    } while (step(c, ex) || c->raised);
    c->running = false;
}

void chain_run(struct exchange *ex, const struct route *route)
{
    if (push_route(chain_of(ex), route)) {
        chain_continue(ex);
    } else {
        exchange_error_page(ex, 500, S("the configuration nests too deeply"));
    }
}

/* ---- errors ---------------------------------------------------------------------------------- */

static const struct error_route *error_route_for(const struct chain *c, int status)
{
    const struct error_route *e = c ? c->errors : NULL;
    while (e && e->statuses.any && !status_set_has(&e->statuses, status)) {
        e = e->next;
    }
    return e;
}

/* Method and target as the client sent them; fields stay as they are, as in Caddy. */
static void restore_request(struct exchange *ex)
{
    struct request *req = &ex->req;
    req->method_text = ex->original.method_text;
    req->method = ex->original.method;
    req->target = ex->original.target;
    req->path = ex->original.path;
    req->query = ex->original.query;
    ex->clean_path[0] = ex->clean_path[1] = (struct slice){NULL, 0};
}

/* What placeholders say of the error. False: memory. */
static bool set_error_vars(struct exchange *ex, int status, struct slice message)
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz0123456789";
    char id[9];
    for (size_t i = 0; i < sizeof(id); i++) {
        id[i] = letters[rand_below(sizeof(letters) - 1)];
    }
    struct slice code = arena_printf(&ex->arena, "%d", status);
    struct slice name = arena_copy(&ex->arena, slice_of(id, sizeof(id)));
    return code.p && name.p && vars_set(ex, S("http.error.status_code"), code) &&
           vars_set(ex, S("http.error.status_text"), http_reason(status)) &&
           vars_set(ex, S("http.error.message"), message) &&
           vars_set(ex, S("http.error.trace"), S("")) && vars_set(ex, S("http.error.id"), name);
}

enum handler_result chain_error(struct exchange *ex, int status, struct slice detail)
{
    struct chain *c = chain_of(ex);
    const struct error_route *e = error_route_for(c, status);
    if (ex->finished) {
        return HANDLER_DONE;
    }
    ex->error_detail = detail;
    if (c) {
        c->failed = true;
    }
    if (!e || c->error.status || ex->response_started || ex->arena.failed ||
        !set_error_vars(ex, status, detail)) {
        exchange_error_page(ex, status, detail);
        return HANDLER_DONE;
    }
    if (ex->res.status) {
        exchange_clear_response(ex); /* a handle_response failed: what it looked at goes */
    }
    restore_request(ex);
    c->error.status = status;
    c->error.message = detail;
    c->depth = 0;
    (void)push_route(c, &e->route); /* there is room now */
    if (c->running) {
        c->raised = true;
    } else {
        chain_continue(ex);
    }
    return HANDLER_DONE;
}

int chain_default_status(struct exchange *ex)
{
    const struct chain *c = chain_of(ex);
    return c && c->error.status ? c->error.status : 200;
}

bool chain_intercepts(struct exchange *ex)
{
    struct chain *c = chain_of(ex);
    for (unsigned i = c && !c->failed && !ex->res.tunnel ? c->hook_count : 0; i-- > 0;) {
        const struct handler_ops *ops = c->hooks[i].ops;
        if (!ops->on_intercept) {
            continue;
        }
        const struct route *route = ops->on_intercept(c->hooks[i].instance, ex);
        c->hook_count--; /* it looks at one response only */
        memmove(&c->hooks[i], &c->hooks[i + 1], (c->hook_count - i) * sizeof(c->hooks[0]));
        if (route) {
            exchange_reopen(ex);
            c->depth = 0;
            c->intercepting = true;
            chain_run(ex, route);
            return true;
        }
    }
    return false;
}

void chain_run_early_hooks(struct exchange *ex)
{
    const struct chain *c = chain_of(ex);
    for (unsigned i = 0; c && i < c->hook_count; i++) {
        if (c->hooks[i].ops->on_response_early) {
            c->hooks[i].ops->on_response_early(c->hooks[i].instance, ex);
        }
    }
}

void chain_run_hooks(struct exchange *ex)
{
    struct chain *c = chain_of(ex);
    chain_run_early_hooks(ex);
    while (c && c->hook_count > 0) {
        c->hook_count--;
        if (c->hooks[c->hook_count].ops->on_response) {
            c->hooks[c->hook_count].ops->on_response(c->hooks[c->hook_count].instance, ex);
        }
    }
}
