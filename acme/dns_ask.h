/* Questions to name servers: acme's door to c-ares. Blocks, minds the struct stop. */
#ifndef ACME_DNS_ASK_H
#define ACME_DNS_ASK_H

#include "acme/dns_parse.h"
#include "acme/stop.h"
#include "proxy/base/err.h"

/* Asks one question of the servers ("IP[:PORT],...", empty: the system's), each in turn until one
 * answers; over UDP, and TCP where that is too small. True: an answer is in out, whatever its
 * rcode, and *m is read from it. recursion: for resolvers; not for a zone's own servers. */
NODISCARD bool dns_ask(struct slice servers, struct slice name, unsigned type, bool recursion,
                       struct stop *stop, struct dstr *out, struct dns_message *m,
                       struct err *err);
/* Is it a list of servers that dns_ask takes? */
bool dns_ask_servers_valid(struct slice servers);

#endif
