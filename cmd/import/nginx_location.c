/* What stands in nginx's servers and locations, as directives, and locations as handle blocks. */
#include "cmd/import/nginx_convert.h"

/* In nginx's order of precedence. */
enum location_kind { LOCATION_EXACT, LOCATION_FIRM, LOCATION_REGEX, LOCATION_PREFIX,
                     LOCATION_NAMED };

static enum location_kind kind_of(const struct nginx_directive *d)
{
    struct slice word = nginx_word(d, 1);
    if (d->count < 3) {
        return slice_starts(word, S("@")) ? LOCATION_NAMED : LOCATION_PREFIX;
    }
    return slice_eq(word, S("="))    ? LOCATION_EXACT
           : slice_eq(word, S("^~")) ? LOCATION_FIRM
                                     : LOCATION_REGEX;
}

static struct slice path_of(const struct nginx_directive *d)
{
    return nginx_word(d, d->count - 1);
}

/* ---- answers of the server itself -------------------------------------------------------- */

/* What begins like a matcher would be taken for one. */
static const char *every(struct slice text)
{
    return text.n && strchr("/@*", text.p[0]) ? "* " : "";
}

static void give_return(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                        const struct nginx_directive *d)
{
    struct slice code = nginx_word(d, 1), value = nginx_word(d, 2), text, unknown;
    uint64_t status;
    if (!slice_u64(code, 999, &status)) {
        value = code;
        code = S("302");
        status = 302;
    }
    if (status == 444) {
        text_line(t, "abort");
    } else if (!nginx_text(n, scope, value, &text, &unknown)) {
        text_warning(n->i, t, d->line, nginx_written(n, d), "$%.*s has no counterpart here",
                     SLICE_ARG(unknown));
    } else if (status >= 300 && status < 400 && value.n) {
        text_line(t, "redir %s%.*s %.*s", every(text), SLICE_ARG(import_quoted(n->i, text)),
                  SLICE_ARG(code));
    } else if (value.n) {
        text_line(t, "respond %s%.*s %.*s", every(text), SLICE_ARG(import_quoted(n->i, text)),
                  SLICE_ARG(code));
    } else {
        text_line(t, "respond %.*s", SLICE_ARG(code));
    }
}

static void give_rewrite(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                         const struct nginx_directive *d)
{
    struct slice flag = nginx_word(d, 3), text, unknown, name = import_name(n->i);
    bool redirects = slice_eq(flag, S("permanent")) || slice_eq(flag, S("redirect")) ||
                     slice_find_slice(nginx_word(d, 2), S("://")) != SLICE_NPOS;
    struct slice target = nginx_word(d, 2);
    bool no_query = slice_ends(target, S("?"));
    n->re = name;
    bool ok = nginx_text(n, scope, no_query ? slice_upto(target, target.n - 1) : target, &text,
                         &unknown);
    n->re = S("");
    if (!ok) {
        text_warning(n->i, t, d->line, nginx_written(n, d), "$%.*s has no counterpart here",
                     SLICE_ARG(unknown));
        return;
    }
    /* nginx adds the query of the request, unless the target ends with "?". */
    bool query = !no_query && slice_find(text, '?') == SLICE_NPOS;
    text = arena_printf(&n->i->arena, "%.*s%s", SLICE_ARG(text), query ? "{?query}" : "");
    text_line(t, "@%.*s path_regexp %.*s %.*s", SLICE_ARG(name), SLICE_ARG(name),
              SLICE_ARG(import_quoted(n->i, nginx_word(d, 1))));
    if (redirects) {
        text_line(t, "redir @%.*s %.*s %s", SLICE_ARG(name), SLICE_ARG(import_quoted(n->i, text)),
                  slice_eq(flag, S("permanent")) ? "permanent" : "temporary");
    } else {
        text_line(t, "rewrite @%.*s %.*s", SLICE_ARG(name), SLICE_ARG(import_quoted(n->i, text)));
    }
}

