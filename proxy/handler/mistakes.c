/* Hints and warnings for what people write by habit; see mistakes.h. */
#include "proxy/handler/mistakes.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/reverse_proxy_config.h"

struct said {
    struct slice word;
    struct slice hint;
};

/* What is called otherwise here: directives of nginx, Apache, HAProxy, Caddy 1. */
static const struct said foreign[] = {
    {S_INIT("proxy"), S_INIT("it is called reverse_proxy: reverse_proxy localhost:8000")},
    {S_INIT("proxy_pass"), S_INIT("it is called reverse_proxy: reverse_proxy localhost:8000")},
    {S_INIT("ProxyPass"), S_INIT("it is called reverse_proxy: reverse_proxy localhost:8000")},
    {S_INIT("backend"), S_INIT("write reverse_proxy localhost:8000")},
    {S_INIT("upstream"), S_INIT("write reverse_proxy localhost:8000 localhost:8001")},
    {S_INIT("listen"), S_INIT("a site's address says it: example.com { ... }, or :8080 { ... }")},
    {S_INIT("server_name"), S_INIT("a site's address says it: example.com { ... }")},
    {S_INIT("location"), S_INIT("it is called handle: handle /path/* { ... }")},
    {S_INIT("server"), S_INIT("a site begins with its address: example.com { ... }")},
    {S_INIT("return"), S_INIT("write redir or respond")},
    {S_INIT("redirect"), S_INIT("it is called redir: redir /old /new")},
    {S_INIT("add_header"), S_INIT("it is called header: header X-Name value")},
    {S_INIT("ssl_certificate"), S_INIT("certificates are automatic; your own: tls CERT KEY")},
    {S_INIT("ssl_certificate_key"), S_INIT("certificates are automatic; your own: tls CERT KEY")},
    {S_INIT("ssl"), S_INIT("HTTPS is automatic; your own certificate: tls CERT KEY")},
    {S_INIT("access_log"), S_INIT("it is called log")},
    {S_INIT("websocket"), S_INIT("WebSockets need nothing special: reverse_proxy passes them on")},
    {S_INIT("email"), S_INIT("it is a global option, in a block of its own at the top of the file;"
                             " for one site: tls name@example.com")},
    {S_INIT("proxy_set_header"), S_INIT("in the block of reverse_proxy: header_up NAME VALUE; Host"
                                        " and X-Forwarded-... are passed on anyway")},
    {S_INIT("proxy_http_version"), S_INIT("WebSockets and kept connections need nothing special")},
    {S_INIT("proxy_read_timeout"), S_INIT("nothing ends a connection that is quiet; to have that:"
                                          " reverse_proxy ORIGIN { transport http { read_timeout"
                                          " 60s } }")},
    {S_INIT("proxy_buffering"), S_INIT("every answer is passed on as it comes")},
    {S_INIT("client_max_body_size"), S_INIT("write request_body { max_size 50MB }; without it there"
                                            " is no limit")},
    {S_INIT("max_size"), S_INIT("write request_body { max_size 50MB }")},
    {S_INIT("limits"), S_INIT("write request_body { max_size 50MB }")},
    {S_INIT("gzip"), S_INIT("it is called encode: encode gzip")},
    {S_INIT("compress"), S_INIT("it is called encode: encode gzip")},
    {S_INIT("cors"), S_INIT("write header Access-Control-Allow-Origin https://app.example.com")},
    {S_INIT("limit_req"), S_INIT("it is called rate_limit: rate_limit { zone NAME { key"
                                 " {remote_host} ; events 10 ; window 1s } }")},
    {S_INIT("allow"), S_INIT("name the addresses: @inside remote_ip 10.0.0.0/8, and use @inside")},
    {S_INIT("deny"), S_INIT("name the addresses: @outside not remote_ip 10.0.0.0/8, then abort"
                            " @outside or error @outside 403")},
    {S_INIT("auth_basic"), S_INIT("it is called basic_auth; caddis hash-password makes hashes")},
    {S_INIT("auth_request"), S_INIT("it is called forward_auth")},
    {S_INIT("error_page"), S_INIT("it is called handle_errors: handle_errors 404 { ... }")},
    {S_INIT("errors"), S_INIT("it is called handle_errors: handle_errors 404 { ... }")},
    {S_INIT("browse"), S_INIT("write file_server browse")},
    {S_INIT("fastcgi"), S_INIT("it is called php_fastcgi")},
    {S_INIT("fastcgi_pass"), S_INIT("it is called php_fastcgi")},
    {S_INIT("header_upstream"), S_INIT("in the block of reverse_proxy: header_up NAME VALUE")},
    {S_INIT("header_downstream"), S_INIT("in the block of reverse_proxy: header_down NAME VALUE")},
    {S_INIT("timeouts"), S_INIT("it is a global option: { servers { timeouts { ... } } }")},
    {S_INIT("copy_headers"), S_INIT("it belongs into the block of forward_auth")},
    {S_INIT("if"), S_INIT("a condition is a matcher: @name path /x/*, then handle @name { ... }")},
    {S_INIT("php_server"), S_INIT("it is FrankenPHP's; here: php_fastcgi"
                                  " unix//run/php/php-fpm.sock, and file_server")},
};

