/* Which of a CA's chains is preferred: `preferred_chains`. */
#ifndef ACME_CHAIN_H
#define ACME_CHAIN_H

#include "acme/acme.h"

#define CHAIN_UNWANTED 1000u

/* How well the chain fits: 0 is the first wish, or that there is none about names; CHAIN_UNWANTED:
 * it meets none. A root is meant by the common name of who signed the last certificate, "any" by
 * that of who signed one of them. */
unsigned chain_rank(struct slice chain_pem, const struct acme_chains *wanted);

#endif
