/* Private to proxy/route: what a kind of matcher is. Adding one: a file (or a place in one) with
 * its syntax and its behaviour, and a row in matcher.c's table. */
#ifndef ROUTE_MATCH_H
#define ROUTE_MATCH_H

#include "proxy/base/mem.h"
#include "proxy/route/matcher.h"
#include "proxy/route/template.h"

#define MATCH_DEPTH_MAX 32 /* of not inside not, and of expressions */

struct matcher_kind;

struct matcher {
    struct matcher *next; /* all of a set must match */
    const struct matcher_kind *kind;
    void *data; /* the kind's own, in the configuration's arena; const once compiled */
};

/* One line of a set while it is read: `name args... [{ ... }]`. */
struct match_line {
    struct arena *arena;
    struct cf_diags *diags;
    const struct cf_token *name;
    const struct cf_token *args;
    size_t count;
    const struct cf_directive *children;
    bool has_block;
    struct slice set_name; /* of the @name it belongs to, without the @; or empty */
    unsigned depth;
};

struct matcher_kind {
    struct slice name;
    /* Reads a line into m->data. m->data is not NULL when the set has this kind already: Caddy
     * merges these. False after an error. */
    bool (*read)(struct match_line *line, struct matcher *m);
    enum match_result (*matches)(const struct matcher *m, struct exchange *ex);
    bool has_block;    /* may have a block of its own */
    bool no_arguments; /* may stand without */
    bool (*may_wait)(const struct matcher *m); /* NULL: never */
};

/* The kinds, each in the file of its family. */
extern const struct matcher_kind match_path, match_method, match_host, match_protocol, match_tls;
extern const struct matcher_kind match_remote_ip, match_client_ip, match_not;
extern const struct matcher_kind match_header, match_query, match_vars;
extern const struct matcher_kind match_path_regexp, match_header_regexp, match_vars_regexp;
extern const struct matcher_kind match_file, match_expression;

/* NULL: there is none of that name. */
const struct matcher_kind *match_find_kind(struct slice name);
/* Compiles one line into a matcher of its own (for `not` and for functions in expressions). NULL
 * after an error. */
struct matcher *match_compile_line(struct match_line *line);
/* The lines of a block as a set. */
struct matcher *match_compile_set(const struct match_line *parent,
                                  const struct cf_directive *first);

/* ---- values with placeholders ---------------------------------------------------------------- */

struct match_value {
    struct match_value *next;
    struct template *text;
};

struct match_values {
    struct match_value *first;
    struct match_value *last;
};

/* Appends; false after an error. */
NODISCARD bool match_value_add(struct match_line *line, struct match_values *values,
                               const struct cf_token *token);
/* A value with "*" at either end, as header fields are compared. */
bool match_wildcard(struct slice pattern, struct slice value);

static inline enum match_result match_bool(bool hit)
{
    return hit ? MATCH_YES : MATCH_NO;
}

#endif
