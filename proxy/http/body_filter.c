/* Body filters: see body_filter.h. In: steps of a filter. Out: the rows of the end-of-stream table,
 * the same for every filter. */
#include "proxy/http/body_filter.h"

#include "proxy/http/exchange.h"

/* Nothing more is asked of it; out stays, for the codec to read. */
static void retire(struct body_filter *self)
{
    if (self->over) {
        return;
    }
    self->over = true;
    task_cancel(&self->task);
    body_set_consumer(self->in, NULL);
    body_set_producer(&self->out, NULL);
    self->ops->drop(self);
}

static void finish(struct body_filter *self)
{
    struct body *in = self->in;
    if (in->state == BODY_ENDED) {
        body_end(&self->out, &in->trailers);
    } else {
        body_abort(&self->out, in->reason);
    }
    retire(self);
}

static void on_change(struct task *t)
{
    struct body_filter *self = container_of(t, struct body_filter, task);
    if (self->out.state == BODY_STOPPED) {
        body_stop(self->in, self->out.reason);
        retire(self);
        return;
    }
    while (body_room(&self->out) > 0) {
        switch (self->ops->step(self)) {
        case FILTER_MORE:
            break;
        case FILTER_WAIT:
            return;
        case FILTER_LAST:
            must(self->in->state != BODY_OPEN);
            finish(self);
            return;
        case FILTER_FAILED:
            body_stop(self->in, END_INTERNAL);
            body_abort(&self->out, END_INTERNAL);
            retire(self);
            return;
        }
    }
}

void body_filter_install(struct body_filter *self, const struct body_filter_ops *ops,
                         struct exchange *ex, size_t limit_bytes)
{
    must(!ex->response_started && !ex->finished);
    self->ops = ops;
    self->in = ex->out;
    self->over = false;
    self->next = ex->filters;
    task_init(&self->task, on_change);
    body_init(&self->out, ex->queue, limit_bytes);
    body_set_consumer(self->in, &self->task);
    body_set_producer(&self->out, &self->task);
    ex->filters = self;
    ex->out = &self->out;
}

void body_filters_remove(struct exchange *ex)
{
    while (ex->filters) {
        struct body_filter *self = ex->filters;
        ex->filters = self->next;
        ex->out = self->in;
        retire(self);
        body_fini(&self->out);
    }
}
