/* nginx's directives that need no conversion, with the reason, and those that nginx*.c converts. */
#include "cmd/import/nginx_convert.h"

#define BUFFERS "bodies are streamed here, with memory that is bounded"
#define TLS_AUTO "TLS 1.2 and 1.3 with safe ciphers are automatic"
#define TUNED "there is nothing to tune here"

static const struct {
    struct slice name;
    const char *why;
} needless[] = {
    {S_INIT("proxy_http_version"), "HTTP/1.1 with keep-alive is what is spoken to origins"},
    {S_INIT("proxy_buffering"), BUFFERS},
    {S_INIT("proxy_request_buffering"), BUFFERS},
    {S_INIT("proxy_buffers"), BUFFERS},
    {S_INIT("proxy_buffer_size"), BUFFERS},
    {S_INIT("proxy_busy_buffers_size"), BUFFERS},
    {S_INIT("proxy_max_temp_file_size"), BUFFERS},
    {S_INIT("proxy_temp_file_write_size"), BUFFERS},
    {S_INIT("client_body_buffer_size"), BUFFERS},
    {S_INIT("client_body_temp_path"), BUFFERS},
    {S_INIT("proxy_temp_path"), BUFFERS},
    {S_INIT("fastcgi_temp_path"), BUFFERS},
    {S_INIT("uwsgi_temp_path"), BUFFERS},
    {S_INIT("scgi_temp_path"), BUFFERS},
    {S_INIT("client_header_buffer_size"), "heads of 64 KiB are taken"},
    {S_INIT("large_client_header_buffers"), "heads of 64 KiB are taken"},
    {S_INIT("proxy_redirect"), "an origin that is told the host and scheme needs none"},
    {S_INIT("proxy_send_timeout"), "an origin that takes nothing is noticed"},
    {S_INIT("send_timeout"), "see `servers { timeouts { write_idle } }`"},
    {S_INIT("client_body_timeout"), "see `servers { timeouts { read_body_idle } }`"},
    {S_INIT("client_header_timeout"), "see `servers { timeouts { read_header } }`"},
    {S_INIT("keepalive_timeout"), "see `servers { timeouts { idle } }`"},
    {S_INIT("keepalive_requests"), TUNED},
    {S_INIT("proxy_socket_keepalive"), "TCP keep-alive is on"},
    {S_INIT("reset_timedout_connection"), TUNED},
    {S_INIT("proxy_ssl_server_name"), "the server name is sent"},
    {S_INIT("proxy_ssl_protocols"), TLS_AUTO},
    {S_INIT("proxy_ssl_ciphers"), TLS_AUTO},
    {S_INIT("proxy_ssl_session_reuse"), TLS_AUTO},
    {S_INIT("proxy_ssl_verify_depth"), TLS_AUTO},
    {S_INIT("proxy_next_upstream"), "a connection that fails is tried again where it is safe"},
    {S_INIT("proxy_pass_request_headers"), "they pass"},
    {S_INIT("proxy_pass_request_body"), "it passes"},
    {S_INIT("proxy_headers_hash_max_size"), TUNED},
    {S_INIT("proxy_headers_hash_bucket_size"), TUNED},
    {S_INIT("ssl_certificate_key"), "see ssl_certificate"},
    {S_INIT("ssl_protocols"), TLS_AUTO},
    {S_INIT("ssl_ciphers"), TLS_AUTO},
    {S_INIT("ssl_prefer_server_ciphers"), TLS_AUTO},
    {S_INIT("ssl_session_cache"), TLS_AUTO},
    {S_INIT("ssl_session_timeout"), TLS_AUTO},
    {S_INIT("ssl_session_tickets"), TLS_AUTO},
    {S_INIT("ssl_dhparam"), TLS_AUTO},
    {S_INIT("ssl_ecdh_curve"), TLS_AUTO},
    {S_INIT("ssl_buffer_size"), TUNED},
    {S_INIT("ssl_stapling"), "public CAs have ended OCSP"},
    {S_INIT("ssl_stapling_verify"), "public CAs have ended OCSP"},
    {S_INIT("ssl_trusted_certificate"), "public CAs have ended OCSP"},
    {S_INIT("ssl"), "a site's address says it"},
    {S_INIT("http2"), "HTTP/2 is automatic"},
    {S_INIT("http3"), "HTTP/2 is automatic"},
    {S_INIT("quic_retry"), "HTTP/2 is automatic"},
    {S_INIT("resolver"), "names are asked of the system's servers, by their TTL"},
    {S_INIT("resolver_timeout"), "names are asked of the system's servers, by their TTL"},
    {S_INIT("server_tokens"), "no version is told"},
    {S_INIT("sendfile"), TUNED},
    {S_INIT("tcp_nopush"), TUNED},
    {S_INIT("tcp_nodelay"), TUNED},
    {S_INIT("aio"), TUNED},
    {S_INIT("directio"), TUNED},
    {S_INIT("open_file_cache"), TUNED},
    {S_INIT("types_hash_max_size"), TUNED},
    {S_INIT("types_hash_bucket_size"), TUNED},
    {S_INIT("server_names_hash_bucket_size"), TUNED},
    {S_INIT("server_names_hash_max_size"), TUNED},
    {S_INIT("map_hash_bucket_size"), TUNED},
    {S_INIT("default_type"), "types are known by their extensions"},
    {S_INIT("types"), "types are known by their extensions"},
    {S_INIT("charset"), "types are known by their extensions"},
    {S_INIT("gzip_types"), "texts are what is compressed"},
    {S_INIT("gzip_vary"), "Vary is set"},
    {S_INIT("gzip_proxied"), "answers of origins are compressed too"},
    {S_INIT("gzip_comp_level"), TUNED},
    {S_INIT("gzip_min_length"), "see `encode { minimum_length }`"},
    {S_INIT("gzip_buffers"), TUNED},
    {S_INIT("gzip_http_version"), TUNED},
    {S_INIT("gzip_disable"), TUNED},
    {S_INIT("error_log"), "errors go to standard error"},
    {S_INIT("log_not_found"), "errors go to standard error"},
    {S_INIT("log_format"), "the log is JSON, or what `log { format }` says"},
    {S_INIT("user"), "see `caddis run --user`"},
    {S_INIT("worker_processes"), "a thread for each core"},
    {S_INIT("worker_rlimit_nofile"), "the limit is raised by itself"},
    {S_INIT("worker_connections"), "as many as descriptors allow"},
    {S_INIT("pid"), "see `caddis run --pidfile`"},
    {S_INIT("master_process"), "see `caddis run --single`"},
    {S_INIT("daemon"), "see `caddis start`"},
    {S_INIT("events"), TUNED},
    {S_INIT("load_module"), TUNED},
    {S_INIT("merge_slashes"), "paths are compared with slashes merged"},
    {S_INIT("port_in_redirect"), TUNED},
    {S_INIT("absolute_redirect"), TUNED},
    {S_INIT("chunked_transfer_encoding"), TUNED},
    {S_INIT("etag"), "ETags are automatic"},
    {S_INIT("if_modified_since"), "conditional requests are automatic"},
    {S_INIT("fastcgi_split_path_info"), "php_fastcgi does it"},
    {S_INIT("fastcgi_index"), "php_fastcgi does it"},
    {S_INIT("fastcgi_buffers"), BUFFERS},
    {S_INIT("fastcgi_buffer_size"), BUFFERS},
    {S_INIT("fastcgi_busy_buffers_size"), BUFFERS},
    {S_INIT("keepalive"), "connections to origins are kept"},
    {S_INIT("zone"), TUNED},
};

