/* log_skip [matcher]
 * log_append [matcher] <key> <value>
 * log_name [matcher] <name>...
 *
 * What handlers say about the access-log line of a request: that there is none; a field more (its
 * value is filled in when the line is written, so that it may speak of the response); which logs it
 * goes to, by the names that `log` directives have, of whatever site. `skip_log` is the old name of
 * the first. */
#include "proxy/handler/access_log.h"
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/log_global.h"

static enum handler_result skip_request(const void *instance, struct exchange *ex)
{
    (void)instance;
    chain_of(ex)->log.skip = true;
    return HANDLER_NEXT;
}

static const struct handler_ops skip_ops = {.name = "log_skip", .on_request = skip_request};

bool log_skip_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                    size_t count, struct handler *out)
{
    (void)args;
    if (slice_eq(d->name.text, S("skip_log"))) {
        cf_warning(b->diags, &d->name, "\"skip_log\" is called log_skip now");
    }
    out->ops = &skip_ops;
    return expect_args(b, d, count, 0, 0) && expect_no_block(b, d);
}

/* ---- log_append ------------------------------------------------------------------------------ */

struct appended {
    struct slice key;
    struct template *value;
    bool early; /* "<key": as the value is now */
};

static enum handler_result append_request(const void *instance, struct exchange *ex)
{
    const struct appended *a = instance;
    struct log_note *note = ARENA_NEW(&ex->arena, struct log_note);
    if (!note) {
        return chain_error(ex, 503, S("out of memory"));
    }
    struct log_note **tail = &chain_of(ex)->log.first;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *note = (struct log_note){.key = a->key, .value = a->early ? NULL : a->value};
    note->text = a->early ? template_eval(a->value, ex) : S("");
    *tail = note;
    return HANDLER_NEXT;
}

static const struct handler_ops append_ops = {.name = "log_append", .on_request = append_request};

bool log_append_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                      size_t count, struct handler *out)
{
    struct appended *a = ARENA_NEW(b->arena, struct appended);
    must(a);
    out->ops = &append_ops;
    out->instance = a;
    if (!expect_args(b, d, count, 2, 2) || !expect_no_block(b, d)) {
        return false;
    }
    a->early = slice_starts(args[0].text, S("<"));
    a->key = slice_from(args[0].text, a->early ? 1 : 0);
    a->value = template_compile(b->arena, &args[1], b->diags);
    return a->value != NULL;
}

/* ---- log_name -------------------------------------------------------------------------------- */

struct log_choice {
    struct log_choice *next;
    const struct cf_token *names; /* of the document */
    size_t count;
    struct log_config **logs; /* found when all directives are read */
    size_t log_count;
};

static enum handler_result name_request(const void *instance, struct exchange *ex)
{
    const struct log_choice *c = instance;
    chain_of(ex)->log.named = c->logs;
    chain_of(ex)->log.named_count = c->log_count;
    return HANDLER_NEXT;
}

static const struct handler_ops name_ops = {.name = "log_name", .on_request = name_request};

bool log_name_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                    size_t count, struct handler *out)
{
    struct log_choice *c = ARENA_NEW(b->arena, struct log_choice);
    must(c);
    if (!expect_args(b, d, count, 1, ACCESS_LOGS_MAX) || !expect_no_block(b, d)) {
        return false;
    }
    c->names = args;
    c->count = count;
    c->logs = ARENA_ARRAY(b->arena, struct log_config *, ACCESS_LOGS_MAX);
    must(c->logs);
    c->next = b->log_choices;
    b->log_choices = c;
    out->ops = &name_ops;
    out->instance = c;
    return true;
}

static struct log_config *find_log(const struct build *b, struct slice name)
{
    const struct log_named *n = b->logs;
    while (n && !slice_eq(n->log->name, name)) {
        n = n->next;
    }
    return n ? n->log : NULL;
}

void log_names_resolve(struct build *b)
{
    for (struct log_choice *c = b->log_choices; c; c = c->next) {
        for (size_t i = 0; i < c->count && c->log_count < ACCESS_LOGS_MAX; i++) {
            struct log_config *log = find_log(b, c->names[i].text);
            if (log) {
                c->logs[c->log_count++] = log;
                c->log_count += log_globals_for(b, log->logger, true, c->logs + c->log_count,
                                                ACCESS_LOGS_MAX - c->log_count);
                continue;
            }
            struct cf_diag *d = cf_error(b->diags, &c->names[i], "there is no log of the name"
                                         " \"%.*s\"", SLICE_ARG(c->names[i].text));
            if (d) {
                d->hint = arena_printf(&b->diags->arena, "log %.*s { no_hostname } in a site makes"
                                       " one", SLICE_ARG(c->names[i].text));
            }
        }
    }
}
