/* Placeholders of the request: http.request.* but for its connection, and the response's fields. */
#include "proxy/base/clock.h"
#include "proxy/base/dstr.h"
#include "proxy/base/enc.h"
#include "proxy/base/rand.h"
#include "proxy/route/path.h"
#include "proxy/route/placeholder.h"
#include "proxy/route/vars.h"

#define VALUE_MAX ((size_t)256 * 1024) /* of several fields joined, or a text escaped */

/* ---- host ------------------------------------------------------------------------------------ */

static struct slice host(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->req.host;
}

static struct slice hostport(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->req.authority;
}

/* Host's own: empty where it has none, as in Caddy. */
static struct slice port(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->req.port;
}

/* Label number `which` of the host, the last one being 0; nothing where there is none. */
static struct slice host_label(struct exchange *ex, struct slice which)
{
    struct slice rest = ex->req.host;
    uint64_t n;
    if (!slice_u64(which, 127, &n)) {
        return S("");
    }
    for (; rest.n; n--) {
        size_t dot = slice_rfind(rest, '.');
        if (n == 0) {
            return dot == SLICE_NPOS ? rest : slice_from(rest, dot + 1);
        }
        rest = dot == SLICE_NPOS ? S("") : slice_upto(rest, dot);
    }
    return S("");
}

/* ---- method, URI ----------------------------------------------------------------------------- */

static struct slice method(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->req.method_text;
}

static struct slice orig_method(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->original.method_text;
}

static struct slice scheme(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->req.scheme;
}

static struct slice proto(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return http_version_text(ex->req.version);
}

static struct slice proto_name(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->req.version == HTTP_2 ? S("HTTP/2") : http_version_text(ex->req.version);
}

static struct slice uri(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->req.target;
}

static struct slice orig_uri(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->original.target;
}

/* For use inside a query: all but unreserved characters as %XX, spaces as "+". */
static struct slice escaped(struct exchange *ex, struct slice text)
{
    struct dstr d;
    dstr_init(&d, VALUE_MAX);
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (ascii_is_alpha(c) || ascii_is_digit(c) || memchr("-_.~", c, 4)) {
            dstr_byte(&d, c);
        } else if (c == ' ') {
            dstr_byte(&d, '+');
        } else {
            dstr_printf(&d, "%%%02X", (unsigned)(unsigned char)c);
        }
    }
    struct slice out = d.failed ? S("") : arena_copy(&ex->arena, dstr_slice(&d));
    dstr_fini(&d);
    return out;
}

static struct slice path(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return path_decode(&ex->arena, ex->req.path);
}

static struct slice orig_path(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return path_decode(&ex->arena, ex->original.path);
}

static struct slice uri_escaped(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return escaped(ex, ex->req.target);
}

static struct slice path_escaped(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return escaped(ex, path_decode(&ex->arena, ex->req.path));
}

static struct slice query_escaped(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return escaped(ex, ex->req.query);
}

/* Up to and with the last slash, or behind it. */
static struct slice dir_of(struct slice p)
{
    size_t slash = slice_rfind(p, '/');
    return slash == SLICE_NPOS ? S("") : slice_upto(p, slash + 1);
}

static struct slice file_of(struct slice p)
{
    size_t slash = slice_rfind(p, '/');
    return slash == SLICE_NPOS ? p : slice_from(p, slash + 1);
}

static struct slice path_dir(struct exchange *ex, struct slice arg)
{
    return dir_of(path(ex, arg));
}

static struct slice path_file(struct exchange *ex, struct slice arg)
{
    return file_of(path(ex, arg));
}

static struct slice orig_path_dir(struct exchange *ex, struct slice arg)
{
    return dir_of(orig_path(ex, arg));
}

static struct slice orig_path_file(struct exchange *ex, struct slice arg)
{
    return file_of(orig_path(ex, arg));
}

static struct slice path_file_ext(struct exchange *ex, struct slice arg)
{
    struct slice file = path_file(ex, arg);
    size_t dot = slice_rfind(file, '.');
    return dot == SLICE_NPOS ? S("") : slice_from(file, dot);
}

static struct slice path_file_base(struct exchange *ex, struct slice arg)
{
    struct slice file = path_file(ex, arg);
    return slice_upto(file, slice_rfind(file, '.'));
}

/* Part number `which` between slashes, the first being 0. */
static struct slice part_of(struct slice p, struct slice which)
{
    uint64_t n;
    struct slice part;
    if (!slice_u64(which, 10000, &n)) {
        return S("");
    }
    p = slice_starts(p, S("/")) ? slice_from(p, 1) : p;
    for (; slice_cut(&p, '/', &part); n--) {
        if (n == 0) {
            return part;
        }
    }
    return S("");
}

static struct slice path_part(struct exchange *ex, struct slice which)
{
    return part_of(path_decode(&ex->arena, ex->req.path), which);
}

static struct slice orig_path_part(struct exchange *ex, struct slice which)
{
    return part_of(path_decode(&ex->arena, ex->original.path), which);
}

/* ---- query ----------------------------------------------------------------------------------- */

static struct slice query(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->req.query;
}

static struct slice orig_query(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->original.query;
}

static struct slice prefixed_query(struct exchange *ex, struct slice arg)
{
    (void)arg;
    struct slice q = ex->req.query;
    return q.n ? arena_printf(&ex->arena, "?%.*s", SLICE_ARG(q)) : S("");
}

static struct slice orig_prefixed_query(struct exchange *ex, struct slice arg)
{
    (void)arg;
    struct slice q = ex->original.query;
    return q.n ? arena_printf(&ex->arena, "?%.*s", SLICE_ARG(q)) : S("");
}

