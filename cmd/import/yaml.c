/* In: text. Out: a tree of maps, lists and scalars in an arena. */
#include "cmd/import/yaml.h"

#include <yaml.h>

#define NODES_MAX 100000

struct builder {
    struct arena *arena;
    yaml_document_t document;
    size_t nodes;
    struct err *err;
};

static struct slice scalar(const yaml_node_t *node)
{
    return slice_of(node->data.scalar.value, node->data.scalar.length);
}

static struct yaml *build(struct builder *b, int id, unsigned depth);

static struct yaml *add(struct builder *b, struct yaml ***last, int id, unsigned depth)
{
    struct yaml *y = build(b, id, depth + 1);
    if (y) {
        **last = y;
        *last = &y->next;
    }
    return y;
}

static bool build_children(struct builder *b, struct yaml *y, yaml_node_t *node, unsigned depth)
{
    struct yaml **last = &y->first;
    if (node->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *i = node->data.sequence.items.start;
             i < node->data.sequence.items.top; i++) {
            if (!add(b, &last, *i, depth)) {
                return false;
            }
        }
        return true;
    }
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
         p++) {
        yaml_node_t *key = yaml_document_get_node(&b->document, p->key);
        struct yaml *child = add(b, &last, p->value, depth);
        if (!child) {
            return false;
        }
        if (key && key->type == YAML_SCALAR_NODE) {
            child->key = arena_copy(b->arena, scalar(key));
            child->line = (unsigned)key->start_mark.line + 1;
        }
    }
    return true;
}

static struct yaml *build(struct builder *b, int id, unsigned depth)
{
    yaml_node_t *node = yaml_document_get_node(&b->document, id);
    struct yaml *y = ARENA_NEW(b->arena, struct yaml);
    if (!node || !y || depth > IMPORT_DEPTH_MAX || ++b->nodes > NODES_MAX) {
        (void)err_set(b->err, "the YAML is too large or too deep");
        return NULL;
    }
    y->line = (unsigned)node->start_mark.line + 1;
    if (node->type == YAML_SCALAR_NODE) {
        y->kind = YAML_SCALAR;
        y->value = arena_copy(b->arena, scalar(node));
        return y;
    }
    y->kind = node->type == YAML_SEQUENCE_NODE ? YAML_LIST : YAML_MAP;
    return build_children(b, y, node, depth) ? y : NULL;
}

struct yaml *yaml_read(struct arena *a, struct slice text, struct err *err)
{
    yaml_parser_t parser;
    struct builder b = {.arena = a, .err = err};
    struct yaml *root = NULL;
    if (!yaml_parser_initialize(&parser)) {
        (void)err_set(err, "out of memory");
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
    if (!yaml_parser_load(&parser, &b.document)) {
        (void)err_set(err, "line %zu: %s", parser.problem_mark.line + 1,
                      parser.problem ? parser.problem : "no YAML");
    } else {
        if (yaml_document_get_root_node(&b.document)) {
            root = build(&b, 1, 0);
        } else {
            (void)err_set(err, "it is empty");
        }
        yaml_document_delete(&b.document);
    }
    yaml_parser_delete(&parser);
    return root;
}

const struct yaml *yaml_get(const struct yaml *y, struct slice key)
{
    for (const struct yaml *c = y && y->kind == YAML_MAP ? y->first : NULL; c; c = c->next) {
        if (slice_eq(c->key, key)) {
            return c;
        }
    }
    return NULL;
}

struct slice yaml_text(const struct yaml *y, struct slice key)
{
    const struct yaml *c = yaml_get(y, key);
    return c && c->kind == YAML_SCALAR ? c->value : S("");
}

bool yaml_true(const struct yaml *y, struct slice key)
{
    struct slice v = yaml_text(y, key);
    return slice_eq_case(v, S("true")) || slice_eq_case(v, S("yes")) || slice_eq_case(v, S("on"));
}
