/* Filters of `format filter`: what becomes of one field of a log line, named by its path
 * ("request>headers>Cookie"). Const once read. */
#ifndef HANDLER_LOG_FILTER_H
#define HANDLER_LOG_FILTER_H

#include <cjson/cJSON.h>

#include "proxy/handler/handler.h"

struct log_filter;

/* Reads `<path> delete|rename|replace|ip_mask|query|cookie|regexp|hash ...`. NULL: an error. */
struct log_filter *log_filter_read(struct build *b, const struct cf_directive *d);
/* Puts it behind the others. */
void log_filter_append(struct log_filter **list, struct log_filter *f);
/* Changes a line. False: memory, or a regular expression hit its limit; the line must not be
 * written then, because it may say what it should not. */
NODISCARD bool log_filters_apply(const struct log_filter *list, cJSON *line);

#endif
