/* Ticket keys shared through the store, so that a session resumes on every machine that has the
 * same store, and after a restart. One instance makes the next key, under a lock, ten minutes
 * before it seals; each looks once a minute. While the store is away the keys there are go on. */
#ifndef TLS_TICKET_KEEPER_H
#define TLS_TICKET_KEEPER_H

#include "proxy/loop/jobs.h"
#include "proxy/tls/ticket_keys.h"
#include "store/store.h"

struct ticket_keeper {
    struct store *store; /* borrowed */
    struct jobs *jobs;   /* borrowed */
    struct loop *loop;
    struct timer timer;
    struct job job;
    bool stopped;
};

/* Looks into the store at once (blocks), then every minute on a job. */
void ticket_keeper_start(struct ticket_keeper *k, struct loop *l, struct jobs *jobs,
                         struct store *s);
/* Before jobs_free and loop_free; the memory must stay until after both. Harmless when it was never
 * started (zeroed). */
void ticket_keeper_stop(struct ticket_keeper *k);

/* One look: reads what is stored, makes the next key if it is due, keys is what there is then.
 * Blocks. False with err: the store cannot be read or written; keys is then empty. */
NODISCARD bool ticket_keeper_look(struct store *s, int64_t now_ms, struct ticket_keys *keys,
                                  struct err *err);

#endif
