/* Apache's VirtualHosts as sites: ProxyPass, balancers, rewrites for WebSockets and to HTTPS,
 * fields, files. */
#include "cmd/import/apache_convert.h"

static const struct apache_directive *in(const struct apache_directive *first, struct slice name)
{
    for (const struct apache_directive *d = first; d; d = d->next) {
        if (is(d, name)) {
            return d;
        }
    }
    return NULL;
}

/* The value of a directive in the host, else of the whole file. */
static struct slice value(struct apache *a, const struct apache_directive *host, struct slice name)
{
    const struct apache_directive *d = in(host->children, name);
    d = d ? d : in(a->top, name);
    return d ? word(d, 1) : S("");
}

static bool is_on(struct slice v)
{
    return slice_eq_case(v, S("on"));
}

/* ---- what needs no conversion ------------------------------------------------------------ */

static const struct {
    struct slice name;
    const char *why;
} needless[] = {
    {S_INIT("ProxyPassReverse"), "an origin that is told the host and scheme needs none"},
    {S_INIT("ProxyPassReverseCookiePath"), "cookies pass"},
    {S_INIT("ProxyRequests"), "this is a reverse proxy only"},
    {S_INIT("ProxyTimeout"), "WebSockets and slow answers have no time limit"},
    {S_INIT("ProxyVia"), "Via is set"},
    {S_INIT("ProxyAddHeaders"), "X-Forwarded-For, -Proto and -Host are set"},
    {S_INIT("SSLProxyEngine"), "an origin's https:// says it"},
    {S_INIT("SSLEngine"), "a site's address says it"},
    {S_INIT("SSLCertificateKeyFile"), "see SSLCertificateFile"},
    {S_INIT("SSLCertificateChainFile"), "see SSLCertificateFile"},
    {S_INIT("SSLProtocol"), "TLS 1.2 and 1.3 with safe ciphers are automatic"},
    {S_INIT("SSLCipherSuite"), "TLS 1.2 and 1.3 with safe ciphers are automatic"},
    {S_INIT("SSLHonorCipherOrder"), "TLS 1.2 and 1.3 with safe ciphers are automatic"},
    {S_INIT("SSLOptions"), "TLS 1.2 and 1.3 with safe ciphers are automatic"},
    {S_INIT("SSLSessionTickets"), "TLS 1.2 and 1.3 with safe ciphers are automatic"},
    {S_INIT("SSLUseStapling"), "public CAs have ended OCSP"},
    {S_INIT("SSLStaplingCache"), "public CAs have ended OCSP"},
    {S_INIT("Protocols"), "HTTP/2 is automatic"},
    {S_INIT("Listen"), "a site's address says it"},
    {S_INIT("NameVirtualHost"), "a site's address says it"},
    {S_INIT("LoadModule"), "everything is built in"},
    {S_INIT("ErrorLog"), "errors go to standard error"},
    {S_INIT("LogLevel"), "errors go to standard error"},
    {S_INIT("LogFormat"), "the log is JSON, or what `log { format }` says"},
    {S_INIT("ServerAdmin"), "no page names it; an account's address is the global option email"},
    {S_INIT("ServerSignature"), "no version is told"},
    {S_INIT("ServerTokens"), "no version is told"},
    {S_INIT("KeepAlive"), "connections are kept"},
    {S_INIT("Timeout"), "see `servers { timeouts }`"},
    {S_INIT("RewriteEngine"), "see the rules below it"},
    {S_INIT("AllowEncodedSlashes"), "paths pass as they came"},
    {S_INIT("Order"), "see Allow and Require"},
    {S_INIT("Options"), "see `file_server browse`"},
    {S_INIT("AllowOverride"), ".htaccess files are not read"},
    {S_INIT("ProxyPreserveHost"), "see `header_up Host` below, or Host passes as it came"},
};

static const struct slice handled[] = {
    S_INIT("ServerName"), S_INIT("ServerAlias"), S_INIT("SSLCertificateFile"),
    S_INIT("DocumentRoot"), S_INIT("Alias"), S_INIT("CustomLog"), S_INIT("DirectoryIndex"),
};

