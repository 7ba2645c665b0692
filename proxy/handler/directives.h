/* The parse functions that directives.c's table lists, each defined in the file of its name. */
#ifndef HANDLER_DIRECTIVES_H
#define HANDLER_DIRECTIVES_H

#include "proxy/handler/handler.h"

#define DIRECTIVE_PARSE(name)                                                          \
    bool name(struct build *b, const struct cf_directive *d, const struct cf_token *args, \
              size_t count, struct handler *out)

DIRECTIVE_PARSE(abort_parse);
DIRECTIVE_PARSE(basic_auth_parse);
DIRECTIVE_PARSE(bind_parse);
DIRECTIVE_PARSE(copy_response_parse);
DIRECTIVE_PARSE(copy_response_headers_parse);
DIRECTIVE_PARSE(encode_parse);
DIRECTIVE_PARSE(error_parse);
DIRECTIVE_PARSE(file_server_parse);
DIRECTIVE_PARSE(forward_auth_parse);
DIRECTIVE_PARSE(handle_parse);
DIRECTIVE_PARSE(handle_errors_parse);
DIRECTIVE_PARSE(handle_path_parse);
DIRECTIVE_PARSE(header_parse);
DIRECTIVE_PARSE(invoke_parse);
DIRECTIVE_PARSE(intercept_parse);
DIRECTIVE_PARSE(log_append_parse);
DIRECTIVE_PARSE(log_name_parse);
DIRECTIVE_PARSE(log_parse);
DIRECTIVE_PARSE(log_skip_parse);
DIRECTIVE_PARSE(map_parse);
DIRECTIVE_PARSE(method_parse);
DIRECTIVE_PARSE(php_fastcgi_parse);
DIRECTIVE_PARSE(rate_limit_parse);
DIRECTIVE_PARSE(metrics_parse);
DIRECTIVE_PARSE(redir_parse);
DIRECTIVE_PARSE(request_body_parse);
DIRECTIVE_PARSE(request_header_parse);
DIRECTIVE_PARSE(respond_parse);
DIRECTIVE_PARSE(reverse_proxy_parse);
DIRECTIVE_PARSE(rewrite_parse);
DIRECTIVE_PARSE(root_parse);
DIRECTIVE_PARSE(route_parse);
DIRECTIVE_PARSE(tls_parse);
DIRECTIVE_PARSE(try_files_parse);
DIRECTIVE_PARSE(uri_parse);
DIRECTIVE_PARSE(vars_parse);

/* The whole table. */
const struct directive *directive_table(size_t *count);

#endif
