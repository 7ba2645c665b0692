/* TLS policies of sites: made once for all sites that say the same, owned by the configuration. */
#ifndef SERVER_POLICIES_H
#define SERVER_POLICIES_H

#include "proxy/server/config.h"

struct policy_list; /* while a configuration is built */

struct policy_list *policy_list_new(struct arena *a);
/* Gives site its policy, if its tls directive says anything about one. Errors go to diags. */
void policy_list_apply(struct policy_list *l, struct config *c, struct site *site,
                       struct cf_diags *diags);
/* Once all sites have theirs: on which ports are clients asked for certificates? */
void policies_note_asking(const struct config *c);

#endif
