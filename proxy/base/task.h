/* Deferred work: the rule "nobody is called back inside a call" in code. Posting a task puts it on
 * its thread's run queue; the event loop runs the queue after each batch of events. A task is
 * posted at most once until it has run. Nothing here is thread-safe: one queue, one thread. */
#ifndef BASE_TASK_H
#define BASE_TASK_H

#include "proxy/base/list.h"

struct run_queue {
    struct list tasks;
};

struct task {
    struct list node;
    void (*run)(struct task *self);
};

static inline void run_queue_init(struct run_queue *q)
{
    list_init(&q->tasks);
}

static inline void task_init(struct task *t, void (*run)(struct task *))
{
    list_init(&t->node);
    t->run = run;
}

static inline bool task_posted(const struct task *t)
{
    return !list_empty(&t->node);
}

static inline void task_post(struct run_queue *q, struct task *t)
{
    if (!task_posted(t)) {
        list_push_back(&q->tasks, &t->node);
    }
}

/* Must be called before the memory of a task that may be posted is released. */
static inline void task_cancel(struct task *t)
{
    list_remove(&t->node);
}

/* Runs tasks, those posted meanwhile included, until the queue is empty. */
static inline void run_queue_run(struct run_queue *q)
{
    while (!list_empty(&q->tasks)) {
        struct list *node = q->tasks.next;
        list_remove(node);
        struct task *t = LIST_ENTRY(node, struct task, node);
        t->run(t);
    }
}

#endif