static const char *why_needless(struct slice name)
{
    for (size_t k = 0; k < ARRAY_LEN(needless); k++) {
        if (slice_eq_case(needless[k].name, name)) {
            return needless[k].why;
        }
    }
    return NULL;
}

/* ---- reverse_proxy ----------------------------------------------------------------------- */

static const struct apache_directive *balancer(struct apache *a, struct slice name)
{
    for (const struct apache_directive *d = a->top; d; d = d->next) {
        if (d->is_section && is(d, S("Proxy")) && slice_eq(word(d, 1), name)) {
            return d;
        }
    }
    return NULL;
}

/* "http://host:port" of an URL; ws and wss are what http and https carry anyway. */
static struct slice origin(struct apache *a, struct slice url, struct slice *path, bool *tls)
{
    size_t k = slice_find_slice(url, S("://"));
    struct slice scheme = slice_upto(url, k == SLICE_NPOS ? 0 : k);
    struct slice rest = k == SLICE_NPOS ? url : slice_from(url, k + 3);
    *tls = slice_eq(scheme, S("https")) || slice_eq(scheme, S("wss"));
    if (slice_starts(url, S("unix:"))) {
        struct slice file = slice_from(url, 5);
        *path = S("");
        return arena_printf(&a->i->arena, "unix/%.*s",
                            SLICE_ARG(slice_upto(file, slice_find(file, '|'))));
    }
    k = slice_find(rest, '/');
    *path = k == SLICE_NPOS ? S("") : slice_from(rest, k);
    rest = slice_upto(rest, k);
    bool port = slice_find(rest, ':') != SLICE_NPOS;
    return arena_printf(&a->i->arena, "%s%.*s", *tls ? "https://" : port ? "" : "http://",
                        SLICE_ARG(rest));
}

static void members(struct apache *a, struct import_text *t, const struct apache_directive *group,
                    struct dstr *to, bool *tls)
{
    struct slice path, policy = S("round_robin");
    for (const struct apache_directive *d = group->children; d; d = d->next) {
        if (is(d, S("BalancerMember"))) {
            dstr_printf(to, " %.*s", SLICE_ARG(origin(a, word(d, 1), &path, tls)));
        } else if (is(d, S("ProxySet")) && slice_find_slice(written(a, d), S("bybusyness")) !=
                                               SLICE_NPOS) {
            policy = S("least_conn");
        } else {
            text_warning(a->i, t, d->line, written(a, d), "not carried over");
        }
    }
    text_line(t, "lb_policy %.*s", SLICE_ARG(policy));
}

static void field_up(struct apache *a, struct import_text *t, const struct apache_directive *d)
{
    struct slice action = word(d, 1), name = word(d, 2), text = word(d, 3);
    name = slice_upto(name, name.n - slice_ends(name, S(":")));
    if (import_field_is_automatic(name)) {
        text_dropped(a->i, t, d->line, written(a, d), "automatic");
    } else if (slice_eq_case(action, S("unset"))) {
        text_line(t, "header_up -%.*s", SLICE_ARG(name));
    } else if (slice_find(text, '%') != SLICE_NPOS) {
        bool ip = slice_eq(text, S("%{REMOTE_ADDR}s")) || slice_eq(text, S("%{REMOTE_ADDR}e"));
        if (ip) {
            text_line(t, "header_up %.*s {remote_host}", SLICE_ARG(name));
        } else {
            text_warning(a->i, t, d->line, written(a, d), "not carried over");
        }
    } else {
        text_line(t, "header_up %s%.*s %.*s", slice_eq_case(action, S("add")) ? "+" : "",
                  SLICE_ARG(name), SLICE_ARG(import_quoted(a->i, text)));
    }
}

