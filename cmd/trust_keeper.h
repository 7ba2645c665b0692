/* Keeps what policies trust up to date where it comes from the store or from URLs (trust_pool
 * storage, http, pki_root, ...): fetched in the background once a configuration runs, again after a
 * second (then more rarely) while something is missing, and every minute. What cannot be had lets
 * nobody in; what was had once is believed until the place says otherwise. */
#ifndef CMD_TRUST_KEEPER_H
#define CMD_TRUST_KEEPER_H

#include "proxy/loop/jobs.h"
#include "proxy/server/config.h"
#include "store/store.h"

struct trust_keeper;

/* All on the loop's thread. jobs and store are borrowed. */
struct trust_keeper *trust_keeper_new(struct loop *l, struct jobs *jobs, struct store *s);
/* c's policies get at once what is known already, the rest is fetched. */
void trust_keeper_configure(struct trust_keeper *k, struct config *c);
/* Before the jobs are freed: nothing is waited for any more. Both: NULL is allowed. */
void trust_keeper_stop(struct trust_keeper *k);
/* After jobs_free. */
void trust_keeper_free(struct trust_keeper *k);

#endif
