/* Waiting matchers; see match_wait.h. */
#include "proxy/route/match_wait.h"

struct match_answer *match_answer_find(const struct exchange *ex, const void *key)
{
    for (struct match_answer *a = ex->answers; a; a = a->next) {
        if (a->key == key && a->done) {
            return a;
        }
    }
    return NULL;
}

static void deliver(struct job *job)
{
    struct match_answer *a = container_of(job, struct match_answer, job);
    struct exchange *ex = a->ex;
    a->done = true;
    if (!ex->gone && !ex->finished) {
        ex->resume(ex);
    }
    exchange_release(ex);
}

/* The jobs end before this one was begun: the workers have ended already. */
static void drop(struct job *job)
{
    exchange_release(container_of(job, struct match_answer, job)->ex);
}

bool match_answer_ask(struct exchange *ex, const void *key, struct match_answer *answer,
                      void (*work)(struct job *job))
{
    answer->key = key;
    answer->ex = ex;
    answer->done = false;
    answer->job = (struct job){.work = work, .done = deliver, .dropped = drop};
    exchange_hold(ex);
    if (!ex->jobs || !job_submit(ex->jobs, ex->loop, &answer->job)) {
        exchange_release(ex); /* never the last hold here */
        return false;
    }
    answer->next = ex->answers;
    ex->answers = answer;
    return true;
}
