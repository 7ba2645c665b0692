/* What commands do at a CA by themselves, with the storage of a Caddyfile. */
#ifndef CMD_AT_CA_H
#define CMD_AT_CA_H

#include "proxy/base/err.h"
#include "proxy/base/slice.h"

/* A whole order for the name at the test directory of its CA; says on stdout how it goes. config:
 * the Caddyfile, or NULL for the one in the working folder. */
NODISCARD bool at_ca_dry_run(const char *command, const char *config, struct slice name,
                             struct err *err);

#endif
