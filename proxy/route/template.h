/* Texts with placeholders ("https://{host}{uri}"), compiled once and filled in for each exchange.
 *
 * The names are those of placeholder.h's tables and the variables of vars.h, short or long. As in
 * Caddy a brace that begins no placeholder is text, "\{" is a literal brace, and an unknown
 * placeholder stays as it is written, with a warning where the text is compiled unless the
 * configuration brings it into being (map's outputs: cf_declare). {file./path} is read when the
 * text is compiled (at most 1 MiB, one final line end dropped), because a worker must not wait for
 * a disk: a changed file shows after a reload. */
#ifndef ROUTE_TEMPLATE_H
#define ROUTE_TEMPLATE_H

#include "proxy/caddyfile/caddyfile.h"
#include "proxy/http/exchange.h"

struct template;

/* Compiles into a; the text must live as long. NULL after an error in diags. */
struct template *template_compile(struct arena *a, const struct cf_token *token,
                                  struct cf_diags *diags);
/* Without a placeholder the text itself, else built in ex->arena; empty when memory is out (the
 * arena says so). */
struct slice template_eval(const struct template *t, struct exchange *ex);
/* The same with every value (but not the text around it) passed through `escape`, which builds in
 * ex->arena. */
struct slice template_eval_escaped(const struct template *t, struct exchange *ex,
                                   struct slice (*escape)(struct exchange *ex, struct slice value));
/* Does it name the origin chosen ({upstream_hostport} and its like)? */
bool template_names_origin(const struct template *t);
/* The text if it has no placeholder, else p == NULL. */
struct slice template_literal(const struct template *t);

#endif