/* path: of the ProxyPass ("/api/"); url: where it leads. */
static void proxy(struct apache *a, struct import_text *t, const struct apache_directive *host,
                  struct slice url)
{
    struct import_text sub = {.depth = t->depth + 1};
    struct dstr to;
    struct slice path;
    bool tls = false;
    dstr_init(&to, IMPORT_TEXT_MAX);
    dstr_init(&sub.out, IMPORT_TEXT_MAX);
    size_t k = slice_find(slice_from(url, 11), '/');
    struct slice name = slice_upto(url, k == SLICE_NPOS ? k : k + 11);
    const struct apache_directive *group = balancer(a, name);
    if (group) {
        members(a, &sub, group, &to, &tls);
    } else {
        dstr_printf(&to, " %.*s", SLICE_ARG(origin(a, url, &path, &tls)));
    }
    apache_origin_access(a, t, host, url);
    if (!a->keeps_host && !tls && !slice_starts(url, S("unix:"))) {
        text_line(&sub, "header_up Host {upstream_hostport}");
    } else if (a->keeps_host && tls) {
        text_line(&sub, "header_up Host {hostport}");
    }
    for (const struct apache_directive *d = host->children; d; d = d->next) {
        if (is(d, S("RequestHeader"))) {
            field_up(a, &sub, d);
        }
    }
    if (tls && !is_on(value(a, host, S("SSLProxyVerify"))) &&
        !slice_eq_case(value(a, host, S("SSLProxyVerify")), S("require"))) {
        text_open(&sub, "transport http");
        text_warning(a->i, &sub, 0, S("SSLProxyVerify none"),
                     "Apache did not check the origin's certificate; without the next line "
                     "caddis does");
        text_line(&sub, "tls_insecure_skip_verify");
        text_close(&sub);
    }
    if (sub.out.n) {
        text_open(t, "reverse_proxy%.*s", SLICE_ARG(dstr_slice(&to)));
        dstr_append(&t->out, dstr_slice(&sub.out));
        text_close(t);
    } else {
        text_line(t, "reverse_proxy%.*s", SLICE_ARG(dstr_slice(&to)));
    }
    dstr_fini(&to);
    dstr_fini(&sub.out);
}

/* One ProxyPass. In Apache the part of the path that matched is replaced by the URL's path. */
static void pass(struct apache *a, struct import_text *t, const struct apache_directive *host,
                 struct slice path, struct slice url)
{
    struct slice target = S("");
    bool tls;
    if (!slice_starts(url, S("balancer:"))) {
        (void)origin(a, url, &target, &tls);
    } else {
        size_t k = slice_find(slice_from(url, 11), '/');
        target = k == SLICE_NPOS ? S("") : slice_from(url, k + 11);
    }
    struct slice from = import_without_slash(path);
    struct slice to = import_without_slash(target);
    if (from.n == 0) {
        text_open(t, "handle");
    } else if (slice_eq(from, to)) {
        text_open(t, "handle %.*s", SLICE_ARG(import_below(a->i, path)));
    } else {
        text_open(t, "handle_path %.*s", SLICE_ARG(import_below(a->i, path)));
    }
    if (to.n && !slice_eq(from, to)) {
        text_line(t, "rewrite %.*s{uri}", SLICE_ARG(to));
    }
    proxy(a, t, host, url);
    text_close(t);
}

/* ---- rewrites ---------------------------------------------------------------------------- */

