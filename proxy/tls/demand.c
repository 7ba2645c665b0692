/* Names under way and who waits for them. See demand.h. In: names from handshakes, outcomes. Out:
 * tasks posted on the loops of those who wait. A waiter is freed by its handshake, or, when its
 * message is on the way, by the message. Handshakes call this on their loops: what finds no memory
 * is refused. */
#include "proxy/tls/demand.h"

#include <pthread.h>
#include <stdlib.h>

#include "proxy/base/list.h"
#include "proxy/base/log.h"
#include "proxy/base/map.h"
#include "proxy/base/mem.h"

#define CLIENTS_MAX 4096
#define NAME_MAX_BYTES ((size_t)255)
/* An order takes at most this long; then the name may be asked for again. */
#define OBTAIN_MAX_MS ((int64_t)180 * 1000)

/* A question that has waited longer for its turn is not asked any more: those behind it are not to
 * wait for whom nobody answers. */
#define QUEUED_MAX_MS ((int64_t)5 * 1000)

enum phase { ASKING, OBTAINING, ENDED };

struct name {
    struct list node; /* in demand->names, the oldest first */
    struct slice text; /* owned */
    enum phase phase;
    int64_t until_ms; /* ENDED: how long it is remembered; OBTAINING: how long it is believed */
    struct list waiters;
};

struct client {
    int64_t since_ms;
    unsigned names;
    size_t n;
    char key[16];
};

struct demand_waiter {
    struct message message; /* posts wake on the loop's thread */
    struct list node;       /* in name->waiters until the message is sent */
    struct demand *demand;
    struct loop *loop;
    struct task *wake;
    bool sent;      /* under the lock */
    bool delivered; /* the loop's thread */
    bool gone;      /* the same: the handshake has ended */
};

struct demand {
    pthread_mutex_t lock;
    struct demand_ops ops;
    struct jobs *jobs;
    struct map by_name;
    struct list names;
    struct map clients; /* by address; forgotten all together when there are too many */
    size_t waiting;
};

struct demand *demand_new(const struct demand_ops *ops, struct jobs *jobs)
{
    struct demand *d = mem_zalloc(sizeof(*d));
    pthread_mutex_init(&d->lock, NULL);
    d->ops = *ops;
    d->jobs = jobs;
    map_init(&d->by_name);
    map_init(&d->clients);
    list_init(&d->names);
    return d;
}

static void drop_name(struct demand *d, struct name *n)
{
    (void)map_del(&d->by_name, n->text);
    list_remove(&n->node);
    free((void *)(uintptr_t)n->text.p);
    free(n);
}

static void drop_clients(struct demand *d)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&d->clients, &at));) {
        free(e->value);
    }
    map_fini(&d->clients);
    map_init(&d->clients);
}

