/* nginx's values: variables as placeholders, durations, sizes. */
#include "cmd/import/nginx_convert.h"

static const struct {
    struct slice variable, placeholder;
} variables[] = {
    {S_INIT("host"), S_INIT("{host}")},
    {S_INIT("http_host"), S_INIT("{hostport}")},
    {S_INIT("server_name"), S_INIT("{host}")},
    {S_INIT("server_port"), S_INIT("{port}")},
    {S_INIT("remote_addr"), S_INIT("{remote_host}")},
    {S_INIT("remote_port"), S_INIT("{remote_port}")},
    {S_INIT("binary_remote_addr"), S_INIT("{remote_host}")},
    {S_INIT("realip_remote_addr"), S_INIT("{remote_host}")},
    {S_INIT("scheme"), S_INIT("{scheme}")},
    {S_INIT("request_uri"), S_INIT("{uri}")},
    {S_INIT("uri"), S_INIT("{path}")},
    {S_INIT("document_uri"), S_INIT("{path}")},
    {S_INIT("args"), S_INIT("{query}")},
    {S_INIT("query_string"), S_INIT("{query}")},
    {S_INIT("request_method"), S_INIT("{method}")},
    {S_INIT("request_id"), S_INIT("{uuid}")},
    {S_INIT("proxy_host"), S_INIT("{upstream_hostport}")},
    {S_INIT("ssl_protocol"), S_INIT("{tls_version}")},
    {S_INIT("ssl_cipher"), S_INIT("{tls_cipher}")},
    {S_INIT("hostname"), S_INIT("{system.hostname}")},
};

const struct nginx_directive *nginx_in(const struct nginx_directive *first, struct slice name)
{
    for (const struct nginx_directive *d = first; d; d = d->next) {
        if (nginx_is(d, name)) {
            return d;
        }
    }
    return NULL;
}

const struct nginx_directive *nginx_inherited(const struct nginx_scope *scope, struct slice name)
{
    const struct nginx_directive *d = nginx_list(scope, name);
    return nginx_in(d, name);
}

const struct nginx_directive *nginx_list(const struct nginx_scope *scope, struct slice name)
{
    for (; scope; scope = scope->outer) {
        if (nginx_in(scope->first, name)) {
            return scope->first;
        }
    }
    return NULL;
}

struct slice nginx_word(const struct nginx_directive *d, size_t k)
{
    return k < d->count ? d->words[k] : S("");
}

bool nginx_is(const struct nginx_directive *d, struct slice name)
{
    return slice_eq(d->words[0], name);
}

struct slice nginx_written(struct nginx *n, const struct nginx_directive *d)
{
    return import_join(n->i, d->words, d->count);
}

static bool is_name(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '_';
}

/* http_x_real_ip: x-real-ip. */
static struct slice field_name(struct nginx *n, struct slice s)
{
    struct slice copy = arena_copy(&n->i->arena, s);
    char *p = copy.n ? arena_cstr(&n->i->arena, s) : NULL;
    bool first = true;
    for (size_t k = 0; p && k < s.n; k++) {
        p[k] = p[k] == '_' ? '-' : p[k];
        if (first && p[k] >= 'a' && p[k] <= 'z') {
            p[k] = (char)(p[k] - 0x20);
        }
        first = p[k] == '-';
    }
    return p ? slice_of(p, s.n) : S("");
}

/* The constant that `set` gives a variable in this scope. */
static bool set_value(const struct nginx_scope *scope, struct slice name, struct slice *out)
{
    for (; scope; scope = scope->outer) {
        for (const struct nginx_directive *d = scope->first; d; d = d->next) {
            if (nginx_is(d, S("set")) && d->count == 3 &&
                slice_eq(slice_from(d->words[1], 1), name)) {
                *out = d->words[2];
                return slice_find(*out, '$') == SLICE_NPOS;
            }
        }
    }
    return false;
}

