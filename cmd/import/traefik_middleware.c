/* Traefik's middlewares as directives. One that may have decided who comes, and is not known here,
 * lets nobody in. */
#include "cmd/import/traefik_convert.h"

static void users(struct traefik *t, struct import_text *out, struct slice list)
{
    struct slice user, name;
    struct import_text lines = {.depth = out->depth + 1};
    bool good = false;
    dstr_init(&lines.out, IMPORT_TEXT_MAX);
    while (slice_cut(&list, ',', &user)) {
        struct dstr hash;
        if (!slice_cut(&user, ':', &name)) {
            continue;
        }
        dstr_init(&hash, 1024);
        for (size_t k = 0; k < user.n; k++) {
            dstr_byte(&hash, user.p[k]);
            k += user.p[k] == '$' && k + 1 < user.n && user.p[k + 1] == '$'; /* compose's escape */
        }
        if (slice_starts(dstr_slice(&hash), S("$2"))) {
            text_line(&lines, "%.*s %.*s", SLICE_ARG(import_quoted(t->i, name)),
                      SLICE_ARG(import_quoted(t->i, dstr_slice(&hash))));
            good = true;
        } else {
            text_warning(t->i, out, 0, name,
                         "its password is not hashed with bcrypt: `caddis hash-password`");
        }
        dstr_fini(&hash);
    }
    if (good) {
        text_open(out, "basic_auth");
        dstr_append(&out->out, dstr_slice(&lines.out));
        text_close(out);
    } else {
        text_line(out, "error 401"); /* until there is somebody, nobody comes in */
    }
    dstr_fini(&lines.out);
}

static void custom_fields(struct traefik *t, struct import_text *out, struct slice name,
                          const char *option, const char *directive)
{
    struct slice prefix = arena_printf(&t->i->arena, "http.middlewares.%.*s.headers.%s.",
                                       SLICE_ARG(name), option);
    for (size_t k = 0; k < t->count; k++) {
        struct label *l = &t->labels[k];
        if (!slice_eq_case(slice_upto(l->key, prefix.n), prefix)) {
            continue;
        }
        struct slice field = slice_from(l->key, prefix.n);
        l->used = true;
        if (l->value.n == 0) {
            text_line(out, "%s -%.*s", directive, SLICE_ARG(field));
        } else if (!import_field_is_automatic(field)) {
            text_line(out, "%s %.*s %.*s", directive, SLICE_ARG(field),
                      SLICE_ARG(import_quoted(t->i, l->value)));
        } else {
            text_dropped(t->i, out, l->line, field, "automatic");
        }
    }
}

static void headers(struct traefik *t, struct import_text *out, struct slice name)
{
    custom_fields(t, out, name, "customrequestheaders", "request_header");
    custom_fields(t, out, name, "customresponseheaders", "header");
    struct slice sts = traefik_get(t, "middlewares", name, "headers.stsseconds");
    bool subdomains =
        traefik_is_true(traefik_get(t, "middlewares", name, "headers.stsincludesubdomains"));
    bool preload = traefik_is_true(traefik_get(t, "middlewares", name, "headers.stspreload"));
    if (sts.n) {
        text_line(out, "header Strict-Transport-Security \"max-age=%.*s%s%s\"", SLICE_ARG(sts),
                  subdomains ? "; includeSubDomains" : "", preload ? "; preload" : "");
    }
    if (traefik_is_true(traefik_get(t, "middlewares", name, "headers.framedeny"))) {
        text_line(out, "header X-Frame-Options DENY");
    }
    struct slice frame = traefik_get(t, "middlewares", name, "headers.customframeoptionsvalue");
    if (frame.n) {
        text_line(out, "header X-Frame-Options %.*s", SLICE_ARG(import_quoted(t->i, frame)));
    }
    if (traefik_is_true(traefik_get(t, "middlewares", name, "headers.contenttypenosniff"))) {
        text_line(out, "header X-Content-Type-Options nosniff");
    }
    struct slice referrer = traefik_get(t, "middlewares", name, "headers.referrerpolicy");
    if (referrer.n) {
        text_line(out, "header Referrer-Policy %.*s", SLICE_ARG(import_quoted(t->i, referrer)));
    }
    struct slice policy = traefik_get(t, "middlewares", name, "headers.contentsecuritypolicy");
    if (policy.n) {
        text_line(out, "header Content-Security-Policy %.*s",
                  SLICE_ARG(import_quoted(t->i, policy)));
    }
    (void)traefik_get(t, "middlewares", name, "headers.sslredirect");
    (void)traefik_get(t, "middlewares", name, "headers.browserxssfilter");
}

