/* Private to proxy/route: matchers that look at something a worker must not wait for. Such a
 * matcher starts a job and answers MATCH_WAIT; when the job is done the chain asks all over again,
 * and then finds the answer here. An answer holds for one step of the chain, which empties
 * ex->answers. */
#ifndef ROUTE_MATCH_WAIT_H
#define ROUTE_MATCH_WAIT_H

#include "proxy/http/exchange.h"
#include "proxy/loop/jobs.h"

struct match_answer {
    struct match_answer *next; /* in ex->answers */
    const void *key;           /* whose it is */
    struct exchange *ex;       /* held while the job runs */
    struct job job;
    bool done;
};

/* The answer of that matcher, or NULL. */
struct match_answer *match_answer_find(const struct exchange *ex, const void *key);
/* Starts the job: work (on another thread; the exchange's arena is not to be touched there). answer
 * is in ex->arena, and part of what work fills in. False: the queue is full, or there is none. */
NODISCARD bool match_answer_ask(struct exchange *ex, const void *key, struct match_answer *answer,
                                void (*work)(struct job *job));

#endif
