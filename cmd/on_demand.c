/* Permission and the list of names; see on_demand.h. In: names from handshakes (on threads of the
 * demand). Out: the list, to the control thread, and answers. */
#include "cmd/on_demand.h"

#include <pthread.h>

#include "acme/acme.h"
#include "acme/ask.h"
#include "cmd/managers.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define ASK_THREADS 16
#define ASK_QUEUE_MAX 1024
/* An answer that takes longer is slow; while nothing but slow ones is under way, new names are
 * refused instead of waiting behind them. */
#define ASK_SLOW_MS ((int64_t)2000)
/* Threads that managers asked again may hold up, and as many for renewals: handshakes have the rest
 * of them and of the queue, whatever falls due together. */
#define ASK_AGAIN_MAX 4
#define REFRESH_LOOK_MS ((int64_t)5 * 1000)
#define REFRESH_RETRY_MS ((int64_t)60 * 1000)
/* A manager is asked again after half of the time its certificate has left, at most this. */
#define REFRESH_MAX_MS ((int64_t)3600 * 1000)

/* A name that a handshake has asked for. The control thread's. */
struct demanded {
    bool brought;        /* by a manager, not by acme */
    bool asking;         /* the manager is being asked again */
    bool told;           /* that it could not be had again */
    int64_t again_at_ms; /* brought: when to ask again; monotonic */
    int64_t end_ms;      /* brought: when it ends; wall clock */
    char text[];
};

struct on_demand {
    struct loop *control;
    struct certs *certs;
    void (*changed)(void *ctx);
    void *ctx;
    struct jobs *jobs;
    struct demand *demand;
    struct stop stop;
    pthread_mutex_t lock;
    struct config *config; /* counted; under the lock */
    struct map renewals;   /* text -> struct renewal (owned), under the lock */
    unsigned renewing;     /* of those without an answer; under the lock */
    int64_t since_ms[ASK_THREADS]; /* of questions under way, 0: free; under the lock */
    struct map names;      /* text -> struct demanded (owned); the control thread's */
    struct timer refresh;  /* the same */
    unsigned refreshing;   /* managers being asked again; the same */
    struct managed_name *managed; /* on_demand_names' answer */
    bool stopped; /* the control thread's */
};

/* A permitted name, perhaps with its certificate, on its way to the control thread; and there, a
 * manager that is to be asked again. */
struct permitted {
    struct message message;
    struct job job;
    struct on_demand *owner;
    struct demanded *name; /* owned; again: a copy of the one that is known */
    bool again;
    enum managers_answer answer;
    struct dstr pem; /* MANAGERS_GAVE */
    int64_t end_ms;
    struct err err;
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

/* A question begins: its place, or -1 when there is none. */
static int take_place(struct on_demand *o)
{
    int place = -1;
    pthread_mutex_lock(&o->lock);
    for (int i = 0; i < ASK_THREADS && place < 0; i++) {
        if (!o->since_ms[i]) {
            o->since_ms[i] = clock_mono_ms();
            place = i;
        }
    }
    pthread_mutex_unlock(&o->lock);
    return place;
}

static void leave_place(struct on_demand *o, int place)
{
    pthread_mutex_lock(&o->lock);
    if (place >= 0) {
        o->since_ms[place] = 0;
    }
    pthread_mutex_unlock(&o->lock);
}

/* Is every thread held up by somebody who does not answer? */
static bool is_stuck(void *ctx)
{
    struct on_demand *o = ctx;
    bool stuck = true;
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&o->lock);
    for (int i = 0; i < ASK_THREADS && stuck; i++) {
        stuck = o->since_ms[i] && now_ms - o->since_ms[i] > ASK_SLOW_MS;
    }
    pthread_mutex_unlock(&o->lock);
    return stuck;
}

static struct config *config_now(struct on_demand *o)
{
    pthread_mutex_lock(&o->lock);
    struct config *c = o->config ? config_ref(o->config) : NULL;
    pthread_mutex_unlock(&o->lock);
    return c;
}

