/* Issuers as data: copied, compared, named. No I/O. */
#ifndef ACME_ISSUER_H
#define ACME_ISSUER_H

#include "acme/acme.h"
#include "proxy/base/arena.h"

/* A copy whose strings live in a (a->failed when it is full). */
struct acme_issuer issuer_copy(struct arena *a, const struct acme_issuer *from);
/* The same in everything that matters to getting a certificate? */
bool issuer_same(const struct acme_issuer *x, const struct acme_issuer *y);
/* Clears its secrets. */
void issuer_wipe(struct acme_issuer *issuer);
/* The folder of its things in the store. */
struct slice issuer_store_name(struct arena *a, const struct acme_issuer *issuer);
/* Where attempts are rehearsed so that no limit is touched: what the configuration says, or the
 * staging directory of a CA that has one; empty when none is known. */
struct slice issuer_test_url(const struct acme_issuer *issuer);

#endif
