/* Proving control of the order's names: RFC 8555 section 7.5. */
#ifndef ACME_AUTHORISE_H
#define ACME_AUTHORISE_H

#include "acme/order.h"

/* Every authorisation of the order that is not valid yet: the answer is presented, the CA told,
 * the outcome awaited. */
NODISCARD bool authorise_order(struct order_run *run, const struct order_message *order,
                               struct failure *f);
/* Before an order is made: takes away what an earlier one left in the DNS; looks whether what the
 * name's owner has to do (dns-persist-01) is done, else FAILURE_OWNER. */
NODISCARD bool authorise_prepare(struct order_run *run, struct failure *f);
/* Is there any way at all to prove this name, as the configuration has it? */
bool authorise_possible(const struct acme_solvers *solvers, struct slice name);
/* After an order that failed: is there another way to prove the name that this attempt may try,
 * with a new order? If not, f says why each of them failed. One attempt makes at most one order
 * for each way, and only the first of several failing attempts tries them all: a CA that allows
 * five failed validations an hour (Let's Encrypt) is never brought to that. */
bool authorise_other_way(struct order_run *run, struct failure *f);

#endif
