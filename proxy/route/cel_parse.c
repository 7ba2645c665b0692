/* Text to a tree of an expression; see cel.h. A recursive descent over bytes, bounded in length,
 * nodes and depth. */
#include "proxy/route/cel.h"

struct cel_parser {
    struct match_line *line;
    const struct cel_text *source;
    struct slice text;
    size_t i;
    unsigned depth;
    unsigned nodes;
    struct slice names[CEL_SLOTS_MAX]; /* variables of the macros around */
    unsigned name_count;
    bool failed; /* said already */
};

static struct cel_node *parse_expression(struct cel_parser *p);

/* ---- errors ---------------------------------------------------------------------------------- */

/* A token that stands at that byte of the expression, for the place of a message. */
static struct cf_token place_of(const struct cel_text *t, size_t at)
{
    size_t k = t->count - 1;
    while (k > 0 && t->offsets[k] > at) {
        k--;
    }
    struct cf_token token = t->tokens[k];
    size_t inside = at - t->offsets[k];
    struct slice before = slice_upto(token.text, inside);
    size_t newline = slice_rfind(before, '\n');
    if (newline != SLICE_NPOS) {
        for (size_t i = 0; i < before.n; i++) {
            token.at.line += before.p[i] == '\n';
        }
        token.at.column = (unsigned)(inside - newline);
    } else {
        token.at.column += (unsigned)inside + (t->count == 1 && token.quote != CF_BARE ? 1 : 0);
    }
    token.text = S(" ");
    token.quote = CF_BARE;
    return token;
}

static struct cel_node *fail_at(struct cel_parser *p, size_t at, const char *why)
{
    if (!p->failed) {
        struct cf_token token = place_of(p->source, at < p->text.n ? at : p->text.n);
        cf_error(p->line->diags, &token, "in this expression: %s", why);
        p->failed = true;
    }
    return NULL;
}

