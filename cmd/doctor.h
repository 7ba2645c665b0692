/* The checks that caddis doctor and caddis validate --online have in common. */
#ifndef CMD_DOCTOR_H
#define CMD_DOCTOR_H

#include "proxy/base/err.h"

/* Looks at everything a certificate depends on; a line on stdout for each finding. config, address:
 * as the options of that name, or NULL. port: of HTTP-01, 0: 80. staging: with whole orders at the
 * test CAs. True: no finding is a problem. */
NODISCARD bool doctor_look(const char *command, const char *config, const char *address,
                           unsigned port, bool staging);

#endif