/* In the block of reverse_proxy. */
static const struct said in_proxy[] = {
    {S_INIT("websocket"), S_INIT("WebSockets need nothing special; leave this out")},
    {S_INIT("transparent"), S_INIT("Host and X-Forwarded-For are passed on; leave this out")},
    {S_INIT("header_upstream"), S_INIT("it is called header_up")},
    {S_INIT("header_downstream"), S_INIT("it is called header_down")},
    {S_INIT("proxy_set_header"), S_INIT("it is called header_up")},
    {S_INIT("timeout"), S_INIT("nothing ends a connection that is quiet; transport http has"
                               " dial_timeout, response_header_timeout and read_timeout")},
    {S_INIT("policy"), S_INIT("it is called lb_policy")},
    {S_INIT("lb_retry"), S_INIT("it is called lb_retries")},
    {S_INIT("fail_timeout"), S_INIT("it is called fail_duration")},
    {S_INIT("buffer_requests"), S_INIT("it is called request_buffers: request_buffers 1MiB")},
    {S_INIT("buffer_responses"), S_INIT("it is called response_buffers: response_buffers 1MiB")},
    {S_INIT("health_check"), S_INIT("it is called health_uri: health_uri /health")},
    {S_INIT("without"), S_INIT("use handle_path /prefix/* { reverse_proxy ... } around it")},
    {S_INIT("insecure_skip_verify"), S_INIT("write transport http { tls_insecure_skip_verify }")},
};

/* Options of `transport http` that people write one level too high. */
static const struct slice in_transport[] = {
    S_INIT("keepalive"), S_INIT("keepalive_idle_conns"), S_INIT("dial_timeout"),
    S_INIT("read_timeout"), S_INIT("write_timeout"), S_INIT("response_header_timeout"),
    S_INIT("versions"), S_INIT("tls"), S_INIT("tls_insecure_skip_verify"),
    S_INIT("tls_server_name"), S_INIT("tls_trust_pool"), S_INIT("tls_client_auth"),
    S_INIT("proxy_protocol"), S_INIT("max_conns_per_host"), S_INIT("resolvers"),
};

/* Directives and global options of well-known plug-ins. */
static const struct slice plug_ins[] = {
    S_INIT("appsec"), S_INIT("authenticate"), S_INIT("authorize"), S_INIT("cache"),
    S_INIT("cgi"), S_INIT("coraza_waf"), S_INIT("crowdsec"), S_INIT("defender"),
    S_INIT("docker"), S_INIT("dynamic_dns"), S_INIT("exec"), S_INIT("forward_proxy"),
    S_INIT("frankenphp"), S_INIT("geoip"), S_INIT("git"), S_INIT("layer4"),
    S_INIT("maxmind_geolocation"), S_INIT("mercure"), S_INIT("replace"), S_INIT("security"),
    S_INIT("supervisor"), S_INIT("tailscale"), S_INIT("vulcain"), S_INIT("webdav"),
};

