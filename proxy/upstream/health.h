/* Whether an origin is fit to be used: passive checks (what requests met with lately) and active
 * ones (requests of our own). The verdicts are atomics in the origin, read by every worker. */
#ifndef UPSTREAM_HEALTH_H
#define UPSTREAM_HEALTH_H

#include <stdatomic.h>

#include "proxy/http/message.h"
#include "proxy/http/status_set.h"

struct origin;
struct upstream;

#define MAX_FAILS_MAX 1000u

/* Passive checks, as configured. All zero: none. */
struct health_policy {
    int64_t fail_duration_ms; /* how long a failure counts; 0: failures are not counted */
    unsigned max_fails;       /* so many of them: the origin is left alone */
    struct status_set unhealthy_status; /* answers that count as failures */
    int64_t unhealthy_latency_ms;       /* so do heads that took this long; 0: none */
    unsigned request_count_max; /* so many requests under way: no more; 0: no limit */
};

/* The state, inside struct origin. */
struct health {
    struct health_policy policy;
    _Atomic int64_t *fails; /* owned: the last max_fails failures' times in ms; a ring */
    _Atomic unsigned fail_count;
    _Atomic bool down; /* the active checks say so */
};

void health_init(struct health *h, const struct health_policy *policy);
void health_fini(struct health *h);
/* Fit for a request at now_ms (monotonic)? */
bool health_usable(const struct health *h, unsigned active, int64_t now_ms);
/* How many of the failures that are kept (max_fails) count at now_ms. */
unsigned health_failures(const struct health *h, int64_t now_ms);
void health_count_failure(struct health *h, int64_t now_ms);

/* ---- active checks --------------------------------------------------------------------------- */

#define HEALTH_BODY_MAX ((size_t)64 * 1024) /* so much of an answer is looked at */

struct health_check {
    struct slice method;
    struct slice target; /* "/path?query" */
    struct fields fields; /* Host among them if it was given */
    struct slice body;    /* of the request */
    bool follow_redirects; /* on the same origin, at most 10 */
    int64_t interval_ms;
    int64_t timeout_ms;
    unsigned passes; /* so many in a row: up */
    unsigned fails;  /* so many in a row: down */
    struct status_set status; /* empty: 2xx */
    bool (*body_fits)(const void *ctx, struct slice body); /* or NULL */
    const void *ctx;
};

struct health_checker; /* checks one origin; belongs to one worker's loop while it is started */

/* config and what it points to must outlive it. asked: where the requests go (watched, or another
 * port or address of it). References to both are taken. Never NULL (cold). */
struct health_checker *health_checker_new(const struct health_check *config, struct origin *watched,
                                          struct origin *asked);
/* The first check begins at once. */
void health_checker_start(struct health_checker *c, struct upstream *u);
/* From the same loop: nothing of it is under way any more. Harmless when it was not started. */
void health_checker_stop(struct health_checker *c);
/* Must be stopped. NULL is allowed. */
void health_checker_free(struct health_checker *c);

#endif
