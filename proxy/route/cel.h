/* Private to proxy/route: expressions in the common part of CEL (the Common Expression Language),
 * as Caddy's matcher `expression` has them.
 *
 * In:  a text from the configuration, compiled once (cel_parse.c); then exchanges (cel_eval.c).
 * Out: a boolean, or an error, which is neither yes nor no.
 *
 * Known: || && ! ?: == != < <= > >= in + - * / % [index], parentheses, null, booleans, integers,
 * decimals, strings ('..', "..", r'..', '''..'''), lists, maps, placeholders {path}, the functions
 * of cel_functions.c, the macros exists, exists_one and all, and every matcher as a function.
 * The value of a placeholder is a text that also compares with numbers and booleans. */
#ifndef ROUTE_CEL_H
#define ROUTE_CEL_H

#include "proxy/route/match.h"
#include "proxy/route/regex.h"

#define CEL_BYTES_MAX ((size_t)16 * 1024)
#define CEL_NODES_MAX 4096u
#define CEL_SLOTS_MAX 8u        /* macros inside one another */
#define CEL_STEPS_MAX 100000u   /* nodes visited for one exchange: macros multiply */

enum cel_type {
    CEL_NULL,
    CEL_BOOL,
    CEL_INT,
    CEL_DOUBLE,
    CEL_STRING,
    CEL_LIST,
    CEL_MAP, /* a list of keys and values in turn */
    CEL_DYN, /* a placeholder's text */
};

struct cel_value {
    enum cel_type type;
    union {
        bool b;
        int64_t i;
        double d;
        struct slice s;
        struct {
            const struct cel_value *items;
            size_t count;
        } list;
    } u;
};

enum cel_op {
    CEL_LITERAL,
    CEL_PLACEHOLDER,
    CEL_VARIABLE, /* of a macro */
    CEL_MAKE_LIST,
    CEL_MAKE_MAP,
    CEL_NOT,
    CEL_NEGATE,
    CEL_OR,
    CEL_AND,
    CEL_TERNARY,
    CEL_EQ,
    CEL_NE,
    CEL_LT,
    CEL_LE,
    CEL_GT,
    CEL_GE,
    CEL_IN,
    CEL_ADD,
    CEL_SUB,
    CEL_MUL,
    CEL_DIV,
    CEL_MOD,
    CEL_INDEX,
    CEL_CALL,
    CEL_MATCHER,
    CEL_EXISTS,
    CEL_EXISTS_ONE,
    CEL_ALL,
};

struct cel_eval;

struct cel_function {
    struct slice name;
    bool is_method;    /* x.name(...): x is the first argument */
    unsigned arg_min; /* the receiver included */
    unsigned arg_max;
    /* False: an error (wrong types). Texts are made in the exchange's arena. */
    bool (*call)(struct cel_eval *e, const struct cel_value *args, size_t count,
                 struct cel_value *out);
    enum cel_type result; /* CEL_DYN: depends */
};

struct cel_node {
    struct cel_node *next; /* among the arguments of one node */
    struct cel_node *args;
    unsigned arg_count;
    enum cel_op op;
    struct cel_value literal;
    struct template *text;             /* CEL_PLACEHOLDER */
    unsigned slot;                     /* CEL_VARIABLE and macros */
    const struct cel_function *call;   /* CEL_CALL */
    const struct regex *re;            /* CEL_CALL of matches */
    struct matcher *matcher;           /* CEL_MATCHER */
};

/* One expression: an evaluation for an exchange. */
struct cel_eval {
    struct exchange *ex;
    struct cel_value slots[CEL_SLOTS_MAX];
    unsigned steps;
    const struct cel_node *node; /* of the function being called */
    bool waits; /* a matcher answered MATCH_WAIT; then the result means nothing */
};

/* Where a byte of the text was written: the token and its place. */
struct cel_text {
    struct slice text;
    const struct cf_token *tokens;
    const size_t *offsets; /* of each token in text */
    size_t count;
};

/* Compiles in line->arena. NULL after an error, which has a place. */
struct cel_node *cel_parse(struct match_line *line, const struct cel_text *text);
/* NULL: there is none of that name and kind. */
const struct cel_function *cel_function_find(struct slice name, bool is_method);
/* False: an error. */
NODISCARD bool cel_eval(struct cel_eval *e, const struct cel_node *node, struct cel_value *out);
bool cel_equal(const struct cel_value *a, const struct cel_value *b);
/* A text that is one, of a literal or a placeholder. */
bool cel_as_text(const struct cel_value *v, struct slice *out);
bool cel_as_bool(const struct cel_value *v, bool *out);
bool cel_as_int(const struct cel_value *v, int64_t *out);
bool cel_as_double(const struct cel_value *v, double *out);
/* A matcher called as a function, its arguments given as nodes (constants only). NULL after an
 * error. */
struct matcher *cel_matcher(struct match_line *line, const struct cf_token *at,
                            const struct matcher_kind *kind, const struct cel_node *args);
bool cel_may_wait(const struct cel_node *node);

#endif