/* What people write behind tls. */
static const struct said in_tls[] = {
    {S_INIT("off"), S_INIT("for plain HTTP write http:// in front of the site's address")},
    {S_INIT("self_signed"), S_INIT("it is called internal: tls internal")},
    {S_INIT("selfsigned"), S_INIT("it is called internal: tls internal")},
    {S_INIT("on"), S_INIT("HTTPS is automatic: leave the line out")},
    {S_INIT("auto"), S_INIT("HTTPS is automatic: leave the line out")},
};

/* Directives whose settings stand in a block. */
static const struct said in_block[] = {
    {S_INIT("request_body"), S_INIT("write request_body { max_size 10MB }")},
    {S_INIT("rate_limit"), S_INIT("write rate_limit { zone NAME { key {remote_host} ; events 10 ;"
                                  " window 1m } }")},
};

/* nginx's variables. */
static const struct said variables[] = {
    {S_INIT("host"), S_INIT("{host}")},
    {S_INIT("http_host"), S_INIT("{hostport}")},
    {S_INIT("scheme"), S_INIT("{scheme}")},
    {S_INIT("uri"), S_INIT("{path}")},
    {S_INIT("request_uri"), S_INIT("{uri}")},
    {S_INIT("query_string"), S_INIT("{query}")},
    {S_INIT("args"), S_INIT("{query}")},
    {S_INIT("server_name"), S_INIT("{host}")},
    {S_INIT("server_port"), S_INIT("{port}")},
    {S_INIT("request_method"), S_INIT("{method}")},
    {S_INIT("remote_addr"), S_INIT("{remote_host}")},
    {S_INIT("http_upgrade"), S_INIT("{header.Upgrade}, and WebSockets need nothing special")},
    {S_INIT("proxy_add_x_forwarded_for"), S_INIT("nothing: X-Forwarded-For is passed on anyway")},
};

static struct slice look_up(const struct said *list, size_t count, struct slice word)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq_case(word, list[i].word)) {
            return list[i].hint;
        }
    }
    return S("");
}

static bool one_of(const struct slice *list, size_t count, struct slice word)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(list[i], word)) {
            return true;
        }
    }
    return false;
}

/* ---- words that are unknown ------------------------------------------------------------------ */

#define OPTIONS_MAX 64u

static bool belongs_to_proxy(struct slice word)
{
    struct slice names[OPTIONS_MAX];
    size_t count = reverse_proxy_option_names(names, OPTIONS_MAX);
    return slice_eq(word, S("transport")) || one_of(names, count, word);
}

struct slice mistake_plug_in(struct slice name)
{
    return one_of(plug_ins, ARRAY_LEN(plug_ins), name)
               ? S("it is a plug-in's for Caddy; caddis has what is built in")
               : S("");
}

struct slice mistake_tls(struct slice word)
{
    struct slice hint = look_up(in_tls, ARRAY_LEN(in_tls), word);
    bool file = slice_find(word, '/') != SLICE_NPOS || slice_ends(word, S(".pem")) ||
                slice_ends(word, S(".crt"));
    return hint.n || !file ? hint : S("a certificate goes with its key: tls CERT KEY");
}

/* Signs that say more than the word they stand at. */
static struct slice odd_line(struct cf_diags *diags, struct slice word,
                             const struct cf_directive *line)
{
    if (slice_starts(word, S("//")) || slice_starts(word, S("/*")) ||
        slice_starts(word, S("--"))) {
        return S("a comment begins with #");
    }
    if (word.n > 1 && slice_ends(word, S(":")) &&
        directive_is_known(slice_upto(word, word.n - 1))) {
        return S("leave out the colon");
    }
    if (line && line->arg_count > 1 && matcher_is_kind(line->args[0].text)) {
        return arena_printf(&diags->arena, "the name of a matcher begins with @: @%.*s %.*s ...",
                            SLICE_ARG(word), SLICE_ARG(line->args[0].text));
    }
    return S("");
}

