/* reverse_proxy's `dynamic a`, `dynamic srv` and `dynamic multi`: origins that are looked up. */
#ifndef HANDLER_REVERSE_PROXY_DYNAMIC_H
#define HANDLER_REVERSE_PROXY_DYNAMIC_H

#include "proxy/handler/handler.h"
#include "proxy/handler/reverse_proxy_named.h"
#include "proxy/upstream/dynamic.h"

struct dynamic_sources {
    struct dynamic_source items[DYNAMIC_SOURCES_MAX];
    struct named_source named[DYNAMIC_SOURCES_MAX]; /* their placeholders */
    bool any_named;
    size_t count;
};

/* Reads one `dynamic` and adds what it names. False after errors. */
bool dynamic_read(struct build *b, const struct cf_directive *d, struct dynamic_sources *out);
/* `resolvers <ip[:port]>...`: as dns.h takes them; empty after an error. */
struct slice resolvers_read(struct build *b, const struct cf_directive *d);

#endif
