/* Which content codings a client takes: RFC 9110 section 12.5.3. */
#ifndef HANDLER_ACCEPT_ENCODING_H
#define HANDLER_ACCEPT_ENCODING_H

#include "proxy/http/field.h"

#define ACCEPT_CODINGS_MAX 8u

/* order is filled with the indexes of those of `offered` (at most ACCEPT_CODINGS_MAX, in the
 * server's own order of preference) that the client takes, those it likes best first; returns how
 * many. None without an Accept-Encoding field. */
unsigned accept_encoding(const struct fields *request, const struct slice *offered, unsigned count,
                         unsigned order[ACCEPT_CODINGS_MAX]);

#endif
