/* Who may come: allow and deny as matchers. Whatever else nginx asks for before it lets anybody in
 * is not known here, so that nobody comes in until a person has written what it was. */
#include "cmd/import/nginx_convert.h"

/* The addresses read so far. */
struct access {
    struct nginx *n;
    struct import_text *t;
    struct dstr allowed; /* " 10.0.0.1 10.1.0.0/16" */
    struct dstr denied;  /* since the last allow */
};

/* Of the module that answers before access is asked for. */
static bool answers_first(const struct nginx_scope *scope)
{
    return nginx_in(scope->first, S("return")) != NULL;
}

static const struct slice asks[] = {S_INIT("auth_basic"), S_INIT("auth_request"),
                                    S_INIT("auth_jwt"), S_INIT("secure_link"),
                                    S_INIT("secure_link_secret"), S_INIT("ssl_verify_client")};

/* `if ($http_x_key != secret) { return 403; }`: only some may come. Of a test for who may not, and
 * for the host, no more is said than the WARNING. */
static bool is_condition(const struct nginx_directive *d)
{
    static const struct slice harmless[] = {S_INIT("($host"), S_INIT("($http_host"),
                                            S_INIT("($request_method"), S_INIT("($scheme")};
    const struct nginx_directive *answer = nginx_in(d->children, S("return"));
    bool only_some = false;
    if (!nginx_is(d, S("if")) || !answer || slice_starts(nginx_word(answer, 1), S("3"))) {
        return false;
    }
    for (size_t k = 0; k < ARRAY_LEN(harmless); k++) {
        if (slice_eq(nginx_word(d, 1), harmless[k])) {
            return false;
        }
    }
    for (size_t k = 1; k < d->count; k++) {
        only_some = only_some || slice_find_slice(d->words[k], S("!=")) != SLICE_NPOS ||
                    slice_find_slice(d->words[k], S("!~")) != SLICE_NPOS;
    }
    return only_some;
}

static bool asks_here(const struct nginx_directive *first)
{
    for (const struct nginx_directive *d = first; d; d = d->next) {
        if (nginx_is(d, S("limit_except")) || is_condition(d)) {
            return true;
        }
    }
    return false;
}

static bool is_asked(const struct nginx_scope *scope)
{
    for (size_t k = 0; k < ARRAY_LEN(asks); k++) {
        const struct nginx_directive *d = nginx_inherited(scope, asks[k]);
        if (d && !slice_eq(nginx_word(d, 1), S("off")) &&
            !slice_starts(nginx_word(d, 1), S("optional"))) {
            return true;
        }
    }
    for (const struct nginx_scope *s = scope; s; s = s->outer) {
        if (asks_here(s->first)) {
            return true;
        }
    }
    return false;
}

/* The list of the nearest block that has one. */
static const struct nginx_directive *list_of(const struct nginx_scope *scope)
{
    for (const struct nginx_scope *s = scope; s; s = s->outer) {
        if (nginx_in(s->first, S("allow")) || nginx_in(s->first, S("deny"))) {
            return s->first;
        }
    }
    return NULL;
}

bool nginx_is_guarded(const struct nginx_scope *scope)
{
    return !answers_first(scope) &&
           (list_of(scope) || nginx_in(scope->first, S("internal")) || is_asked(scope));
}

bool nginx_guards_itself(const struct nginx_directive *d)
{
    struct nginx_scope alone = {d->children, NULL};
    return nginx_is_guarded(&alone);
}