static struct cel_node *fail(struct cel_parser *p, const char *why)
{
    return fail_at(p, p->i, why);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static struct cel_node *new_node(struct cel_parser *p, enum cel_op op)
{
    if (p->nodes++ == CEL_NODES_MAX) {
        return fail(p, "it is too long");
    }
    struct cel_node *n = ARENA_NEW(p->line->arena, struct cel_node);
    must(n);
    n->op = op;
    return n;
}

static struct cel_node *add_arg(struct cel_node *n, struct cel_node *arg)
{
    struct cel_node **tail = &n->args;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = arg;
    n->arg_count++;
    return n;
}

static struct cel_node *binary(struct cel_parser *p, enum cel_op op, struct cel_node *a,
                               struct cel_node *b)
{
    struct cel_node *n = a && b ? new_node(p, op) : NULL;
    return n ? add_arg(add_arg(n, a), b) : NULL;
}

static struct cel_node *literal(struct cel_parser *p, struct cel_value value)
{
    struct cel_node *n = new_node(p, CEL_LITERAL);
    if (n) {
        n->literal = value;
    }
    return n;
}

/* ---- characters ------------------------------------------------------------------------------ */

static char peek(const struct cel_parser *p)
{
    return p->i < p->text.n ? p->text.p[p->i] : '\0';
}

static void skip_space(struct cel_parser *p)
{
    while (p->i < p->text.n) {
        char c = p->text.p[p->i];
        if (slice_starts(slice_from(p->text, p->i), S("//"))) {
            size_t end = slice_find(slice_from(p->text, p->i), '\n');
            p->i = end == SLICE_NPOS ? p->text.n : p->i + end;
        } else if (c != ' ' && c != '\t' && c != '\n' && c != '\r') {
            return;
        } else {
            p->i++;
        }
    }
}

/* Steps over an operator or sign, and over white space in front of it. */
static bool take(struct cel_parser *p, const char *sign)
{
    skip_space(p);
    if (!slice_starts(slice_from(p->text, p->i), slice_str(sign))) {
        return false;
    }
    p->i += strlen(sign);
    return true;
}

static bool is_name_byte(char c, bool first)
{
    return ascii_is_alpha(c) || c == '_' || (!first && ascii_is_digit(c));
}

static struct slice take_name(struct cel_parser *p)
{
    size_t from = p->i;
    while (p->i < p->text.n && is_name_byte(p->text.p[p->i], p->i == from)) {
        p->i++;
    }
    return slice_upto(slice_from(p->text, from), p->i - from);
}

/* ---- literals -------------------------------------------------------------------------------- */

static void append_utf8(struct dstr *d, uint32_t c)
{
    if (c < 0x80) {
        dstr_byte(d, (char)c);
    } else if (c < 0x800) {
        dstr_byte(d, (char)(0xc0 | (c >> 6)));
        dstr_byte(d, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        dstr_byte(d, (char)(0xe0 | (c >> 12)));
        dstr_byte(d, (char)(0x80 | ((c >> 6) & 0x3f)));
        dstr_byte(d, (char)(0x80 | (c & 0x3f)));
    } else {
        dstr_byte(d, (char)(0xf0 | (c >> 18)));
        dstr_byte(d, (char)(0x80 | ((c >> 12) & 0x3f)));
        dstr_byte(d, (char)(0x80 | ((c >> 6) & 0x3f)));
        dstr_byte(d, (char)(0x80 | (c & 0x3f)));
    }
}

/* Behind the backslash. */
static bool take_escape(struct cel_parser *p, struct dstr *d)
{
    static const char from[] = "abfnrtv\\'\"`?";
    static const char to[] = "\a\b\f\n\r\t\v\\'\"`?";
    char c = peek(p);
    const char *known = c ? strchr(from, c) : NULL;
    if (known) {
        p->i++;
        dstr_byte(d, to[known - from]);
        return true;
    }
    unsigned digits = c == 'x' || c == 'X' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t code = 0;
    p->i++;
    for (unsigned k = 0; k < digits; k++, p->i++) {
        int v = p->i < p->text.n ? ascii_hex_value(p->text.p[p->i]) : -1;
        if (v < 0) {
            return false;
        }
        code = code << 4 | (uint32_t)v;
    }
    if (!digits || code == 0 || code > 0x10ffff) {
        return false;
    }
    append_utf8(d, code);
    return true;
}

/* At a quote. */
static struct cel_node *parse_string(struct cel_parser *p, bool raw)
{
    struct dstr d;
    size_t from = p->i;
    char quote = p->text.p[p->i];
    char three[4] = {quote, quote, quote, '\0'};
    bool triple = slice_starts(slice_from(p->text, p->i), slice_str(three));
    struct slice end = slice_upto(slice_str(three), triple ? 3 : 1);
    dstr_init(&d, CEL_BYTES_MAX * 4);
    for (p->i += end.n; p->i < p->text.n;) {
        if (slice_starts(slice_from(p->text, p->i), end)) {
            p->i += end.n;
            struct slice text = arena_copy(p->line->arena, dstr_slice(&d));
            dstr_fini(&d);
            return literal(p, (struct cel_value){.type = CEL_STRING, .u.s = text});
        }
        char c = p->text.p[p->i++];
        if (c == '\n' && !triple) {
            break;
        }
        if (c == '\\' && !raw && !take_escape(p, &d)) {
            dstr_fini(&d);
            return fail(p, "this escape is none");
        }
        if (c != '\\' || raw) {
            dstr_byte(&d, c);
        }
    }
    dstr_fini(&d);
    return fail_at(p, from, "this string never ends");
}

static struct cel_node *parse_decimal(struct cel_parser *p, size_t from)
{
    char text[64];
    char *end;
    struct slice s = slice_upto(slice_from(p->text, from), p->i - from);
    if (s.n >= sizeof(text)) {
        return fail_at(p, from, "this number is too long");
    }
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    double d = strtod(text, &end);
    return *end ? fail_at(p, from, "this is no number")
                : literal(p, (struct cel_value){.type = CEL_DOUBLE, .u.d = d});
}

static struct cel_node *parse_hex(struct cel_parser *p)
{
    uint64_t v = 0;
    size_t from = p->i;
    for (p->i += 2; ascii_hex_value(peek(p)) >= 0; p->i++) {
        if (v >> 59) {
            return fail_at(p, from, "this number is too large");
        }
        v = v << 4 | (uint64_t)ascii_hex_value(peek(p));
    }
    p->i += peek(p) == 'u';
    return literal(p, (struct cel_value){.type = CEL_INT, .u.i = (int64_t)v});
}

static struct cel_node *parse_number(struct cel_parser *p)
{
    size_t from = p->i;
    uint64_t v;
    if (slice_starts(slice_from(p->text, p->i), S("0x"))) {
        return parse_hex(p);
    }
    while (ascii_is_digit(peek(p))) {
        p->i++;
    }
    struct slice digits = slice_upto(slice_from(p->text, from), p->i - from);
    bool point = peek(p) == '.' && p->i + 1 < p->text.n && ascii_is_digit(p->text.p[p->i + 1]);
    if (point || peek(p) == 'e' || peek(p) == 'E') {
        for (p->i++; ascii_is_digit(peek(p)) || ascii_lower(peek(p)) == 'e' ||
                     ((peek(p) == '-' || peek(p) == '+') &&
                      ascii_lower(p->text.p[p->i - 1]) == 'e');
             p->i++) {
        }
        return parse_decimal(p, from);
    }
    p->i += peek(p) == 'u';
    if (!slice_u64(digits, INT64_MAX, &v)) {
        return fail_at(p, from, "this number is too large");
    }
    return literal(p, (struct cel_value){.type = CEL_INT, .u.i = (int64_t)v});
}

/* {name}: a placeholder, if this is one; else a map. */
static bool at_placeholder(const struct cel_parser *p)
{
    for (size_t i = p->i + 1; i < p->text.n; i++) {
        char c = p->text.p[i];
        if (c == '}') {
            return i > p->i + 1;
        }
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && !strchr("._-%?/,", c)) {
            return false;
        }
    }
    return false;
}

static struct cel_node *parse_placeholder(struct cel_parser *p)
{
    size_t end = slice_find(slice_from(p->text, p->i), '}');
    struct cel_node *n = new_node(p, CEL_PLACEHOLDER);
    struct cf_token token = place_of(p->source, p->i);
    token.text = slice_upto(slice_from(p->text, p->i), end + 1);
    p->i += end + 1;
    if (!n) {
        return NULL;
    }
    n->literal.u.s = token.text; /* as written, for matchers */
    n->text = template_compile(p->line->arena, &token, p->line->diags);
    p->failed = p->failed || !n->text;
    return n->text ? n : NULL;
}

/* ---- lists of arguments ---------------------------------------------------------------------- */

/* To the closing sign, which is stepped over. A final comma is allowed. */
static bool parse_list(struct cel_parser *p, struct cel_node *into, const char *closer)
{
    struct cel_node **tail = &into->args;
    while (!take(p, closer)) {
        *tail = parse_expression(p);
        if (!*tail) {
            return false;
        }
        tail = &(*tail)->next;
        into->arg_count++;
        if (!take(p, ",")) {
            if (take(p, closer)) {
                return true;
            }
            fail(p, "a \",\" or the closing sign is missing");
            return false;
        }
    }
    return true;
}

static struct cel_node *parse_map(struct cel_parser *p)
{
    struct cel_node *n = new_node(p, CEL_MAKE_MAP);
    struct cel_node **tail = n ? &n->args : NULL;
    while (n && !take(p, "}")) {
        for (int i = 0; i < 2; i++) {
            *tail = parse_expression(p);
            if (!*tail) {
                return NULL;
            }
            tail = &(*tail)->next;
            n->arg_count++;
            if (i == 0 && !take(p, ":")) {
                return fail(p, "\":\" is missing behind the key of a map");
            }
        }
        if (!take(p, ",")) {
            return take(p, "}") ? n : fail(p, "\",\" or \"}\" is missing");
        }
    }
    return n;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static struct cel_node *check_call(struct cel_parser *p, size_t at, struct cel_node *n,
                                   struct slice name, bool is_method)
{
    n->call = cel_function_find(name, is_method);
    if (!n->call) {
        return fail_at(p, at, is_method ? "there is no such function on a value"
                                        : "there is no such function or matcher");
    }
    if (n->arg_count < n->call->arg_min || n->arg_count > n->call->arg_max) {
        return fail_at(p, at, "this function has another number of arguments");
    }
    if (slice_eq(name, S("matches"))) {
        const struct cel_node *pattern = n->args->next;
        struct slice why = S("");
        if (pattern->op != CEL_LITERAL || pattern->literal.type != CEL_STRING) {
            return fail_at(p, at, "matches needs its expression as a text in quotes");
        }
        n->re = regex_compile(p->line->arena, pattern->literal.u.s, &why);
        if (!n->re) {
            struct cf_token token = place_of(p->source, at);
            cf_error(p->line->diags, &token, "this is no regular expression: %.*s",
                     SLICE_ARG(why));
            p->failed = true;
            return NULL;
        }
    }
    return n;
}

/* x.exists(v, condition) and its like; behind the "(". */
static struct cel_node *parse_macro(struct cel_parser *p, struct cel_node *list, enum cel_op op)
{
    struct cel_node *n = new_node(p, op);
    skip_space(p);
    struct slice name = take_name(p);
    if (!n || name.n == 0 || !take(p, ",")) {
        return fail(p, "this needs the name of a variable and a condition");
    }
    if (p->name_count == CEL_SLOTS_MAX) {
        return fail(p, "too many of these inside one another");
    }
    n->slot = p->name_count;
    p->names[p->name_count++] = name;
    struct cel_node *condition = parse_expression(p);
    p->name_count--;
    if (!condition) {
        return NULL;
    }
    if (!take(p, ")")) {
        return fail(p, "\")\" is missing");
    }
    return add_arg(add_arg(n, list), condition);
}

static struct cel_node *parse_method(struct cel_parser *p, struct cel_node *receiver)
{
    static const struct {
        struct slice name;
        enum cel_op op;
    } macros[] = {
        {S_INIT("exists"), CEL_EXISTS},
        {S_INIT("exists_one"), CEL_EXISTS_ONE},
        {S_INIT("all"), CEL_ALL},
    };
    skip_space(p);
    size_t at = p->i;
    struct slice name = take_name(p);
    if (!take(p, "(")) {
        return fail_at(p, at, "a function is expected behind \".\": x.startsWith('y')");
    }
    for (size_t i = 0; i < ARRAY_LEN(macros); i++) {
        if (slice_eq(name, macros[i].name)) {
            return parse_macro(p, receiver, macros[i].op);
        }
    }
    struct cel_node *rest = new_node(p, CEL_CALL);
    if (!rest || !parse_list(p, rest, ")")) {
        return NULL;
    }
    receiver->next = rest->args;
    rest->args = receiver;
    rest->arg_count++;
    return check_call(p, at, rest, name, true);
}

/* A function or a matcher; behind the "(". */
static struct cel_node *parse_call(struct cel_parser *p, size_t at, struct slice name)
{
    struct cel_node *n = new_node(p, CEL_CALL);
    if (!n || !parse_list(p, n, ")")) {
        return NULL;
    }
    const struct matcher_kind *kind = match_find_kind(name);
    if (!kind || cel_function_find(name, false)) {
        return check_call(p, at, n, name, false);
    }
    struct cf_token token = place_of(p->source, at);
    token.text = name;
    n->op = CEL_MATCHER;
    n->matcher = cel_matcher(p->line, &token, kind, n->args);
    p->failed = p->failed || !n->matcher;
    return n->matcher ? n : NULL;
}

static struct cel_node *parse_name(struct cel_parser *p)
{
    size_t at = p->i;
    struct slice name = take_name(p);
    if (name.n == 1 && (name.p[0] == 'r' || name.p[0] == 'R') &&
        (peek(p) == '\'' || peek(p) == '"')) {
        return parse_string(p, true);
    }
    if (slice_eq(name, S("true")) || slice_eq(name, S("false"))) {
        return literal(p, (struct cel_value){.type = CEL_BOOL, .u.b = name.n == 4});
    }
    if (slice_eq(name, S("null"))) {
        return literal(p, (struct cel_value){.type = CEL_NULL});
    }
    if (take(p, "(")) {
        return parse_call(p, at, name);
    }
    for (unsigned i = p->name_count; i-- > 0;) {
        if (slice_eq(p->names[i], name)) {
            struct cel_node *n = new_node(p, CEL_VARIABLE);
            if (n) {
                n->slot = i;
            }
            return n;
        }
    }
    return fail_at(p, at, name.n ? "this is no value: texts are in quotes, placeholders in braces"
                                 : "a value is expected here");
}

/* ---- precedence ------------------------------------------------------------------------------ */

static struct cel_node *parse_primary(struct cel_parser *p)
{
    skip_space(p);
    char c = peek(p);
    if (c == '\'' || c == '"') {
        return parse_string(p, false);
    }
    if (ascii_is_digit(c)) {
        return parse_number(p);
    }
    if (c == '{') {
        if (at_placeholder(p)) {
            return parse_placeholder(p);
        }
        p->i++;
        return parse_map(p);
    }
    if (c == '[') {
        p->i++;
        struct cel_node *list = new_node(p, CEL_MAKE_LIST);
        return list && parse_list(p, list, "]") ? list : NULL;
    }
    if (c == '(') {
        p->i++;
        struct cel_node *inside = parse_expression(p);
        return !inside || take(p, ")") ? inside : fail(p, "\")\" is missing");
    }
    return parse_name(p);
}

static struct cel_node *parse_member(struct cel_parser *p)
{
    struct cel_node *n = parse_primary(p);
    while (n) {
        if (take(p, ".")) {
            n = parse_method(p, n);
        } else if (take(p, "[")) {
            n = binary(p, CEL_INDEX, n, parse_expression(p));
            if (n && !take(p, "]")) {
                return fail(p, "\"]\" is missing");
            }
        } else {
            break;
        }
    }
    return n;
}

/* "!" and "-", any number of them. */
static struct cel_node *parse_unary(struct cel_parser *p)
{
    struct cel_node *outer = NULL;
    struct cel_node *inner = NULL;
    for (;;) {
        bool not = take(p, "!");
        if (!not && !take(p, "-")) {
            break;
        }
        struct cel_node *n = new_node(p, not ? CEL_NOT : CEL_NEGATE);
        if (!n) {
            return NULL;
        }
        n->arg_count = 1;
        *(inner ? &inner->args : &outer) = n;
        inner = n;
        p->depth++; /* evaluation goes this deep */
        if (p->depth > MATCH_DEPTH_MAX) {
            return fail(p, "it nests too deeply");
        }
    }
    struct cel_node *value = parse_member(p);
    for (const struct cel_node *n = outer; n && n != value; n = n->args) {
        p->depth--;
    }
    if (inner) {
        inner->args = value;
    }
    return value ? outer ? outer : value : NULL;
}

struct level {
    const char *sign;
    enum cel_op op;
};

/* From the loosest to the tightest. Longer signs stand in front of those they begin with. */
static const struct level levels[][8] = {
    {{"||", CEL_OR}},
    {{"&&", CEL_AND}},
    {{"==", CEL_EQ}, {"!=", CEL_NE}, {"<=", CEL_LE}, {">=", CEL_GE}, {"<", CEL_LT}, {">", CEL_GT},
     {"in", CEL_IN}},
    {{"+", CEL_ADD}, {"-", CEL_SUB}},
    {{"*", CEL_MUL}, {"/", CEL_DIV}, {"%", CEL_MOD}},
};

static bool take_operator(struct cel_parser *p, size_t level, enum cel_op *op)
{
    for (size_t k = 0; k < ARRAY_LEN(levels[0]) && levels[level][k].sign; k++) {
        size_t before = p->i;
        if (!take(p, levels[level][k].sign)) {
            continue;
        }
        *op = levels[level][k].op;
        if (*op != CEL_IN || !is_name_byte(peek(p), false)) {
            return true;
        }
        p->i = before; /* a name that begins with "in" */
    }
    return false;
}

static struct cel_node *parse_level(struct cel_parser *p, size_t level)
{
    if (level == ARRAY_LEN(levels)) {
        return parse_unary(p);
    }
    struct cel_node *left = parse_level(p, level + 1);
    enum cel_op op;
    unsigned chain = 0;
    while (left && take_operator(p, level, &op)) {
        if (chain++ == 256) {
            return fail(p, "too many of the same operator in a row");
        }
        left = binary(p, op, left, parse_level(p, level + 1));
    }
    return left;
}

static struct cel_node *parse_expression(struct cel_parser *p)
{
    if (++p->depth > MATCH_DEPTH_MAX) {
        return fail(p, "it nests too deeply");
    }
    struct cel_node *n = parse_level(p, 0);
    if (n && take(p, "?")) {
        struct cel_node *choice = new_node(p, CEL_TERNARY);
        struct cel_node *yes = choice ? parse_expression(p) : NULL;
        if (yes && !take(p, ":")) {
            return fail(p, "\":\" is missing behind \"?\"");
        }
        struct cel_node *no = yes ? parse_expression(p) : NULL;
        n = no ? add_arg(add_arg(add_arg(choice, n), yes), no) : NULL;
    }
    p->depth--;
    return n;
}

/* Can the whole be a boolean? */
static bool may_be_bool(const struct cel_node *n)
{
    switch (n->op) {
    case CEL_LITERAL:
        return n->literal.type == CEL_BOOL;
    case CEL_TERNARY:
        return may_be_bool(n->args->next) && may_be_bool(n->args->next->next);
    case CEL_CALL:
        return n->call->result == CEL_BOOL;
    case CEL_PLACEHOLDER:
    case CEL_MAKE_LIST:
    case CEL_MAKE_MAP:
    case CEL_NEGATE:
    case CEL_ADD:
    case CEL_SUB:
    case CEL_MUL:
    case CEL_DIV:
    case CEL_MOD:
        return false;
    default:
        return true;
    }
}

struct cel_node *cel_parse(struct match_line *line, const struct cel_text *text)
{
    struct cel_parser p = {.line = line, .source = text, .text = text->text, .depth = line->depth};
    if (text->text.n > CEL_BYTES_MAX) {
        return fail(&p, "it is longer than 16 KiB");
    }
    struct cel_node *n = parse_expression(&p);
    skip_space(&p);
    if (n && p.i < p.text.n) {
        return fail(&p, "an operator is expected here");
    }
    if (n && !may_be_bool(n)) {
        return fail_at(&p, 0, "it must be true or false; compare the value with another");
    }
    return n;
}
