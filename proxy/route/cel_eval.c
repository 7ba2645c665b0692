/* Evaluation of an expression for an exchange; see cel.h.
 *
 * An error is neither yes nor no. As in CEL "false && error" is false and "true || error" true,
 * whichever side is which. The depth is bounded by the nodes (cel_parse), the work by
 * CEL_STEPS_MAX. */
#include "proxy/route/cel.h"

/* ---- conversions ----------------------------------------------------------------------------- */

bool cel_as_text(const struct cel_value *v, struct slice *out)
{
    if (v->type != CEL_STRING && v->type != CEL_DYN) {
        return false;
    }
    *out = v->u.s;
    return true;
}

bool cel_as_bool(const struct cel_value *v, bool *out)
{
    if (v->type == CEL_BOOL) {
        *out = v->u.b;
        return true;
    }
    *out = v->type == CEL_DYN && slice_eq(v->u.s, S("true"));
    return v->type == CEL_DYN && (*out || slice_eq(v->u.s, S("false")));
}

bool cel_as_int(const struct cel_value *v, int64_t *out)
{
    uint64_t n;
    if (v->type == CEL_INT) {
        *out = v->u.i;
        return true;
    }
    if (v->type != CEL_DYN) {
        return false;
    }
    bool negative = slice_starts(v->u.s, S("-"));
    if (!slice_u64(slice_from(v->u.s, negative), INT64_MAX, &n)) {
        return false;
    }
    *out = negative ? -(int64_t)n : (int64_t)n;
    return true;
}

bool cel_as_double(const struct cel_value *v, double *out)
{
    char text[64];
    char *end;
    int64_t i;
    if (v->type == CEL_DOUBLE) {
        *out = v->u.d;
        return true;
    }
    if (cel_as_int(v, &i)) {
        *out = (double)i;
        return true;
    }
    if (v->type != CEL_DYN || v->u.s.n == 0 || v->u.s.n >= sizeof(text)) {
        return false;
    }
    memcpy(text, v->u.s.p, v->u.s.n);
    text[v->u.s.n] = '\0';
    *out = strtod(text, &end);
    return end == text + v->u.s.n;
}

static bool is_number(const struct cel_value *v)
{
    return v->type == CEL_INT || v->type == CEL_DOUBLE;
}

static bool equal_lists(const struct cel_value *a, const struct cel_value *b)
{
    if (a->u.list.count != b->u.list.count) {
        return false;
    }
    for (size_t i = 0; i < a->u.list.count; i++) {
        if (!cel_equal(&a->u.list.items[i], &b->u.list.items[i])) {
            return false;
        }
    }
    return true;
}

bool cel_equal(const struct cel_value *a, const struct cel_value *b)
{
    struct slice sa;
    struct slice sb;
    double da;
    double db;
    bool ba;
    bool bb;
    if (cel_as_text(a, &sa) && cel_as_text(b, &sb)) {
        return slice_eq(sa, sb);
    }
    if (a->type == CEL_INT && b->type == CEL_INT) {
        return a->u.i == b->u.i;
    }
    if ((is_number(a) || is_number(b)) && cel_as_double(a, &da) && cel_as_double(b, &db)) {
        return !(da < db) && !(da > db);
    }
    if ((a->type == CEL_BOOL || b->type == CEL_BOOL) && cel_as_bool(a, &ba) &&
        cel_as_bool(b, &bb)) {
        return ba == bb;
    }
    if (a->type == CEL_NULL || b->type == CEL_NULL) {
        /* A placeholder without a value is empty here, null in CEL. */
        const struct cel_value *other = a->type == CEL_NULL ? b : a;
        return other->type == CEL_NULL || (other->type == CEL_DYN && other->u.s.n == 0);
    }
    return a->type == b->type && (a->type == CEL_LIST || a->type == CEL_MAP) && equal_lists(a, b);
}

/* ---- operators ------------------------------------------------------------------------------- */

static void set_bool(struct cel_value *out, bool b)
{
    *out = (struct cel_value){.type = CEL_BOOL, .u.b = b};
}

static bool compare(enum cel_op op, const struct cel_value *a, const struct cel_value *b,
                    struct cel_value *out)
{
    struct slice sa;
    struct slice sb;
    double da;
    double db;
    int order;
    if (a->type == CEL_INT && b->type == CEL_INT) {
        order = a->u.i < b->u.i ? -1 : a->u.i > b->u.i;
    } else if ((is_number(a) || is_number(b)) && cel_as_double(a, &da) && cel_as_double(b, &db)) {
        order = da < db ? -1 : da > db;
    } else if (cel_as_text(a, &sa) && cel_as_text(b, &sb)) {
        order = slice_cmp(sa, sb);
    } else {
        return false;
    }
    set_bool(out, op == CEL_LT   ? order < 0
                  : op == CEL_LE ? order <= 0
                  : op == CEL_GT ? order > 0
                                 : order >= 0);
    return true;
}

