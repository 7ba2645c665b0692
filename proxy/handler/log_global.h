/* The global option `log [NAME] { ... }`: logs of everything, of caddis itself and of requests, by
 * the names of loggers. The one called "default" is where all goes that nothing else is said of. */
#ifndef HANDLER_LOG_GLOBAL_H
#define HANDLER_LOG_GLOBAL_H

#include "proxy/handler/access_log.h"

#define GLOBAL_LOGS_MAX 16u

/* Reads them into b->global_logs, the default one first if there is one; they are released with
 * b's releases. level: where one names none. Errors go to b->diags. */
void log_read_globals(struct build *b, const struct cf_directive *const *options, size_t count,
                      enum log_level level);
/* Does the log take what the logger says? As in Caddy: the longest of include's and exclude's
 * names that the logger's begins with decides; with include there must be one. */
bool log_accepts(const struct log_config *c, struct slice logger);
/* Where else the lines of a site's log go: for each global log that takes them one of its own kind
 * under that logger's name. own: the site's log has an output of its own, so the default log does
 * not get them. How many; at most max. */
size_t log_globals_for(struct build *b, struct slice logger, bool own, struct log_config **out,
                       size_t max);
/* Writes an event of the program's own, if the log takes it. Any thread. */
void log_write_event(struct log_config *c, enum log_level level, const char *logger,
                     const char *msg, const struct log_field *fields, size_t count);

#endif