enum demand_answer on_demand_permission(const struct config *c, struct slice name,
                                        struct stop *stop, struct err *err)
{
    bool listed = false;
    if (!config_demand_site(c, name, &listed) || !acme_name_qualifies(name)) {
        err_set(err, "no site has certificates for it on demand");
        return DEMAND_NO;
    }
    if (listed || is_allowed(c->options, name)) {
        err_set(err, "the Caddyfile lists it");
        return DEMAND_YES;
    }
    if (!c->options->demand_ask.n) {
        err_set(err, "it is not on the list of on_demand_tls { allow }");
        return DEMAND_NO;
    }
    enum ask_result result = acme_ask(c->options->demand_ask, name, stop, err);
    return result == ASK_YES ? DEMAND_YES : result == ASK_NO ? DEMAND_NO : DEMAND_UNASKED;
}

static enum demand_answer ask(void *ctx, struct slice name, struct err *err)
{
    struct on_demand *o = ctx;
    struct config *c = config_now(o);
    int place = take_place(o);
    enum demand_answer answer = DEMAND_NO;
    if (c) {
        answer = on_demand_permission(c, name, &o->stop, err);
    } else {
        err_set(err, "no configuration runs yet");
    }
    leave_place(o, place);
    config_unref(c);
    return answer;
}

/* Asks the managers of the site that name belongs to; NONE where it has none. */
static void ask_managers(struct permitted *p)
{
    struct on_demand *o = p->owner;
    struct slice name = slice_str(p->name->text);
    bool listed;
    struct config *c = config_now(o);
    const struct site *site = c ? config_demand_site(c, name, &listed) : NULL;
    const struct tls_settings *t = site ? &site->settings.tls : NULL;
    p->answer = MANAGERS_NONE;
    if (t && t->manager_count) {
        int place = take_place(o);
        p->answer = managers_ask(t->managers, t->manager_count, name, &o->stop, &p->pem,
                                 &p->end_ms, &p->err);
        leave_place(o, place);
    }
    config_unref(c);
}

static void permitted_free(struct permitted *p)
{
    managers_wipe(&p->pem);
    free(p->name);
    free(p);
}

static void arrived(struct message *m);

static struct permitted *permitted_new(struct on_demand *o, struct slice name)
{
    struct permitted *p = mem_zalloc(sizeof(*p));
    p->message.deliver = arrived;
    p->owner = o;
    p->name = mem_zalloc(sizeof(*p->name) + name.n + 1);
    memcpy(p->name->text, name.p, name.n);
    dstr_init(&p->pem, MANAGED_PEM_MAX);
    return p;
}

static void obtain(void *ctx, struct slice name)
{
    struct on_demand *o = ctx;
    struct permitted *p = permitted_new(o, name);
    ask_managers(p);
    loop_send(o->control, &p->message);
}

/* ---- arrivals, on the control thread --------------------------------------------------------- */

/* The certificate that a manager has given goes to where handshakes look. */
static void install(struct on_demand *o, struct demanded *n, const struct permitted *p)
{
    struct slice name = slice_str(n->text);
    struct slice pem = dstr_slice(&p->pem);
    struct err err;
    n->brought = true;
    n->told = false;
    int64_t half_ms = (p->end_ms - clock_wall_ms()) / 2;
    n->end_ms = p->end_ms;
    n->again_at_ms = clock_mono_ms() + (half_ms < REFRESH_MAX_MS ? half_ms : REFRESH_MAX_MS);
    if (!p->again) {
        o->changed(o->ctx);
    }
    bool ok = certs_install(o->certs, name, pem, pem, &err);
    if (ok) {
        log_event(p->again ? LOG_DEBUG : LOG_INFO, "tls", "a manager has brought a certificate",
                  LOG_S("name", name));
    } else {
        log_event(LOG_ERROR, "tls", "a manager's certificate cannot be used", LOG_S("name", name),
                  LOG_Z("reason", err.text));
    }
    demand_done(o->demand, name, ok);
}

static void not_brought(struct on_demand *o, struct slice name, const char *reason)
{
    log_event(LOG_ERROR, "tls", "no certificate on demand: the manager has brought none",
              LOG_S("name", name), LOG_Z("reason", reason));
    demand_done(o->demand, name, false);
}

