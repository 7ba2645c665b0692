/* The access log of a site: the `log` directive's settings and the line for one exchange. */
#ifndef HANDLER_ACCESS_LOG_H
#define HANDLER_ACCESS_LOG_H

#include "proxy/base/log.h"
#include "proxy/http/exchange.h"
#include "proxy/loop/log_writer.h"

struct log_config {
    struct log_sink *sink; /* counted */
    enum log_format format;
    struct slice name; /* of the logger, "log0" by default */
};

/* Writes the line of a finished exchange. now_us: monotonic. */
void access_log_write(const struct log_config *config, const struct exchange *ex, int64_t now_us);
/* Frees this thread's buffer; when a thread ends. */
void access_log_drain(void);

#endif
