/* Reading and applying rules on fields; see field_rules.h. */
#include "proxy/handler/field_rules.h"

#include "proxy/route/regex.h"

/* In the order they run. */
enum rule_kind { RULE_DELETE_ALL, RULE_ADD, RULE_SET, RULE_DELETE, RULE_REPLACE, RULE_DEFAULT };

struct field_rule {
    struct field_rule *next;
    enum rule_kind kind;
    struct slice name; /* RULE_REPLACE: empty for every field */
    bool star_before;  /* RULE_DELETE of all that end in name, */
    bool star_behind;  /* begin with it, or with both: have it in them */
    struct template *value;
    struct regex *find;
};

/* ---- applying -------------------------------------------------------------------------------- */

/* Fields that no rule with a star touches: framing is the codec's, a request needs its Host. */
static bool is_kept(enum field_rules_side side, const struct field *f)
{
    return f->id == FIELD_CONTENT_LENGTH || f->id == FIELD_TRANSFER_ENCODING ||
           (side == RULES_REQUEST && f->id == FIELD_HOST);
}

/* Does the rule's name, with its stars, mean this field? */
static bool means(const struct field_rule *r, struct slice name)
{
    if (name.n < r->name.n) {
        return false;
    }
    size_t last = name.n - r->name.n;
    for (size_t i = 0; i <= last; i++) {
        bool at_start = r->star_before || i == 0;
        bool at_end = r->star_behind || i == last;
        if (at_start && at_end && slice_eq_case(slice_of(name.p + i, r->name.n), r->name)) {
            return true;
        }
    }
    return false;
}

static void delete_fields(const struct field_rules *rules, const struct field_rule *r,
                          struct fields *fields)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < fields->count; i++) {
        const struct field *f = &fields->items[i];
        bool hit = r->kind == RULE_DELETE_ALL || means(r, f->name);
        if (!hit || is_kept(rules->side, f)) {
            fields->items[kept++] = *f;
        }
    }
    fields->count = kept;
}

static enum rules_result replace_in(const struct field_rule *r, struct field *f, struct slice with,
                                    struct exchange *ex)
{
    struct dstr out;
    dstr_init(&out, EXCHANGE_ARENA_MAX / 8);
    enum regex_result found = regex_replace_all(r->find, f->value, with, &out);
    enum rules_result result = found == REGEX_LIMIT ? RULES_LIMIT
                               : out.failed         ? RULES_NO_MEMORY
                                                    : RULES_DONE;
    struct slice text = dstr_slice(&out);
    if (result == RULES_DONE && !slice_eq(text, f->value) && field_value_valid(text)) {
        struct slice copy = arena_copy(&ex->arena, text);
        if (copy.p) {
            f->value = copy;
        } else {
            result = RULES_NO_MEMORY;
        }
    }
    dstr_fini(&out);
    return result;
}

static enum rules_result replace_fields(const struct field_rules *rules, const struct field_rule *r,
                                        struct fields *fields, struct slice with,
                                        struct exchange *ex)
{
    for (unsigned i = 0; i < fields->count; i++) {
        struct field *f = &fields->items[i];
        bool hit = r->name.n ? slice_eq_case(f->name, r->name) : !is_kept(rules->side, f);
        enum rules_result result = hit ? replace_in(r, f, with, ex) : RULES_DONE;
        if (result != RULES_DONE) {
            return result;
        }
    }
    return RULES_DONE;
}

static enum rules_result apply_one(const struct field_rules *rules, const struct field_rule *r,
                                   struct fields *fields, struct exchange *ex)
{
    bool ok = true;
    struct slice value = r->value ? slice_trim(template_eval(r->value, ex)) : S("");
    if (!field_value_valid(value)) {
        return RULES_DONE;
    }
    switch (r->kind) {
    case RULE_DELETE_ALL:
    case RULE_DELETE:
        delete_fields(rules, r, fields);
        return RULES_DONE;
    case RULE_ADD:
        ok = fields_add(fields, &ex->arena, r->name, value);
        break;
    case RULE_SET:
        ok = fields_set(fields, &ex->arena, r->name, value);
        break;
    case RULE_DEFAULT:
        ok = fields_find(fields, r->name) || fields_add(fields, &ex->arena, r->name, value);
        break;
    case RULE_REPLACE:
        return replace_fields(rules, r, fields, template_eval(r->value, ex), ex);
    }
    return ok ? RULES_DONE : RULES_NO_MEMORY;
}