/* ---- fields ------------------------------------------------------------------------------ */

static void add_header(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                       const struct nginx_directive *d)
{
    struct slice text, unknown;
    if (slice_eq_case(nginx_word(d, 1), S("Alt-Svc"))) {
        text_dropped(n->i, t, d->line, nginx_written(n, d), "there is no HTTP/3 here");
    } else if (nginx_text(n, scope, nginx_word(d, 2), &text, &unknown)) {
        text_line(t, "header %.*s %.*s", SLICE_ARG(nginx_word(d, 1)),
                  SLICE_ARG(import_quoted(n->i, text)));
    } else {
        text_warning(n->i, t, d->line, nginx_written(n, d), "$%.*s has no counterpart here",
                     SLICE_ARG(unknown));
    }
}

/* nginx sends a Cache-Control of its own beside one that add_header gives. */
static void give_expires(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                         const struct nginx_directive *d)
{
    const char *plus = "";
    struct slice v = nginx_word(d, 1);
    uint64_t number = 0;
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}, {'y', 31536000}};
    for (const struct nginx_directive *h = scope->first; h; h = h->next) {
        if (nginx_is(h, S("add_header")) && slice_eq_case(nginx_word(h, 1), S("Cache-Control"))) {
            plus = "+";
        }
    }
    if (slice_eq(v, S("max"))) {
        text_line(t, "header %sCache-Control max-age=315360000", plus);
        return;
    }
    if (slice_starts(v, S("-")) || slice_eq(v, S("epoch")) || slice_eq(v, S("0"))) {
        text_line(t, "header %sCache-Control no-cache", plus);
        return;
    }
    for (size_t k = 0; v.n > 1 && k < ARRAY_LEN(units); k++) {
        if (v.p[v.n - 1] == units[k].unit &&
            slice_u64(slice_upto(v, v.n - 1), 1000000, &number)) {
            text_line(t, "header %sCache-Control max-age=%llu", plus,
                      (unsigned long long)(number * units[k].seconds));
            return;
        }
    }
    if (!slice_eq(v, S("off"))) {
        text_warning(n->i, t, d->line, nginx_written(n, d), "not carried over");
    }
}

/* ---- how often somebody may come --------------------------------------------------------- */

static void give_limit(struct nginx *n, struct import_text *t, const struct nginx_directive *d)
{
    struct slice zone = S(""), rate = S(""), key = S("");
    uint64_t burst = 0, events = 0, number;
    for (size_t k = 1; k < d->count; k++) {
        if (slice_starts(d->words[k], S("zone="))) {
            zone = slice_from(d->words[k], 5);
        } else if (slice_starts(d->words[k], S("burst="))) {
            burst = slice_u64(slice_from(d->words[k], 6), 1000000, &number) ? number : 0;
        }
    }
    for (const struct nginx_directive *z = n->http.first; z; z = z->next) {
        struct slice name = nginx_word(z, 2);
        size_t colon = slice_find(name, ':');
        if (nginx_is(z, S("limit_req_zone")) && slice_starts(name, S("zone=")) &&
            slice_eq(slice_from(slice_upto(name, colon), 5), zone)) {
            key = nginx_word(z, 1);
            rate = slice_from(nginx_word(z, 3), 5);
        }
    }
    struct slice text, unknown;
    size_t slash = slice_find_slice(rate, S("r/"));
    if (slash == SLICE_NPOS || !slice_u64(slice_upto(rate, slash), 1000000, &events) || !events ||
        !nginx_text(n, NULL, key, &text, &unknown)) {
        text_warning(n->i, t, d->line, nginx_written(n, d), "see rate_limit");
        return;
    }
    /* So many at once as the burst allows, in the time in which they would be let through. */
    uint64_t seconds = slice_ends(rate, S("m")) ? 60 : 1, at_once = burst + 1;
    uint64_t window_ms = at_once * seconds * 1000 / events;
    text_open(t, "rate_limit");
    text_open(t, "zone %.*s", SLICE_ARG(zone));
    text_line(t, "key %.*s", SLICE_ARG(text));
    text_line(t, "events %llu", (unsigned long long)at_once);
    text_line(t, "window %llums", (unsigned long long)(window_ms ? window_ms : 1));
    text_close(t);
    text_close(t);
}

