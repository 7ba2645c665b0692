/* In: a rule. Out: its disjunctive normal form, with each function as a matcher's line. Functions:
 * Host, HostSNI, PathPrefix, Path, Method, Headers, Header, Query, ClientIP, HostRegexp and
 * PathRegexp; "!" in front of one. */
#include "cmd/import/traefik_rule.h"

#define ARGS_MAX 16

struct reader {
    struct arena *arena;
    struct slice rest;
    unsigned depth;
    struct err *err;
};

static void skip(struct reader *r)
{
    while (r->rest.n && (r->rest.p[0] == ' ' || r->rest.p[0] == '\t' || r->rest.p[0] == '\n')) {
        r->rest = slice_from(r->rest, 1);
    }
}

static bool take(struct reader *r, struct slice word)
{
    skip(r);
    bool is = slice_starts(r->rest, word);
    r->rest = slice_from(r->rest, is ? word.n : 0);
    return is;
}

static bool argument(struct reader *r, struct slice *out)
{
    skip(r);
    char quote = r->rest.n ? r->rest.p[0] : '\0';
    size_t end = slice_find(slice_from(r->rest, 1), quote);
    if ((quote != '`' && quote != '"' && quote != '\'') || end == SLICE_NPOS) {
        return err_set(r->err, "a quoted value is missing at \"%.*s\"",
                       SLICE_ARG(slice_upto(r->rest, 40)));
    }
    *out = slice_of(r->rest.p + 1, end);
    r->rest = slice_from(r->rest, end + 2);
    return true;
}

static struct slice joined(struct reader *r, const char *word, const struct slice *args,
                           size_t count, const char *separator)
{
    struct slice s = arena_printf(r->arena, "%s", word);
    for (size_t k = 0; k < count; k++) {
        s = arena_printf(r->arena, "%.*s%s%.*s", SLICE_ARG(s), k ? separator : s.n ? " " : "",
                         SLICE_ARG(args[k]));
    }
    return s;
}

static bool function(struct reader *r, struct slice name, const struct slice *args, size_t count,
                     bool negated, struct rule_term *t)
{
    struct slice line;
    *t = (struct rule_term){.count = 0};
    if (!negated && (slice_eq(name, S("Host")) || slice_eq(name, S("HostSNI")))) {
        t->hosts = joined(r, "", args, count, ", ");
        return true;
    }
    if (slice_eq(name, S("Host"))) {
        line = joined(r, "host", args, count, " ");
    } else if (slice_eq(name, S("PathPrefix")) || slice_eq(name, S("Path"))) {
        const char *star = slice_eq(name, S("Path")) ? "" : "*";
        line = S("path");
        for (size_t k = 0; k < count; k++) {
            line = arena_printf(r->arena, "%.*s %.*s%s", SLICE_ARG(line), SLICE_ARG(args[k]), star);
        }
        t->path = count == 1 && !negated ? slice_from(line, 5) : S("");
    } else if (slice_eq(name, S("Method"))) {
        line = joined(r, "method", args, count, " ");
    } else if ((slice_eq(name, S("Headers")) || slice_eq(name, S("Header"))) && count == 2) {
        line = arena_printf(r->arena, "header %.*s `%.*s`", SLICE_ARG(args[0]), SLICE_ARG(args[1]));
    } else if (slice_eq(name, S("Query")) && count <= 2) {
        line = count == 2 ? joined(r, "query", args, 2, "=") : joined(r, "query", args, 1, "");
    } else if (slice_eq(name, S("ClientIP"))) {
        line = joined(r, "client_ip", args, count, " ");
    } else if (slice_eq(name, S("PathRegexp")) && count == 1) {
        line = arena_printf(r->arena, "path_regexp `%.*s`", SLICE_ARG(args[0]));
    } else {
        return err_set(r->err, "%s%.*s() has no counterpart here", negated ? "!" : "",
                       SLICE_ARG(name));
    }
    t->lines[t->count++] = negated ? arena_printf(r->arena, "not %.*s", SLICE_ARG(line)) : line;
    return true;
}