/* A rule with the conditions before it: WebSockets, the way to HTTPS, or something else. */
static void rewrite_rule(struct apache *a, struct import_text *t, const struct apache_directive *d,
                         const struct apache_conditions *c)
{
    struct slice to = word(d, 2), flags = word(d, 3);
    bool redirects = slice_find_slice(flags, S("R")) != SLICE_NPOS;
    if (apache_refuses(d, c)) {
        if (c->any) {
            text_warning(a->i, t, d->line, written(a, d), "refused to everybody until its "
                         "conditions are a matcher");
        }
    } else if (c->upgrade || slice_starts(to, S("ws://")) || slice_starts(to, S("wss://"))) {
        text_dropped(a->i, t, d->line, written(a, d),
                     "WebSockets and other upgrades are automatic");
    } else if (slice_starts(to, S("https://%{"))) {
        text_dropped(a->i, t, d->line, written(a, d), "HTTP is redirected to HTTPS");
    } else if (redirects && slice_find(to, '$') == SLICE_NPOS &&
               slice_find(to, '%') == SLICE_NPOS) {
        struct slice name = import_name(a->i);
        text_line(t, "@%.*s path_regexp %.*s", SLICE_ARG(name),
                  SLICE_ARG(import_quoted(a->i, word(d, 1))));
        text_line(t, "redir @%.*s %.*s %s", SLICE_ARG(name), SLICE_ARG(import_quoted(a->i, to)),
                  slice_find_slice(flags, S("301")) != SLICE_NPOS ? "permanent" : "temporary");
    } else {
        text_warning(a->i, t, d->line, written(a, d), "see rewrite, redir and path_regexp");
    }
}

static void redirect(struct apache *a, struct import_text *t, const struct apache_directive *d)
{
    uint64_t code;
    size_t k = 1;
    struct slice status = S("302");
    if (slice_eq_case(word(d, 1), S("permanent")) || is(d, S("RedirectPermanent"))) {
        status = S("301");
        k += !is(d, S("RedirectPermanent"));
    } else if (slice_eq_case(word(d, 1), S("temp")) || slice_u64(word(d, 1), 399, &code)) {
        status = slice_u64(word(d, 1), 399, &code) ? word(d, 1) : status;
        k++;
    }
    struct slice from = word(d, k), to = word(d, k + 1);
    if (slice_eq(from, S("/"))) {
        to = import_without_slash(to);
        text_line(t, "redir %.*s{uri} %.*s", SLICE_ARG(import_quoted(a->i, to)), SLICE_ARG(status));
    } else {
        text_open(t, "handle_path %.*s", SLICE_ARG(import_below(a->i, from)));
        text_line(t, "redir %.*s{uri} %.*s", SLICE_ARG(import_quoted(a->i, to)), SLICE_ARG(status));
        text_close(t);
    }
}

/* ---- a host ------------------------------------------------------------------------------ */

static void header(struct apache *a, struct import_text *t, const struct apache_directive *d)
{
    size_t k = slice_eq_case(word(d, 1), S("always")) || slice_eq_case(word(d, 1), S("onsuccess"));
    struct slice action = word(d, 1 + k), name = word(d, 2 + k), text = word(d, 3 + k);
    const char *sign = slice_eq_case(action, S("unset"))                                    ? "-"
                       : slice_eq_case(action, S("add")) || slice_eq_case(action, S("append")) ? "+"
                       : slice_eq_case(action, S("setifempty"))                             ? "?"
                                                                                            : "";
    if (slice_find(text, '%') != SLICE_NPOS) {
        text_warning(a->i, t, d->line, written(a, d), "not carried over");
    } else {
        text_line(t, "header %s%.*s%s%.*s", sign, SLICE_ARG(name), *sign == '-' ? "" : " ",
                  *sign == '-' ? 0 : SLICE_ARG(import_quoted(a->i, text)));
    }
}

/* <Proxy *> or <Directory> that only says that everybody may come. */
static bool is_open(const struct apache_directive *d)
{
    static const struct slice harmless[] = {S_INIT("Require"), S_INIT("Order"), S_INIT("Allow"),
                                            S_INIT("Options"), S_INIT("AllowOverride"),
                                            S_INIT("AddDefaultCharset")};
    bool open = d->is_section && (is(d, S("Proxy")) || is(d, S("Directory")));
    for (const struct apache_directive *c = open ? d->children : NULL; c && open; c = c->next) {
        bool known = false;
        for (size_t k = 0; k < ARRAY_LEN(harmless); k++) {
            known = known || is(c, harmless[k]);
        }
        bool all = is(c, S("Require"))  ? slice_eq_case(word(c, 2), S("granted"))
                   : is(c, S("Allow")) ? slice_eq_case(word(c, 2), S("all"))
                                         : true;
        open = known && all;
    }
    return open;
}

