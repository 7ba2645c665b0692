/* Queries as lists of pairs; see uri_query.h. */
#include "proxy/handler/uri_query.h"

#include <stdlib.h>

#include "proxy/handler/target.h"
#include "proxy/route/path.h"
#include "proxy/route/regex.h"

/* In the order they run. */
enum op_kind { OP_RENAME, OP_SET, OP_ADD, OP_REPLACE, OP_DELETE };

struct query_op {
    struct query_op *next;
    enum op_kind kind;
    struct template *key;
    struct template *value; /* or the new key; OP_DELETE: NULL */
    struct regex *find;     /* OP_REPLACE */
    bool every_key;         /* OP_REPLACE with "*" */
};

struct pair {
    struct slice key;
    struct slice value;
    size_t place; /* as they came: what has one key keeps its order */
    bool gone;
};

struct pairs {
    struct pair *items;
    size_t count;
    size_t cap;
    struct arena *arena;
    bool failed;
};

static void add_pair(struct pairs *p, struct slice key, struct slice value)
{
    if (p->count == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 16;
        struct pair *items = ARENA_ARRAY(p->arena, struct pair, cap);
        if (!items) {
            p->failed = true;
            return;
        }
        if (p->count) {
            memcpy(items, p->items, p->count * sizeof(*items));
        }
        p->items = items;
        p->cap = cap;
    }
    p->items[p->count] = (struct pair){.key = key, .value = value, .place = p->count};
    p->count++;
}

static void read_pairs(struct pairs *p, struct slice query)
{
    struct slice key;
    struct slice value;
    while (query_next(p->arena, &query, &key, &value)) {
        add_pair(p, key, value);
    }
    p->failed = p->failed || p->arena->failed;
}

static void drop_key(struct pairs *p, struct slice key)
{
    for (size_t i = 0; i < p->count; i++) {
        p->items[i].gone = p->items[i].gone || slice_eq(p->items[i].key, key);
    }
}

/* What had the new name before is replaced. */
static void rename_key(struct pairs *p, struct slice from, struct slice to)
{
    if (!slice_eq(from, to)) {
        drop_key(p, to);
    }
    for (size_t i = 0; i < p->count; i++) {
        if (slice_eq(p->items[i].key, from)) {
            p->items[i].key = to;
        }
    }
}

static enum query_result replace_values(struct pairs *p, const struct query_op *op,
                                        struct slice key, struct slice with)
{
    for (size_t i = 0; i < p->count; i++) {
        struct pair *pair = &p->items[i];
        if (pair->gone || (!op->every_key && !slice_eq(pair->key, key))) {
            continue;
        }
        struct dstr out;
        dstr_init(&out, EXCHANGE_ARENA_MAX / 8);
        enum regex_result found = regex_replace_all(op->find, pair->value, with, &out);
        bool failed = out.failed;
        if (found == REGEX_MATCH && !failed) {
            pair->value = out.n ? arena_copy(p->arena, dstr_slice(&out)) : S("");
            failed = !pair->value.p;
        }
        dstr_fini(&out);
        if (failed || found == REGEX_LIMIT) {
            return failed ? QUERY_NO_MEMORY : QUERY_LIMIT;
        }
    }
    return QUERY_DONE;
}

static enum query_result apply_one(const struct query_op *op, struct pairs *p, struct exchange *ex)
{
    struct slice key = template_eval(op->key, ex);
    struct slice value = op->value ? template_eval(op->value, ex) : S("");
    if (!key.n) {
        return QUERY_DONE;
    }
    switch (op->kind) {
    case OP_RENAME:
        if (value.n) {
            rename_key(p, key, value);
        }
        break;
    case OP_SET:
        drop_key(p, key);
        add_pair(p, key, value);
        break;
    case OP_ADD:
        add_pair(p, key, value);
        break;
    case OP_REPLACE:
        return replace_values(p, op, key, value);
    case OP_DELETE:
        drop_key(p, key);
        break;
    }
    return QUERY_DONE;
}

static int compare_pairs(const void *pa, const void *pb)
{
    const struct pair *a = pa;
    const struct pair *b = pb;
    int order = slice_cmp(a->key, b->key);
    return order ? order : a->place < b->place ? -1 : a->place > b->place;
}

