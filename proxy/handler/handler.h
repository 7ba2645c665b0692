/* What a directive is. Adding one: a file in this folder with its syntax, its defaults and its
 * behaviour, and a row in directives.c.
 *
 * Preparing (control thread, cold): `parse` reads the directive's block and fills in a handler: an
 * instance that is const from then on and shared by all workers, and its operations. Running
 * (workers, hot): on_request of each handler in order until one answers; then the response hooks of
 * those that were passed; instances never change, what belongs to a request lives in
 * the exchange's arena. */
#ifndef HANDLER_HANDLER_H
#define HANDLER_HANDLER_H

#include "proxy/handler/tls_settings.h"
#include "proxy/http/exchange.h"
#include "proxy/http/status_set.h"
#include "proxy/route/matcher.h"
#include "proxy/route/template.h"

enum handler_result {
    HANDLER_NEXT,  /* go on with the next one */
    HANDLER_DONE,  /* answered (exchange_respond was called) or reset: the chain is over */
    HANDLER_WAIT,  /* will call exchange_respond, chain_error or ex->resume later */
    HANDLER_ENTER, /* run the handlers of chain_enter() first, then go on */
};

struct route;

/* What on_request does, for caddis explain, which runs a route without consequences. */
enum handler_nature {
    HANDLER_PASSES,   /* passes the request on, but may answer instead (a wrong password) */
    HANDLER_PREPARES, /* changes the exchange and nothing else, or enters a route: can be run */
    HANDLER_ANSWERS,  /* nothing behind it is reached */
};

struct handler_ops {
    const char *name;
    enum handler_nature nature;
    enum handler_result (*on_request)(const void *instance, struct exchange *ex);
    /* Before the two below, last passed first: what is to answer in place of the response that is
     * there; NULL: it stays. Not for error pages and tunnels. Or NULL. */
    const struct route *(*on_intercept)(const void *instance, struct exchange *ex);
    /* ex->res is known and not yet sent: fields and status may be changed. First on_response_early
     * of all handlers that were passed, in that order; then on_response, in reverse. Or NULL. */
    void (*on_response_early)(const void *instance, struct exchange *ex);
    void (*on_response)(const void *instance, struct exchange *ex);
    /* Frees what is not in the configuration's arena. Or NULL. */
    void (*release)(void *instance);
    /* The route that a block of directives is. Or NULL. */
    const struct route *(*inner)(const void *instance);
};

struct handler {
    const struct handler_ops *ops;
    void *instance;
    const struct matcher *matcher; /* NULL: every request */
    unsigned group; /* not 0: only the first of this group that matches is run */
    /* Where it was written; NULL for what a directive has made of itself. */
    const struct cf_directive *line;
    size_t matcher_words; /* of line's arguments, 0 or 1: the matcher stands in front */
    bool may_pass; /* though its nature is HANDLER_ANSWERS */
};

/* Groups of directives that exclude one another, in one block. */
enum { GROUP_NONE, GROUP_HANDLE, GROUP_REWRITE, GROUP_ROOT, GROUP_COUNT };

static inline bool handler_always_answers(const struct handler *h)
{
    return h->ops->nature == HANDLER_ANSWERS && !h->may_pass;
}

/* A list of handlers, in the order they run. */
struct route {
    struct handler *handlers;
    size_t count;
    bool always_answers; /* no request that enters it comes out at its end, as far as can be told */
};

/* One handle_errors block; those without statuses last. */
struct error_route {
    struct error_route *next;
    const struct cf_directive *line;
    struct status_set statuses; /* empty: every one */
    struct route route;
};

struct log_choice;
struct log_config;
struct site_log;
struct site_settings;

/* A log of the configuration, for log_name. */
struct log_named {
    struct log_named *next;
    struct log_config *log;
};
struct tls_client;

struct upstream;
struct directive_order;

/* What a configuration does by itself, without a request (active health checks): started on one
 * worker's loop when it begins to run, stopped there when it is replaced or the worker ends. Lives
 * as long as the configuration. */
struct background {
    struct background *next;
    void (*start)(struct background *self, struct upstream *upstream);
    void (*stop)(struct background *self);
};

