/* reverse_proxy's instance, shared by its reading (reverse_proxy_config.c) and its running
 * (reverse_proxy.c). */
#ifndef HANDLER_REVERSE_PROXY_CONFIG_H
#define HANDLER_REVERSE_PROXY_CONFIG_H

#include "proxy/handler/handler.h"
#include "proxy/upstream/origin.h"

#define ORIGINS_MAX 64

enum lb_policy { POLICY_RANDOM, POLICY_ROUND_ROBIN, POLICY_FIRST, POLICY_LEAST_CONN };

struct reverse_proxy_counters {
    _Atomic unsigned next; /* round_robin; shared by the workers */
};

struct reverse_proxy {
    struct origin *origins[ORIGINS_MAX]; /* counted */
    size_t origin_count;
    enum lb_policy policy;
    struct reverse_proxy_counters *counters;
};

extern const struct handler_ops reverse_proxy_ops;

#endif