bool nginx_access_line(struct nginx *n, struct import_text *t, const struct nginx_directive *d)
{
    if (nginx_is(d, S("auth_basic_user_file"))) {
        text_dropped(n->i, t, d->line, nginx_written(n, d), "see auth_basic");
    } else if (nginx_is(d, S("auth_basic"))) {
        if (slice_eq(nginx_word(d, 1), S("off"))) {
            text_dropped(n->i, t, d->line, nginx_written(n, d), "nobody is asked here");
        } else {
            text_warning(n->i, t, d->line, nginx_written(n, d),
                         "write basic_auth { USER HASH }; `caddis hash-password` makes the hash");
        }
    } else if (nginx_is(d, S("auth_request"))) {
        text_warning(n->i, t, d->line, nginx_written(n, d), "write forward_auth ORIGIN { uri %.*s"
                     " }", SLICE_ARG(nginx_word(d, 1)));
    } else if (nginx_is(d, S("ssl_verify_client"))) {
        text_warning(n->i, t, d->line, nginx_written(n, d), "write tls { client_auth { mode"
                     " require_and_verify, trust_pool file FILE } }");
    } else if (nginx_is(d, S("limit_except"))) {
        text_warning(n->i, t, d->line, nginx_written(n, d), "write a matcher: @others not method"
                     " GET HEAD");
    } else {
        return false;
    }
    return true;
}

/* What stands in `denied` goes, but for what was allowed before it. */
static void refuse(struct access *a, bool everybody)
{
    struct slice allowed = dstr_slice(&a->allowed), denied = dstr_slice(&a->denied);
    if (!everybody && denied.n == 0) {
        return;
    }
    struct slice name = import_name(a->n->i);
    if (everybody) {
        text_line(a->t, "@%.*s not remote_ip%.*s", SLICE_ARG(name), SLICE_ARG(allowed));
    } else if (allowed.n == 0) {
        text_line(a->t, "@%.*s remote_ip%.*s", SLICE_ARG(name), SLICE_ARG(denied));
    } else {
        text_open(a->t, "@%.*s", SLICE_ARG(name));
        text_line(a->t, "remote_ip%.*s", SLICE_ARG(denied));
        text_line(a->t, "not remote_ip%.*s", SLICE_ARG(allowed));
        text_close(a->t);
    }
    text_line(a->t, "respond @%.*s 403", SLICE_ARG(name));
    dstr_reset(&a->denied);
}

static bool is_address(struct slice text)
{
    for (size_t k = 0; k < text.n; k++) {
        if (!ascii_is_digit(text.p[k]) && slice_find(S("abcdefABCDEF:./"), text.p[k]) ==
                                              SLICE_NPOS) {
            return false;
        }
    }
    return text.n > 0;
}

/* nginx takes the first line that fits. False: nobody may come. */
static bool give_list(struct access *a, const struct nginx_directive *first)
{
    for (const struct nginx_directive *d = first; d; d = d->next) {
        bool allow = nginx_is(d, S("allow"));
        struct slice who = nginx_word(d, 1);
        if (!allow && !nginx_is(d, S("deny"))) {
            continue;
        }
        if (allow) {
            refuse(a, false);
        }
        if (slice_eq(who, S("all"))) {
            refuse(a, false);
            if (!allow && a->allowed.n) {
                refuse(a, true);
            }
            return allow || a->allowed.n;
        }
        if (!is_address(who)) {
            text_warning(a->n->i, a->t, d->line, nginx_written(a->n, d), "not carried over");
        } else {
            dstr_printf(allow ? &a->allowed : &a->denied, " %.*s", SLICE_ARG(who));
        }
    }
    refuse(a, false);
    return true;
}

bool nginx_access(struct nginx *n, struct import_text *t, const struct nginx_scope *scope)
{
    const struct nginx_directive *list = list_of(scope);
    struct access a = {.n = n, .t = t};
    dstr_init(&a.allowed, IMPORT_TEXT_MAX);
    dstr_init(&a.denied, IMPORT_TEXT_MAX);
    bool open = !list || give_list(&a, list);
    dstr_fini(&a.allowed);
    dstr_fini(&a.denied);
    if (!open) {
        text_line(t, "respond 403");
    } else if (nginx_in(scope->first, S("internal"))) {
        text_line(t, "error 404");
    } else if (is_asked(scope)) {
        text_line(t, "# nobody comes in until this line is what a WARNING says:");
        text_line(t, "error 401");
    }
    return open;
}
