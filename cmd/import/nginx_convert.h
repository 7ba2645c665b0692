/* Inside the conversion of nginx: nginx.c does servers, nginx_location.c what stands in them,
 * nginx_values.c texts with variables, nginx_known.c what needs no conversion. */
#ifndef CMD_IMPORT_NGINX_CONVERT_H
#define CMD_IMPORT_NGINX_CONVERT_H

#include "cmd/import/nginx_parse.h"

/* A block and those around it, for what is inherited. */
struct nginx_scope {
    const struct nginx_directive *first;
    const struct nginx_scope *outer;
};

struct nginx {
    struct import *i;
    struct nginx_scope http;          /* what stands around the servers */
    const struct nginx_directive *server; /* the one being converted */
    const struct nginx_directive *php; /* its location for PHP, or NULL */
    bool whole_size, whole_fields;     /* client_max_body_size, add_header: once, for the site */
    struct slice re;                  /* the matcher whose groups are $1, $2; or empty */
};

/* The directive of that name in the block; NULL. */
const struct nginx_directive *nginx_in(const struct nginx_directive *first, struct slice name);
/* The same in the nearest block that has one. */
const struct nginx_directive *nginx_inherited(const struct nginx_scope *scope, struct slice name);
/* The nearest block that has a directive of that name: lists (add_header, proxy_set_header) are
 * inherited only whole. NULL: none. */
const struct nginx_directive *nginx_list(const struct nginx_scope *scope, struct slice name);
/* words[k] or an empty slice. */
struct slice nginx_word(const struct nginx_directive *d, size_t k);
bool nginx_is(const struct nginx_directive *d, struct slice name);
/* The directive as it was written, for comments. */
struct slice nginx_written(struct nginx *n, const struct nginx_directive *d);

/* A value with nginx's variables as one with placeholders. False when one has no counterpart; it
 * is then in *unknown. */
NODISCARD bool nginx_text(struct nginx *n, const struct nginx_scope *scope, struct slice value,
                          struct slice *out, struct slice *unknown);
/* "30", "30s", "1h30m" as a Caddyfile duration; sizes "50m" as "50MiB". p == NULL: neither. */
struct slice nginx_duration(struct nginx *n, struct slice value);
struct slice nginx_size(struct nginx *n, struct slice value);

/* Why a directive can be dropped; NULL when it cannot. */
const char *nginx_needless(struct slice name);
/* Is it converted somewhere, so that nothing more is to be said of it? */
bool nginx_is_handled(struct slice name);

/* What a block (server or location) does, written to t. */
void nginx_content(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                   const struct nginx_directive *location);
/* The lines of a block that stand for themselves, and comments for what does not. */
void nginx_lines(struct nginx *n, struct import_text *t, const struct nginx_scope *scope);
/* A comment or a WARNING for an `include`. */
void nginx_include(struct nginx *n, struct import_text *t, const struct nginx_directive *d);
/* Is there anything in scope (nginx_access.c) that decides who may come? The same of the block d by
 * itself. */
bool nginx_is_guarded(const struct nginx_scope *scope);
bool nginx_guards_itself(const struct nginx_directive *d);
/* The lines for it, to stand in `route` in front of what answers. False: nobody may come. */
bool nginx_access(struct nginx *n, struct import_text *t, const struct nginx_scope *scope);
/* The WARNING for a directive of the kind; false: d is none. */
bool nginx_access_line(struct nginx *n, struct import_text *t, const struct nginx_directive *d);
/* The limit of bodies, and fields for answers, that hold in scope. */
void nginx_size_limit(struct nginx *n, struct import_text *t, const struct nginx_scope *scope);
void nginx_fields(struct nginx *n, struct import_text *t, const struct nginx_scope *scope);
/* The locations of a server as handle blocks. */
void nginx_locations(struct nginx *n, struct import_text *t, const struct nginx_scope *scope);
/* reverse_proxy for the proxy_pass or grpc_pass d. */
void nginx_proxy(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                 const struct nginx_directive *d);
/* Where a proxy_pass leads: the part behind the authority ("/", "/v1/"), or empty. */
struct slice nginx_pass_path(struct nginx *n, const struct nginx_scope *scope, struct slice url);
/* Does the block redirect to the same host by HTTPS, as certbot writes it? */
bool nginx_to_https(const struct nginx_directive *d);

#endif