static bool read_or(struct reader *r, struct rule *out);

static bool primary(struct reader *r, struct rule *out)
{
    struct slice args[ARGS_MAX];
    size_t count = 0, n = 0;
    bool negated = take(r, S("!"));
    if (!negated && take(r, S("("))) {
        return read_or(r, out) && (take(r, S(")")) || err_set(r->err, "a \")\" is missing"));
    }
    skip(r);
    while (n < r->rest.n && ascii_is_alpha(r->rest.p[n])) {
        n++;
    }
    struct slice name = slice_upto(r->rest, n);
    r->rest = slice_from(r->rest, n);
    if (!n || !take(r, S("("))) {
        return err_set(r->err, "a function is missing at \"%.*s\"",
                       SLICE_ARG(slice_upto(r->rest, 40)));
    }
    do {
        if (count == ARGS_MAX) {
            return err_set(r->err, "more than %d values", ARGS_MAX);
        }
        if (!argument(r, &args[count++])) {
            return false;
        }
    } while (take(r, S(",")));
    out->count = 1;
    return (take(r, S(")")) || err_set(r->err, "a \")\" is missing")) &&
           function(r, name, args, count, negated, &out->terms[0]);
}

static bool both(struct reader *r, const struct rule_term *a, const struct rule_term *b,
                 struct rule_term *out)
{
    *out = *a;
    if (b->hosts.n && a->hosts.n) {
        return err_set(r->err, "two Host() that must both hold");
    }
    out->hosts = a->hosts.n ? a->hosts : b->hosts;
    bool single = a->count + b->count == 1;
    out->path = single ? (a->path.n ? a->path : b->path) : S("");
    for (size_t k = 0; k < b->count; k++) {
        if (out->count == RULE_LINES_MAX) {
            return err_set(r->err, "more than %d conditions", RULE_LINES_MAX);
        }
        out->lines[out->count++] = b->lines[k];
    }
    return true;
}

static bool read_and(struct reader *r, struct rule *out)
{
    struct rule *right = ARENA_NEW(r->arena, struct rule);
    struct rule *product = ARENA_NEW(r->arena, struct rule);
    if (!right || !product) {
        return err_set(r->err, "the rule is too large");
    }
    if (!primary(r, out)) {
        return false;
    }
    while (take(r, S("&&"))) {
        if (!primary(r, right)) {
            return false;
        }
        if (out->count * right->count > RULE_TERMS_MAX) {
            return err_set(r->err, "the rule has more than %d alternatives", RULE_TERMS_MAX);
        }
        product->count = 0;
        for (size_t a = 0; a < out->count; a++) {
            for (size_t b = 0; b < right->count; b++) {
                if (!both(r, &out->terms[a], &right->terms[b], &product->terms[product->count++])) {
                    return false;
                }
            }
        }
        *out = *product;
    }
    return true;
}

static bool read_or(struct reader *r, struct rule *out)
{
    struct rule *right = ARENA_NEW(r->arena, struct rule);
    if (!right || ++r->depth > IMPORT_DEPTH_MAX) {
        return err_set(r->err, "the rule is too large");
    }
    if (!read_and(r, out)) {
        return false;
    }
    while (take(r, S("||"))) {
        if (!read_and(r, right)) {
            return false;
        }
        if (out->count + right->count > RULE_TERMS_MAX) {
            return err_set(r->err, "the rule has more than %d alternatives", RULE_TERMS_MAX);
        }
        for (size_t k = 0; k < right->count; k++) {
            out->terms[out->count++] = right->terms[k];
        }
    }
    r->depth--;
    return true;
}

bool rule_parse(struct arena *a, struct slice text, struct rule *out, struct err *err)
{
    struct reader r = {.arena = a, .rest = text, .err = err};
    *out = (struct rule){.count = 0};
    if (!read_or(&r, out)) {
        return false;
    }
    skip(&r);
    return r.rest.n == 0 || err_set(err, "\"%.*s\" is left over",
                                    SLICE_ARG(slice_upto(r.rest, 40)));
}
