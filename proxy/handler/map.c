/* map [matcher] <source> <{name}>... {
 *     [~]<input> <output>...
 *     default <output>...
 * }
 *
 * Gives each of the names, as a placeholder, the output of the first line whose input is the source
 * (or, behind "~", is a regular expression that finds something in it; $1 and ${name} in its
 * outputs stand for groups). "-" as an output is none: a later line or the default gives it; in the
 * default it is text. A name without an output stays empty. */
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/route/regex.h"
#include "proxy/route/vars.h"

#define MAP_NAMES_MAX 32

struct mapping {
    struct mapping *next;
    struct slice input;
    struct regex *regex;       /* or */
    struct template **outputs; /* one for each name; NULL: none */
};

struct map_table {
    struct template *source;
    struct slice *names;
    size_t name_count;
    struct mapping *first;
    struct mapping **last;
    struct template **defaults; /* or NULL */
};

/* ---- running --------------------------------------------------------------------------------- */

/* The output of one mapping for the source; REGEX_NO: it does not apply. */
static enum regex_result map_output(const struct mapping *m, size_t i, struct slice source,
                                    struct exchange *ex, struct slice *out)
{
    if (!m->outputs[i]) {
        return REGEX_NO;
    }
    if (!m->regex) {
        if (!slice_eq(m->input, source)) {
            return REGEX_NO;
        }
        *out = template_eval(m->outputs[i], ex);
        return REGEX_MATCH;
    }
    struct dstr text;
    dstr_init(&text, EXCHANGE_ARENA_MAX / 8);
    enum regex_result found = regex_expand(m->regex, source, template_eval(m->outputs[i], ex),
                                           &text);
    if (found == REGEX_MATCH) {
        *out = text.n ? arena_copy(&ex->arena, dstr_slice(&text)) : S("");
    }
    dstr_fini(&text);
    return found;
}

static enum regex_result map_one(const struct map_table *t, size_t i, struct slice source,
                                 struct exchange *ex, struct slice *out)
{
    for (const struct mapping *m = t->first; m; m = m->next) {
        enum regex_result found = map_output(m, i, source, ex, out);
        if (found != REGEX_NO) {
            return found;
        }
    }
    *out = t->defaults && t->defaults[i] ? template_eval(t->defaults[i], ex) : S("");
    return REGEX_MATCH;
}

static enum handler_result map_request(const void *instance, struct exchange *ex)
{
    const struct map_table *t = instance;
    struct slice source = template_eval(t->source, ex);
    for (size_t i = 0; i < t->name_count; i++) {
        struct slice value = S("");
        if (map_one(t, i, source, ex, &value) == REGEX_LIMIT) {
            return chain_error(ex, 500, S("a regular expression of map hit its limit"));
        }
        if (!value.p || !vars_set(ex, t->names[i], value)) {
            return chain_error(ex, 503, S("out of memory"));
        }
    }
    return HANDLER_NEXT;
}

static const struct handler_ops map_ops = {
    .name = "map", .nature = HANDLER_PREPARES, .on_request = map_request};

/* ---- reading --------------------------------------------------------------------------------- */

static bool read_names(struct build *b, const struct cf_token *args, size_t count,
                       struct map_table *t)
{
    t->names = ARENA_ARRAY(b->arena, struct slice, count);
    must(t->names);
    for (size_t i = 0; i < count; i++) {
        struct slice text = args[i].text;
        if (text.n < 3 || text.p[0] != '{' || text.p[text.n - 1] != '}') {
            cf_error(b->diags, &args[i], "map gives out placeholders of its own: {%.*s}",
                     SLICE_ARG(text));
            return false;
        }
        t->names[i] = slice_of(text.p + 1, text.n - 2);
    }
    t->name_count = count;
    return true;
}

/* "${name}" in an output of a regular expression is no placeholder: its braces are escaped, so that
 * they are still there when the groups are filled in. */
static struct slice keep_references(struct build *b, struct slice text)
{
    struct dstr out;
    dstr_init(&out, text.n * 3 + 1);
    bool inside = false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool opens = c == '{' && i > 0 && text.p[i - 1] == '$';
        dstr_append(&out, opens || (c == '}' && inside) ? S("\\") : S(""));
        inside = opens || (inside && c != '}');
        dstr_byte(&out, c);
    }
    struct slice copy = out.n ? arena_copy(b->arena, dstr_slice(&out)) : S("");
    dstr_fini(&out);
    must(copy.p);
    return copy;
}

static struct template **read_outputs(struct build *b, const struct map_table *t,
                                      const struct cf_directive *d, bool references,
                                      bool is_default)
{
    if (!expect_args(b, d, d->arg_count, 1, t->name_count)) {
        return NULL;
    }
    struct template **outputs = ARENA_ARRAY(b->arena, struct template *, t->name_count);
    must(outputs);
    for (size_t i = 0; i < d->arg_count; i++) {
        struct cf_token token = d->args[i];
        if (slice_eq(token.text, S("-")) && !is_default) {
            continue;
        }
        if (references) {
            token.text = keep_references(b, token.text);
        }
        outputs[i] = template_compile(b->arena, &token, b->diags);
        if (!outputs[i]) {
            return NULL;
        }
    }
    return outputs;
}

static bool read_line(struct build *b, struct map_table *t, const struct cf_directive *d)
{
    if (slice_eq(d->name.text, S("default")) && d->name.quote == CF_BARE) {
        if (t->defaults) {
            cf_error(b->diags, &d->name, "the default is given twice");
            return false;
        }
        t->defaults = read_outputs(b, t, d, false, true);
        return t->defaults != NULL;
    }
    struct mapping *m = ARENA_NEW(b->arena, struct mapping);
    must(m);
    m->input = d->name.text;
    if (slice_starts(m->input, S("~"))) {
        struct slice why = S("");
        m->regex = regex_compile(b->arena, slice_from(m->input, 1), &why);
        if (!m->regex) {
            cf_error(b->diags, &d->name, "\"%.*s\" is no regular expression: %.*s",
                     SLICE_ARG(m->input), SLICE_ARG(why));
            return false;
        }
    }
    for (const struct mapping *o = t->first; o && !m->regex; o = o->next) {
        if (!o->regex && slice_eq(o->input, m->input)) {
            cf_error(b->diags, &d->name, "the input \"%.*s\" is given twice",
                     SLICE_ARG(m->input));
            return false;
        }
    }
    m->outputs = read_outputs(b, t, d, m->regex != NULL, false);
    *t->last = m;
    t->last = &m->next;
    return m->outputs != NULL;
}

bool map_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
               size_t count, struct handler *out)
{
    struct map_table *t = ARENA_NEW(b->arena, struct map_table);
    must(t);
    t->last = &t->first;
    out->ops = &map_ops;
    out->instance = t;
    if (!expect_args(b, d, count, 2, MAP_NAMES_MAX + 1)) {
        return false;
    }
    t->source = template_compile(b->arena, &args[0], b->diags);
    bool ok = t->source && read_names(b, args + 1, count - 1, t);
    for (const struct cf_directive *o = d->children; o && ok; o = o->next) {
        ok = read_line(b, t, o);
    }
    return ok;
}