/* ---- files ------------------------------------------------------------------------------- */

static const struct nginx_directive *named(struct nginx *n, struct slice name)
{
    for (const struct nginx_directive *d = n->server->children; d; d = d->next) {
        if (nginx_is(d, S("location")) && slice_eq(nginx_word(d, 1), name)) {
            return d;
        }
    }
    return NULL;
}

static void give_fastcgi(struct nginx *n, struct import_text *t, const struct nginx_directive *d)
{
    struct slice to = nginx_word(d, 1);
    if (slice_starts(to, S("unix:"))) {
        to = arena_printf(&n->i->arena, "unix/%.*s", SLICE_ARG(slice_from(to, 5)));
    }
    text_line(t, "php_fastcgi %.*s", SLICE_ARG(to));
}

static void files(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                  const struct nginx_directive *location)
{
    const struct nginx_directive *root = nginx_inherited(scope, S("root"));
    const struct nginx_directive *alias = nginx_in(scope->first, S("alias"));
    const struct nginx_directive *index = nginx_inherited(scope, S("index"));
    const struct nginx_directive *browse = nginx_inherited(scope, S("autoindex"));
    struct slice folder = alias ? nginx_word(alias, 1) : root ? nginx_word(root, 1) : S("");
    if (folder.n) {
        text_line(t, "root * %.*s", SLICE_ARG(import_quoted(n->i, folder)));
    } else if (location) {
        return; /* nginx would look into a folder of its own */
    }
    if (n->php) {
        give_fastcgi(n, t, nginx_in(n->php->children, S("fastcgi_pass")));
    }
    bool lists = browse && slice_eq(nginx_word(browse, 1), S("on"));
    if (index && index->count > 1) {
        text_open(t, "file_server%s", lists ? " browse" : "");
        text_line(t, "index %.*s",
                  SLICE_ARG(import_join(n->i, index->words + 1, index->count - 1)));
        text_close(t);
    } else {
        text_line(t, "file_server%s", lists ? " browse" : "");
    }
}

/* try_files, and what stands at its end: a file, =404, or a named location. */
static void give_try_files(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                           const struct nginx_directive *d, const struct nginx_directive *location)
{
    struct slice last = nginx_word(d, d->count - 1), text, unknown;
    bool to_named = slice_starts(last, S("@"));
    struct dstr words;
    dstr_init(&words, IMPORT_TEXT_MAX);
    for (size_t k = 1; k + to_named < d->count; k++) {
        if (!nginx_text(n, scope, d->words[k], &text, &unknown)) {
            text_warning(n->i, t, d->line, nginx_written(n, d), "$%.*s has no counterpart here",
                         SLICE_ARG(unknown));
            dstr_fini(&words);
            return;
        }
        dstr_printf(&words, " %.*s", SLICE_ARG(import_quoted(n->i, text)));
    }
    const struct nginx_directive *target = to_named ? named(n, last) : NULL;
    if (!to_named && n->php && slice_find_slice(last, S(".php")) != SLICE_NPOS) {
        text_dropped(n->i, t, d->line, nginx_written(n, d), "php_fastcgi tries the same files");
        files(n, t, scope, location);
    } else if (!to_named) {
        text_line(t, "try_files%.*s", SLICE_ARG(dstr_slice(&words)));
        files(n, t, scope, location);
    } else if (!target) {
        text_warning(n->i, t, d->line, nginx_written(n, d), "there is no location %.*s",
                     SLICE_ARG(last));
    } else {
        struct slice name = import_name(n->i);
        const struct nginx_directive *root = nginx_inherited(scope, S("root"));
        struct nginx_scope inner = {target->children, scope->outer};
        if (root) {
            text_line(t, "root * %.*s", SLICE_ARG(import_quoted(n->i, nginx_word(root, 1))));
        }
        text_line(t, "@%.*s file%.*s", SLICE_ARG(name), SLICE_ARG(dstr_slice(&words)));
        text_open(t, "handle @%.*s", SLICE_ARG(name));
        text_line(t, "rewrite {file_match.relative}");
        text_line(t, "file_server");
        text_close(t);
        text_open(t, "handle");
        nginx_content(n, t, &inner, target);
        text_close(t);
    }
    dstr_fini(&words);
}

