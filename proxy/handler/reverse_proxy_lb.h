/* Reading of lb_policy; see upstream/balance.h for what the policies do. */
#ifndef HANDLER_REVERSE_PROXY_LB_H
#define HANDLER_REVERSE_PROXY_LB_H

#include "proxy/handler/reverse_proxy_config.h"

/* The default, random. */
void balance_init(struct build *b, struct balance *out);
/* args: the policy's name and what belongs to it; d's block has `fallback` and `max_age`. */
bool balance_read(struct build *b, struct balance *out, const struct cf_directive *d,
                  const struct cf_token *args, size_t count);
/* When the origins are known: counts of weights, cookies. */
void balance_finish(struct build *b, struct reverse_proxy *p);

#endif