static void rate_limit(struct traefik *t, struct import_text *out, struct slice name)
{
    uint64_t average = 0, burst = 1;
    struct slice period = traefik_get(t, "middlewares", name, "ratelimit.period");
    struct slice most = traefik_get(t, "middlewares", name, "ratelimit.burst");
    if (!slice_u64(traefik_get(t, "middlewares", name, "ratelimit.average"), 1000000, &average) ||
        !average) {
        return;
    }
    burst = slice_u64(most, 1000000, &burst) && burst ? burst : 1;
    uint64_t unit_ms = slice_ends(period, S("h"))   ? 3600000
                       : slice_ends(period, S("m")) ? 60000
                                                    : 1000;
    uint64_t window_ms = burst * unit_ms / average;
    text_open(out, "rate_limit");
    text_open(out, "zone %.*s", SLICE_ARG(name));
    text_line(out, "key {remote_host}");
    text_line(out, "events %llu", (unsigned long long)burst);
    text_line(out, "window %llums", (unsigned long long)(window_ms ? window_ms : 1));
    text_close(out);
    text_close(out);
}

static void words_of(struct import *i, struct dstr *out, struct slice list)
{
    struct slice item;
    while (slice_cut(&list, ',', &item)) {
        item = slice_trim(item);
        if (item.n) {
            dstr_printf(out, " %.*s", SLICE_ARG(import_quoted(i, item)));
        }
    }
}

static void allow_list(struct traefik *t, struct import_text *out, struct slice list)
{
    struct dstr words;
    struct slice name = import_name(t->i);
    dstr_init(&words, IMPORT_TEXT_MAX);
    words_of(t->i, &words, list);
    text_line(out, "@%.*s not remote_ip%.*s", SLICE_ARG(name), SLICE_ARG(dstr_slice(&words)));
    text_line(out, "respond @%.*s 403", SLICE_ARG(name));
    dstr_fini(&words);
}

static void forward_auth(struct traefik *t, struct import_text *out, struct slice name,
                         struct slice address)
{
    struct slice fields = traefik_get(t, "middlewares", name, "forwardauth.authresponseheaders");
    (void)traefik_get(t, "middlewares", name, "forwardauth.trustforwardheader");
    size_t k = slice_find_slice(address, S("://"));
    size_t slash = slice_find(slice_from(address, k == SLICE_NPOS ? 0 : k + 3), '/');
    slash = slash == SLICE_NPOS ? address.n : slash + (k == SLICE_NPOS ? 0 : k + 3);
    struct dstr words;
    dstr_init(&words, IMPORT_TEXT_MAX);
    words_of(t->i, &words, fields);
    struct slice uri = slash < address.n ? slice_from(address, slash) : S("/");
    text_open(out, "forward_auth %.*s",
              SLICE_ARG(import_quoted(t->i, slice_upto(address, slash))));
    text_line(out, "uri %.*s", SLICE_ARG(import_quoted(t->i, uri)));
    if (words.n) {
        text_line(out, "copy_headers%.*s", SLICE_ARG(dstr_slice(&words)));
    }
    text_close(out);
    dstr_fini(&words);
}

