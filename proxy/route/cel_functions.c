/* The functions of expressions: CEL's own and those of its string extension that people use; a row
 * each. See cel.h. */
#include "proxy/route/cel.h"

#define TEXT_MAX ((size_t)64 * 1024) /* of what a function builds */

static bool set_text(struct cel_eval *e, struct cel_value *out, struct dstr *d)
{
    bool ok = !d->failed;
    *out = (struct cel_value){.type = CEL_STRING,
                              .u.s = ok ? arena_copy(&e->ex->arena, dstr_slice(d)) : S("")};
    dstr_fini(d);
    return ok && out->u.s.p;
}

static void set_bool(struct cel_value *out, bool b)
{
    *out = (struct cel_value){.type = CEL_BOOL, .u.b = b};
}

static void set_int(struct cel_value *out, int64_t i)
{
    *out = (struct cel_value){.type = CEL_INT, .u.i = i};
}

/* Both first arguments as texts. */
static bool two_texts(const struct cel_value *args, struct slice *a, struct slice *b)
{
    return cel_as_text(&args[0], a) && cel_as_text(&args[1], b);
}

/* ---- asking about texts ---------------------------------------------------------------------- */

static bool starts_with(struct cel_eval *e, const struct cel_value *args, size_t count,
                        struct cel_value *out)
{
    struct slice a;
    struct slice b;
    (void)e;
    (void)count;
    if (!two_texts(args, &a, &b)) {
        return false;
    }
    set_bool(out, slice_starts(a, b));
    return true;
}

static bool ends_with(struct cel_eval *e, const struct cel_value *args, size_t count,
                      struct cel_value *out)
{
    struct slice a;
    struct slice b;
    (void)e;
    (void)count;
    if (!two_texts(args, &a, &b)) {
        return false;
    }
    set_bool(out, slice_ends(a, b));
    return true;
}

static bool contains(struct cel_eval *e, const struct cel_value *args, size_t count,
                     struct cel_value *out)
{
    struct slice a;
    struct slice b;
    (void)e;
    (void)count;
    if (!two_texts(args, &a, &b)) {
        return false;
    }
    set_bool(out, slice_find_slice(a, b) != SLICE_NPOS);
    return true;
}

static bool matches(struct cel_eval *e, const struct cel_value *args, size_t count,
                    struct cel_value *out)
{
    struct slice a;
    size_t groups;
    (void)count;
    if (!cel_as_text(&args[0], &a)) {
        return false;
    }
    enum regex_result r = regex_search(e->node->re, a, NULL, 0, &groups);
    set_bool(out, r == REGEX_MATCH);
    return r != REGEX_LIMIT;
}

/* Characters of UTF-8, as CEL counts. */
static int64_t characters(struct slice s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    }
    return n;
}

static bool size(struct cel_eval *e, const struct cel_value *args, size_t count,
                 struct cel_value *out)
{
    struct slice s;
    (void)e;
    (void)count;
    if (cel_as_text(&args[0], &s)) {
        set_int(out, characters(s));
        return true;
    }
    if (args[0].type == CEL_LIST || args[0].type == CEL_MAP) {
        set_int(out, (int64_t)(args[0].u.list.count / (args[0].type == CEL_MAP ? 2 : 1)));
        return true;
    }
    return false;
}

static bool index_of(struct cel_eval *e, const struct cel_value *args, size_t count,
                     struct cel_value *out)
{
    struct slice a;
    struct slice b;
    (void)e;
    (void)count;
    if (!two_texts(args, &a, &b)) {
        return false;
    }
    size_t at = slice_find_slice(a, b);
    set_int(out, at == SLICE_NPOS ? -1 : characters(slice_upto(a, at)));
    return true;
}

static bool last_index_of(struct cel_eval *e, const struct cel_value *args, size_t count,
                          struct cel_value *out)
{
    struct slice a;
    struct slice b;
    size_t at = SLICE_NPOS;
    (void)e;
    (void)count;
    if (!two_texts(args, &a, &b)) {
        return false;
    }
    for (size_t i = 0; i + b.n <= a.n; i++) {
        at = slice_starts(slice_from(a, i), b) ? i : at;
    }
    set_int(out, at == SLICE_NPOS ? -1 : characters(slice_upto(a, at)));
    return true;
}

/* ---- making texts ---------------------------------------------------------------------------- */

static bool change_case(struct cel_eval *e, const struct cel_value *arg, struct cel_value *out,
                        bool upper)
{
    struct slice s;
    struct dstr d;
    if (!cel_as_text(arg, &s)) {
        return false;
    }
    dstr_init(&d, TEXT_MAX);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        dstr_byte(&d, upper && c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A')
                      : upper                       ? c
                                                    : ascii_lower(c));
    }
    return set_text(e, out, &d);
}

