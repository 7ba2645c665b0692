/* Opening the store when the server starts, and what is to be said about it then. */
#ifndef CMD_STORE_BEGIN_H
#define CMD_STORE_BEGIN_H

#include "store/kinds.h"

/* Opens it, looks whether it can be written, and whether a Caddy's certificates lie beside an empty
 * one; what is found is logged and keeps nobody from starting. NULL with err on a mistake in the
 * settings. Blocks: a Redis that does not answer costs a second. */
struct store *store_begin(const struct store_settings *settings, struct err *err);

#endif
