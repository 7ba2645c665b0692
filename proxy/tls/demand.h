/* Certificates that are obtained while a handshake waits, for names that no configuration lists.
 *
 * The first handshake for a name has it asked for (may this name have a certificate?) and then
 * obtained; all handshakes for it wait for the one outcome. A refusal is remembered for
 * DEMAND_REFUSED_MS, a failure for DEMAND_FAILED_MS. Limits: names under way, handshakes that wait,
 * and names that one client address (an IPv6 /64) may bring up in a minute. Thread-safe; what is
 * given to a handshake belongs to its loop's thread. */
#ifndef TLS_DEMAND_H
#define TLS_DEMAND_H

#include "proxy/loop/jobs.h"
#include "proxy/net/addr.h"

#define DEMAND_NAMES_MAX 4096
#define DEMAND_WAITERS_MAX 2048
#define DEMAND_CLIENT_NAMES_MAX 10 /* in DEMAND_CLIENT_MS */
#define DEMAND_CLIENT_MS ((int64_t)60 * 1000)
#define DEMAND_REFUSED_MS ((int64_t)60 * 1000)
#define DEMAND_FAILED_MS ((int64_t)30 * 1000)
/* How long a handshake waits. */
#define DEMAND_WAIT_MS ((int64_t)120 * 1000)

enum demand_answer { DEMAND_YES, DEMAND_NO, DEMAND_UNASKED /* nobody could be asked */ };

struct demand_ops {
    /* May name have a certificate? On a job's thread, may block. The reason of NO and UNASKED goes
     * to err. */
    enum demand_answer (*ask)(void *ctx, struct slice name, struct err *err);
    /* Get it one (on a job's thread): demand_done follows, from whatever thread. */
    void (*obtain)(void *ctx, struct slice name);
    /* Would another question only wait behind those that nobody answers? Then new names are refused
     * (and not remembered). Any thread, must not block. May be NULL. */
    bool (*is_stuck)(void *ctx);
    void *ctx;
};

struct demand;
struct demand_waiter; /* one handshake's place */

/* jobs is borrowed; it must end before the demand and before the loops. */
struct demand *demand_new(const struct demand_ops *ops, struct jobs *jobs);
/* After all handshakes have ended. NULL is allowed. */
void demand_free(struct demand *d);

enum demand_state {
    DEMAND_WAIT,    /* *waiter is the caller's now; wake is posted once there is an outcome */
    DEMAND_REFUSED, /* refused, failed, or too many are under way */
};
/* name: lower-case. wake is a task of l's thread. */
enum demand_state demand_wait(struct demand *d, struct slice name, const struct addr *client,
                              struct loop *l, struct task *wake, struct demand_waiter **waiter);
/* The handshake goes on or away: wake is not posted any more. NULL is allowed. */
void demand_forget(struct demand_waiter *w);
/* name has its certificate now (ok), or an attempt to get it one has failed. Names nobody waits for
 * are ignored. Any thread. */
void demand_done(struct demand *d, struct slice name, bool ok);

#endif
