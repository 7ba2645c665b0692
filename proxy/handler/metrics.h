/* Counting requests for Prometheus, with Caddy's names: each worker counts for itself, whoever asks
 * sums up. */
#ifndef HANDLER_METRICS_H
#define HANDLER_METRICS_H

#include "proxy/base/dstr.h"
#include "proxy/base/list.h"
#include "proxy/http/exchange.h"
#include "proxy/upstream/origin.h"

struct metrics_host; /* the counters of a host, of one thread */

/* A request has begun, on this thread; ends in metrics_end. host: what it is counted by, or empty:
 * by nothing. NULL: memory; it is not counted. */
struct metrics_host *metrics_begin(struct slice host);
/* failed: a handler raised an error. responded_us: when the response began, 0: it did not; both
 * monotonic. */
void metrics_end(struct metrics_host *h, const struct exchange *ex, bool failed,
                 int64_t responded_us, int64_t now_us);
/* A configuration was taken or refused. Any thread. */
void metrics_note_config(bool ok);

/* The origins of a reverse_proxy that runs; the caller's, between add and remove. Any thread. */
struct metrics_origins {
    struct list node;
    struct origin *const *origins;
    size_t count;
};

void metrics_origins_add(struct metrics_origins *o);
void metrics_origins_remove(struct metrics_origins *o);

/* The page (text format 0.0.4). */
void metrics_print(struct dstr *out);

#endif
