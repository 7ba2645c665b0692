/* The checks that caddis doctor and caddis validate --online have in common. */
#ifndef CMD_DOCTOR_H
#define CMD_DOCTOR_H

#include "proxy/base/err.h"

struct doctor_request {
    const char *config, *address; /* as the options of that name, or NULL */
    const char *name;             /* only this one, which may be one on demand; NULL: all */
    unsigned port;                /* of HTTP-01; 0: 80 */
    bool staging;                 /* with whole orders at the test CAs */
    bool json;                    /* an array of objects instead of lines */
};

/* Looks at everything a certificate depends on; the findings go to stdout. True: none is a
 * problem. */
NODISCARD bool doctor_look(const char *command, const struct doctor_request *q);

#endif