struct slice mistake_directive(struct cf_diags *diags, const struct cf_token *name,
                               const struct cf_directive *line)
{
    struct slice word = name->text;
    struct slice hint = look_up(foreign, ARRAY_LEN(foreign), word);
    hint = hint.n ? hint : mistake_plug_in(word);
    hint = hint.n ? hint : odd_line(diags, word, line);
    if (hint.n) {
        return hint;
    }
    if (belongs_to_proxy(word)) {
        return arena_printf(&diags->arena, "it belongs into the block of reverse_proxy:"
                            " reverse_proxy ORIGIN { %.*s ... }", SLICE_ARG(word));
    }
    if (one_of(in_transport, ARRAY_LEN(in_transport), word)) {
        return arena_printf(&diags->arena, "it belongs to reverse_proxy: reverse_proxy ORIGIN {"
                            " transport http { %.*s ... } }", SLICE_ARG(word));
    }
    bool address = slice_find(word, '.') != SLICE_NPOS || slice_find(word, ':') != SLICE_NPOS;
    if (address && name->quote == CF_BARE && word.p[0] != '{') {
        return S("if this is another site: with more than one each needs \"{\" and \"}\"");
    }
    return S("");
}

struct slice mistake_proxy_option(struct slice name)
{
    if (one_of(in_transport, ARRAY_LEN(in_transport), name)) {
        return S("it belongs into a block in this one: transport http { ... }");
    }
    return look_up(in_proxy, ARRAY_LEN(in_proxy), name);
}

/* A regular expression, or several paths, where handle takes one. */
static struct slice handle_arguments(struct cf_diags *diags, const struct cf_directive *d)
{
    const struct cf_token *last = &d->args[d->arg_count - 1];
    if (slice_starts(d->args[0].text, S("~")) || slice_starts(last->text, S("^"))) {
        return arena_printf(&diags->arena, "a regular expression needs a name: @name path_regexp"
                            " %.*s, then %.*s @name { ... }", SLICE_ARG(last->text),
                            SLICE_ARG(d->name.text));
    }
    return slice_starts(last->text, S("/"))
               ? arena_printf(&diags->arena, "several paths need a name: @name path %.*s %.*s, then"
                              " %.*s @name { ... }", SLICE_ARG(d->args[0].text),
                              SLICE_ARG(last->text), SLICE_ARG(d->name.text))
               : S("");
}

struct slice mistake_arguments(struct cf_diags *diags, const struct cf_directive *d)
{
    struct slice name = d->name.text;
    if (d->arg_count && (slice_eq(name, S("handle")) || slice_eq(name, S("handle_path")) ||
                         slice_eq(name, S("route")))) {
        return handle_arguments(diags, d);
    }
    if (d->arg_count > 1 && slice_eq(name, S("rewrite"))) {
        return S("with a regular expression: @old path_regexp ^/old/(.*)$, then rewrite @old"
                 " /new/{re.1}; for browsers to see it: redir @old /new/{re.1}");
    }
    if (d->arg_count > 1 && slice_eq(name, S("respond"))) {
        return S("a text of several words goes in quotes");
    }
    return look_up(in_block, ARRAY_LEN(in_block), name);
}

/* ---- what is valid, but hardly meant --------------------------------------------------------- */