enum rules_result field_rules_apply(const struct field_rules *rules, struct fields *fields,
                                    struct exchange *ex)
{
    for (const struct field_rule *r = rules->first; r; r = r->next) {
        enum rules_result result = apply_one(rules, r, fields, ex);
        if (result != RULES_DONE) {
            return result;
        }
    }
    return RULES_DONE;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool name_allowed(struct build *b, const struct field_rules *rules, const struct cf_token *t,
                         const struct field_rule *r)
{
    bool any = !r->name.n && (r->kind == RULE_DELETE_ALL || r->kind == RULE_REPLACE);
    if (any) {
        return true;
    }
    if (!field_name_valid(r->name)) {
        struct cf_diag *d = cf_error(b->diags, t, "\"%.*s\" is no field name", SLICE_ARG(r->name));
        if (d && slice_ends(r->name, S(":"))) {
            d->hint = S("leave out the colon");
        }
        return false;
    }
    enum field_id id = r->star_before || r->star_behind ? FIELD_OTHER : field_id(r->name);
    /* Framing is the codec's: a rule on it could only break the message. */
    if (id == FIELD_CONTENT_LENGTH || id == FIELD_TRANSFER_ENCODING) {
        cf_error(b->diags, t, "%.*s is set by caddis itself and cannot be changed",
                 SLICE_ARG(r->name));
        return false;
    }
    if (id == FIELD_HOST && rules->side == RULES_REQUEST &&
        (r->kind == RULE_DELETE || r->kind == RULE_ADD)) {
        cf_error(b->diags, t, "a request has exactly one Host; it can be set, not %s",
                 r->kind == RULE_ADD ? "added" : "deleted");
        return false;
    }
    return true;
}

static void take_stars(struct field_rule *r)
{
    if (r->name.n && r->name.p[0] == '*') {
        r->star_before = true;
        r->name = slice_from(r->name, 1);
    }
    if (r->name.n && r->name.p[r->name.n - 1] == '*') {
        r->star_behind = true;
        r->name = slice_upto(r->name, r->name.n - 1);
    }
    if (!r->name.n && r->star_before) {
        r->kind = RULE_DELETE_ALL;
    }
}

static bool count_allowed(struct build *b, const struct cf_token *tokens, size_t count,
                          const struct field_rule *r)
{
    bool deletes = r->kind == RULE_DELETE || r->kind == RULE_DELETE_ALL;
    size_t want = deletes ? 1 : r->kind == RULE_REPLACE ? 3 : 2;
    if (count == want) {
        return true;
    }
    if (want == 2 && count == 1) {
        struct cf_diag *d = cf_warning(b->diags, &tokens[0], "\"%.*s\" is set to nothing: there is"
                                       " no value behind it", SLICE_ARG(tokens[0].text));
        if (d) {
            d->hint = arena_printf(&b->diags->arena, "to take a field away write -%.*s",
                                   SLICE_ARG(r->name));
        }
        return true;
    }
    cf_error(b->diags, count > want ? &tokens[want] : &tokens[0],
             deletes         ? "deleting \"%.*s\" takes no value"
             : want == 2     ? "\"%.*s\" takes one value here"
                             : "\"%.*s\" takes a regular expression and its replacement",
             SLICE_ARG(tokens[0].text));
    return false;
}

static bool compile_values(struct build *b, struct field_rules *rules,
                           const struct cf_token *tokens, size_t count, struct field_rule *r)
{
    struct slice why = S("");
    if (r->kind == RULE_REPLACE) {
        r->find = regex_compile(b->arena, tokens[1].text, &why);
        if (!r->find) {
            cf_error(b->diags, &tokens[1], "\"%.*s\" is no regular expression: %.*s",
                     SLICE_ARG(tokens[1].text), SLICE_ARG(why));
            return false;
        }
    }
    if (r->kind == RULE_DELETE || r->kind == RULE_DELETE_ALL) {
        return true;
    }
    struct cf_token value = tokens[count - 1];
    value.text = count == 1 ? S("") : value.text;
    r->value = template_compile(b->arena, &value, b->diags);
    rules->names_origin = rules->names_origin || (r->value && template_names_origin(r->value));
    return r->value != NULL;
}

/* Behind the rules of its kind, so that those keep the order they are written in. */
static void insert(struct field_rules *rules, struct field_rule *r)
{
    struct field_rule **at = &rules->first;
    while (*at && (*at)->kind <= r->kind) {
        at = &(*at)->next;
    }
    r->next = *at;
    *at = r;
}

bool field_rules_parse(struct build *b, struct field_rules *rules, const struct cf_token *tokens,
                       size_t count, const char *signs)
{
    struct field_rule *r = ARENA_NEW(b->arena, struct field_rule);
    must(r);
    r->name = tokens[0].text;
    char sign = r->name.n ? r->name.p[0] : '\0';
    if (sign && strchr("+-?>", sign)) {
        if (!strchr(signs, sign)) {
            cf_error(b->diags, &tokens[0], "\"%c\" has no meaning here; a field may begin with +"
                     " or -", sign);
            return false;
        }
        r->name = slice_from(r->name, 1);
        rules->deferred = rules->deferred || sign != '+';
    }
    r->kind = sign == '+'   ? RULE_ADD
              : sign == '-' ? RULE_DELETE
              : sign == '?' ? RULE_DEFAULT
              : count > 2   ? RULE_REPLACE
                            : RULE_SET;
    if (r->kind == RULE_DELETE) {
        take_stars(r);
    } else if (r->kind == RULE_REPLACE && slice_eq(r->name, S("*"))) {
        r->name = S("");
    }
    if (!name_allowed(b, rules, &tokens[0], r) || !count_allowed(b, tokens, count, r) ||
        !compile_values(b, rules, tokens, count, r)) {
        return false;
    }
    insert(rules, r);
    return true;
}
