/* One request being forwarded: shared by reverse_proxy.c (attempts), reverse_proxy_request.c (what
 * is sent) and reverse_proxy_retry.c (whether it is sent again). Lives in the exchange's arena. */
#ifndef HANDLER_REVERSE_PROXY_FORWARD_H
#define HANDLER_REVERSE_PROXY_FORWARD_H

#include "proxy/handler/reverse_proxy_config.h"
#include "proxy/http/body_buffer.h"
#include "proxy/loop/loop.h"
#include "proxy/upstream/upstream.h"

struct forward;

struct forward_buffer {
    struct body_buffer buffer;
    struct forward *forward;
};

struct forward {
    const struct reverse_proxy *proxy;
    struct exchange *ex;
    struct request out;  /* of the attempt */
    struct fields base;  /* its fields before those that depend on the origin */
    const struct origin *prepared_for; /* what out's fields are made for */
    struct slice upgrade; /* the protocol asked for, or empty */

    struct upstream_request *request; /* NULL: none under way */
    struct task cancel;
    struct timer wait;   /* between attempts */
    bool waiting;        /* and then ex is held */
    struct origin *const *origins; /* of this round: the configuration's, or dynamic's */
    size_t origin_count;
    struct dynamic_request *dynamic; /* holds these; or NULL */
    bool looking_up;     /* and then ex is held */
    struct origin **named; /* counted, or NULL: those made from the request (_named.h) */
    size_t named_count;
    struct dynamic *named_dynamic; /* counted */
    uint64_t tried;      /* bit i: origin i, since the last wait */
    struct origin *origin; /* of the attempt under way; one of origins */
    unsigned retries;
    int64_t started_ms;
    int64_t attempt_ms;  /* when the attempt under way began */
    struct forward_buffer *request_buffer;  /* NULL: not collected yet */
    struct forward_buffer *response_buffer; /* the same */
    struct task finished;    /* ex has, while its response is being collected */
    bool collects_request;   /* and then ex is held */
    bool collects_response;  /* the same */
    int refused; /* by fastcgi_request: a status; or 0 */
    struct slice refused_why;
    struct slice set_cookie; /* of the policy cookie; or empty */
};

/* How much of the request's body is collected before an origin is asked; 0: none. */
size_t forward_collected_bytes(const struct forward *f);
/* Collects a body (body_buffer_start) and holds the exchange for it, until the caller releases it.
 * NULL: memory; nothing has begun. */
NODISCARD struct forward_buffer *forward_collect(struct forward *f, struct body *body,
                                                 size_t max_bytes,
                                                 void (*done)(struct body_buffer *self));
/* The part of the request that is the same for all attempts. */
NODISCARD enum rules_result forward_build(struct forward *f);
/* The rest, for f->origin: Host, header_up; for FastCGI the CGI variables (f->refused: not to be
 * sent). */
NODISCARD enum rules_result forward_prepare(struct forward *f);

/* Do lb_retries and lb_try_duration allow one more round now? */
bool retry_is_left(const struct forward *f);
/* May the request go out again although the origin may have acted upon it? */
bool retry_after_failure(const struct forward *f);
/* Is some lb_retry_match to be asked about the answer that is here, with what placeholders say of
 * it? And does it want another round instead? */
bool retry_looks_at_answers(const struct forward *f);
bool retry_after_answer(const struct forward *f);

#endif
