/* Certificates on demand, wired up: who permits a name (the Caddyfile's allow list, or whom `ask`
 * names), and which names acme looks after because a handshake asked for them.
 *
 * Asking is done on threads of its own; the list of names belongs to the control thread. */
#ifndef CMD_ON_DEMAND_H
#define CMD_ON_DEMAND_H

#include "acme/acme.h"
#include "acme/stop.h"
#include "proxy/server/config.h"
#include "proxy/tls/demand.h"

/* May name (lower-case) have a certificate by c's rules: is it listed, on the list of allow, or
 * does the one who is asked say so? Blocks, at most ten seconds or until stop. err: who said
 * what. */
enum demand_answer on_demand_permission(const struct config *c, struct slice name,
                                        struct stop *stop, struct err *err);

/* Names that are looked after at a time; past that, new ones are refused. */
#define ON_DEMAND_NAMES_MAX 20000

struct on_demand;

/* changed(ctx) is called on the loop's thread when the list has grown. certs gets its demand. */
struct on_demand *on_demand_new(struct loop *control, struct certs *certs,
                                void (*changed)(void *ctx), void *ctx, struct err *err);
/* From now on c's rules hold. Names it does not serve on demand any more are forgotten. */
void on_demand_configure(struct on_demand *o, struct config *c);
/* The names, as c wants them managed; the array lives until the next call. */
const struct managed_name *on_demand_names(struct on_demand *o, const struct config *c,
                                           size_t *count);
/* May a name whose certificate was obtained on demand be renewed? The answer comes from whoever is
 * asked for permission, in the background: LATER until it is there. After a no the name is
 * forgotten: its certificate is not served any more, and the next handshake asks anew. When nobody
 * can be asked the last yes holds. Any thread. */
enum acme_permission on_demand_may_renew(struct on_demand *o, struct slice name);
/* Ends the threads (whoever is being asked is not waited for). Before the loops are freed. */
void on_demand_stop(struct on_demand *o);
/* After all handshakes have ended. Both: NULL is allowed. */
void on_demand_free(struct on_demand *o);

#endif
