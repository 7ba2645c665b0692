/* Proving control of the order's names: RFC 8555 section 7.5. */
#ifndef ACME_AUTHORISE_H
#define ACME_AUTHORISE_H

#include "acme/order.h"

/* Every authorisation of the order that is not valid yet: the answer is presented, the CA told,
 * the outcome awaited. */
NODISCARD bool authorise_order(struct order_run *run, const struct order_message *order,
                               struct failure *f);
/* Is there any type of challenge here that could prove this name? */
bool authorise_possible(struct slice name);

#endif
