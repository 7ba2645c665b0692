/* `transport fastcgi { ... }` of reverse_proxy: its reading, and the CGI variables of a request.
 * The bytes are proxy/fcgi's. */
#ifndef HANDLER_FASTCGI_H
#define HANDLER_FASTCGI_H

#include "proxy/handler/handler.h"

/* Of a request whose length is not known beforehand (CGI has to be told) so much is collected. */
#define FASTCGI_BUFFER_BYTES ((uint64_t)1 << 20)

struct fastcgi;

/* Reads an option of the block that is FastCGI's own (root, split, env, resolve_root_symlink,
 * capture_stderr); false: it is none of these. Errors are in b->diags. */
bool fastcgi_read_option(struct build *b, struct fastcgi *c, const struct cf_directive *d);
size_t fastcgi_option_names(struct slice *out, size_t max);
/* What holds where nothing is written; in b->arena. */
struct fastcgi *fastcgi_new(struct build *b, const struct cf_token *at);
bool fastcgi_logs_stderr(const struct fastcgi *c);
/* resolve_root_symlink: puts a step in front of proxy (read completely) that looks where root leads
 * to, which a worker must not wait for; else does nothing. */
void fastcgi_resolve_before(struct build *b, const struct fastcgi *c, struct handler *proxy);
/* Makes of out, the request as it would go to an HTTP origin, the one for a FastCGI origin: its
 * fields become the CGI variables (RFC 3875 section 4.1), the request's own as HTTP_*, but for
 * Proxy, which would be HTTP_PROXY. 0; or the status to answer, and *detail. */
int fastcgi_request(const struct fastcgi *c, struct exchange *ex, struct request *out,
                    struct slice *detail);

#endif