/* All values of one key, decoded, with commas between them. */
static struct slice query_value(struct exchange *ex, struct slice key)
{
    struct slice rest = ex->req.query;
    struct slice out = S("");
    struct slice k;
    struct slice v;
    bool any = false;
    while (query_next(&ex->arena, &rest, &k, &v)) {
        if (slice_eq(k, key)) {
            out = any ? arena_printf(&ex->arena, "%.*s,%.*s", SLICE_ARG(out), SLICE_ARG(v)) : v;
            any = true;
        }
    }
    return out;
}

/* ---- fields ---------------------------------------------------------------------------------- */

/* All values of one name, with commas between them. */
static struct slice joined(struct exchange *ex, const struct fields *fields, struct slice name)
{
    const struct field *first = fields_find(fields, name);
    struct slice out = first ? first->value : S("");
    if (!first) {
        return out;
    }
    for (const struct field *f = first + 1; f < fields->items + fields->count; f++) {
        if (slice_eq_case(f->name, name) && out.n + f->value.n < VALUE_MAX) {
            out = arena_printf(&ex->arena, "%.*s,%.*s", SLICE_ARG(out), SLICE_ARG(f->value));
        }
    }
    return out;
}

static struct slice header(struct exchange *ex, struct slice name)
{
    return joined(ex, &ex->req.fields, name);
}

static struct slice response_header(struct exchange *ex, struct slice name)
{
    return joined(ex, &ex->res.fields, name);
}

static struct slice cookie(struct exchange *ex, struct slice name)
{
    for (unsigned i = 0; i < ex->req.fields.count; i++) {
        const struct field *f = &ex->req.fields.items[i];
        struct slice rest = f->value;
        struct slice pair;
        while (f->id == FIELD_COOKIE && slice_cut(&rest, ';', &pair)) {
            struct slice value = slice_trim(pair);
            struct slice key;
            if (slice_cut(&value, '=', &key) && slice_eq_case(key, name)) {
                return value;
            }
        }
    }
    return S("");
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* As Go writes durations: "1.5ms". */
static struct slice duration(struct exchange *ex, struct slice arg)
{
    (void)arg;
    int64_t us = clock_mono_us() - ex->started_us;
    return us < 1000      ? arena_printf(&ex->arena, "%lld\xc2\xb5s", (long long)us)
           : us < 1000000 ? arena_printf(&ex->arena, "%.6gms", (double)us / 1e3)
                          : arena_printf(&ex->arena, "%.9gs", (double)us / 1e6);
}

static struct slice duration_ms(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return arena_printf(&ex->arena, "%.10g", (double)(clock_mono_us() - ex->started_us) / 1e3);
}

/* A random one (RFC 9562 section 5.4), the same throughout the exchange. */
static struct slice uuid(struct exchange *ex, struct slice arg)
{
    static const struct slice name = S_INIT("http.request.uuid");
    unsigned char b[16];
    struct slice text;
    (void)arg;
    if (vars_get(ex, name, &text)) {
        return text;
    }
    if (!rand_bytes(b, sizeof(b))) {
        return S("");
    }
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    text = arena_printf(&ex->arena,
                        "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                        b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11],
                        b[12], b[13], b[14], b[15]);
    return vars_set(ex, name, text) ? text : S("");
}

static const struct placeholder rows[] = {
    {.name = "http.request.host", .value = host},
    {.name = "http.request.hostport", .value = hostport},
    {.name = "http.request.port", .value = port},
    {.name = "http.request.host.labels.", .value = host_label},
    {.name = "http.request.method", .value = method},
    {.name = "http.request.orig_method", .value = orig_method},
    {.name = "http.request.scheme", .value = scheme},
    {.name = "http.request.proto", .value = proto},
    {.name = "http.request.proto_name", .value = proto_name},
    {.name = "http.request.uri", .value = uri},
    {.name = "http.request.uri_escaped", .value = uri_escaped},
    {.name = "http.request.uri.path", .value = path},
    {.name = "http.request.uri.path_escaped", .value = path_escaped},
    {.name = "http.request.uri.path.dir", .value = path_dir},
    {.name = "http.request.uri.path.file", .value = path_file},
    {.name = "http.request.uri.path.file.base", .value = path_file_base},
    {.name = "http.request.uri.path.file.ext", .value = path_file_ext},
    {.name = "http.request.uri.path.", .value = path_part},
    {.name = "http.request.uri.query", .value = query},
    {.name = "http.request.uri.query_escaped", .value = query_escaped},
    {.name = "http.request.uri.prefixed_query", .value = prefixed_query},
    {.name = "http.request.uri.query.", .value = query_value},
    {.name = "http.request.orig_uri", .value = orig_uri},
    {.name = "http.request.orig_uri.path", .value = orig_path},
    {.name = "http.request.orig_uri.path.dir", .value = orig_path_dir},
    {.name = "http.request.orig_uri.path.file", .value = orig_path_file},
    {.name = "http.request.orig_uri.path.", .value = orig_path_part},
    {.name = "http.request.orig_uri.query", .value = orig_query},
    {.name = "http.request.orig_uri.prefixed_query", .value = orig_prefixed_query},
    {.name = "http.request.header.", .value = header},
    {.name = "http.request.cookie.", .value = cookie},
    {.name = "http.response.header.", .value = response_header},
    {.name = "http.request.duration", .value = duration},
    {.name = "http.request.duration_ms", .value = duration_ms},
    {.name = "http.request.uuid", .value = uuid},
};

const struct placeholder_table placeholders_of_request = {rows, ARRAY_LEN(rows)};
