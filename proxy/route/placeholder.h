/* The placeholders that are known, by their long names. Adding one: a row in the table of the file
 * it belongs to (request, connection, client, origin, world); where Caddy has a shorthand for it, a
 * row in placeholder.c's list of shorthands. What handlers set themselves needs no row:
 * route/vars.h. */
#ifndef ROUTE_PLACEHOLDER_H
#define ROUTE_PLACEHOLDER_H

#include "proxy/caddyfile/caddyfile.h"
#include "proxy/http/exchange.h"

struct placeholder {
    const char *name; /* long; a '.' or '/' at its end takes an argument behind it */
    /* The text for an exchange: of the configuration, the request, or built in ex->arena. arg is
     * what stands behind the name. NULL: a variable, whose whole name is the argument. */
    struct slice (*value)(struct exchange *ex, struct slice arg);
    bool of_origin; /* depends on the origin chosen: known only once there is one */
};

struct placeholder_table {
    const struct placeholder *rows;
    size_t count;
};

extern const struct placeholder_table placeholders_of_request;
extern const struct placeholder_table placeholders_of_connection;
extern const struct placeholder_table placeholders_of_client;
extern const struct placeholder_table placeholders_of_origin;
extern const struct placeholder_table placeholders_of_world;

/* What a name (without braces) stands for. */
struct placeholder_use {
    const struct placeholder *row; /* NULL: a variable */
    struct slice arg;              /* or the variable's name */
    bool known; /* false: a variable that only `map` could set; its text stays where it is not */
};

enum placeholder_found { PLACEHOLDER_KNOWN, PLACEHOLDER_UNKNOWN, PLACEHOLDER_NOT_HERE };

/* Finds a name, short or long; texts are made in a. NOT_HERE: Caddy has it and caddis has not. */
enum placeholder_found placeholder_find(struct arena *a, struct slice name,
                                        struct placeholder_use *out);
/* An error (NOT_HERE) or warning about such a name. */
void placeholder_complain(struct cf_diags *diags, const struct cf_token *at, struct slice name,
                          enum placeholder_found found);
/* False: a variable that is not known and not set (out is left alone). */
bool placeholder_value(const struct placeholder_use *use, struct exchange *ex, struct slice *out);

#endif
