/* What people who come from other servers, or from older versions of Caddy, write by habit: words
 * that are called otherwise here, options that stand in the wrong place, and lines that are valid
 * but hardly mean what they say. Everything here is a hint or a warning; nothing decides what is
 * valid. */
#ifndef HANDLER_MISTAKES_H
#define HANDLER_MISTAKES_H

#include "proxy/handler/handler.h"

/* The hint for a directive that is unknown, and its line (NULL: there is none); empty: none. It may
 * live in the diagnostics' arena. */
struct slice mistake_directive(struct cf_diags *diags, const struct cf_token *name,
                               const struct cf_directive *line);

/* The hint for a directive or global option that only a plug-in for Caddy has; empty: none. */
struct slice mistake_plug_in(struct slice name);

/* The same for an option in the block of reverse_proxy. */
struct slice mistake_proxy_option(struct slice name);

/* The same for more arguments than the directive takes, and for words that `tls` and `respond` do
 * not understand. */
struct slice mistake_arguments(struct cf_diags *diags, const struct cf_directive *d);
struct slice mistake_tls(struct slice word);

/* Is what stands in its block directives, which come by on their own? */
bool mistake_is_own_block(struct slice directive);

/* Warns of a matcher that takes much less than it seems to ("basic_auth / ..."), and of variables
 * of nginx in the words of d and of the options in its block. */
void mistakes_of_directive(struct cf_diags *diags, const struct cf_directive *d);

/* The hint for a site address that is none; empty: none. */
struct slice mistake_address(struct cf_diags *diags, struct slice text);

/* Warns of a site that says where files are, and has nothing that answers. */
void mistakes_of_files(struct cf_diags *diags, const struct cf_site *site);

/* Warns of an origin that is the site itself. */
void mistakes_of_site(struct cf_diags *diags, const struct cf_site *site);

#endif
