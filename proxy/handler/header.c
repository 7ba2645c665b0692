/* header [matcher] [+|-|?|>]<field> [<value>|<find> [<replace>]]
 * header [matcher] { ... several of these ... ; defer }
 *
 * Changes fields of the response. Without a sign: set (in place of what is there). +: add. -:
 * delete (with * at the end, at the beginning, or both: every field that fits; -*: all). ?: set if
 * it is not there. >: set, after the response is known. Two values: in the field's value, replace
 * every <find> by <replace> (plain text in this version). All of it is applied when the response is known, so that it holds
 * whatever handler answers. */
#include "proxy/handler/directives.h"

enum header_op { HEADER_SET, HEADER_ADD, HEADER_DELETE, HEADER_DEFAULT, HEADER_REPLACE };

struct header_rule {
    struct header_rule *next;
    enum header_op op;
    struct slice name;
    bool star_before; /* HEADER_DELETE of all that end in name, */
    bool star_behind; /* begin with it, or with both: have it in them */
    struct template *value;
    struct template *find;
};

struct header {
    struct header_rule *rules;
};

static bool replace_all(struct exchange *ex, struct slice *value, struct slice find,
                        struct slice with)
{
    struct dstr out;
    dstr_init(&out, EXCHANGE_ARENA_MAX / 8);
    struct slice rest = *value;
    size_t at;
    if (find.n == 0) {
        return true;
    }
    while ((at = slice_find_slice(rest, find)) != SLICE_NPOS) {
        dstr_append(&out, slice_upto(rest, at));
        dstr_append(&out, with);
        rest = slice_from(rest, at + find.n);
    }
    dstr_append(&out, rest);
    bool ok = !out.failed;
    if (ok) {
        *value = arena_copy(&ex->arena, dstr_slice(&out));
    }
    dstr_fini(&out);
    return ok && value->p;
}

/* Does a rule with a star mean this field? Framing is left alone: it is the codec's. */
static bool star_means(const struct header_rule *r, const struct field *f)
{
    struct slice s = f->name;
    size_t last = s.n >= r->name.n ? s.n - r->name.n : 0;
    if (s.n < r->name.n || f->id == FIELD_CONTENT_LENGTH || f->id == FIELD_TRANSFER_ENCODING) {
        return false;
    }
    for (size_t i = r->star_before ? 0 : last; i <= last; i++) {
        bool at_end = r->star_behind || i == last;
        if (at_end && slice_eq_case(slice_of(s.p + i, r->name.n), r->name)) {
            return true;
        }
    }
    return false;
}

static void delete_starred(const struct header_rule *r, struct fields *fields)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < fields->count; i++) {
        if (!star_means(r, &fields->items[i])) {
            fields->items[kept++] = fields->items[i];
        }
    }
    fields->count = kept;
}

static bool apply_rule(const struct header_rule *r, struct exchange *ex)
{
    struct fields *fields = &ex->res.fields;
    struct slice value = r->value ? template_eval(r->value, ex) : S("");
    if (!field_value_valid(value)) {
        return true; /* a placeholder brought in a control byte: leave the field out */
    }
    switch (r->op) {
    case HEADER_SET:
        return fields_set(fields, &ex->arena, r->name, value);
    case HEADER_ADD:
        return fields_add(fields, &ex->arena, r->name, value);
    case HEADER_DEFAULT:
        return fields_find(fields, r->name) || fields_add(fields, &ex->arena, r->name, value);
    case HEADER_DELETE:
        if (r->star_before || r->star_behind) {
            delete_starred(r, fields);
        } else {
            fields_remove(fields, r->name);
        }
        return true;
    case HEADER_REPLACE:
        break;
    }
    struct slice find = template_eval(r->find, ex);
    for (unsigned i = 0; i < fields->count; i++) {
        if (slice_eq_case(fields->items[i].name, r->name) &&
            !replace_all(ex, &fields->items[i].value, find, value)) {
            return false;
        }
    }
    return true;
}

static enum handler_result header_request(const void *instance, struct exchange *ex)
{
    (void)instance;
    (void)ex;
    return HANDLER_NEXT;
}

static void header_response(const void *instance, struct exchange *ex)
{
    const struct header *h = instance;
    for (const struct header_rule *r = h->rules; r; r = r->next) {
        if (!apply_rule(r, ex)) {
            return; /* memory: the response goes out with what was done */
        }
    }
}

static const struct handler_ops header_ops = {
    .name = "header", .on_request = header_request, .on_response = header_response};