static void known(struct apache *a, struct import_text *t, const struct apache_directive *d)
{
    const char *why = why_needless(d->words[0]);
    if (why) {
        text_dropped(a->i, t, d->line, written(a, d), why);
        return;
    }
    for (size_t k = 0; k < ARRAY_LEN(handled); k++) {
        if (is(d, handled[k])) {
            return;
        }
    }
    if (is_open(d)) {
        text_dropped(a->i, t, d->line, written(a, d), "everybody may come");
        return;
    }
    struct apache_directive alone = *d;
    alone.next = NULL;
    if (apache_closes(&alone)) {
        text_warning(a->i, t, d->line, written(a, d), "closed to everybody until a matcher "
                     "(remote_ip) or basic_auth says who may come");
        return;
    }
    if (is(d, S("Include")) || is(d, S("IncludeOptional"))) {
        bool certbot = slice_find_slice(word(d, 1), S("letsencrypt")) != SLICE_NPOS;
        if (certbot) {
            text_dropped(a->i, t, d->line, written(a, d), "what it says is automatic here");
        } else {
            text_warning(a->i, t, d->line, written(a, d), "the file was not read");
        }
    } else {
        text_warning(a->i, t, d->line, written(a, d), "not carried over");
    }
}

/* ProxyPass, in the host or in <Location>, and whether there was one for "/". */
static bool location(struct apache *a, struct import_text *t, const struct apache_directive *host,
                     const struct apache_directive *d)
{
    const struct apache_directive *p = in(d->children, S("ProxyPass"));
    for (const struct apache_directive *c = d->children; c; c = c->next) {
        if (c != p) {
            known(a, t, c);
        }
    }
    if (p) {
        pass(a, t, host, word(d, 1), word(p, 1));
    }
    return p && slice_eq(word(d, 1), S("/"));
}

static void serve(struct apache *a, struct import_text *t, const struct apache_directive *host,
                  struct slice folder)
{
    apache_folder_access(a, t, host, folder);
    text_line(t, "root * %.*s", SLICE_ARG(import_quoted(a->i, folder)));
    text_line(t, "file_server");
}

static void files(struct apache *a, struct import_text *t, const struct apache_directive *host)
{
    struct slice root = value(a, host, S("DocumentRoot"));
    if (root.n) {
        text_open(t, "handle");
        serve(a, t, host, root);
        text_close(t);
    }
}

static void rewrite_cond(struct apache *a, struct import_text *t, const struct apache_directive *d,
                         bool upgrade)
{
    if (upgrade || slice_find_slice(word(d, 1), S("HTTPS")) != SLICE_NPOS ||
        slice_find_slice(word(d, 1), S("SERVER_NAME")) != SLICE_NPOS) {
        text_dropped(a->i, t, d->line, written(a, d), "see the rule below it");
    } else {
        text_warning(a->i, t, d->line, written(a, d), "not carried over");
    }
}

/* What holds for the whole host, rewriting among it: mod_rewrite runs before mod_proxy. */
static void common(struct apache *a, struct import_text *t, const struct apache_directive *host)
{
    struct apache_conditions c = {0};
    for (const struct apache_directive *d = host->children; d; d = d->next) {
        if (is(d, S("RewriteCond"))) {
            apache_condition(&c, d);
            rewrite_cond(a, t, d, c.upgrade);
        } else if (is(d, S("RewriteRule"))) {
            rewrite_rule(a, t, d, &c);
            c = (struct apache_conditions){0};
        } else if (is(d, S("Header"))) {
            header(a, t, d);
        } else if (!apache_is_refusal(d) && !is(d, S("RequestHeader")) && !is(d, S("ProxyPass")) &&
                   !is(d, S("Redirect")) && !is(d, S("RedirectPermanent")) &&
                   !(d->is_section && is(d, S("Location")))) {
            known(a, t, d);
        }
    }
}

