/* The order in which directives of one block run: Caddy's, changed by the global option `order`.
 *   order <directive> first | last | before <directive> | after <directive> */
#ifndef HANDLER_DIRECTIVE_ORDER_H
#define HANDLER_DIRECTIVE_ORDER_H

#include "proxy/handler/handler.h"

struct directive_order;

/* Caddy's order. In a. */
struct directive_order *directive_order_new(struct arena *a);
/* Carries one `order` line out; a mistake goes to diags. */
void directive_order_change(struct directive_order *o, const struct cf_directive *line,
                            struct cf_diags *diags);
/* Lower runs first. NULL: Caddy's own order. */
unsigned directive_place(const struct directive_order *o, const struct directive *d);

#endif