/* ---- a block ----------------------------------------------------------------------------- */

void nginx_include(struct nginx *n, struct import_text *t, const struct nginx_directive *d)
{
    static const struct slice known[] = {
        S_INIT("letsencrypt"), S_INIT("mime.types"), S_INIT("fastcgi_params"),
        S_INIT("fastcgi.conf"), S_INIT("fastcgi-php"), S_INIT("proxy_params"),
        S_INIT("modules-enabled"),
    };
    for (size_t k = 0; k < ARRAY_LEN(known); k++) {
        if (slice_find_slice(nginx_word(d, 1), known[k]) != SLICE_NPOS) {
            text_dropped(n->i, t, d->line, nginx_written(n, d), "what it says is automatic here");
            return;
        }
    }
    text_warning(n->i, t, d->line, nginx_written(n, d),
                 "the file was not read; `nginx -T` prints one text with all of them");
}

static void one(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                const struct nginx_directive *d)
{
    const char *why = nginx_needless(d->words[0]);
    if (nginx_is(d, S("rewrite"))) {
        give_rewrite(n, t, scope, d);
    } else if (nginx_is(d, S("expires"))) {
        give_expires(n, t, scope, d);
    } else if (nginx_is(d, S("if")) && nginx_to_https(d)) {
        text_dropped(n->i, t, d->line, nginx_written(n, d), "HTTP is redirected to HTTPS");
    } else if (why) {
        text_dropped(n->i, t, d->line, nginx_written(n, d), why);
    } else if (nginx_is(d, S("include"))) {
        nginx_include(n, t, d);
    } else if (nginx_is(d, S("fastcgi_param"))) {
        text_dropped(n->i, t, d->line, nginx_written(n, d), "php_fastcgi sets the usual ones");
    } else if (nginx_access_line(n, t, d)) {
        return;
    } else if (!nginx_is_handled(d->words[0])) {
        text_warning(n->i, t, d->line, nginx_written(n, d), "not carried over");
    }
}

void nginx_fields(struct nginx *n, struct import_text *t, const struct nginx_scope *scope)
{
    const struct nginx_directive *first = nginx_list(scope, S("add_header"));
    for (const struct nginx_directive *d = first; d; d = d->next) {
        if (nginx_is(d, S("add_header"))) {
            add_header(n, t, scope, d);
        }
    }
}

void nginx_size_limit(struct nginx *n, struct import_text *t, const struct nginx_scope *scope)
{
    const struct nginx_directive *d = nginx_inherited(scope, S("client_max_body_size"));
    struct slice size = d ? nginx_size(n, nginx_word(d, 1)) : S("0");
    if (d && size.p == NULL) {
        text_warning(n->i, t, d->line, nginx_written(n, d), "not carried over");
    } else if (!slice_eq(size, S("0"))) {
        text_open(t, "request_body");
        text_line(t, "max_size %.*s", SLICE_ARG(size));
        text_close(t);
    }
}

void nginx_lines(struct nginx *n, struct import_text *t, const struct nginx_scope *scope)
{
    for (const struct nginx_directive *d = scope->first; d; d = d->next) {
        one(n, t, scope, d);
    }
}