/* A name that handshakes wait for. */
static void take_name(struct on_demand *o, struct permitted *p)
{
    struct slice name = slice_str(p->name->text);
    struct demanded *n = map_get(&o->names, name);
    if (p->answer == MANAGERS_FAILED) {
        not_brought(o, name, p->err.text);
        return;
    }
    if (!n && o->names.count >= ON_DEMAND_NAMES_MAX) {
        log_event(LOG_ERROR, "tls", "too many names have certificates on demand",
                  LOG_S("name", name), LOG_I("limit", ON_DEMAND_NAMES_MAX));
        demand_done(o->demand, name, false);
        return;
    }
    if (!n) {
        n = p->name;
        p->name = NULL;
        (void)map_put(&o->names, slice_str(n->text), n);
    }
    if (p->answer == MANAGERS_GAVE) {
        install(o, n, p);
    } else {
        n->brought = false;
        o->changed(o->ctx); /* what is there already is announced again */
    }
}

/* What a manager says when it is asked again. It may have none (any more): then the last one serves
 * as long as it is good, and the next handshake after that begins anew. */
static void take_again(struct on_demand *o, struct permitted *p)
{
    struct demanded *n = map_get(&o->names, slice_str(p->name->text));
    if (o->refreshing-- == ASK_AGAIN_MAX) {
        (void)timer_set(&o->refresh, 1); /* others may be waiting for their turn */
    }
    if (!n) {
        return;
    }
    n->asking = false;
    if (p->answer == MANAGERS_GAVE) {
        install(o, n, p);
        return;
    }
    const char *reason = p->answer == MANAGERS_NONE ? "it has none (204)" : p->err.text;
    int64_t left_ms = n->end_ms - clock_wall_ms();
    if (left_ms <= 0) {
        log_event(LOG_WARN, "tls", "a manager's certificate has ended without another one; the next"
                  " handshake begins anew", LOG_Z("name", n->text), LOG_Z("reason", reason));
        free(map_del(&o->names, slice_str(p->name->text)));
        o->changed(o->ctx);
        return;
    }
    n->again_at_ms = clock_mono_ms() + (left_ms < REFRESH_RETRY_MS ? left_ms : REFRESH_RETRY_MS);
    if (!n->told) {
        n->told = true;
        log_event(LOG_WARN, "tls", "a manager does not bring a certificate again; the last one is"
                  " served on", LOG_Z("name", n->text),
                  LOG_Z("reason", reason));
    }
}

static void arrived(struct message *m)
{
    struct permitted *p = container_of(m, struct permitted, message);
    struct on_demand *o = p->owner;
    if (o->stopped) {
        /* nobody waits any more */
    } else if (p->again) {
        take_again(o, p);
    } else {
        take_name(o, p);
    }
    permitted_free(p);
}

static void ask_again(struct job *j)
{
    struct permitted *p = container_of(j, struct permitted, job);
    ask_managers(p);
    loop_send(p->owner->control, &p->message);
}

static void not_asked_again(struct job *j)
{
    permitted_free(container_of(j, struct permitted, job));
}

static void refresh(struct timer *t)
{
    struct on_demand *o = container_of(t, struct on_demand, refresh);
    int64_t now_ms = clock_mono_ms();
    size_t at = 0;
    for (struct map_entry *e;
         o->refreshing < ASK_AGAIN_MAX && (e = map_next(&o->names, &at));) {
        struct demanded *n = e->value;
        if (!n->brought || n->asking || now_ms < n->again_at_ms) {
            continue;
        }
        struct permitted *p = permitted_new(o, e->key);
        p->again = true;
        p->job = (struct job){.work = ask_again, .dropped = not_asked_again};
        n->asking = job_submit(o->jobs, NULL, &p->job);
        if (!n->asking) {
            permitted_free(p);
            break;
        }
        o->refreshing++;
    }
    (void)timer_set(&o->refresh, REFRESH_LOOK_MS);
}

/* ---- renewals -------------------------------------------------------------------------------- */

/* A question whether a name may be renewed. On its way back from a no it is a message. */
struct renewal {
    struct message message;
    struct job job;
    struct on_demand *owner;
    bool answered;
    char text[];
};

/* On the control thread: it is permitted no longer. */
static void forget_name(struct message *m)
{
    struct renewal *r = container_of(m, struct renewal, message);
    struct on_demand *o = r->owner;
    struct demanded *n = o->stopped ? NULL : map_del(&o->names, slice_str(r->text));
    if (n) {
        o->changed(o->ctx);
    }
    free(n);
    free(r);
}

