/* Placeholders: a table of names, compiled parts, evaluation; see template.h. */
#include "proxy/route/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/enc.h"
#include "proxy/base/rand.h"
#include "proxy/net/stream.h"

enum part_kind {
    PART_TEXT,
    PART_HOST,
    PART_HOSTPORT,
    PART_LABEL,
    PART_PORT,
    PART_METHOD,
    PART_SCHEME,
    PART_URI,
    PART_PATH,
    PART_QUERY,
    PART_PREFIXED_QUERY,
    PART_PROTO,
    PART_REMOTE,
    PART_REMOTE_HOST,
    PART_REMOTE_PORT,
    PART_CLIENT_IP,
    PART_ORIGIN_HOSTPORT,
    PART_ORIGIN_HOST,
    PART_ORIGIN_PORT,
    PART_ORIGIN_STATUS,
    PART_ORIGIN_HEADER,
    PART_HEADER,
    PART_RESPONSE_HEADER,
    PART_COOKIE,
    PART_TLS_VERSION,
    PART_TLS_CIPHER,
    PART_ENV,
    PART_HOSTNAME,
    PART_NOW_UNIX,
    PART_NOW_HTTP,
    PART_UUID,
};

static const struct {
    const char *name; /* a trailing '.' takes an argument behind it */
    enum part_kind kind;
} placeholder_table[] = {
    {"host", PART_HOST},
    {"http.request.host", PART_HOST},
    {"hostport", PART_HOSTPORT},
    {"http.request.hostport", PART_HOSTPORT},
    {"labels.", PART_LABEL},
    {"http.request.host.labels.", PART_LABEL},
    {"port", PART_PORT},
    {"http.request.port", PART_PORT},
    {"method", PART_METHOD},
    {"http.request.method", PART_METHOD},
    {"scheme", PART_SCHEME},
    {"http.request.scheme", PART_SCHEME},
    {"uri", PART_URI},
    {"%uri", PART_URI},
    {"orig_uri", PART_URI},
    {"http.request.uri", PART_URI},
    {"http.request.orig_uri", PART_URI},
    {"path", PART_PATH},
    {"%path", PART_PATH},
    {"orig_path", PART_PATH},
    {"http.request.uri.path", PART_PATH},
    {"http.request.orig_uri.path", PART_PATH},
    {"query", PART_QUERY},
    {"%query", PART_QUERY},
    {"orig_query", PART_QUERY},
    {"http.request.uri.query", PART_QUERY},
    {"?query", PART_PREFIXED_QUERY},
    {"orig_?query", PART_PREFIXED_QUERY},
    {"http.request.uri.prefixed_query", PART_PREFIXED_QUERY},
    {"http.request.proto", PART_PROTO},
    {"remote", PART_REMOTE},
    {"http.request.remote", PART_REMOTE},
    {"remote_host", PART_REMOTE_HOST},
    {"http.request.remote.host", PART_REMOTE_HOST},
    {"client_ip", PART_CLIENT_IP},
    {"http.vars.client_ip", PART_CLIENT_IP},
    {"upstream_hostport", PART_ORIGIN_HOSTPORT},
    {"rp.upstream.hostport", PART_ORIGIN_HOSTPORT},
    {"http.reverse_proxy.upstream.hostport", PART_ORIGIN_HOSTPORT},
    {"rp.upstream.address", PART_ORIGIN_HOSTPORT},
    {"http.reverse_proxy.upstream.address", PART_ORIGIN_HOSTPORT},
    {"rp.upstream.host", PART_ORIGIN_HOST},
    {"http.reverse_proxy.upstream.host", PART_ORIGIN_HOST},
    {"rp.upstream.port", PART_ORIGIN_PORT},
    {"http.reverse_proxy.upstream.port", PART_ORIGIN_PORT},
    {"rp.status_code", PART_ORIGIN_STATUS},
    {"http.reverse_proxy.status_code", PART_ORIGIN_STATUS},
    {"rp.header.", PART_ORIGIN_HEADER},
    {"http.reverse_proxy.header.", PART_ORIGIN_HEADER},
    {"remote_port", PART_REMOTE_PORT},
    {"http.request.remote.port", PART_REMOTE_PORT},
    {"header.", PART_HEADER},
    {"http.request.header.", PART_HEADER},
    {"resp.header.", PART_RESPONSE_HEADER},
    {"http.response.header.", PART_RESPONSE_HEADER},
    {"cookie.", PART_COOKIE},
    {"http.request.cookie.", PART_COOKIE},
    {"tls_version", PART_TLS_VERSION},
    {"http.request.tls.version", PART_TLS_VERSION},
    {"tls_cipher", PART_TLS_CIPHER},
    {"http.request.tls.cipher_suite", PART_TLS_CIPHER},
    {"env.", PART_ENV},
    {"system.hostname", PART_HOSTNAME},
    {"time.now.unix", PART_NOW_UNIX},
    {"time.now.http", PART_NOW_HTTP},
    {"uuid", PART_UUID},
    {"http.request.uuid", PART_UUID},
};

