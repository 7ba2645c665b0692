/* Reading a configuration file into a struct config. */
#ifndef CMD_LOAD_H
#define CMD_LOAD_H

#include "proxy/server/config.h"

/* path "-": standard input. NULL after errors in diags. */
struct config *load_config(const char *path, struct cf_diags *diags);
/* All of them, to standard error. */
void print_diags(const struct cf_diags *diags);

#endif