static bool has_option(const struct traefik *t, struct slice prefix, const char *option)
{
    size_t n = strlen(option);
    for (size_t k = 0; k < t->count; k++) {
        struct slice key = t->labels[k].key;
        if (slice_eq_case(slice_upto(key, prefix.n), prefix) &&
            slice_eq_case(slice_upto(slice_from(key, prefix.n), n), slice_of(option, n))) {
            return true;
        }
    }
    return false;
}

/* What may have decided who comes and is not known here: until it is, nobody comes. */
static void keep_closed(struct traefik *t, struct import_text *out, struct slice name,
                        struct slice prefix)
{
    if (!has_option(t, prefix, "")) {
        if (slice_find_slice(name, S("redirect")) == SLICE_NPOS) {
            text_warning(t->i, out, 0, name, "this middleware is not among the labels; if it asks"
                         " nobody for a password, take the next line away");
            text_line(out, "error 401");
        }
    } else if (has_option(t, prefix, "digestauth.") || has_option(t, prefix, "plugin.") ||
               has_option(t, prefix, "basicauth.usersfile")) {
        text_line(out, "error 401");
    }
}

static void middleware(struct traefik *t, struct import_text *out, struct slice name,
                       unsigned depth)
{
    struct slice v, prefix = arena_printf(&t->i->arena, "http.middlewares.%.*s.", SLICE_ARG(name));
    keep_closed(t, out, name, prefix);
    headers(t, out, name);
    if ((v = traefik_get(t, "middlewares", name, "stripprefix.prefixes")).n) {
        struct slice item;
        while (slice_cut(&v, ',', &item)) {
            text_line(out, "uri strip_prefix %.*s", SLICE_ARG(slice_trim(item)));
        }
    }
    if ((v = traefik_get(t, "middlewares", name, "addprefix.prefix")).n) {
        text_line(out, "rewrite %.*s{uri}", SLICE_ARG(v));
    }
    if ((v = traefik_get(t, "middlewares", name, "basicauth.users")).n) {
        users(t, out, v);
    }
    if ((v = traefik_get(t, "middlewares", name, "compress")).n) {
        text_line(out, "encode");
    }
    if ((v = traefik_get(t, "middlewares", name, "ipallowlist.sourcerange")).n ||
        (v = traefik_get(t, "middlewares", name, "ipwhitelist.sourcerange")).n) {
        allow_list(t, out, v);
    }
    if ((v = traefik_get(t, "middlewares", name, "forwardauth.address")).n) {
        forward_auth(t, out, name, v);
    }
    if ((v = traefik_get(t, "middlewares", name, "chain.middlewares")).n) {
        traefik_middlewares(t, out, v, depth + 1);
    }
    rate_limit(t, out, name);
    (void)traefik_get(t, "middlewares", name, "redirectscheme.permanent");
    (void)traefik_get(t, "middlewares", name, "redirectscheme.port");
    if (traefik_get(t, "middlewares", name, "redirectscheme.scheme").n) {
        text_dropped(t->i, out, 0, name, "HTTP is redirected to HTTPS by itself");
    }
    for (size_t k = 0; k < t->count; k++) {
        struct label *l = &t->labels[k];
        if (!l->used && slice_eq_case(slice_upto(l->key, prefix.n), prefix)) {
            text_warning(t->i, out, l->line, l->key, "not carried over");
            l->used = true;
        }
    }
}

void traefik_middlewares(struct traefik *t, struct import_text *out, struct slice list,
                        unsigned depth)
{
    struct slice item;
    if (depth == 8) {
        text_warning(t->i, out, 0, list, "chains of chains");
        text_line(out, "error 401");
        return;
    }
    while (slice_cut(&list, ',', &item)) {
        item = slice_trim(item);
        if (item.n) {
            middleware(t, out, slice_upto(item, slice_find(item, '@')), depth);
        }
    }
}
