/* Counting requests for Prometheus, with Caddy's names: each worker counts for itself, whoever asks
 * sums up. */
#ifndef HANDLER_METRICS_H
#define HANDLER_METRICS_H

#include "proxy/base/dstr.h"
#include "proxy/http/exchange.h"

/* A request has begun, on this thread; ends in metrics_end. */
void metrics_begin(void);
/* failed: a handler raised an error. now_us: monotonic. */
void metrics_end(const struct exchange *ex, bool failed, int64_t now_us);
/* The page (text format 0.0.4). */
void metrics_print(struct dstr *out);

#endif