/* What answers in the end. */
static void answer(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                   const struct nginx_directive *location)
{
    const struct nginx_directive *d;
    if ((d = nginx_in(scope->first, S("return")))) {
        give_return(n, t, scope, d);
    } else if ((d = nginx_in(scope->first, S("proxy_pass"))) ||
               (d = nginx_in(scope->first, S("grpc_pass")))) {
        nginx_proxy(n, t, scope, d);
    } else if ((d = nginx_in(scope->first, S("fastcgi_pass")))) {
        const struct nginx_directive *root = nginx_inherited(scope, S("root"));
        if (root) {
            text_line(t, "root * %.*s", SLICE_ARG(import_quoted(n->i, nginx_word(root, 1))));
        }
        give_fastcgi(n, t, d);
    } else if ((d = nginx_inherited(scope, S("try_files")))) {
        give_try_files(n, t, scope, d, location);
    } else {
        files(n, t, scope, location);
    }
}

void nginx_content(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                   const struct nginx_directive *location)
{
    bool is_server = scope->first == n->server->children;
    const struct nginx_directive *limit = nginx_inherited(scope, S("limit_req"));
    bool guarded = nginx_is_guarded(scope); /* `route`: nothing answers in front of it */
    bool open = true;
    if (!n->whole_size) {
        nginx_size_limit(n, t, scope);
    }
    if (guarded) {
        text_open(t, "route");
        open = nginx_access(n, t, scope);
    }
    if (limit) {
        give_limit(n, t, limit);
    }
    if (!n->whole_fields) {
        nginx_fields(n, t, scope);
    }
    if (!is_server) {
        nginx_lines(n, t, scope);
    }
    if (open) {
        answer(n, t, scope, location);
    }
    if (guarded) {
        text_close(t);
    }
}

/* ---- locations --------------------------------------------------------------------------- */

static bool is_challenge(const struct nginx_directive *d)
{
    return slice_find_slice(path_of(d), S("/.well-known/acme-challenge")) != SLICE_NPOS;
}

/* proxy_pass with a path takes the location's part of the path away. */
static bool strips(struct nginx *n, const struct nginx_scope *scope,
                   const struct nginx_directive *location, struct slice *pass_path)
{
    const struct nginx_directive *pass = nginx_in(location->children, S("proxy_pass"));
    *pass_path = pass ? nginx_pass_path(n, scope, nginx_word(pass, 1)) : S("");
    return pass_path->n || nginx_in(location->children, S("alias"));
}

/* "PREFIX(?!MORE)" is PREFIX, but not with MORE behind it: RE2's dialect does not look ahead. */
static void regexp_matcher(struct nginx *n, struct import_text *t, const struct nginx_directive *d,
                           struct slice name, struct slice re, bool negative)
{
    size_t look = slice_find_slice(re, S("(?!"));
    if (look == SLICE_NPOS || negative || re.p[re.n - 1] != ')') {
        if (look != SLICE_NPOS) {
            text_warning(n->i, t, d->line, nginx_written(n, d), "regular expressions look neither"
                         " ahead nor behind here");
        }
        text_line(t, "@%.*s %spath_regexp %.*s %.*s", SLICE_ARG(name), negative ? "not " : "",
                  SLICE_ARG(name), SLICE_ARG(import_quoted(n->i, re)));
        return;
    }
    struct slice prefix = slice_upto(re, look);
    struct slice more = slice_of(re.p + look + 3, re.n - look - 4);
    struct slice both = arena_printf(&n->i->arena, "%.*s(?:%.*s)", SLICE_ARG(prefix),
                                     SLICE_ARG(more));
    text_open(t, "@%.*s", SLICE_ARG(name));
    text_line(t, "path_regexp %.*s %.*s", SLICE_ARG(name), SLICE_ARG(import_quoted(n->i, prefix)));
    text_line(t, "not path_regexp %.*s", SLICE_ARG(import_quoted(n->i, both)));
    text_close(t);
}