/* Where "/" is written for "everything", as other servers read it. */
static void narrow_matcher(struct cf_diags *diags, const struct cf_directive *d)
{
    static const struct slice meant_for_all[] = {
        S_INIT("basic_auth"), S_INIT("basicauth"), S_INIT("encode"), S_INIT("file_server"),
        S_INIT("forward_auth"), S_INIT("header"), S_INIT("php_fastcgi"), S_INIT("rate_limit"),
        S_INIT("request_body"), S_INIT("reverse_proxy"), S_INIT("handle_path"),
    };
    if (!d->arg_count || d->args[0].quote != CF_BARE) {
        return;
    }
    struct slice path = d->args[0].text;
    bool root = slice_eq(path, S("/")) &&
                one_of(meant_for_all, ARRAY_LEN(meant_for_all), d->name.text);
    bool one_path = slice_eq(d->name.text, S("handle_path")) && path.n && path.p[0] == '/' &&
                    slice_find(path, '*') == SLICE_NPOS;
    if (!root && !one_path) {
        return;
    }
    struct cf_diag *diag = cf_warning(diags, &d->args[0], "the path \"%.*s\" is this one page, not"
                                      " what is below it", SLICE_ARG(path));
    if (diag && root) {
        diag->hint = S("for every path leave it out");
    } else if (diag) {
        diag->hint = arena_printf(&diags->arena, "for everything below write %.*s%s",
                                  SLICE_ARG(path), path.p[path.n - 1] == '/' ? "*" : "/*");
    }
}

/* "redir example.com{uri}": relative to the page it is on. */
static void redirect_without_scheme(struct cf_diags *diags, const struct cf_token *to)
{
    size_t host = 0;
    while (host < to->text.n && to->text.p[host] != '/' && to->text.p[host] != '{' &&
           to->text.p[host] != '?' && to->text.p[host] != ':') {
        host++;
    }
    struct slice name = slice_upto(to->text, host);
    if (slice_find(name, '.') == SLICE_NPOS || slice_starts(name, S("."))) {
        return;
    }
    if (slice_starts(slice_from(to->text, host), S("://"))) {
        return;
    }
    struct cf_diag *d = cf_warning(diags, to, "without https:// this leads to a page beside the one"
                                   " that was asked for");
    if (d) {
        d->hint = arena_printf(&diags->arena, "to another host: https://%.*s",
                               SLICE_ARG(to->text));
    }
}

/* "log /var/log/x.log": that is a name. */
static void log_file(struct cf_diags *diags, const struct cf_token *name)
{
    struct cf_diag *d = slice_find(name->text, '/') == SLICE_NPOS
                            ? NULL
                            : cf_warning(diags, name, "this is the log's name, not its file");
    if (d) {
        d->hint = arena_printf(&diags->arena, "write log { output file %.*s }",
                               SLICE_ARG(name->text));
    }
}

/* `header Strict-Transport-Security max-age=1; preload`: two words search and replace. */
static void field_line(struct cf_diags *diags, struct slice name, const struct cf_token *values,
                       size_t count)
{
    struct cf_diag *d = NULL;
    if (count == 2 && values[0].quote == CF_BARE && slice_ends(values[0].text, S(";"))) {
        d = cf_warning(diags, &values[0], "in values that are there already this replaces \"%.*s\""
                       " by \"%.*s\"", SLICE_ARG(values[0].text), SLICE_ARG(values[1].text));
        if (d) {
            d->hint = S("a value of several words goes in quotes");
        }
    }
    if (name.n && (name.p[0] == '>' || name.p[0] == '?')) {
        name = slice_from(name, 1);
    }
    if (count == 1 && slice_eq_case(name, S("Access-Control-Allow-Origin")) &&
        slice_find(values[0].text, ',') != SLICE_NPOS) {
        d = cf_warning(diags, &values[0], "browsers take one origin here, or \"*\", but no list");
        if (d) {
            d->hint = S("for each origin a line with a matcher: @app header Origin"
                        " https://app.example.com");
        }
    }
}