struct part {
    struct part *next;
    enum part_kind kind;
    struct slice text; /* PART_TEXT, or the argument */
};

struct template {
    struct part *parts;
    struct slice literal; /* p == NULL: has placeholders */
};

static bool find_placeholder(struct slice name, struct part *out)
{
    for (size_t i = 0; i < ARRAY_LEN(placeholder_table); i++) {
        struct slice known = slice_str(placeholder_table[i].name);
        bool takes_argument = known.p[known.n - 1] == '.';
        if (takes_argument ? slice_starts(name, known) && name.n > known.n
                           : slice_eq(name, known)) {
            out->kind = placeholder_table[i].kind;
            out->text = takes_argument ? slice_from(name, known.n) : (struct slice){NULL, 0};
            return true;
        }
    }
    return false;
}

static void unknown_placeholder(struct cf_diags *diags, const struct cf_token *token,
                                struct slice name)
{
    struct slice names[ARRAY_LEN(placeholder_table)];
    for (size_t i = 0; i < ARRAY_LEN(placeholder_table); i++) {
        names[i] = slice_str(placeholder_table[i].name);
    }
    struct cf_diag *diag = cf_error(diags, token, "unknown placeholder {%.*s}", SLICE_ARG(name));
    if (diag) {
        cf_did_you_mean(diags, diag, name, names, ARRAY_LEN(names));
    }
}

/* Does text look like the inside of a placeholder? JSON and CSS in a body do not. */
static bool is_placeholder_name(struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && !strchr("._-?%", c)) {
            return false;
        }
    }
    return text.n > 0 && !ascii_is_digit(text.p[0]);
}

static struct part *append_part(struct arena *a, struct part ***tail, struct part part)
{
    struct part *p = ARENA_NEW(a, struct part);
    if (p) {
        part.next = NULL;
        *p = part;
        **tail = p;
        *tail = &p->next;
    }
    return p;
}

/* Takes one placeholder or literal run off *rest. */
static bool next_part(struct slice *rest, struct part *out, const struct cf_token *token,
                      struct cf_diags *diags)
{
    struct slice s = *rest;
    if (s.n > 1 && s.p[0] == '\\' && (s.p[1] == '{' || s.p[1] == '}')) {
        *out = (struct part){.kind = PART_TEXT, .text = slice_of(s.p + 1, 1)};
        *rest = slice_from(s, 2);
        return true;
    }
    if (s.p[0] == '{') {
        size_t end = slice_find(s, '}');
        struct slice name = end == SLICE_NPOS ? S("") : slice_of(s.p + 1, end - 1);
        if (is_placeholder_name(name)) {
            *rest = slice_from(s, end + 1);
            if (!find_placeholder(name, out)) {
                unknown_placeholder(diags, token, name);
                return false;
            }
            return true;
        }
    }
    size_t n = 1;
    while (n < s.n && s.p[n] != '{' && s.p[n] != '\\') {
        n++;
    }
    *out = (struct part){.kind = PART_TEXT, .text = slice_upto(s, n)};
    *rest = slice_from(s, n);
    return true;
}

