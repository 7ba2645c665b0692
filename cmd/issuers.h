/* Who is asked to sign a name: the configuration's words (tls and global options) made into acme's
 * issuers, with Caddy's defaults. */
#ifndef CMD_ISSUERS_H
#define CMD_ISSUERS_H

#include "acme/acme.h"
#include "proxy/server/config.h"

/* Fills in the issuers and the kind of key for m in a's memory; strings are borrowed from the
 * configuration. False after an error in diags. */
NODISCARD bool issuers_for(struct arena *a, const struct managed_name *m, const struct config *c,
                           struct cf_diags *diags, struct acme_name *out);
/* Names of one class get the same issuers from the same words. */
enum issuers_class { ISSUERS_LOCAL_NAME, ISSUERS_ADDRESS, ISSUERS_PUBLIC_NAME };
enum issuers_class issuers_class(struct slice name);

#endif