/* The Alias whose path this one begins with, or NULL. */
static const struct apache_directive *alias_of(const struct apache_directive *host,
                                               struct slice path)
{
    for (const struct apache_directive *d = host->children; d; d = d->next) {
        if (is(d, S("Alias")) && slice_starts(path, import_without_slash(word(d, 1)))) {
            return d;
        }
    }
    return NULL;
}

static void aliased(struct apache *a, struct import_text *t, const struct apache_directive *host,
                    const struct apache_directive *alias, struct slice path)
{
    text_open(t, "handle %.*s", SLICE_ARG(import_below(a->i, path)));
    text_line(t, "uri strip_prefix %.*s",
              SLICE_ARG(import_quoted(a->i, import_without_slash(word(alias, 1)))));
    serve(a, t, host, word(alias, 2));
    text_close(t);
}

/* ProxyPass PATH !: not passed on. */
static void exception(struct apache *a, struct import_text *t, const struct apache_directive *host,
                      const struct apache_directive *d)
{
    if (slice_find_slice(word(d, 1), S("acme-challenge")) != SLICE_NPOS) {
        text_dropped(a->i, t, d->line, written(a, d), "challenges are answered");
        return;
    }
    const struct apache_directive *alias = alias_of(host, word(d, 1));
    if (alias) {
        aliased(a, t, host, alias, word(d, 1));
        return;
    }
    text_open(t, "handle %.*s", SLICE_ARG(import_below(a->i, word(d, 1))));
    serve(a, t, host, value(a, host, S("DocumentRoot")));
    text_close(t);
}

/* Apache takes the first ProxyPass that matches, and looks at Redirect behind them: `route` keeps
 * that order. */
static void content(struct apache *a, struct import_text *t, const struct apache_directive *host)
{
    bool all = false;
    common(a, t, host);
    text_open(t, "route");
    apache_access(a, t, host);
    for (const struct apache_directive *d = host->children; d; d = d->next) {
        if (is(d, S("ProxyPass")) && slice_eq(word(d, 2), S("!"))) {
            exception(a, t, host, d);
        } else if (is(d, S("ProxyPass"))) {
            pass(a, t, host, word(d, 1), word(d, 2));
            all = all || slice_eq(word(d, 1), S("/"));
        } else if (d->is_section && is(d, S("Location"))) {
            all = location(a, t, host, d) || all;
        }
    }
    for (const struct apache_directive *d = host->children; d; d = d->next) {
        if ((is(d, S("Redirect")) || is(d, S("RedirectPermanent"))) && !apache_is_refusal(d)) {
            redirect(a, t, d);
        }
    }
    for (const struct apache_directive *d = host->children; d && !all; d = d->next) {
        if (is(d, S("Alias"))) {
            aliased(a, t, host, d, word(d, 1));
        }
    }
    if (!all) {
        files(a, t, host);
    }
    text_close(t);
}

static bool to_https(const struct apache_directive *host)
{
    for (const struct apache_directive *d = host->children; d; d = d->next) {
        bool rule = is(d, S("RewriteRule")) && slice_starts(word(d, 2), S("https://%{"));
        struct slice name = S("");
        const struct apache_directive *n = in(host->children, S("ServerName"));
        struct slice to = word(d, d->count - 1);
        name = n ? word(n, 1) : name;
        bool redirects = (is(d, S("Redirect")) || is(d, S("RedirectPermanent"))) &&
                         slice_starts(to, S("https://")) && name.n &&
                         slice_starts(slice_from(to, 8), name);
        if (rule || redirects) {
            return true;
        }
    }
    return false;
}

