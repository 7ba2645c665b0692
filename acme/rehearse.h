/* A whole order at a CA's test directory, of which nothing is kept: so that a set-up that does not
 * work costs nothing of the limits of the CA that matters. */
#ifndef ACME_REHEARSE_H
#define ACME_REHEARSE_H

#include "acme/attempt.h"

/* At the test directory of t's issuer (which has one: issuer_test_url). True: a certificate came.
 * False: f says why; FAILURE_ORDER and FAILURE_SLOW say something of the name, the rest only of the
 * test CA. */
NODISCARD bool rehearse(const struct attempt *t, struct failure *f);

#endif