static void location_head(struct nginx *n, struct import_text *t, const struct nginx_scope *scope,
                          const struct nginx_directive *d)
{
    struct slice path = path_of(d), pass_path;
    if (kind_of(d) == LOCATION_REGEX) {
        struct slice name = import_name(n->i);
        const char *flags = slice_starts(nginx_word(d, 1), S("~*")) ? "(?i)" : "";
        struct slice re = arena_printf(&n->i->arena, "%s%.*s", flags, SLICE_ARG(path));
        bool negative = slice_starts(nginx_word(d, 1), S("!"));
        regexp_matcher(n, t, d, name, re, negative);
        text_open(t, "handle @%.*s", SLICE_ARG(name));
        n->re = name;
        return;
    }
    const char *star = kind_of(d) == LOCATION_EXACT ? "" : "*";
    if (slice_eq(path, S("/")) && *star) {
        text_open(t, "handle");
        if (strips(n, scope, d, &pass_path) && pass_path.n > 1) {
            text_line(t, "rewrite %.*s{uri}", SLICE_ARG(import_without_slash(pass_path)));
        }
        return;
    }
    if (!strips(n, scope, d, &pass_path)) {
        text_open(t, "handle %.*s", SLICE_ARG((*star ? import_below(n->i, path)
                                                     : import_quoted(n->i, path))));
        return;
    }
    if (*star == '\0') {
        text_open(t, "handle %.*s", SLICE_ARG(import_quoted(n->i, path)));
        text_line(t, "rewrite %.*s{?query}", SLICE_ARG(pass_path));
        return;
    }
    text_open(t, "handle_path %.*s", SLICE_ARG(import_below(n->i, path)));
    struct slice prefix = import_without_slash(pass_path);
    if (prefix.n) {
        text_line(t, "rewrite %.*s{uri}", SLICE_ARG(prefix));
    }
}

static void location(struct nginx *n, struct import_text *t, const struct nginx_scope *outer,
                     const struct nginx_directive *d)
{
    struct nginx_scope scope = {d->children, outer};
    location_head(n, t, &scope, d);
    nginx_content(n, t, &scope, d);
    text_close(t);
    n->re = S("");
}

/* Locations in locations are not carried over; what they close stays closed. */
static void inner_locations(struct nginx *n, struct import_text *t, const struct nginx_directive *d)
{
    for (const struct nginx_directive *c = d->children; c; c = c->next) {
        if (!nginx_is(c, S("location")) || c->count < 2) {
            continue;
        }
        text_warning(n->i, t, c->line, nginx_written(n, c),
                     "a location in a location is not carried over");
        if (nginx_guards_itself(c) && kind_of(c) == LOCATION_REGEX) {
            struct slice name = import_name(n->i);
            const char *flags = slice_starts(nginx_word(c, 1), S("~*")) ? "(?i)" : "";
            text_open(t, "@%.*s", SLICE_ARG(name));
            if (kind_of(d) != LOCATION_REGEX) {
                text_line(t, "path %.*s", SLICE_ARG(import_below(n->i, path_of(d))));
            }
            text_line(t, "path_regexp %.*s", SLICE_ARG(import_quoted(n->i,
                      arena_printf(&n->i->arena, "%s%.*s", flags, SLICE_ARG(path_of(c))))));
            text_close(t);
            text_line(t, "error @%.*s 401", SLICE_ARG(name));
        } else if (nginx_guards_itself(c)) {
            bool exact = kind_of(c) == LOCATION_EXACT;
            text_line(t, "error %.*s 401", SLICE_ARG((exact ? import_quoted(n->i, path_of(c))
                                                            : import_below(n->i, path_of(c)))));
        }
        inner_locations(n, t, c);
    }
}

static bool closes_inside(const struct nginx_directive *d)
{
    for (const struct nginx_directive *c = d->children; c; c = c->next) {
        if (nginx_is(c, S("location")) && (nginx_guards_itself(c) || closes_inside(c))) {
            return true;
        }
    }
    return false;
}