static bool write_pairs(struct pairs *p, struct exchange *ex)
{
    struct dstr out;
    dstr_init(&out, EXCHANGE_ARENA_MAX / 4);
    if (p->count) {
        qsort(p->items, p->count, sizeof(*p->items), compare_pairs);
    }
    for (size_t i = 0; i < p->count; i++) {
        if (!p->items[i].gone) {
            dstr_append(&out, out.n ? S("&") : S(""));
            target_form_encode(&out, p->items[i].key);
            dstr_byte(&out, '=');
            target_form_encode(&out, p->items[i].value);
        }
    }
    struct slice query = out.n ? dstr_slice(&out) : (struct slice){NULL, 0};
    bool ok = !out.failed && target_set(ex, &ex->req, ex->req.path, query);
    dstr_fini(&out);
    return ok;
}

enum query_result query_ops_apply(const struct query_op *ops, struct exchange *ex)
{
    struct pairs pairs = {.arena = &ex->arena};
    read_pairs(&pairs, ex->req.query);
    for (const struct query_op *op = ops; op && !pairs.failed; op = op->next) {
        enum query_result result = apply_one(op, &pairs, ex);
        if (result != QUERY_DONE) {
            return result;
        }
    }
    return !pairs.failed && write_pairs(&pairs, ex) ? QUERY_DONE : QUERY_NO_MEMORY;
}

/* ---- reading --------------------------------------------------------------------------------- */

static struct template *compile_part(struct build *b, const struct cf_token *t, struct slice part)
{
    struct cf_token token = *t;
    token.text = arena_copy(b->arena, part);
    return token.text.p ? template_compile(b->arena, &token, b->diags) : NULL;
}

static bool read_find(struct build *b, const struct cf_token *t, struct query_op *op)
{
    struct slice why = S("");
    op->find = regex_compile(b->arena, t->text, &why);
    if (!op->find) {
        cf_error(b->diags, t, "\"%.*s\" is no regular expression: %.*s", SLICE_ARG(t->text),
                 SLICE_ARG(why));
    }
    return op->find != NULL;
}

static bool wrong_count(struct build *b, const struct cf_token *word, const char *form)
{
    cf_error(b->diags, word, "\"%.*s\" is no operation on a query; its form is: %s",
             SLICE_ARG(word->text), form);
    return false;
}

bool query_op_read(struct build *b, struct query_op **list, const struct cf_token *words,
                   size_t count)
{
    struct query_op *op = ARENA_NEW(b->arena, struct query_op);
    must(op);
    struct slice key = words[0].text;
    size_t arrow = slice_find(key, '>');
    size_t want = 2;
    const char *form = "key value";
    if (slice_starts(key, S("-"))) {
        op->kind = OP_DELETE;
        want = 1;
        form = "-key";
    } else if (slice_starts(key, S("+"))) {
        op->kind = OP_ADD;
        form = "+key value";
    } else if (arrow != SLICE_NPOS) {
        op->kind = OP_RENAME;
        want = 1;
        form = "key>new_key";
    } else {
        op->kind = count == 3 ? OP_REPLACE : OP_SET;
        want = count == 3 ? 3 : 2;
    }
    if (count != want) {
        return wrong_count(b, &words[0], form);
    }
    bool sign = op->kind == OP_DELETE || op->kind == OP_ADD;
    op->every_key = op->kind == OP_REPLACE && slice_eq(key, S("*"));
    op->key = compile_part(b, &words[0],
                           op->kind == OP_RENAME ? slice_upto(key, arrow) : slice_from(key, sign));
    if (op->kind == OP_RENAME) {
        op->value = compile_part(b, &words[0], slice_from(key, arrow + 1));
    } else if (op->kind != OP_DELETE) {
        op->value = template_compile(b->arena, &words[count - 1], b->diags);
    }
    if (!op->key || (!op->value && op->kind != OP_DELETE) ||
        (op->kind == OP_REPLACE && !read_find(b, &words[1], op))) {
        return false;
    }
    while (*list && (*list)->kind <= op->kind) {
        list = &(*list)->next;
    }
    op->next = *list;
    *list = op;
    return true;
}
