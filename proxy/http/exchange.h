/* The exchange: one request and its response, the same object for every HTTP version.
 *
 * Three parties hold it: the codec of the client's connection, the chain (server and handlers) and,
 * while there is one, the origin codec. Each lets go once; the last one frees it. Parties never
 * call one another back: downward calls (the ops below) are direct, everything upward is a task.
 *
 * Course of an ordinary proxied request:
 *   codec:   exchange_new, fills req, exchange_begin          -> service->begin, from a task
 *   chain:   handlers; reverse_proxy answers WAIT and starts an origin request, which becomes the
 *            consumer of req_body
 *   origin:  fills res, becomes producer of res_body, exchange_respond -> service->respond, a task
 *   chain:   response hooks in reverse order, then codec->start_response
 *   codec:   becomes consumer of exchange_out (res_body, or what the last of the hooks' filters
 *            made of it), writes; when all is written (or failed):
 *            exchange_finish(reason)                          -> service->end, from a task
 *   all let go -> freed.
 * Early answer: exchange_respond while req_body is still OPEN is legal; the codec decides what
 * happens to the rest of the request (body_stop by the origin, drain or close by the codec).
 * Client gone: the codec aborts req_body, stops res_body, sets ex->gone and posts ex->cancel if
 * someone set it; then exchange_finish. After that the codec makes no more calls on it. */
#ifndef HTTP_EXCHANGE_H
#define HTTP_EXCHANGE_H

#include "proxy/http/body_filter.h"
#include "proxy/http/message.h"

struct exchange;
struct addr;
struct jobs;
struct loop;
struct match_answer;
struct vars;
struct stream_tls;

/* What the client's codec offers for one exchange. Never called after exchange_finish. */
struct exchange_codec {
    /* ex->res is final. Framing is the codec's business: content_length or LENGTH_UNKNOWN; fields
     * without framing and hop-by-hop ones. The codec becomes the consumer of exchange_out. With
     * res.tunnel both bodies become raw byte flows after the head. */
    void (*start_response)(struct exchange *ex);
    /* A 1xx other than 101, sent at once and in order; ignored where the version has none or the
     * response has begun. The head may be released afterwards. */
    void (*send_interim)(struct exchange *ex, const struct response *interim);
    /* Stop now: h1 closes the connection (resets it if the response has begun and cannot be
     * completed, so that the client can tell), h2 resets the stream. exchange_finish follows. */
    void (*reset)(struct exchange *ex, enum end_reason reason);
};

/* What the codec reports to: one per listener and generation. Called from tasks. */
struct http_service {
    /* The request head is complete and valid. */
    void (*begin)(struct exchange *ex);
    /* ex->res is set by someone; run the response hooks and start the response. */
    void (*respond)(struct exchange *ex);
    /* The codec is done with it: log, account, release what is pinned. Exactly once after begin.
     * Here or later the chain gives up its hold (exchange_release). */
    void (*end)(struct exchange *ex);
};

/* Facts about the connection the request came on; outlives its exchanges (counted by codec). */
struct client_info {
    const struct addr *peer;
    const struct addr *local;
    const struct stream_tls *tls; /* NULL: plain */
    const void *listener;         /* server's own, opaque */
};

/* Who produces res_body, where it can be told to stop: drop lets go of the exchange at once. */
struct response_source {
    void (*drop)(struct response_source *self);
};

/* The request as it came, whatever rewrites do to it. */
struct request_original {
    struct slice method_text;
    enum http_method method;
    struct slice target;
    struct slice path;
    struct slice query;
};

#define EXCHANGE_ARENA_MAX ((size_t)1 << 20)

struct exchange {
    unsigned magic;
    unsigned holds; /* parties that have not let go */
    struct loop *loop;
    struct run_queue *queue;
    const struct exchange_codec *codec; /* NULL once the codec let go */
    const struct http_service *service;
    struct client_info client;

    struct request req;
    struct response res;
    struct body_filter *filters; /* the last one first; NULL: none (body_filter.h) */
    struct body *out;            /* what the codec reads: res_body, or the last filter's */
    struct chunk *pinned[4]; /* counted: what req's and res's slices point into */
    unsigned request_pins;   /* how many of them were there at exchange_begin */

    struct task begin_task;   /* -> service->begin */
    struct task respond_task; /* -> service->respond */
    struct task end_task;     /* -> service->end */
    struct response_source *source; /* borrowed; set by the origin codec with its head, and cleared
                                       when it lets go; NULL: res_body has no such producer */
    struct task *ended;       /* borrowed: posted when it has finished, however that came about */
    struct task *cancel;      /* borrowed: posted when the client is gone; NULL: nobody waits */

    bool begin_posted;     /* exchange_begin has been called: the chain has its hold */
    bool begun;            /* service->begin has been called */
    bool responded;        /* exchange_respond has been called: once is enough */
    bool response_started; /* codec->start_response has been called */
    bool finished;         /* exchange_finish has been called */
    bool gone;             /* the client is gone */
    enum end_reason reason; /* END_NONE after a clean end */

    int64_t started_us;      /* monotonic, when the head was complete */
    /* For the codec, on the loop's clock; 0: none. Past the first a body that is still wanted is
     * too slow (408), past the second the response, unless it is a tunnel. */
    int64_t body_deadline_ms;
    int64_t write_deadline_ms;
    uint64_t sent_bytes;     /* body bytes of the response given to the client's stream */
    uint64_t received_bytes; /* body bytes of the request */