static struct slice host_addresses(struct apache *a, const struct apache_directive *host, bool tls)
{
    struct dstr out;
    size_t colon = slice_rfind(word(host, 1), ':');
    struct slice port = colon == SLICE_NPOS ? S("80") : slice_from(word(host, 1), colon + 1);
    bool usual = slice_eq(port, tls ? S("443") : S("80"));
    dstr_init(&out, IMPORT_TEXT_MAX);
    for (const struct apache_directive *d = host->children; d; d = d->next) {
        if (!is(d, S("ServerName")) && !is(d, S("ServerAlias"))) {
            continue;
        }
        for (size_t k = 1; k < d->count; k++) {
            struct slice name = slice_upto(d->words[k], slice_find(d->words[k], ':'));
            dstr_printf(&out, "%s%s%.*s%s%.*s", out.n ? ", " : "", tls ? "" : "http://",
                        SLICE_ARG(name), usual ? "" : ":", SLICE_ARG(usual ? S("") : port));
        }
    }
    if (out.n == 0) {
        dstr_printf(&out, "%s:%.*s", tls ? "https://" : "http://", SLICE_ARG(port));
    }
    struct slice copy = arena_copy(&a->i->arena, dstr_slice(&out));
    dstr_fini(&out);
    return copy;
}

static void virtual_host(struct apache *a, const struct apache_directive *host)
{
    bool tls = is_on(value(a, host, S("SSLEngine"))) || slice_ends(word(host, 1), S(":443"));
    struct slice addresses = host_addresses(a, host, tls);
    if (!tls && to_https(host)) {
        text_dropped(a->i, &a->i->head, host->line,
                     arena_printf(&a->i->arena, "VirtualHost %.*s", SLICE_ARG(addresses)),
                     "HTTP is redirected to HTTPS by itself");
        return;
    }
    struct import_site *site = import_site_of(a->i, addresses);
    struct slice cert = value(a, host, S("SSLCertificateFile"));
    struct slice key = value(a, host, S("SSLCertificateKeyFile"));
    if (!site) {
        return;
    }
    a->keeps_host = is_on(value(a, host, S("ProxyPreserveHost")));
    if (cert.n && import_cert_is_automatic(cert)) {
        text_dropped(a->i, &site->body, 0, cert, "certificates are automatic");
    } else if (cert.n) {
        text_line(&site->body, "tls %.*s %.*s", SLICE_ARG(import_quoted(a->i, cert)),
                  SLICE_ARG(import_quoted(a->i, key.n ? key : cert)));
    }
    struct slice log = value(a, host, S("CustomLog"));
    if (log.n && log.p[0] == '/') {
        text_open(&site->body, "log");
        text_line(&site->body, "output file %.*s", SLICE_ARG(import_quoted(a->i, log)));
        text_close(&site->body);
    } else if (log.n) {
        text_line(&site->body, "log");
    }
    content(a, &site->body, host);
}

static bool is_if(const struct apache_directive *d)
{
    return d->is_section && (is(d, S("IfModule")) || is(d, S("IfDefine")));
}

/* What stands in <IfModule> and <IfDefine> takes their place; that for a missing module goes. */
static void without_ifs(struct apache *a, struct apache_directive **at)
{
    while (*at) {
        struct apache_directive *d = *at;
        without_ifs(a, &d->children);
        if (!is_if(d)) {
            at = &d->next;
            continue;
        }
        struct apache_directive **end = at;
        if (slice_starts(word(d, 1), S("!"))) {
            text_dropped(a->i, &a->i->head, d->line, written(a, d), "every module is there");
        } else {
            *at = d->children;
        }
        while (*end && *end != d) {
            end = &(*end)->next;
        }
        *end = d->next;
        at = end;
    }
}

static void hosts(struct apache *a)
{
    for (const struct apache_directive *d = a->top; d; d = d->next) {
        if (d->is_section && is(d, S("VirtualHost"))) {
            virtual_host(a, d);
        } else if (!d->is_section || !is(d, S("Proxy"))) {
            known(a, &a->i->head, d);
        }
    }
}

bool import_apache(struct import *i, struct slice text, struct err *err)
{
    struct apache_directive *top;
    if (!apache_parse(&i->arena, text, &top, err)) {
        return false;
    }
    struct apache a = {.i = i};
    without_ifs(&a, &top);
    a.top = top;
    hosts(&a);
    return i->sites || i->head.out.n ||
           err_set(err, "there is no <VirtualHost> in it; is it Apache's configuration?");
}