/* In nginx's own precedence: exact, "^~", regular expressions as written, longest prefix. */
static bool before(const struct nginx_directive *a, const struct nginx_directive *b)
{
    enum location_kind ka = kind_of(a), kb = kind_of(b);
    bool prefixes = ka == kb && (ka == LOCATION_PREFIX || ka == LOCATION_FIRM);
    return ka != kb ? ka < kb : prefixes && path_of(a).n > path_of(b).n;
}

/* Does a try_files of the server lead to the location of this name? */
static bool is_tried(struct nginx *n, struct slice name)
{
    for (const struct nginx_directive *d = n->server->children; d; d = d->next) {
        const struct nginx_directive *tries =
            nginx_is(d, S("location")) ? nginx_in(d->children, S("try_files"))
            : nginx_is(d, S("try_files")) ? d
                                            : NULL;
        if (tries && slice_eq(nginx_word(tries, tries->count - 1), name)) {
            return true;
        }
    }
    return false;
}

#define LOCATIONS_MAX 1000

static size_t gather(struct nginx *n, struct import_text *t, const struct nginx_directive **list)
{
    size_t count = 0;
    for (const struct nginx_directive *d = n->server->children; d; d = d->next) {
        if (!nginx_is(d, S("location")) || d->count < 2) {
            continue;
        }
        if (kind_of(d) == LOCATION_NAMED) {
            if (!is_tried(n, path_of(d))) {
                text_warning(n->i, t, d->line, nginx_written(n, d),
                             "only what try_files leads to is carried over");
            }
            continue;
        }
        if (d == n->php) {
            text_dropped(n->i, t, d->line, nginx_written(n, d), "see php_fastcgi below");
            continue;
        }
        if (is_challenge(d)) {
            text_dropped(n->i, t, d->line, nginx_written(n, d), "challenges are answered");
            continue;
        }
        if (count == LOCATIONS_MAX) {
            text_warning(n->i, t, d->line, nginx_written(n, d), "too many locations");
            break;
        }
        size_t at = count++;
        while (at > 0 && before(d, list[at - 1])) {
            list[at] = list[at - 1];
            at--;
        }
        list[at] = d;
    }
    return count;
}

/* The location whose files go to PHP. */
static const struct nginx_directive *php_of(const struct nginx_directive *server)
{
    for (const struct nginx_directive *d = server->children; d; d = d->next) {
        if (nginx_is(d, S("location")) && d->count > 1 && kind_of(d) == LOCATION_REGEX &&
            nginx_in(d->children, S("fastcgi_pass")) && !nginx_guards_itself(d) &&
            slice_find_slice(path_of(d), S("php")) != SLICE_NPOS) {
            return d;
        }
    }
    return NULL;
}

void nginx_locations(struct nginx *n, struct import_text *t, const struct nginx_scope *scope)
{
    n->php = php_of(n->server);
    const struct nginx_directive *list[LOCATIONS_MAX];
    size_t count = gather(n, t, list);
    bool ordered = false, all = false;
    for (size_t k = 0; k < count; k++) {
        ordered = ordered || kind_of(list[k]) == LOCATION_REGEX || closes_inside(list[k]);
        all = all || (kind_of(list[k]) == LOCATION_PREFIX && slice_eq(path_of(list[k]), S("/")));
    }
    if (count == 1 && all && !nginx_in(list[0]->children, S("location"))) {
        struct nginx_scope inner = {list[0]->children, scope};
        struct slice path;
        if (!strips(n, &inner, list[0], &path) || path.n < 2) {
            nginx_content(n, t, &inner, list[0]);
            return;
        }
    }
    if (ordered) {
        text_open(t, "route");
    }
    for (size_t k = 0; k < count; k++) {
        inner_locations(n, t, list[k]);
    }
    for (size_t k = 0; k < count; k++) {
        location(n, t, scope, list[k]);
    }
    if (count && !all) {
        text_open(t, "handle");
        nginx_content(n, t, scope, NULL);
        text_close(t);
    } else if (!count) {
        nginx_content(n, t, scope, NULL);
    }
    if (ordered) {
        text_close(t);
    }
}
