/* Names of placeholders: shorthands, and the search through the tables; see placeholder.h. */
#include "proxy/route/placeholder.h"

#include "proxy/route/vars.h"

/* Caddy's shorthands; with a '.' at the end whatever follows is kept. */
static const struct {
    const char *text;
    const char *name;
} shorthands[] = {
    {"host", "http.request.host"},
    {"hostport", "http.request.hostport"},
    {"port", "http.request.port"},
    {"labels.", "http.request.host.labels."},
    {"orig_method", "http.request.orig_method"},
    {"orig_uri", "http.request.orig_uri"},
    {"orig_path", "http.request.orig_uri.path"},
    {"orig_dir", "http.request.orig_uri.path.dir"},
    {"orig_file", "http.request.orig_uri.path.file"},
    {"orig_query", "http.request.orig_uri.query"},
    {"orig_?query", "http.request.orig_uri.prefixed_query"},
    {"method", "http.request.method"},
    {"scheme", "http.request.scheme"},
    {"uri", "http.request.uri"},
    {"%uri", "http.request.uri_escaped"},
    {"path", "http.request.uri.path"},
    {"%path", "http.request.uri.path_escaped"},
    {"path.", "http.request.uri.path."},
    {"dir", "http.request.uri.path.dir"},
    {"file", "http.request.uri.path.file"},
    {"file.base", "http.request.uri.path.file.base"},
    {"file.ext", "http.request.uri.path.file.ext"},
    {"query", "http.request.uri.query"},
    {"%query", "http.request.uri.query_escaped"},
    {"?query", "http.request.uri.prefixed_query"},
    {"query.", "http.request.uri.query."},
    {"header.", "http.request.header."},
    {"cookie.", "http.request.cookie."},
    {"remote", "http.request.remote"},
    {"remote_host", "http.request.remote.host"},
    {"remote_port", "http.request.remote.port"},
    {"client_ip", "http.vars.client_ip"},
    {"uuid", "http.request.uuid"},
    {"tls_cipher", "http.request.tls.cipher_suite"},
    {"tls_version", "http.request.tls.version"},
    {"tls_client_fingerprint", "http.request.tls.client.fingerprint"},
    {"tls_client_issuer", "http.request.tls.client.issuer"},
    {"tls_client_serial", "http.request.tls.client.serial"},
    {"tls_client_subject", "http.request.tls.client.subject"},
    {"tls_client_certificate_pem", "http.request.tls.client.certificate_pem"},
    {"tls_client_certificate_der_base64", "http.request.tls.client.certificate_der_base64"},
    {"upstream_hostport", "http.reverse_proxy.upstream.hostport"},
    {"rp.", "http.reverse_proxy."},
    {"resp.header.", "http.response.header."},
    {"resp.", "http.intercept."},
    {"re.", "http.regexp."},
    {"vars.", "http.vars."},
    {"err.", "http.error."},
    {"file_match.", "http.matchers.file."},
};

/* Whose names begin like this are variables, set or not. */
static const struct slice variable_prefixes[] = {
    S_INIT("http.regexp."), S_INIT("http.vars."),      S_INIT("http.error."),
    S_INIT("http.auth."),   S_INIT("http.intercept."), S_INIT("http.matchers.file."),
};

/* Caddy's, known so that the message can say so. */
static const struct slice not_here[] = {
    S_INIT("http.request.body"), S_INIT("http.request.body_base64"),
    S_INIT("http.request.tls.client."), S_INIT("http.request.tls.ech"),
    S_INIT("http.reverse_proxy."),
};

static const struct placeholder_table *const tables[] = {
    &placeholders_of_request,
    &placeholders_of_connection,
    &placeholders_of_client,
    &placeholders_of_origin,
    &placeholders_of_world,
};

static bool takes_argument(struct slice name)
{
    char last = name.p[name.n - 1];
    return last == '.' || last == '/';
}

static struct slice long_name(struct arena *a, struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(shorthands); i++) {
        struct slice text = slice_str(shorthands[i].text);
        if (slice_eq(text, name)) {
            return slice_str(shorthands[i].name);
        }
        if (takes_argument(text) && slice_starts(name, text) && name.n > text.n) {
            return arena_printf(a, "%s%.*s", shorthands[i].name,
                                SLICE_ARG(slice_from(name, text.n)));
        }
    }
    return name;
}

