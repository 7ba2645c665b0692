/* Tunnels that may not live for ever: stream_timeout and stream_close_delay.
 *
 * A tunnel outlives its configuration, so what it needs of it is a small counted record. That the
 * configuration was replaced is looked for once a second: cheap, and a delay is no exact thing. */
#include "proxy/handler/reverse_proxy_config.h"
#include "proxy/loop/loop.h"

#include <stdlib.h>

#define LOOK_MS 1000

struct tunnel_watch { /* in the exchange's arena */
    struct exchange *ex;           /* held */
    struct tunnel_policy *policy;  /* counted */
    struct timer timer;
    struct task ended;
    int64_t end_ms; /* monotonic; 0: not known yet */
    bool delayed;   /* the delay has begun */
};

void tunnel_policy_unref(struct tunnel_policy *policy)
{
    if (policy && atomic_fetch_sub_explicit(&policy->refs, 1, memory_order_acq_rel) == 1) {
        free(policy);
    }
}

static void ended(struct task *t)
{
    struct tunnel_watch *w = container_of(t, struct tunnel_watch, ended);
    timer_fini(&w->timer);
    tunnel_policy_unref(w->policy);
    exchange_release(w->ex); /* its arena holds w */
}

static void look(struct timer *t)
{
    struct tunnel_watch *w = container_of(t, struct tunnel_watch, timer);
    const struct tunnel_policy *p = w->policy;
    int64_t now = loop_now_ms(w->ex->loop);
    if (!w->delayed && p->closes && atomic_load_explicit(&p->replaced, memory_order_relaxed)) {
        int64_t end = now + p->close_delay_ms;
        w->delayed = true;
        w->end_ms = w->end_ms && w->end_ms < end ? w->end_ms : end;
    }
    if (w->end_ms && now >= w->end_ms) {
        exchange_reset(w->ex, END_SHUTDOWN);
        return; /* `ended` comes */
    }
    int64_t left = w->end_ms ? w->end_ms - now : INT64_MAX;
    bool looks = p->closes && !w->delayed;
    (void)timer_set(&w->timer, looks && left > LOOK_MS ? LOOK_MS : left);
}

void tunnel_watch(struct exchange *ex, struct tunnel_policy *policy)
{
    struct tunnel_watch *w = ARENA_NEW(&ex->arena, struct tunnel_watch);
    if (!w || ex->finished) {
        return;
    }
    atomic_fetch_add_explicit(&policy->refs, 1, memory_order_relaxed);
    exchange_hold(ex);
    w->ex = ex;
    w->policy = policy;
    w->end_ms = policy->timeout_ms ? loop_now_ms(ex->loop) + policy->timeout_ms : 0;
    timer_init(&w->timer, ex->loop, look);
    task_init(&w->ended, ended);
    ex->ended = &w->ended;
    look(&w->timer);
}
