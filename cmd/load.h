/* Reading a configuration file into a struct config. */
#ifndef CMD_LOAD_H
#define CMD_LOAD_H

#include "proxy/server/config.h"

struct log_sink;

/* path "-": standard input. NULL after errors in diags. */
struct config *load_config(const char *path, struct cf_diags *diags);
/* From now on the path LOAD_GIVEN stands for this text, which must stay. */
#define LOAD_GIVEN "command line"
void load_give(struct slice text);
/* The same for a command: what there is to say goes to standard error, and how many errors. */
struct config *load_for_command(const char *path);
/* All of them, to standard error: by way of the sink, so that a reader that is stuck holds nothing
 * up, or at once (NULL). */
void print_diags(const struct cf_diags *diags, struct log_sink *sink);

#endif