/* While a configuration is built. */
struct build {
    struct arena *arena; /* the configuration's */
    struct cf_diags *diags;
    const struct matcher_scope *scope; /* of the block being read */
    struct site_settings *site;        /* directives that are not handlers write here */
    const struct directive_order *order; /* NULL: Caddy's */
    struct map *named_routes; /* name -> invoke.c's; filled in before anything is built */
    unsigned log_count; /* logs without a name so far: log0, log1, ... as in Caddy */
    unsigned depth;     /* of the block being read; 1: the site itself */
    struct log_named *global_logs; /* the global option log's, "default" first if it is there */
    struct log_named *logs;        /* all, of whatever site */
    struct log_choice *log_choices; /* log_name's, until all logs are known */
    bool in_handle_response; /* the block being read belongs to reverse_proxy's handle_response */
    struct background *backgrounds;
    struct build_release *releases; /* handlers with a release, in reverse order of making */
};

struct build_release {
    struct build_release *next;
    const struct handler_ops *ops;
    void *instance;
};

/* What the directives tls, log, bind say of a site. */
struct site_settings {
    struct tls_settings tls;
    struct site_log *logs; /* none: no access log */
    struct error_route *errors;
    struct bind_list *bind; /* where it is reached; NULL: at the usual addresses */
};

enum directive_kind {
    DIRECTIVE_HANDLER, /* ordered, may have a matcher as its first argument */
    DIRECTIVE_SITE,    /* says something of the site; no matcher, not ordered */
};

enum directive_matcher {
    MATCHER_NONE,
    MATCHER_FIRST,      /* a first argument that looks like one is one */
    MATCHER_NEVER_LAST, /* unless it is the only argument: rewrite /index.html */
};

struct directive {
    struct slice name;
    enum directive_kind kind;
    enum directive_matcher matcher;
    unsigned order; /* place in Caddy's order; lower runs first */
    /* args and count are those behind the matcher. False after an error in b->diags. */
    bool (*parse)(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                  size_t count, struct handler *out);
};

/* NULL when there is none of that name. */
const struct directive *directive_find(struct slice name);
/* Is it the name of a directive, ours or Caddy's? */
bool directive_is_known(struct slice name);
/* An error for an unknown name: says whether Caddy has it, and what may have been meant. */
void directive_unknown(struct cf_diags *diags, const struct cf_token *name,
                       const struct cf_directive *line);

/* Declares (cf_declare) the placeholders that directives in these blocks bring into being: the
 * outputs of map. Before anything is read that may use them. */
void directives_declare(struct cf_diags *diags, const struct cf_directive *first);

/* Reads a block of directives into a route in running order (Caddy's: by directive, then the more
 * specific path first, then as written). Opens a matcher scope of its own. False after errors. */
NODISCARD bool route_build(struct build *b, const struct cf_directive *first, struct route *out);
/* The same, but they run in the order they are written. */
NODISCARD bool route_build_as_written(struct build *b, const struct cf_directive *first,
                                      struct route *out);

/* Named routes, for build.named_routes; building those that no site has asked for yet (so that
 * their mistakes are found); and a warning for each that was never asked for. */
struct map *named_routes_new(struct arena *a, const struct cf_named_route *first);
void named_routes_build(struct build *b);
void named_routes_end(const struct build *b);
/* Finds the logs that log_name directives name; when everything is read. */
void log_names_resolve(struct build *b);

/* Runs all releases of a build or configuration. */
void build_release_all(struct build_release *first);

/* ---- for handlers while they parse ----------------------------------------------------------- */

/* An error unless min <= count <= max. */
NODISCARD bool expect_args(struct build *b, const struct cf_directive *d, size_t count, size_t min,
                           size_t max);
/* An error if there is a block. */
NODISCARD bool expect_no_block(struct build *b, const struct cf_directive *d);
/* An HTTP status 100 to 599 (or min to max). */
NODISCARD bool parse_status(struct build *b, const struct cf_token *t, unsigned min, unsigned max,
                            int *out);

#endif