static void odd_values(struct cf_diags *diags, const struct cf_directive *d)
{
    size_t skip = d->arg_count > 1 && matcher_is_token(&d->args[0]) ? 1 : 0;
    const struct cf_token *args = d->args + skip;
    size_t count = d->arg_count - skip;
    if (count && slice_eq(d->name.text, S("log"))) {
        log_file(diags, &args[0]);
    } else if (count && slice_eq(d->name.text, S("redir"))) {
        redirect_without_scheme(diags, &args[0]);
    } else if (count && slice_eq(d->name.text, S("root")) && slice_starts(args[0].text, S("~"))) {
        struct cf_diag *diag = cf_warning(diags, &args[0], "\"~\" is a folder of that name here");
        if (diag) {
            diag->hint = S("write the whole path, or {$HOME}/...");
        }
    }
    if (slice_eq(d->name.text, S("header"))) {
        if (count) {
            field_line(diags, args[0].text, args + 1, count - 1);
        }
        for (const struct cf_directive *o = d->children; o; o = o->next) {
            field_line(diags, o->name.text, o->args, o->arg_count);
        }
    }
}

static bool word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || c == '_';
}

/* What word processors make of quotes. */
static void typographic_quotes(struct cf_diags *diags, const struct cf_token *t)
{
    static const struct slice quotes[] = {
        S_INIT("\xe2\x80\x9c"), S_INIT("\xe2\x80\x9d"), S_INIT("\xe2\x80\x9e"),
        S_INIT("\xe2\x80\x98"), S_INIT("\xe2\x80\x99"), S_INIT("\xc2\xab"),
    };
    for (size_t i = 0; t->quote == CF_BARE && i < ARRAY_LEN(quotes); i++) {
        struct cf_diag *d = slice_starts(t->text, quotes[i])
                                ? cf_warning(diags, t, "this begins with a typographic quote, which"
                                             " is a letter like any other")
                                : NULL;
        if (d) {
            d->hint = S("quotes are \"...\"");
        }
    }
}

static void variables_in(struct cf_diags *diags, const struct cf_token *t)
{
    typographic_quotes(diags, t);
    size_t at = t->quote == CF_BARE || t->quote == CF_DOUBLE ? slice_find(t->text, '$')
                                                             : SLICE_NPOS;
    if (at == SLICE_NPOS) {
        return;
    }
    struct slice rest = slice_from(t->text, at + 1);
    size_t n = 0;
    while (n < rest.n && word_byte(rest.p[n])) {
        n++;
    }
    struct slice name = slice_of(rest.p, n);
    struct slice hint = look_up(variables, ARRAY_LEN(variables), name);
    if (!hint.n) {
        return;
    }
    struct cf_diag *d = cf_warning(diags, t, "\"$%.*s\" is nginx's and means nothing here",
                                   SLICE_ARG(name));
    if (d) {
        d->hint = arena_printf(&diags->arena, "here it is %.*s", SLICE_ARG(hint));
    }
}

static void variables_of(struct cf_diags *diags, const struct cf_directive *d)
{
    for (size_t i = 0; i < d->arg_count; i++) {
        variables_in(diags, &d->args[i]);
    }
}

bool mistake_is_own_block(struct slice directive)
{
    static const struct slice own_blocks[] = {
        S_INIT("handle"), S_INIT("handle_path"), S_INIT("route"), S_INIT("handle_errors"),
    };
    return one_of(own_blocks, ARRAY_LEN(own_blocks), directive);
}

void mistakes_of_directive(struct cf_diags *diags, const struct cf_directive *d)
{
    narrow_matcher(diags, d);
    odd_values(diags, d);
    variables_of(diags, d);
    if (!mistake_is_own_block(d->name.text)) {
        for (const struct cf_directive *o = d->children; o; o = o->next) {
            variables_of(diags, o);
        }
    }
}

/* ---- a site in front of itself --------------------------------------------------------------- */

/* The port that the site listens on at this address, as far as the address itself says it. */
static struct slice listening_port(struct slice address)
{
    size_t colon = slice_rfind(address, ':');
    struct slice port = colon == SLICE_NPOS ? S("") : slice_from(address, colon + 1);
    uint64_t number;
    if (slice_u64(port, 65535, &number)) { /* no "//host", no part of an IPv6 address in brackets */
        return port;
    }
    return slice_starts(address, S("http://")) ? S("80") : S("443");
}