    /* For the chain (server and handlers), zeroed by exchange_new. */
    void *chain;             /* handler/chain.h's: position, hooks, pins */
    /* The path as matchers see it, made on demand: slashes merged, kept. Who rewrites req.path
     * empties both (p = NULL). */
    struct slice clean_path[2];
    struct request_original original; /* set by exchange_begin */
    struct vars *vars;                /* route/vars.h's; NULL: none is set */
    struct match_answer *answers;     /* route/match_wait.h's: what a waiting matcher has learnt */
    int match_status; /* a matcher asks for this status instead of an answer ("=404"); or 0 */
    struct jobs *jobs;                /* borrowed; where blocking work goes; NULL: there is none */
    void (*resume)(struct exchange *ex); /* the chain's: goes on where a matcher had to wait */
    struct slice error_detail; /* for logs: what went wrong with the origin, if anything did */
    struct slice origin_text;  /* host:port of the origin used, for logs */
    void *forward;               /* reverse_proxy's own: whose answer handle_response looks at */
    int origin_status;           /* what it answered, where a handler looks before it goes on */
    struct fields origin_fields;
    /* For placeholders; moments as loop_now_ms has them, 0: not yet. */
    int64_t origin_started_ms;  /* the first attempt */
    int64_t origin_attempt_ms;  /* the last one */
    int64_t origin_answered_ms; /* the head of its answer */
    unsigned origin_retries;
    unsigned origin_requests, origin_requests_max; /* of the origin chosen, then; 0: no maximum */
    unsigned origin_fails; /* of it, lately */
    bool origin_failed; /* the attempt failed; only while it is asked whether there is another */
    const struct addr *client_addr; /* the client behind trusted proxies; else client.peer */
    bool peer_trusted;              /* the peer is such a proxy: what it says of its client holds */

    struct arena arena; /* last, with the bodies: what is before is zeroed for each exchange */
    struct body req_body;
    struct body res_body;
};

/* Per-thread free list; NULL: memory. holds is 1 (the codec's). Bodies are OPEN and empty. */
struct exchange *exchange_new(struct loop *l, struct run_queue *q,
                              const struct exchange_codec *codec,
                              const struct http_service *service,
                              const struct client_info *client);
static inline void exchange_hold(struct exchange *ex)
{
    ex->holds++;
}
/* The last release cancels the tasks, finishes bodies, unpins chunks, resets the arena and frees.
 * The caller must not touch ex afterwards. */
void exchange_release(struct exchange *ex);
/* The method that the client used, whatever the chain made of it: what goes back goes by it. */
static inline enum http_method exchange_client_method(const struct exchange *ex)
{
    return ex->begin_posted ? ex->original.method : ex->req.method;
}
/* The body of the response as the client's codec has it: behind all filters. */
static inline struct body *exchange_out(const struct exchange *ex)
{
    return ex->out;
}
/* Keeps a reference to c for the life of ex; false: all places are taken. */
NODISCARD bool exchange_pin(struct exchange *ex, struct chunk *c);
/* Releases the chunks pinned for an abandoned response (a retry, an answer of our own instead of
 * the origin's), empties res and makes res_body OPEN and empty again. ex->source is told to drop
 * it; a producer that is no source must have let go. Before start_response. */
void exchange_clear_response(struct exchange *ex);

/* Codec: the head is there. Posts begin (takes the chain's hold). */
void exchange_begin(struct exchange *ex);
/* Anyone but the codec: res is filled in. Posts respond. No-op after the codec has finished, and
 * from the second call on. */
void exchange_respond(struct exchange *ex);
/* Chain: the response that was given is not sent (it stays in res until it is cleared); another one
 * is to come. Before start_response. */
void exchange_reopen(struct exchange *ex);
/* Chain: the three downward calls, safe at any time. start_response is called at most once, and
 * not (false) after the codec has finished; an interim response only before it. */
bool exchange_start_response(struct exchange *ex);
void exchange_send_interim(struct exchange *ex, const struct response *interim);
void exchange_reset(struct exchange *ex, enum end_reason reason);
/* Codec: no more calls will be made on it; reason END_NONE: answered completely. Posts end and
 * gives up the codec's hold when end has run (so ex stays valid for the chain). Detaches the
 * codec's tasks from both bodies, aborts req_body if it is still OPEN and stops res_body (and what
 * filters made of it) if it is not finished, so that an origin learns of it. Before begin has run,
 * the service never hears of ex at all. */
void exchange_finish(struct exchange *ex, enum end_reason reason);
/* Codec: the client is gone: aborts and stops the bodies, posts cancel, then finishes. */
void exchange_client_gone(struct exchange *ex, enum end_reason reason);

/* Fills res with a small complete response of ours: status, content type, body copied (both may be
 * empty), Content-Length; res_body ended. False: memory. The caller then calls exchange_respond. */
NODISCARD bool exchange_simple(struct exchange *ex, int status, struct slice content_type,
                               struct slice text);
/* exchange_simple with a plain page "502 Bad Gateway\n\n<detail>\n" and Cache-Control: no-store;
 * falls back to codec->reset when memory is out; calls exchange_respond itself. */
void exchange_error_page(struct exchange *ex, int status, struct slice detail);

/* Drains this thread's free list; when a thread ends. */
void exchange_pool_drain(void);

#endif