void demand_free(struct demand *d)
{
    if (!d) {
        return;
    }
    LIST_EACH_SAFE(node, &d->names) {
        drop_name(d, LIST_ENTRY(node, struct name, node));
    }
    drop_clients(d);
    map_fini(&d->clients);
    map_fini(&d->by_name);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* ---- outcomes; under the lock ---------------------------------------------------------------- */

static void deliver(struct message *m)
{
    struct demand_waiter *w = container_of(m, struct demand_waiter, message);
    w->delivered = true;
    if (w->gone) {
        free(w);
    } else {
        loop_post(w->loop, w->wake);
    }
}

static void wake_all(struct demand *d, struct name *n)
{
    LIST_EACH_SAFE(node, &n->waiters) {
        struct demand_waiter *w = LIST_ENTRY(node, struct demand_waiter, node);
        list_remove(&w->node);
        w->sent = true;
        d->waiting--;
        loop_send(w->loop, &w->message);
    }
}

static void end(struct demand *d, struct name *n, int64_t remember_ms)
{
    n->phase = ENDED;
    n->until_ms = clock_mono_ms() + remember_ms;
    wake_all(d, n);
}

void demand_done(struct demand *d, struct slice name, bool ok)
{
    pthread_mutex_lock(&d->lock);
    struct name *n = map_get(&d->by_name, name);
    if (n && ok) {
        wake_all(d, n);
        drop_name(d, n);
    } else if (n && n->phase == OBTAINING) {
        end(d, n, DEMAND_FAILED_MS);
    }
    pthread_mutex_unlock(&d->lock);
}

/* ---- asking ---------------------------------------------------------------------------------- */

struct asking {
    struct job job;
    struct demand *demand;
    int64_t since_ms;
    size_t n;
    char name[NAME_MAX_BYTES];
};

static void ask(struct job *j)
{
    struct asking *a = container_of(j, struct asking, job);
    struct demand *d = a->demand;
    struct slice text = slice_of(a->name, a->n);
    struct err err = {""};
    enum demand_answer answer = DEMAND_UNASKED;
    if (clock_mono_ms() - a->since_ms > QUEUED_MAX_MS) {
        err_set(&err, "the questions before it were not answered in time");
    } else {
        answer = d->ops.ask(d->ops.ctx, text, &err);
    }
    pthread_mutex_lock(&d->lock);
    struct name *n = map_get(&d->by_name, text);
    if (n && answer == DEMAND_YES) {
        n->phase = OBTAINING;
        n->until_ms = clock_mono_ms() + OBTAIN_MAX_MS;
    } else if (n) {
        end(d, n, answer == DEMAND_NO ? DEMAND_REFUSED_MS : DEMAND_FAILED_MS);
    }
    pthread_mutex_unlock(&d->lock);
    if (answer == DEMAND_YES) {
        d->ops.obtain(d->ops.ctx, text);
    } else {
        log_event(answer == DEMAND_NO ? LOG_INFO : LOG_ERROR, "tls",
                  answer == DEMAND_NO ? "no certificate on demand: not permitted"
                                      : "no certificate on demand: permission could not be asked",
                  LOG_S("name", text), LOG_Z("reason", err.text));
    }
    free(a);
}

static void never_asked(struct job *j)
{
    free(container_of(j, struct asking, job));
}

static bool begin_asking(struct demand *d, struct slice name)
{
    struct asking *a = calloc(1, sizeof(*a));
    if (!a) {
        return false;
    }
    a->job = (struct job){.work = ask, .dropped = never_asked};
    a->demand = d;
    a->since_ms = clock_mono_ms();
    a->n = name.n;
    memcpy(a->name, name.p, name.n);
    if (!job_submit(d->jobs, NULL, &a->job)) {
        free(a);
        return false;
    }
    return true;
}

/* ---- handshakes ------------------------------------------------------------------------------ */

/* Under the lock: may this address bring up another name? Not when it cannot be counted. */
static bool count_client(struct demand *d, const struct addr *from, int64_t now_ms)
{
    struct client key = {.n = 0};
    if (from->u.sa.sa_family == AF_INET) {
        key.n = 4;
        memcpy(key.key, &from->u.in.sin_addr, 4);
    } else if (from->u.sa.sa_family == AF_INET6) {
        key.n = 8; /* a /64 is one customer's */
        memcpy(key.key, &from->u.in6.sin6_addr, 8);
    }
    struct client *c = map_get(&d->clients, slice_of(key.key, key.n));
    if (!c) {
        if (d->clients.count >= CLIENTS_MAX) {
            drop_clients(d);
        }
        c = map_reserve(&d->clients) ? malloc(sizeof(*c)) : NULL;
        if (!c) {
            return false;
        }
        *c = key;
        c->since_ms = now_ms;
        (void)map_put(&d->clients, slice_of(c->key, c->n), c);
    }
    if (now_ms - c->since_ms >= DEMAND_CLIENT_MS) {
        c->since_ms = now_ms;
        c->names = 0;
    }
    return c->names++ < DEMAND_CLIENT_NAMES_MAX;
}

/* Under the lock: room for one more. */
static bool make_room(struct demand *d)
{
    if (d->by_name.count < DEMAND_NAMES_MAX) {
        return true;
    }
    LIST_EACH(node, &d->names) {
        struct name *n = LIST_ENTRY(node, struct name, node);
        if (n->phase == ENDED) {
            drop_name(d, n);
            return true;
        }
    }
    return false;
}

/* Under the lock: no one waits for it yet; NULL: out of memory. */
static struct name *add_name(struct demand *d, struct slice text)
{
    struct name *n = map_reserve(&d->by_name) ? calloc(1, sizeof(*n)) : NULL;
    char *copy = n ? malloc(text.n) : NULL;
    if (!copy) {
        free(n);
        return NULL;
    }
    memcpy(copy, text.p, text.n);
    n->text = slice_of(copy, text.n);
    list_init(&n->waiters);
    list_push_back(&d->names, &n->node);
    (void)map_put(&d->by_name, n->text, n);
    return n;
}

/* Under the lock: the name, asked for if it is new; NULL: refused. */
static struct name *name_of(struct demand *d, struct slice text, const struct addr *client)
{
    int64_t now_ms = clock_mono_ms();
    struct name *n = map_get(&d->by_name, text);
    bool over = n && n->phase != ASKING && now_ms >= n->until_ms;
    if (over) {
        wake_all(d, n);
        drop_name(d, n);
    } else if (n) {
        return n->phase == ENDED ? NULL : n;
    }
    if (text.n == 0 || text.n > NAME_MAX_BYTES ||
        (d->ops.is_stuck && d->ops.is_stuck(d->ops.ctx)) || !make_room(d) ||
        !count_client(d, client, now_ms)) {
        return NULL;
    }
    n = add_name(d, text);
    if (n && !begin_asking(d, text)) {
        drop_name(d, n);
        return NULL;
    }
    return n;
}

enum demand_state demand_wait(struct demand *d, struct slice name, const struct addr *client,
                              struct loop *l, struct task *wake, struct demand_waiter **waiter)
{
    struct demand_waiter *w = calloc(1, sizeof(*w));
    if (!w) {
        return DEMAND_REFUSED;
    }
    w->message.deliver = deliver;
    w->demand = d;
    w->loop = l;
    w->wake = wake;
    pthread_mutex_lock(&d->lock);
    struct name *n = d->waiting < DEMAND_WAITERS_MAX ? name_of(d, name, client) : NULL;
    if (n) {
        list_push_back(&n->waiters, &w->node);
        d->waiting++;
    }
    pthread_mutex_unlock(&d->lock);
    if (!n) {
        free(w);
        return DEMAND_REFUSED;
    }
    *waiter = w;
    return DEMAND_WAIT;
}

void demand_forget(struct demand_waiter *w)
{
    if (!w) {
        return;
    }
    pthread_mutex_lock(&w->demand->lock);
    if (!w->sent) {
        list_remove(&w->node);
        w->demand->waiting--;
    }
    bool on_the_way = w->sent && !w->delivered;
    pthread_mutex_unlock(&w->demand->lock);
    if (on_the_way) {
        w->gone = true;
    } else {
        free(w);
    }
}
