/* dns-persist-01 (draft-ietf-acme-dns-persist): one TXT record, put once by the name's owner, which
 * says which account may have certificates for it. */
#ifndef ACME_CHALLENGE_PERSIST_H
#define ACME_CHALLENGE_PERSIST_H

#include "acme/challenge_type.h"

/* Is the name to be proven in this way, as the configuration has it? */
bool challenge_persist_used(const struct acme_solvers *solvers, struct slice name);
/* Is the record there that lets c->account have a certificate for c->name? issuer: the CA's domain
 * (its directory's caaIdentities). False: err says which record to put, and what is there now. */
NODISCARD bool challenge_persist_ready(const struct challenge_context *c, struct slice issuer,
                                       struct err *err);
/* Does the text of a record at _validation-persist.NAME say so? */
bool challenge_persist_fits(struct slice text, struct slice issuer, struct slice account,
                            bool wildcard);

#endif