/* Framing is the codec's: a rule on it could only break the message. */
static bool name_allowed(struct build *b, const struct cf_token *t, struct slice name)
{
    if (!field_name_valid(name)) {
        cf_error(b->diags, t, "\"%.*s\" is no field name", SLICE_ARG(name));
        return false;
    }
    enum field_id id = field_id(name);
    if (id == FIELD_CONTENT_LENGTH || id == FIELD_TRANSFER_ENCODING) {
        cf_error(b->diags, t, "%.*s is set by caddis itself and cannot be changed",
                 SLICE_ARG(name));
        return false;
    }
    return true;
}

static void take_stars(struct header_rule *r, struct slice *name)
{
    if (name->n && name->p[0] == '*') {
        r->star_before = true;
        *name = slice_from(*name, 1);
    }
    if (name->n && name->p[name->n - 1] == '*') {
        r->star_behind = true;
        *name = slice_upto(*name, name->n - 1);
    }
}

/* Caddy's <find> is a regular expression: what would mean something else here is refused. */
static bool plain_text(struct build *b, const struct cf_token *find, const struct cf_token *with)
{
    for (size_t i = 0; i < find->text.n; i++) {
        if (strchr("\\^$|?*+()[]", find->text.p[i])) {
            cf_error(b->diags, find, "regular expressions are Caddy's and not yet in caddis; it is"
                     " plain text that is looked for here");
            return false;
        }
    }
    if (slice_find(with->text, '$') != SLICE_NPOS) {
        cf_error(b->diags, with, "captures ($1) are Caddy's and not yet in caddis");
        return false;
    }
    return true;
}

/* tokens[0] is the field with its sign, values follow. */
static struct header_rule *parse_rule(struct build *b, const struct cf_token *tokens,
                                      size_t count)
{
    struct header_rule *r = ARENA_NEW(b->arena, struct header_rule);
    must(r);
    struct slice name = tokens[0].text;
    char sign = name.n ? name.p[0] : '\0';
    if (sign == '+' || sign == '-' || sign == '?' || sign == '>') {
        name = slice_from(name, 1);
    }
    r->op = sign == '+'   ? HEADER_ADD
            : sign == '-' ? HEADER_DELETE
            : sign == '?' ? HEADER_DEFAULT
            : count > 2   ? HEADER_REPLACE
                          : HEADER_SET;
    if (r->op == HEADER_DELETE) {
        take_stars(r, &name);
    }
    r->name = name;
    size_t want_min = r->op == HEADER_DELETE ? 1 : 2;
    size_t want_max = r->op == HEADER_DELETE ? 1 : r->op == HEADER_REPLACE ? 3 : 2;
    if (!(r->star_before && !name.n) && !name_allowed(b, &tokens[0], name)) {
        return NULL;
    }
    if (count < want_min || count > want_max) {
        cf_error(b->diags, &tokens[0],
                 r->op == HEADER_DELETE ? "deleting \"%.*s\" takes no value"
                                        : "\"%.*s\" needs a value",
                 SLICE_ARG(name));
        return NULL;
    }
    if (r->op == HEADER_REPLACE && !plain_text(b, &tokens[1], &tokens[2])) {
        return NULL;
    }
    if (r->op == HEADER_REPLACE && !(r->find = template_compile(b->arena, &tokens[1], b->diags))) {
        return NULL;
    }
    if (count > 1 && !(r->value = template_compile(b->arena, &tokens[count - 1], b->diags))) {
        return NULL;
    }
    return r;
}

static void parse_block(struct build *b, const struct cf_directive *first,
                        struct header_rule **tail)
{
    for (const struct cf_directive *d = first; d; d = d->next) {
        if (slice_eq(d->name.text, S("defer")) && d->arg_count == 0) {
            continue; /* always so here */
        }
        struct cf_token tokens[5];
        tokens[0] = d->name;
        size_t n = d->arg_count < 4 ? d->arg_count : 4;
        for (size_t i = 0; i < n; i++) {
            tokens[i + 1] = d->args[i];
        }
        *tail = parse_rule(b, tokens, n + 1);
        tail = *tail ? &(*tail)->next : tail;
    }
}

bool header_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                  size_t count, struct handler *out)
{
    struct header *h = ARENA_NEW(b->arena, struct header);
    must(h);
    out->ops = &header_ops;
    out->instance = h;
    unsigned errors = b->diags->errors;
    if (count > 0) {
        if (!expect_args(b, d, count, 1, 3)) {
            return false;
        }
        for (const struct cf_directive *o = d->children; o; o = o->next) {
            if (!slice_eq(o->name.text, S("defer")) || o->arg_count) {
                cf_error(b->diags, &o->name, "the block behind a field has only defer in it");
            }
        }
        h->rules = parse_rule(b, args, count);
    } else if (!d->children) {
        cf_error(b->diags, &d->name, "\"header\" needs a field: header X-Name value");
    } else {
        parse_block(b, d->children, &h->rules);
    }
    return b->diags->errors == errors;
}
