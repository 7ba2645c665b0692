/* Where the program's own log goes while it serves: the global option log. */
#ifndef CMD_OWN_LOG_H
#define CMD_OWN_LOG_H

#include "proxy/loop/log_writer.h"
#include "proxy/server/config.h"

/* How much is written; as soon as there is a configuration. */
void own_log_level(const struct config *c);
/* All of it, once the writer runs and the configuration is the one that is served. usual: the sink
 * where c names none; borrowed until own_log_end. */
void own_log_apply(const struct config *c, struct log_sink *usual);
/* Back to plain writes to stderr. */
void own_log_end(void);

#endif