struct template *template_compile(struct arena *a, const struct cf_token *token,
                                  struct cf_diags *diags)
{
    struct template *t = ARENA_NEW(a, struct template);
    if (!t) {
        return NULL;
    }
    struct part **tail = &t->parts;
    struct slice rest = token->text;
    bool literal = true;
    while (rest.n) {
        struct part part = {0};
        if (!next_part(&rest, &part, token, diags) || !append_part(a, &tail, part)) {
            return NULL;
        }
        literal = literal && part.kind == PART_TEXT;
    }
    if (literal) {
        struct dstr text;
        dstr_init(&text, token->text.n + 1);
        for (struct part *p = t->parts; p; p = p->next) {
            dstr_append(&text, p->text);
        }
        t->literal = arena_copy(a, dstr_slice(&text));
        dstr_fini(&text);
    }
    return t;
}

static struct slice cookie_value(const struct exchange *ex, struct slice name)
{
    for (unsigned i = 0; i < ex->req.fields.count; i++) {
        const struct field *f = &ex->req.fields.items[i];
        struct slice rest = f->value;
        struct slice pair;
        while (f->id == FIELD_COOKIE && slice_cut(&rest, ';', &pair)) {
            struct slice value = slice_trim(pair);
            struct slice key;
            if (slice_cut(&value, '=', &key) && slice_eq(key, name)) {
                return value;
            }
        }
    }
    return S("");
}

static struct slice field_value(const struct fields *fields, struct slice name)
{
    const struct field *f = fields_find(fields, name);
    return f ? f->value : S("");
}

static struct slice uuid(struct exchange *ex)
{
    unsigned char b[16];
    if (!rand_bytes(b, sizeof(b))) {
        return S("");
    }
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    return arena_printf(&ex->arena,
                        "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                        b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11],
                        b[12], b[13], b[14], b[15]);
}

/* Label number `which` of a host, the last one being 0; nothing where there is none. */
static struct slice host_label(struct slice host, struct slice which)
{
    uint64_t n;
    if (!slice_u64(which, 127, &n)) {
        return S("");
    }
    for (; host.n; n--) {
        size_t dot = slice_rfind(host, '.');
        if (n == 0) {
            return dot == SLICE_NPOS ? host : slice_from(host, dot + 1);
        }
        host = dot == SLICE_NPOS ? S("") : slice_upto(host, dot);
    }
    return S("");
}

static struct slice connection_part(enum part_kind kind, struct exchange *ex)
{
    char buf[ADDR_TEXT_BYTES];
    switch ((int)kind) {
    case PART_REMOTE:
        return arena_copy(&ex->arena, addr_text(ex->client.peer, buf));
    case PART_REMOTE_HOST:
        return arena_copy(&ex->arena, addr_host_text(ex->client.peer, buf));
    case PART_REMOTE_PORT:
        return arena_printf(&ex->arena, "%u", addr_port(ex->client.peer));
    case PART_CLIENT_IP:
        return arena_copy(&ex->arena, addr_host_text(ex->client_addr, buf));
    case PART_TLS_VERSION:
        return ex->client.tls ? ex->client.tls->version : S("");
    case PART_TLS_CIPHER:
        return ex->client.tls ? ex->client.tls->cipher : S("");
    default:
        return S("");
    }
}

/* Of the origin this request was sent to last; empty before that. */
static struct slice origin_part(enum part_kind kind, struct exchange *ex)
{
    struct slice text = ex->origin_text;
    size_t colon = slice_starts(text, S("/")) ? SLICE_NPOS : slice_rfind(text, ':');
    switch ((int)kind) {
    case PART_ORIGIN_HOSTPORT:
        return text;
    case PART_ORIGIN_HOST:
        text = slice_upto(text, colon);
        return slice_starts(text, S("[")) ? slice_of(text.p + 1, text.n - 2) : text;
    case PART_ORIGIN_PORT:
        return colon == SLICE_NPOS ? S("") : slice_from(text, colon + 1);
    case PART_ORIGIN_STATUS:
        return ex->origin_status ? arena_printf(&ex->arena, "%d", ex->origin_status) : S("");
    default:
        return S("");
    }
}

