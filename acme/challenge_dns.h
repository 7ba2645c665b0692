/* DNS challenges' records that outlive their challenge. */
#ifndef ACME_CHALLENGE_DNS_H
#define ACME_CHALLENGE_DNS_H

#include "acme/acme.h"
#include "acme/stop.h"

/* Takes away what was put for name and is still there (after a crash, or when it did not work the
 * first time). Cheap when there is nothing. */
void challenge_dns_tidy(struct store *s, const struct acme_solvers *solvers, struct stop *stop,
                        struct slice name);
/* Is the name an address, which no DNS challenge proves (RFC 8738 section 7)? */
bool challenge_dns_address(struct slice name);

#endif