static bool variable(struct nginx *n, const struct nginx_scope *scope, struct slice name,
                     struct dstr *out)
{
    struct slice value;
    for (size_t k = 0; k < ARRAY_LEN(variables); k++) {
        if (slice_eq(variables[k].variable, name)) {
            dstr_append(out, variables[k].placeholder);
            return true;
        }
    }
    if (set_value(scope, name, &value)) {
        dstr_append(out, value);
    } else if (name.n == 1 && ascii_is_digit(name.p[0]) && n->re.n) {
        dstr_printf(out, "{re.%.*s.%c}", SLICE_ARG(n->re), name.p[0]);
    } else if (slice_starts(name, S("http_"))) {
        dstr_printf(out, "{header.%.*s}", SLICE_ARG(field_name(n, slice_from(name, 5))));
    } else if (slice_starts(name, S("arg_"))) {
        dstr_printf(out, "{query.%.*s}", SLICE_ARG(slice_from(name, 4)));
    } else if (slice_starts(name, S("cookie_"))) {
        dstr_printf(out, "{cookie.%.*s}", SLICE_ARG(slice_from(name, 7)));
    } else {
        return false;
    }
    return true;
}

bool nginx_text(struct nginx *n, const struct nginx_scope *scope, struct slice value,
                struct slice *out, struct slice *unknown)
{
    struct dstr d;
    bool ok = true;
    dstr_init(&d, IMPORT_TEXT_MAX);
    for (size_t k = 0; ok && k < value.n;) {
        if (slice_starts(slice_from(value, k), S("$is_args$args"))) {
            dstr_append(&d, S("{?query}"));
            k += sizeof("$is_args$args") - 1;
            continue;
        }
        if (value.p[k] != '$' || k + 1 >= value.n) {
            dstr_byte(&d, value.p[k++]);
            continue;
        }
        bool braces = value.p[k + 1] == '{';
        size_t start = k + 1 + braces, stop = start;
        while (stop < value.n && is_name(value.p[stop])) {
            /* $1 is one digit: "$10" is $1 and "0". */
            if (stop > start && ascii_is_digit(value.p[start])) {
                break;
            }
            stop++;
        }
        struct slice name = slice_of(value.p + start, stop - start);
        if (name.n == 0) {
            dstr_byte(&d, value.p[k++]); /* "$" at the end of a regular expression */
            continue;
        }
        ok = variable(n, scope, name, &d);
        *unknown = name;
        k = stop + (braces && stop < value.n && value.p[stop] == '}');
    }
    *out = arena_copy(&n->i->arena, dstr_slice(&d));
    if (out->p == NULL) {
        *out = S("");
    }
    dstr_fini(&d);
    return ok;
}

struct slice nginx_duration(struct nginx *n, struct slice v)
{
    static const struct slice units[] = {S_INIT("ms"), S_INIT("s"), S_INIT("m"), S_INIT("h"),
                                         S_INIT("d")};
    uint64_t number;
    if (slice_u64(v, 1000000000, &number)) {
        return arena_printf(&n->i->arena, "%.*ss", SLICE_ARG(v));
    }
    size_t digits = 0;
    while (digits < v.n && ascii_is_digit(v.p[digits])) {
        digits++;
    }
    for (size_t k = 0; digits && k < ARRAY_LEN(units); k++) {
        if (slice_eq(slice_from(v, digits), units[k])) {
            return v;
        }
    }
    return slice_of(NULL, 0);
}

struct slice nginx_size(struct nginx *n, struct slice v)
{
    uint64_t number;
    static const struct {
        char letter;
        const char *unit;
    } units[] = {{'k', "KiB"}, {'m', "MiB"}, {'g', "GiB"}};
    if (slice_u64(v, UINT64_MAX / 2, &number)) {
        return v;
    }
    for (size_t k = 0; v.n && k < ARRAY_LEN(units); k++) {
        struct slice digits = slice_upto(v, v.n - 1);
        if (ascii_lower(v.p[v.n - 1]) == units[k].letter &&
            slice_u64(digits, UINT64_MAX >> 31, &number)) {
            return arena_printf(&n->i->arena, "%.*s%s", SLICE_ARG(digits), units[k].unit);
        }
    }
    return slice_of(NULL, 0);
}