static bool is_in(const struct cel_value *item, const struct cel_value *list, bool *out)
{
    size_t step = list->type == CEL_MAP ? 2 : 1;
    *out = false;
    if (list->type != CEL_LIST && list->type != CEL_MAP) {
        return false;
    }
    for (size_t i = 0; i < list->u.list.count && !*out; i += step) {
        *out = cel_equal(item, &list->u.list.items[i]);
    }
    return true;
}

static bool add_lists(struct cel_eval *e, const struct cel_value *a, const struct cel_value *b,
                      struct cel_value *out)
{
    size_t count = a->u.list.count + b->u.list.count;
    struct cel_value *items = ARENA_ARRAY(&e->ex->arena, struct cel_value, count + 1);
    if (!items) {
        return false;
    }
    if (a->u.list.count) {
        memcpy(items, a->u.list.items, a->u.list.count * sizeof(*items));
    }
    if (b->u.list.count) {
        memcpy(items + a->u.list.count, b->u.list.items, b->u.list.count * sizeof(*items));
    }
    *out = (struct cel_value){.type = CEL_LIST, .u.list = {items, count}};
    return true;
}

static bool whole_arithmetic(enum cel_op op, int64_t a, int64_t b, int64_t *out)
{
    switch ((int)op) {
    case CEL_ADD:
        return !__builtin_add_overflow(a, b, out);
    case CEL_SUB:
        return !__builtin_sub_overflow(a, b, out);
    case CEL_MUL:
        return !__builtin_mul_overflow(a, b, out);
    default:
        if (b == 0 || (a == INT64_MIN && b == -1)) {
            return false;
        }
        *out = op == CEL_DIV ? a / b : a % b;
        return true;
    }
}

static bool arithmetic(struct cel_eval *e, enum cel_op op, const struct cel_value *a,
                       const struct cel_value *b, struct cel_value *out)
{
    struct slice sa;
    struct slice sb;
    int64_t ia;
    int64_t ib;
    double da;
    double db;
    if (op == CEL_ADD && a->type == CEL_LIST && b->type == CEL_LIST) {
        return add_lists(e, a, b, out);
    }
    if (op == CEL_ADD && cel_as_text(a, &sa) && cel_as_text(b, &sb)) {
        out->u.s = arena_printf(&e->ex->arena, "%.*s%.*s", SLICE_ARG(sa), SLICE_ARG(sb));
        out->type = CEL_STRING;
        return out->u.s.p != NULL;
    }
    if (a->type != CEL_DOUBLE && b->type != CEL_DOUBLE && cel_as_int(a, &ia) &&
        cel_as_int(b, &ib)) {
        out->type = CEL_INT;
        return whole_arithmetic(op, ia, ib, &out->u.i);
    }
    if (op == CEL_MOD || !cel_as_double(a, &da) || !cel_as_double(b, &db)) {
        return false;
    }
    out->type = CEL_DOUBLE;
    out->u.d = op == CEL_ADD   ? da + db
               : op == CEL_SUB ? da - db
               : op == CEL_MUL ? da * db
                               : da / db;
    return true;
}