static const struct placeholder *find_row(struct slice name, struct slice *arg)
{
    const struct placeholder *best = NULL;
    size_t best_length = 0;
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            const struct placeholder *row = &tables[t]->rows[i];
            struct slice known = slice_str(row->name);
            if (slice_eq(known, name)) {
                *arg = S("");
                return row;
            }
            if (takes_argument(known) && slice_starts(name, known) && name.n > known.n &&
                known.n > best_length) {
                best = row;
                best_length = known.n;
            }
        }
    }
    *arg = slice_from(name, best_length);
    return best;
}

/* {file.name.txt} reads a file, {file.base} is a part of the path; Caddy tells them apart by what
 * the argument looks like. */
static bool is_file_name(struct slice name)
{
    static const struct slice prefix = S_INIT("file.");
    for (size_t i = prefix.n; slice_starts(name, prefix) && i < name.n; i++) {
        if (name.p[i] == '.' || name.p[i] == '/') {
            return true;
        }
    }
    return false;
}

static bool has_prefix_of(struct slice name, const struct slice *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (takes_argument(list[i]) ? slice_starts(name, list[i]) && name.n > list[i].n
                                    : slice_eq(name, list[i])) {
            return true;
        }
    }
    return false;
}

enum placeholder_found placeholder_find(struct arena *a, struct slice name,
                                        struct placeholder_use *out)
{
    struct slice full = is_file_name(name) ? name : long_name(a, name);
    *out = (struct placeholder_use){.known = true};
    out->row = full.p ? find_row(full, &out->arg) : NULL;
    if (out->row) {
        return PLACEHOLDER_KNOWN;
    }
    out->arg = full;
    if (has_prefix_of(full, variable_prefixes, ARRAY_LEN(variable_prefixes))) {
        return PLACEHOLDER_KNOWN;
    }
    out->known = false;
    return has_prefix_of(full, not_here, ARRAY_LEN(not_here)) ? PLACEHOLDER_NOT_HERE
                                                              : PLACEHOLDER_UNKNOWN;
}

/* As variables of the environment are called. */
static bool is_capital(struct slice name)
{
    bool capital = true;
    for (size_t i = 0; i < name.n && capital; i++) {
        char c = name.p[i];
        capital = (c >= 'A' && c <= 'Z') || ascii_is_digit(c) || c == '_';
    }
    return capital && name.n > 1;
}

void placeholder_complain(struct cf_diags *diags, const struct cf_token *at, struct slice name,
                          enum placeholder_found found)
{
    if (found == PLACEHOLDER_NOT_HERE) {
        cf_error(diags, at, "the placeholder {%.*s} is Caddy's and not in caddis", SLICE_ARG(name));
        return;
    }
    struct slice names[256];
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(shorthands); i++) {
        names[count++] = slice_str(shorthands[i].text);
    }
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (size_t i = 0; i < tables[t]->count && count < ARRAY_LEN(names); i++) {
            names[count++] = slice_str(tables[t]->rows[i].name);
        }
    }
    struct cf_diag *diag = cf_warning(diags, at, "unknown placeholder {%.*s}: it stays as it is"
                                      " written", SLICE_ARG(name));
    if (diag) {
        diag->hint = arena_printf(&diags->arena, "write \\{%.*s} if that is meant",
                                  SLICE_ARG(name));
        cf_did_you_mean(diags, diag, name, names, count);
        if (slice_eq(name, S("subdomain"))) {
            diag->hint = S("the labels of the host are {labels.0} (the last), {labels.1}, ...");
        } else if (is_capital(name)) {
            diag->hint = arena_printf(&diags->arena, "the environment variable is {$%.*s}",
                                      SLICE_ARG(name));
        }
    }
}

bool placeholder_value(const struct placeholder_use *use, struct exchange *ex, struct slice *out)
{
    if (use->row) {
        *out = use->row->value(ex, use->arg);
        return true;
    }
    *out = use->known ? S("") : *out;
    return vars_get(ex, use->arg, out) || use->known;
}