/* "localhost:8000", "http://127.0.0.1:8000", ":8000": the port on this machine; empty: another. */
static struct slice port_here(struct slice origin)
{
    static const struct slice schemes[] = {S_INIT("http://"), S_INIT("https://"), S_INIT("h2c://")};
    static const struct slice hosts[] = {S_INIT("localhost:"), S_INIT("127.0.0.1:"),
                                         S_INIT("[::1]:"), S_INIT(":")};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (slice_starts(origin, schemes[i])) {
            origin = slice_from(origin, schemes[i].n);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        if (slice_starts(origin, hosts[i])) {
            return slice_from(origin, hosts[i].n);
        }
    }
    return S("");
}

static void origins_of(struct cf_diags *diags, const struct cf_directive *d, struct slice port)
{
    for (; d; d = d->next) {
        bool proxy = slice_eq(d->name.text, S("reverse_proxy"));
        for (size_t i = 0; proxy && i < d->arg_count; i++) {
            struct slice here = port_here(d->args[i].text);
            struct cf_diag *diag = NULL;
            if (here.n && slice_eq(here, port)) {
                diag = cf_warning(diags, &d->args[i], "this origin is the site itself: requests"
                                  " would go round in a circle");
            }
            if (diag) {
                diag->hint = S("the site's address and the app need different ports");
            }
        }
        if (!proxy) {
            origins_of(diags, d->children, port);
        }
    }
}

void mistakes_of_site(struct cf_diags *diags, const struct cf_site *site)
{
    for (size_t i = 0; i < site->address_count; i++) {
        origins_of(diags, site->directives, listening_port(site->addresses[i].text));
    }
}

/* ---- addresses ------------------------------------------------------------------------------- */

struct slice mistake_address(struct cf_diags *diags, struct slice text)
{
    size_t dollar = slice_find(text, '$');
    size_t angle = slice_find(text, '<');
    if (dollar != SLICE_NPOS) {
        struct slice name = slice_from(text, dollar + 1);
        size_t n = 0;
        while (n < name.n && (ascii_is_alpha(name.p[n]) || ascii_is_digit(name.p[n]) ||
                              name.p[n] == '_')) {
            n++;
        }
        return n ? arena_printf(&diags->arena, "an environment variable is written {$%.*s}", (int)n,
                                name.p)
                 : S("an environment variable is written {$NAME}");
    }
    if (angle != SLICE_NPOS) {
        return S("put a name of your own in place of what is in \"<\" and \">\"");
    }
    return slice_ends(text, S(":")) ? S("leave out the colon") : S("");
}

/* ---- files that nobody serves ---------------------------------------------------------------- */

/* The directives that may answer; a block or a route of another name may hold any. */
static bool may_answer(const struct cf_directive *d)
{
    static const struct slice silent[] = {
        S_INIT("root"), S_INIT("try_files"), S_INIT("encode"), S_INIT("header"), S_INIT("log"),
        S_INIT("tls"), S_INIT("bind"), S_INIT("request_header"), S_INIT("vars"), S_INIT("map"),
        S_INIT("uri"), S_INIT("rewrite"), S_INIT("basic_auth"), S_INIT("basicauth"),
        S_INIT("request_body"), S_INIT("handle_errors"), S_INIT("log_skip"), S_INIT("skip_log"),
    };
    return !(d->name.text.n && d->name.text.p[0] == '@') &&
           !one_of(silent, ARRAY_LEN(silent), d->name.text);
}

void mistakes_of_files(struct cf_diags *diags, const struct cf_site *site)
{
    const struct cf_token *files = NULL;
    for (const struct cf_directive *d = site->directives; d; d = d->next) {
        if (may_answer(d)) {
            return;
        }
        if (slice_eq(d->name.text, S("root")) || slice_eq(d->name.text, S("try_files"))) {
            files = &d->name;
        }
    }
    struct cf_diag *d = files && !site->torn
                            ? cf_warning(diags, files, "nothing in this site answers: every request"
                                         " gets an empty page")
                            : NULL;
    if (d) {
        d->hint = S("file_server serves the files");
    }
}
