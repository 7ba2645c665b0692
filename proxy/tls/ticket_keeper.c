/* Ticket keys in the store. See ticket_keeper.h. */
#include "proxy/tls/ticket_keeper.h"

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/tls/tickets.h"
#include "store/names.h"

#define LOOK_MS ((int64_t)60 * 1000)
#define LOCK_WAIT_MS 5000

/* STORE_MISSING also after what is damaged was set aside. */
static enum store_result read_keys(struct store *s, struct ticket_keys *keys, struct err *err)
{
    struct dstr text;
    dstr_init(&text, TICKET_KEYS_TEXT_MAX);
    keys->count = 0;
    enum store_result r = store_get(s, STORE_TICKET_KEYS, &text, err);
    bool damaged = r == STORE_UNUSABLE ||
                   (r == STORE_OK && !ticket_keys_parse(dstr_slice(&text), keys));
    if (text.p) {
        explicit_bzero(text.p, text.cap);
    }
    dstr_fini(&text);
    if (damaged) {
        r = store_set_aside(s, STORE_TICKET_KEYS, err) == STORE_FAILED ? STORE_FAILED
                                                                       : STORE_MISSING;
    }
    return r;
}

static bool write_keys(struct store *s, const struct ticket_keys *keys, struct err *err)
{
    struct dstr text;
    dstr_init(&text, TICKET_KEYS_TEXT_MAX);
    /* All at once, so that no outgrown copy stays behind in freed memory. */
    bool ok = dstr_reserve(&text, TICKET_KEYS_TEXT_MAX / 2) != NULL;
    ticket_keys_write(keys, &text);
    ok = (ok && !text.failed) || err_set(err, "out of memory for the ticket keys");
    ok = ok && store_put(s, STORE_TICKET_KEYS, dstr_slice(&text), err) == STORE_OK;
    if (text.p) {
        explicit_bzero(text.p, text.cap);
    }
    dstr_fini(&text);
    return ok;
}

static bool renew(struct store *s, int64_t now_ms, struct ticket_keys *keys, struct err *err)
{
    struct store_lock *lock = store_lock(s, S("ticket_keys"), LOCK_WAIT_MS, NULL, NULL, err);
    if (!lock) {
        return err->text[0] ? false : err_set(err, "another process holds the lock ticket_keys");
    }
    /* Another instance may have been quicker. */
    bool ok = read_keys(s, keys, err) != STORE_FAILED;
    if (ok && ticket_keys_due(keys, now_ms)) {
        ok = ticket_keys_renew(keys, now_ms) || err_set(err, "no randomness for a ticket key");
        ok = ok && write_keys(s, keys, err);
    }
    store_unlock(lock);
    return ok;
}

bool ticket_keeper_look(struct store *s, int64_t now_ms, struct ticket_keys *keys, struct err *err)
{
    enum store_result r = read_keys(s, keys, err);
    bool ok = r != STORE_FAILED && (!ticket_keys_due(keys, now_ms) || renew(s, now_ms, keys, err));
    if (!ok) {
        ticket_keys_wipe(keys);
    }
    return ok;
}

static void look(struct store *s)
{
    struct ticket_keys keys = {.count = 0};
    struct err err;
    if (ticket_keeper_look(s, clock_wall_ms(), &keys, &err)) {
        tickets_install(&keys);
    } else {
        log_event(LOG_DEBUG, "tls", "the shared ticket keys cannot be had now",
                  LOG_Z("reason", err.text));
    }
    ticket_keys_wipe(&keys);
}

static void on_job(struct job *j)
{
    look(container_of(j, struct ticket_keeper, job)->store);
}

static void on_done(struct job *j)
{
    struct ticket_keeper *k = container_of(j, struct ticket_keeper, job);
    if (!k->stopped) {
        (void)timer_set(&k->timer, LOOK_MS);
    }
}

static void on_timer(struct timer *t)
{
    struct ticket_keeper *k = container_of(t, struct ticket_keeper, timer);
    if (!job_submit(k->jobs, k->loop, &k->job)) {
        (void)timer_set(&k->timer, LOOK_MS);
    }
}

void ticket_keeper_start(struct ticket_keeper *k, struct loop *l, struct jobs *jobs,
                         struct store *s)
{
    *k = (struct ticket_keeper){.store = s, .jobs = jobs, .loop = l};
    k->job.work = on_job;
    k->job.done = on_done;
    timer_init(&k->timer, l, on_timer);
    look(s);
    (void)timer_set(&k->timer, LOOK_MS);
}

void ticket_keeper_stop(struct ticket_keeper *k)
{
    if (k->store && !k->stopped) {
        k->stopped = true;
        timer_fini(&k->timer);
    }
}
