/* A body filter: stands between the producer of ex->res_body and the codec that writes it, and
 * changes the bytes on their way. It is the consumer of one body (`in`) and the producer of another
 * (`out`), as any codec is: it holds no more than they do, and nobody is called back inside a call.
 *
 *   origin, file, page -> res_body -> filter -> out -> codec of the client
 *
 * Codecs read what exchange_out gives, which is res_body while there is no filter. Filters are
 * installed by response hooks, between exchange_respond and the start of the response; the last
 * one installed is next to the codec. What an end of either body means is not the filter's to say:
 *
 *   in ENDED, all taken    step says LAST -> out ENDED with the trailers of in
 *   in ABORTED or STOPPED  step gets what is queued, then says LAST -> out ABORTED, same reason
 *   out STOPPED            in STOPPED, same reason: the producer learns of it as ever
 *   step says FAILED       in STOPPED, out ABORTED with END_INTERNAL: what came, then the cut */
#ifndef HTTP_BODY_FILTER_H
#define HTTP_BODY_FILTER_H

#include "proxy/http/body.h"

struct exchange;
struct body_filter;

enum filter_result {
    FILTER_MORE,   /* something was done; call again while there is room in out */
    FILTER_WAIT,   /* nothing to do until in or out changes, or somebody posts self->task */
    FILTER_LAST,   /* everything of in (which is not OPEN) has gone to out */
    FILTER_FAILED,
};

struct body_filter_ops {
    /* Takes from self->in and pushes to self->out, which has room: a bounded piece of work, and at
     * most one push. */
    enum filter_result (*step)(struct body_filter *self);
    /* Called once, when nothing more will be asked of it: at its end, or with the exchange. Frees
     * what is not in the exchange's arena; self itself is borrowed until then. */
    void (*drop)(struct body_filter *self);
};

struct body_filter {
    const struct body_filter_ops *ops;
    struct body *in;
    struct body out;
    struct task task; /* consumer of in, producer of out */
    struct body_filter *next; /* the one installed before */
    bool over;
};

/* self (in ex's arena, zeroed but for what is its owner's own) becomes the last filter. limit_bytes
 * as for body_init. Only before the response has started, and not behind a finished exchange. */
void body_filter_install(struct body_filter *self, const struct body_filter_ops *ops,
                         struct exchange *ex, size_t limit_bytes);
/* For the exchange: takes all filters out again, the last one first. */
void body_filters_remove(struct exchange *ex);

#endif
