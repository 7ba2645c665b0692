/* reverse_proxy's instance, shared by its reading (reverse_proxy_config.c: origins and transport;
 * reverse_proxy_options.c: everything else) and its running (reverse_proxy.c: attempts;
 * reverse_proxy_request.c: the request that goes out). Const once read, but for the counter. */
#ifndef HANDLER_REVERSE_PROXY_CONFIG_H
#define HANDLER_REVERSE_PROXY_CONFIG_H

#include "proxy/handler/fastcgi.h"
#include "proxy/handler/field_rules.h"
#include "proxy/handler/handler.h"
#include "proxy/handler/metrics.h"
#include "proxy/handler/response_match.h"
#include "proxy/handler/reverse_proxy_dynamic.h"
#include "proxy/handler/target.h"
#include "proxy/route/ip_ranges.h"
#include "proxy/upstream/balance.h"
#include "proxy/upstream/health.h"

#define RETRY_MATCHES_MAX 16u

/* When a request is tried again; see reverse_proxy.c. */
struct retry_policy {
    int64_t try_duration_ms; /* 0: off */
    int64_t try_interval_ms;
    unsigned retries;        /* 0: no limit of its own */
    /* Requests that may be sent again after an answer failed: any of these; none: those with GET */
    struct matcher *match[RETRY_MATCHES_MAX];
    unsigned match_count;
};

/* handle_response and replace_status, in the order they are written; the first that fits. */
struct response_rule {
    struct response_rule *next;
    const struct response_matcher *matcher; /* NULL: every response */
    struct template *status;                /* replace_status; else route */
    struct route route;
};

/* How long tunnels live; outlives the configuration, because they do. */
struct tunnel_policy {
    _Atomic unsigned refs;
    _Atomic bool replaced; /* the configuration is not the current one any more */
    int64_t timeout_ms;    /* 0: none */
    bool closes;           /* they end close_delay_ms after their configuration was replaced */
    int64_t close_delay_ms;
};

/* The exchange has become a tunnel: ends it when the policy says so. */
void tunnel_watch(struct exchange *ex, struct tunnel_policy *policy);
void tunnel_policy_unref(struct tunnel_policy *policy);

struct reverse_proxy {
    struct origin *origins[ORIGINS_MAX]; /* counted */
    size_t origin_count;
    struct dynamic_sources sources;
    struct dynamic *dynamic; /* owned; NULL: only those above. They are used where it finds none. */
    const struct named_place *places; /* one for each origin; NULL: none is made from requests */
    struct named *named;              /* owned; of struct origin */
    struct named *named_dynamics;     /* owned; of struct dynamic, instead of `dynamic`; or NULL */
    struct origin *dynamic_like;      /* owned; with it */
    struct balance balance;
    struct retry_policy retry;
    struct field_rules header_up;
    struct field_rules header_down;
    struct ip_ranges trusted; /* peers whose X-Forwarded-* are passed on */
    struct health_check check;
    struct health_checker *checkers[ORIGINS_MAX]; /* owned; one for each origin, or none */
    struct background background;
    struct metrics_origins listed; /* while the configuration runs */
    struct background list_background;
    struct slice method;      /* of the request that goes out; empty: the client's */
    struct target *rewrite;   /* its target; NULL: the client's */
    uint64_t request_buffer_bytes; /* collected before an origin is asked; 0: none */
    uint64_t response_buffer_bytes; /* collected before the client is answered */
    int64_t stream_timeout_ms;
    int64_t stream_close_delay_ms;
    struct tunnel_policy *tunnels; /* counted; NULL: tunnels live as long as they like */
    struct background tunnel_background;
    bool verbose;
    const struct fastcgi *fastcgi; /* transport fastcgi; NULL: http */
    bool asks; /* forward_auth: a question about the request, so never an upgrade */
    struct response_rule *response_rules;
};

extern const struct handler_ops reverse_proxy_ops;

/* Inside handle_response: the origin's answer goes to the client, with this status if it is not 0.
 */
void reverse_proxy_copy(struct exchange *ex, int status);

/* Another status for the response that is there; one that has no body has none then. */
void reverse_proxy_set_status(struct exchange *ex, int status);

/* ---- reading --------------------------------------------------------------------------------- */


/* While a block is read. */
struct proxy_reading {
    struct build *b;
    struct reverse_proxy *p;
    struct health_policy passive;
    const struct cf_token *passive_at; /* an option that needs fail_duration, or NULL */
    const struct cf_token *active_at;  /* any option of active checks, or NULL */
    bool active;                       /* health_uri or health_port was given */
    uint16_t health_port;
    struct slice health_upstream;
    const struct cf_token *retry_match_at;
    bool try_interval_set;
    bool close_delay;
    struct response_scope responses;
    struct response_rule **rules_tail;
};

void reverse_proxy_reading_init(struct proxy_reading *r, struct build *b, struct reverse_proxy *p);
/* Reads the response matchers of a block; before its options. */
void reverse_proxy_define_matchers(struct proxy_reading *r, const struct cf_directive *first);
/* Reads an option that is neither an origin nor the transport; false: there is none of that name
 * (did-you-mean is the caller's; names from reverse_proxy_option_names). */
bool reverse_proxy_read_option(struct proxy_reading *r, const struct cf_directive *d);
size_t reverse_proxy_option_names(struct slice *out, size_t max);
/* When all options and origins are known: what depends on several of them. */
void reverse_proxy_reading_end(struct proxy_reading *r, const struct cf_directive *d);

#endif