static void ask_for_renewal(struct job *j)
{
    struct renewal *r = container_of(j, struct renewal, job);
    struct on_demand *o = r->owner;
    struct slice name = slice_str(r->text);
    struct err err = {""};
    enum demand_answer answer = ask(o, name, &err);
    if (answer == DEMAND_UNASKED && !stop_requested(&o->stop)) {
        log_event(LOG_WARN, "tls", "permission for a renewal could not be asked; the earlier one"
                  " holds", LOG_S("name", name), LOG_Z("reason", err.text));
    }
    pthread_mutex_lock(&o->lock);
    r->answered = true;
    o->renewing--;
    if (answer == DEMAND_NO) {
        (void)map_del(&o->renewals, name);
    }
    pthread_mutex_unlock(&o->lock);
    if (answer == DEMAND_NO) {
        log_event(LOG_INFO, "tls", "a name on demand is permitted no longer: it is neither renewed"
                  " nor served", LOG_S("name", name), LOG_Z("reason", err.text));
        loop_send(o->control, &r->message);
    }
}

/* Under the lock. */
static void ask_about(struct on_demand *o, struct slice name)
{
    struct renewal *r = mem_zalloc(sizeof(*r) + name.n + 1);
    r->message.deliver = forget_name;
    r->job.work = ask_for_renewal;
    r->owner = o;
    memcpy(r->text, name.p, name.n);
    if (o->jobs && job_submit(o->jobs, NULL, &r->job)) {
        o->renewing++;
        (void)map_put(&o->renewals, slice_str(r->text), r);
    } else {
        free(r);
    }
}

enum acme_permission on_demand_may_renew(struct on_demand *o, struct slice name)
{
    enum acme_permission p = ACME_PERMISSION_LATER;
    pthread_mutex_lock(&o->lock);
    struct renewal *r = map_get(&o->renewals, name);
    if (!r && o->renewing < ASK_AGAIN_MAX) {
        ask_about(o, name);
    } else if (!r) {
        /* its turn will come */
    } else if (r->answered) {
        p = ACME_PERMITTED; /* this time: the next renewal asks again */
        (void)map_del(&o->renewals, name);
        free(r);
    }
    pthread_mutex_unlock(&o->lock);
    return p;
}

static void forget_renewals(struct on_demand *o)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&o->renewals, &at));) {
        free(e->value);
    }
    map_fini(&o->renewals);
}

/* ---- the control thread ---------------------------------------------------------------------- */

struct on_demand *on_demand_new(struct loop *control, struct certs *certs,
                                void (*changed)(void *ctx), void *ctx, struct err *err)
{
    struct on_demand *o = mem_zalloc(sizeof(*o));
    pthread_mutex_init(&o->lock, NULL);
    stop_init(&o->stop);
    map_init(&o->names);
    map_init(&o->renewals);
    o->control = control;
    o->certs = certs;
    timer_init(&o->refresh, control, refresh);
    (void)timer_set(&o->refresh, REFRESH_LOOK_MS);
    o->changed = changed;
    o->ctx = ctx;
    o->jobs = jobs_new(ASK_THREADS, ASK_QUEUE_MAX, err);
    if (!o->jobs) {
        on_demand_free(o);
        return NULL;
    }
    struct demand_ops ops = {ask, obtain, is_stuck, o};
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
        if (c && config_demand_site(c, e->key, &listed) &&
            (listed || c->options->demand_ask.n || is_allowed(c->options, e->key))) {
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
            struct managed_name *m = &o->managed[(*count)++];
            *m = config_managed_name(c, site, e->key, site->settings.tls.token);
            m->on_demand = true;
            m->brought = ((const struct demanded *)e->value)->brought &&
                         site->settings.tls.manager_count;
        }
    }
    return o->managed;
}

void on_demand_stop(struct on_demand *o)
{
    if (o && !o->stopped) {
        o->stopped = true;
        timer_fini(&o->refresh);
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
    forget_renewals(o);
    free(o->managed);
    stop_fini(&o->stop);
    pthread_mutex_destroy(&o->lock);
    free(o);
}
