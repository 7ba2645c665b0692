/* Permission and the list of names; see on_demand.h. In: names from handshakes (on threads of the
 * demand). Out: the list, to the control thread, and answers. */
#include "cmd/on_demand.h"

#include <pthread.h>

#include "acme/acme.h"
#include "acme/ask.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/tls/demand.h"

#define ASK_THREADS 8
#define ASK_QUEUE_MAX 1024

struct on_demand {
    struct loop *control;
    void (*changed)(void *ctx);
    void *ctx;
    struct jobs *jobs;
    struct demand *demand;
    struct stop stop;
    pthread_mutex_t lock;
    struct config *config; /* counted; under the lock */
    struct map names;      /* text (owned) -> itself; the control thread's */
    struct managed_name *managed; /* on_demand_names' answer */
    bool stopped; /* the control thread's */
};

/* A permitted name on its way to the control thread. */
struct permitted {
    struct message message;
    struct on_demand *owner;
    struct slice name; /* owned */
};

/* ---- permission, on a thread of the demand --------------------------------------------------- */

static bool is_allowed(const struct options *o, struct slice name)
{
    size_t dot = slice_find(name, '.');
    for (size_t i = 0; i < o->demand_allow_count; i++) {
        struct slice allowed = o->demand_allow[i];
        if (slice_eq(allowed, name) ||
            (slice_starts(allowed, S("*.")) && dot != SLICE_NPOS && dot > 0 &&
             slice_eq(slice_from(allowed, 1), slice_from(name, dot)))) {
            return true;
        }
    }
    return false;
}

static enum demand_answer ask_somebody(struct on_demand *o, struct slice url, struct slice name,
                                       struct err *err)
{
    switch (acme_ask(url, name, &o->stop, err)) {
    case ASK_YES:
        return DEMAND_YES;
    case ASK_NO:
        return DEMAND_NO;
    case ASK_FAILED:
        break;
    }
    return DEMAND_UNASKED;
}

static enum demand_answer ask(void *ctx, struct slice name, struct err *err)
{
    struct on_demand *o = ctx;
    enum demand_answer answer = DEMAND_NO;
    bool listed = false;
    pthread_mutex_lock(&o->lock);
    struct config *c = o->config ? config_ref(o->config) : NULL;
    pthread_mutex_unlock(&o->lock);
    if (!c || !config_demand_site(c, name, &listed) || !acme_name_qualifies(name)) {
        err_set(err, "no site has certificates for it on demand");
    } else if (listed || is_allowed(c->options, name)) {
        answer = DEMAND_YES;
    } else if (c->options->demand_ask.n) {
        answer = ask_somebody(o, c->options->demand_ask, name, err);
    } else {
        err_set(err, "it is not on the list of on_demand_tls { allow }");
    }
    config_unref(c);
    return answer;
}

static void arrived(struct message *m)
{
    struct permitted *p = container_of(m, struct permitted, message);
    struct on_demand *o = p->owner;
    char *text = (char *)(uintptr_t)p->name.p;
    bool known = map_get(&o->names, p->name) != NULL;
    if (o->stopped) {
        known = true;
    } else if (!known && o->names.count >= ON_DEMAND_NAMES_MAX) {
        log_event(LOG_ERROR, "tls", "too many names have certificates on demand",
                  LOG_S("name", p->name), LOG_I("limit", ON_DEMAND_NAMES_MAX));
        demand_done(o->demand, p->name, false);
        known = true;
    } else if (!known) {
        (void)map_put(&o->names, p->name, text);
        o->changed(o->ctx);
        text = NULL;
    } else {
        o->changed(o->ctx); /* what is there already is announced again */
    }
    free(text);
    free(p);
}

static void obtain(void *ctx, struct slice name)
{
    struct on_demand *o = ctx;
    struct permitted *p = mem_zalloc(sizeof(*p));
    p->message.deliver = arrived;
    p->owner = o;
    p->name = slice_of(mem_dup(name), name.n);
    loop_send(o->control, &p->message);
}

/* ---- the control thread ---------------------------------------------------------------------- */

struct on_demand *on_demand_new(struct loop *control, struct certs *certs,
                                void (*changed)(void *ctx), void *ctx, struct err *err)
{
    struct on_demand *o = mem_zalloc(sizeof(*o));
    pthread_mutex_init(&o->lock, NULL);
    stop_init(&o->stop);
    map_init(&o->names);
    o->control = control;
    o->changed = changed;
    o->ctx = ctx;
    o->jobs = jobs_new(ASK_THREADS, ASK_QUEUE_MAX, err);
    if (!o->jobs) {
        on_demand_free(o);
        return NULL;
    }
    struct demand_ops ops = {ask, obtain, o};
    o->demand = demand_new(&ops, o->jobs);
    certs_set_demand(certs, o->demand);
    return o;
}

static void forget_names(struct on_demand *o, const struct config *c)
{
    struct map kept;
    size_t at = 0;
    map_init(&kept);
    for (struct map_entry *e; (e = map_next(&o->names, &at));) {
        bool listed;
        if (c && config_demand_site(c, e->key, &listed)) {
            (void)map_put(&kept, e->key, e->value);
        } else {
            free(e->value);
        }
    }
    map_fini(&o->names);
    o->names = kept;
}

void on_demand_configure(struct on_demand *o, struct config *c)
{
    pthread_mutex_lock(&o->lock);
    struct config *old = o->config;
    o->config = config_ref(c);
    pthread_mutex_unlock(&o->lock);
    config_unref(old);
    forget_names(o, c);
}

const struct managed_name *on_demand_names(struct on_demand *o, const struct config *c,
                                           size_t *count)
{
    size_t at = 0;
    free(o->managed);
    o->managed = mem_zalloc((o->names.count + 1) * sizeof(*o->managed));
    *count = 0;
    for (struct map_entry *e; (e = map_next(&o->names, &at));) {
        bool listed;
        const struct site *site = config_demand_site(c, e->key, &listed);
        if (site) {
            o->managed[(*count)++] =
                config_managed_name(c, site, e->key, site->settings.tls.token);
        }
    }
    return o->managed;
}

void on_demand_stop(struct on_demand *o)
{
    if (o) {
        o->stopped = true;
        stop_request(&o->stop);
        jobs_free(o->jobs);
        o->jobs = NULL;
    }
}

void on_demand_free(struct on_demand *o)
{
    if (!o) {
        return;
    }
    on_demand_stop(o);
    demand_free(o->demand);
    config_unref(o->config);
    forget_names(o, NULL);
    map_fini(&o->names);
    free(o->managed);
    stop_fini(&o->stop);
    pthread_mutex_destroy(&o->lock);
    free(o);
}