static bool lower_ascii(struct cel_eval *e, const struct cel_value *args, size_t count,
                        struct cel_value *out)
{
    (void)count;
    return change_case(e, &args[0], out, false);
}

static bool upper_ascii(struct cel_eval *e, const struct cel_value *args, size_t count,
                        struct cel_value *out)
{
    (void)count;
    return change_case(e, &args[0], out, true);
}

static bool trim(struct cel_eval *e, const struct cel_value *args, size_t count,
                 struct cel_value *out)
{
    struct slice s;
    (void)e;
    (void)count;
    if (!cel_as_text(&args[0], &s)) {
        return false;
    }
    while (s.n && strchr(" \t\r\n\v\f", s.p[0]) && s.p[0]) {
        s = slice_from(s, 1);
    }
    while (s.n && strchr(" \t\r\n\v\f", s.p[s.n - 1]) && s.p[s.n - 1]) {
        s.n--;
    }
    *out = (struct cel_value){.type = CEL_STRING, .u.s = s};
    return true;
}

static bool replace(struct cel_eval *e, const struct cel_value *args, size_t count,
                    struct cel_value *out)
{
    struct slice s;
    struct slice old;
    struct slice with;
    struct dstr d;
    int64_t limit = INT64_MAX;
    if (!two_texts(args, &s, &old) || !cel_as_text(&args[2], &with) || old.n == 0 ||
        (count == 4 && !cel_as_int(&args[3], &limit))) {
        return false;
    }
    dstr_init(&d, TEXT_MAX);
    limit = limit < 0 ? INT64_MAX : limit;
    for (size_t at; limit > 0 && (at = slice_find_slice(s, old)) != SLICE_NPOS; limit--) {
        dstr_append(&d, slice_upto(s, at));
        dstr_append(&d, with);
        s = slice_from(s, at + old.n);
    }
    dstr_append(&d, s);
    return set_text(e, out, &d);
}

/* The byte where character number `which` begins; SIZE_MAX: there are fewer. */
static size_t byte_of(struct slice s, int64_t which)
{
    int64_t n = -1;
    for (size_t i = 0; i < s.n; i++) {
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
        if (n == which) {
            return i;
        }
    }
    return n + 1 == which ? s.n : SIZE_MAX;
}

static bool substring(struct cel_eval *e, const struct cel_value *args, size_t count,
                      struct cel_value *out)
{
    struct slice s;
    int64_t from;
    int64_t to = -1;
    (void)e;
    if (!cel_as_text(&args[0], &s) || !cel_as_int(&args[1], &from) ||
        (count == 3 && !cel_as_int(&args[2], &to))) {
        return false;
    }
    size_t first = byte_of(s, from);
    size_t end = count == 3 ? byte_of(s, to) : s.n;
    if (first == SIZE_MAX || end == SIZE_MAX || first > end) {
        return false;
    }
    *out = (struct cel_value){.type = CEL_STRING,
                              .u.s = slice_of(s.p ? s.p + first : "", end - first)};
    return true;
}

static bool split(struct cel_eval *e, const struct cel_value *args, size_t count,
                  struct cel_value *out)
{
    struct slice s;
    struct slice sep;
    size_t parts = 1;
    (void)count;
    if (!two_texts(args, &s, &sep) || sep.n == 0) {
        return false;
    }
    for (struct slice rest = s; slice_find_slice(rest, sep) != SLICE_NPOS; parts++) {
        rest = slice_from(rest, slice_find_slice(rest, sep) + sep.n);
    }
    struct cel_value *items = ARENA_ARRAY(&e->ex->arena, struct cel_value, parts);
    for (size_t i = 0; items && i < parts; i++) {
        size_t at = slice_find_slice(s, sep);
        items[i] = (struct cel_value){.type = CEL_STRING, .u.s = slice_upto(s, at)};
        s = at == SLICE_NPOS ? S("") : slice_from(s, at + sep.n);
    }
    *out = (struct cel_value){.type = CEL_LIST, .u.list = {items, parts}};
    return items != NULL;
}

static bool join(struct cel_eval *e, const struct cel_value *args, size_t count,
                 struct cel_value *out)
{
    struct slice sep = S("");
    struct slice item;
    struct dstr d;
    if (args[0].type != CEL_LIST || (count == 2 && !cel_as_text(&args[1], &sep))) {
        return false;
    }
    dstr_init(&d, TEXT_MAX);
    for (size_t i = 0; i < args[0].u.list.count; i++) {
        if (!cel_as_text(&args[0].u.list.items[i], &item)) {
            dstr_fini(&d);
            return false;
        }
        dstr_append(&d, i ? sep : S(""));
        dstr_append(&d, item);
    }
    return set_text(e, out, &d);
}

