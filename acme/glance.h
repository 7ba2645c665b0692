/* A look at the certificates in the store without cryptography: for the start with thousands of
 * names, each of which would take milliseconds to check. What is found is served at once; the ACME
 * thread checks the same pairs properly afterwards. */
#ifndef ACME_GLANCE_H
#define ACME_GLANCE_H

#include "store/pair.h"

/* The pair to serve among those that several CAs signed, as stored_best has it: one whose key is
 * its own, that has the name and has not expired. False: there is none, or what is there takes a
 * closer look. out is initialised by the caller. */
NODISCARD bool glance(struct store *s, const struct slice *cas, size_t ca_count, struct slice name,
                      int64_t now_ms, struct store_pair *out);

#endif
