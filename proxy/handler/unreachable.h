/* Finds directives of a block that can never run, because one that runs before them answers (or, of
 * exclusive blocks, takes) every request that they are for. */
#ifndef HANDLER_UNREACHABLE_H
#define HANDLER_UNREACHABLE_H

#include "proxy/handler/handler.h"

/* The rules of one route in the order they run: a warning for each that is certainly never
 * reached. Says in the route, too, whether it always answers. */
void unreachable_warn(struct cf_diags *diags, struct route *route);

#endif