/* Read where they belong. */
static const struct slice handled[] = {
    S_INIT("listen"),      S_INIT("server_name"),       S_INIT("ssl_certificate"),
    S_INIT("location"),    S_INIT("proxy_pass"),        S_INIT("grpc_pass"),
    S_INIT("fastcgi_pass"), S_INIT("root"),             S_INIT("alias"),
    S_INIT("index"),       S_INIT("try_files"),         S_INIT("autoindex"),
    S_INIT("return"),      S_INIT("rewrite"),           S_INIT("add_header"),
    S_INIT("expires"),     S_INIT("proxy_set_header"),  S_INIT("proxy_hide_header"),
    S_INIT("client_max_body_size"), S_INIT("gzip"),     S_INIT("access_log"),
    S_INIT("allow"),       S_INIT("deny"),              S_INIT("error_page"),
    S_INIT("limit_req"),   S_INIT("proxy_connect_timeout"), S_INIT("proxy_read_timeout"),
    S_INIT("proxy_ssl_verify"), S_INIT("proxy_ssl_name"), S_INIT("proxy_ssl_trusted_certificate"),
    S_INIT("grpc_set_header"), S_INIT("set"),           S_INIT("internal"),
    S_INIT("proxy_method"), S_INIT("proxy_bind"),
};

const char *nginx_needless(struct slice name)
{
    for (size_t k = 0; k < ARRAY_LEN(needless); k++) {
        if (slice_eq(needless[k].name, name)) {
            return needless[k].why;
        }
    }
    return NULL;
}

bool nginx_is_handled(struct slice name)
{
    for (size_t k = 0; k < ARRAY_LEN(handled); k++) {
        if (slice_eq(handled[k], name)) {
            return true;
        }
    }
    return false;
}