static struct slice world_part(const struct part *p, struct exchange *ex)
{
    char buf[256];
    switch ((int)p->kind) {
    case PART_ENV: {
        char *name = arena_cstr(&ex->arena, p->text);
        return name ? slice_str(getenv(name)) : S("");
    }
    case PART_HOSTNAME:
        return gethostname(buf, sizeof(buf) - 1) == 0
                   ? (buf[sizeof(buf) - 1] = '\0', arena_copy(&ex->arena, slice_str(buf)))
                   : S("");
    case PART_NOW_UNIX:
        return arena_printf(&ex->arena, "%lld", (long long)(clock_wall_ms() / 1000));
    case PART_NOW_HTTP: {
        char date[CLOCK_HTTP_DATE_BYTES];
        clock_http_date(clock_wall_ms(), date);
        return arena_copy(&ex->arena, slice_str(date));
    }
    case PART_UUID:
        return uuid(ex);
    default:
        return S("");
    }
}

static struct slice eval_part(const struct part *p, struct exchange *ex)
{
    switch (p->kind) {
    case PART_TEXT: return p->text;
    case PART_HOST: return ex->req.host;
    case PART_HOSTPORT: return ex->req.authority;
    case PART_METHOD: return ex->req.method_text;
    case PART_SCHEME: return ex->req.scheme;
    case PART_URI: return ex->req.target;
    case PART_PATH: return ex->req.path;
    case PART_QUERY: return ex->req.query;
    case PART_PREFIXED_QUERY:
        return ex->req.query.n ? slice_of(ex->req.query.p - 1, ex->req.query.n + 1) : S("");
    case PART_PROTO: return http_version_text(ex->req.version);
    case PART_ORIGIN_HOSTPORT:
    case PART_ORIGIN_HOST:
    case PART_ORIGIN_PORT:
    case PART_ORIGIN_STATUS: return origin_part(p->kind, ex);
    case PART_ORIGIN_HEADER: return field_value(&ex->origin_fields, p->text);
    case PART_HEADER: return field_value(&ex->req.fields, p->text);
    case PART_RESPONSE_HEADER: return field_value(&ex->res.fields, p->text);
    case PART_COOKIE: return cookie_value(ex, p->text);
    case PART_PORT: return ex->req.port; /* Host's own: empty where it has none, as in Caddy */
    case PART_LABEL: return host_label(ex->req.host, p->text);
    case PART_REMOTE:
    case PART_REMOTE_HOST:
    case PART_REMOTE_PORT:
    case PART_CLIENT_IP:
    case PART_TLS_VERSION:
    case PART_TLS_CIPHER: return connection_part(p->kind, ex);
    case PART_ENV:
    case PART_HOSTNAME:
    case PART_NOW_UNIX:
    case PART_NOW_HTTP:
    case PART_UUID: return world_part(p, ex);
    }
    return S("");
}

struct slice template_eval(const struct template *t, struct exchange *ex)
{
    if (t->literal.p) {
        return t->literal;
    }
    struct dstr out;
    dstr_init(&out, EXCHANGE_ARENA_MAX / 4);
    for (const struct part *p = t->parts; p; p = p->next) {
        dstr_append(&out, eval_part(p, ex));
    }
    struct slice text = out.failed ? S("") : arena_copy(&ex->arena, dstr_slice(&out));
    dstr_fini(&out);
    return text;
}

struct slice template_literal(const struct template *t)
{
    return t->literal;
}

bool template_names_origin(const struct template *t)
{
    for (const struct part *p = t->parts; p; p = p->next) {
        if (p->kind >= PART_ORIGIN_HOSTPORT && p->kind <= PART_ORIGIN_PORT) {
            return true;
        }
    }
    return false;
}