static bool pick(const struct cel_value *list, const struct cel_value *key, struct cel_value *out)
{
    int64_t i;
    if (list->type == CEL_LIST && cel_as_int(key, &i) && i >= 0 &&
        (uint64_t)i < list->u.list.count) {
        *out = list->u.list.items[i];
        return true;
    }
    for (size_t k = 0; list->type == CEL_MAP && k < list->u.list.count; k += 2) {
        if (cel_equal(&list->u.list.items[k], key)) {
            *out = list->u.list.items[k + 1];
            return true;
        }
    }
    return false;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

/* && and ||: whichever side decides, decides. */
static bool eval_logic(struct cel_eval *e, const struct cel_node *n, struct cel_value *out)
{
    bool decides = n->op == CEL_OR;
    bool left = false;
    bool right = false;
    struct cel_value v;
    bool left_ok = cel_eval(e, n->args, &v) && cel_as_bool(&v, &left);
    if (e->waits) {
        return false;
    }
    if (left_ok && left == decides) {
        set_bool(out, decides);
        return true;
    }
    bool right_ok = cel_eval(e, n->args->next, &v) && cel_as_bool(&v, &right);
    if (e->waits || !right_ok || (!left_ok && right != decides)) {
        return false;
    }
    set_bool(out, right);
    return true;
}

static bool eval_ternary(struct cel_eval *e, const struct cel_node *n, struct cel_value *out)
{
    struct cel_value v;
    bool yes;
    if (!cel_eval(e, n->args, &v) || !cel_as_bool(&v, &yes)) {
        return false;
    }
    return cel_eval(e, yes ? n->args->next : n->args->next->next, out);
}

static bool eval_items(struct cel_eval *e, const struct cel_node *n, struct cel_value *out)
{
    struct cel_value *items = ARENA_ARRAY(&e->ex->arena, struct cel_value, n->arg_count + 1);
    size_t count = 0;
    for (const struct cel_node *a = n->args; a; a = a->next) {
        if (!items || !cel_eval(e, a, &items[count++])) {
            return false;
        }
    }
    *out = (struct cel_value){.type = n->op == CEL_MAKE_MAP ? CEL_MAP : CEL_LIST,
                              .u.list = {items, count}};
    return items != NULL;
}

/* exists, exists_one, all: the condition for each item. Any error is one of the whole. */
static bool eval_macro(struct cel_eval *e, const struct cel_node *n, struct cel_value *out)
{
    struct cel_value list;
    struct cel_value v;
    size_t hits = 0;
    if (!cel_eval(e, n->args, &list) || (list.type != CEL_LIST && list.type != CEL_MAP)) {
        return false;
    }
    size_t step = list.type == CEL_MAP ? 2 : 1;
    for (size_t i = 0; i < list.u.list.count; i += step) {
        bool hit;
        e->slots[n->slot] = list.u.list.items[i];
        if (!cel_eval(e, n->args->next, &v) || !cel_as_bool(&v, &hit)) {
            return false;
        }
        hits += hit;
    }
    set_bool(out, n->op == CEL_EXISTS       ? hits > 0
                  : n->op == CEL_EXISTS_ONE ? hits == 1
                                            : hits * step == list.u.list.count);
    return true;
}

static bool eval_call(struct cel_eval *e, const struct cel_node *n, struct cel_value *out)
{
    struct cel_value args[4];
    size_t count = 0;
    for (const struct cel_node *a = n->args; a && count < ARRAY_LEN(args); a = a->next) {
        if (!cel_eval(e, a, &args[count++])) {
            return false;
        }
    }
    e->node = n;
    return n->call->call(e, args, count, out);
}

static bool eval_matcher(struct cel_eval *e, const struct cel_node *n, struct cel_value *out)
{
    enum match_result r = matcher_matches(n->matcher, e->ex);
    e->waits = e->waits || r == MATCH_WAIT;
    set_bool(out, r == MATCH_YES);
    return r == MATCH_YES || r == MATCH_NO;
}

static bool eval_binary(struct cel_eval *e, const struct cel_node *n, struct cel_value *out)
{
    struct cel_value a;
    struct cel_value b;
    bool hit;
    if (!cel_eval(e, n->args, &a) || !cel_eval(e, n->args->next, &b)) {
        return false;
    }
    switch (n->op) {
    case CEL_EQ:
    case CEL_NE:
        set_bool(out, cel_equal(&a, &b) == (n->op == CEL_EQ));
        return true;
    case CEL_IN:
        if (!is_in(&a, &b, &hit)) {
            return false;
        }
        set_bool(out, hit);
        return true;
    case CEL_INDEX:
        return pick(&a, &b, out);
    case CEL_LT:
    case CEL_LE:
    case CEL_GT:
    case CEL_GE:
        return compare(n->op, &a, &b, out);
    default:
        return arithmetic(e, n->op, &a, &b, out);
    }
}

static bool eval_unary(struct cel_eval *e, const struct cel_node *n, struct cel_value *out)
{
    struct cel_value v;
    bool b;
    if (!cel_eval(e, n->args, &v)) {
        return false;
    }
    if (n->op == CEL_NOT) {
        set_bool(out, !cel_as_bool(&v, &b) || !b);
        return cel_as_bool(&v, &b);
    }
    if (v.type == CEL_DOUBLE) {
        *out = (struct cel_value){.type = CEL_DOUBLE, .u.d = -v.u.d};
        return true;
    }
    int64_t i;
    out->type = CEL_INT;
    return cel_as_int(&v, &i) && !__builtin_sub_overflow((int64_t)0, i, &out->u.i);
}

bool cel_eval(struct cel_eval *e, const struct cel_node *n, struct cel_value *out)
{
    if (e->waits || ++e->steps > CEL_STEPS_MAX) {
        return false;
    }
    switch (n->op) {
    case CEL_LITERAL:
        *out = n->literal;
        return true;
    case CEL_PLACEHOLDER:
        *out = (struct cel_value){.type = CEL_DYN, .u.s = template_eval(n->text, e->ex)};
        return true;
    case CEL_VARIABLE:
        *out = e->slots[n->slot];
        return true;
    case CEL_MAKE_LIST:
    case CEL_MAKE_MAP:
        return eval_items(e, n, out);
    case CEL_NOT:
    case CEL_NEGATE:
        return eval_unary(e, n, out);
    case CEL_OR:
    case CEL_AND:
        return eval_logic(e, n, out);
    case CEL_TERNARY:
        return eval_ternary(e, n, out);
    case CEL_CALL:
        return eval_call(e, n, out);
    case CEL_MATCHER:
        return eval_matcher(e, n, out);
    case CEL_EXISTS:
    case CEL_EXISTS_ONE:
    case CEL_ALL:
        return eval_macro(e, n, out);
    default:
        return eval_binary(e, n, out);
    }
}

bool cel_may_wait(const struct cel_node *node)
{
    for (const struct cel_node *n = node; n; n = n->next) {
        if ((n->op == CEL_MATCHER && matcher_may_wait(n->matcher)) || cel_may_wait(n->args)) {
            return true;
        }
    }
    return false;
}