/* ---- conversions ----------------------------------------------------------------------------- */

static bool to_int(struct cel_eval *e, const struct cel_value *args, size_t count,
                   struct cel_value *out)
{
    struct cel_value v = args[0];
    int64_t i;
    (void)e;
    (void)count;
    if (v.type == CEL_DOUBLE) {
        if (!(v.u.d > -9e18 && v.u.d < 9e18)) {
            return false;
        }
        set_int(out, (int64_t)v.u.d);
        return true;
    }
    v.type = v.type == CEL_STRING ? CEL_DYN : v.type;
    if (!cel_as_int(&v, &i)) {
        return false;
    }
    set_int(out, i);
    return true;
}

static bool to_double(struct cel_eval *e, const struct cel_value *args, size_t count,
                      struct cel_value *out)
{
    struct cel_value v = args[0];
    (void)e;
    (void)count;
    v.type = v.type == CEL_STRING ? CEL_DYN : v.type;
    *out = (struct cel_value){.type = CEL_DOUBLE};
    return cel_as_double(&v, &out->u.d);
}

static bool to_bool(struct cel_eval *e, const struct cel_value *args, size_t count,
                    struct cel_value *out)
{
    struct cel_value v = args[0];
    bool b;
    (void)e;
    (void)count;
    v.type = v.type == CEL_STRING ? CEL_DYN : v.type;
    bool ok = cel_as_bool(&v, &b);
    set_bool(out, b);
    return ok;
}

static bool to_string(struct cel_eval *e, const struct cel_value *args, size_t count,
                      struct cel_value *out)
{
    const struct cel_value *v = &args[0];
    struct dstr d;
    struct slice s;
    (void)count;
    dstr_init(&d, TEXT_MAX);
    if (cel_as_text(v, &s)) {
        dstr_append(&d, s);
    } else if (v->type == CEL_INT) {
        dstr_printf(&d, "%lld", (long long)v->u.i);
    } else if (v->type == CEL_DOUBLE) {
        dstr_printf(&d, "%.17g", v->u.d);
    } else if (v->type == CEL_BOOL) {
        dstr_append(&d, v->u.b ? S("true") : S("false"));
    } else {
        dstr_fini(&d);
        return false;
    }
    return set_text(e, out, &d);
}

static const struct cel_function functions[] = {
    {S_INIT("startsWith"), true, 2, 2, starts_with, CEL_BOOL},
    {S_INIT("endsWith"), true, 2, 2, ends_with, CEL_BOOL},
    {S_INIT("contains"), true, 2, 2, contains, CEL_BOOL},
    {S_INIT("matches"), true, 2, 2, matches, CEL_BOOL},
    {S_INIT("matches"), false, 2, 2, matches, CEL_BOOL},
    {S_INIT("size"), true, 1, 1, size, CEL_INT},
    {S_INIT("size"), false, 1, 1, size, CEL_INT},
    {S_INIT("indexOf"), true, 2, 2, index_of, CEL_INT},
    {S_INIT("lastIndexOf"), true, 2, 2, last_index_of, CEL_INT},
    {S_INIT("lowerAscii"), true, 1, 1, lower_ascii, CEL_STRING},
    {S_INIT("upperAscii"), true, 1, 1, upper_ascii, CEL_STRING},
    {S_INIT("trim"), true, 1, 1, trim, CEL_STRING},
    {S_INIT("replace"), true, 3, 4, replace, CEL_STRING},
    {S_INIT("substring"), true, 2, 3, substring, CEL_STRING},
    {S_INIT("split"), true, 2, 2, split, CEL_LIST},
    {S_INIT("join"), true, 1, 2, join, CEL_STRING},
    {S_INIT("int"), false, 1, 1, to_int, CEL_INT},
    {S_INIT("uint"), false, 1, 1, to_int, CEL_INT},
    {S_INIT("double"), false, 1, 1, to_double, CEL_DOUBLE},
    {S_INIT("bool"), false, 1, 1, to_bool, CEL_BOOL},
    {S_INIT("string"), false, 1, 1, to_string, CEL_STRING},
};

const struct cel_function *cel_function_find(struct slice name, bool is_method)
{
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        if (functions[i].is_method == is_method && slice_eq(functions[i].name, name)) {
            return &functions[i];
        }
    }
    return NULL;
}
