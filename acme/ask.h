/* Asking somebody whether a name may have a certificate (Caddy's `ask`). */
#ifndef ACME_ASK_H
#define ACME_ASK_H

#include "acme/stop.h"
#include "proxy/base/err.h"

enum ask_result { ASK_YES, ASK_NO, ASK_FAILED };

/* GET url with the query domain=NAME; any 2xx is a yes, a 4xx a no (except 408 and 429). What
 * answers otherwise is broken, not of another opinion: FAILED. Waits for at most ten seconds, or
 * until stop; follows no redirects. The reason of NO and FAILED goes to err. name is a
 * host name in lower case. */
enum ask_result acme_ask(struct slice url, struct slice name, struct stop *stop, struct err *err);

#endif
