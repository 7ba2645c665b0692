/* From what the configuration says about challenges to acme's solvers. */
#ifndef CMD_SOLVERS_H
#define CMD_SOLVERS_H

#include "acme/acme.h"
#include "proxy/server/config.h"

/* The ways in which an issuer of a site may have names proven: what its own lines say, then the
 * site's (may be the same), then the global options. Strings live in a, the document and c. Errors
 * go to diags, at the words that are wrong; false after one. */
NODISCARD bool solvers_for(struct arena *a, const struct challenge_settings *own,
                           const struct challenge_settings *site, const struct config *c,
                           struct cf_diags *diags, struct acme_solvers *out);

#endif
