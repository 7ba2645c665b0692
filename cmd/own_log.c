/* The program's own log; see own_log.h. One for the process, as base/log.h's state is. Whoever logs
 * holds base/log's lock meanwhile, so that a list that has been replaced is not in use any more. */
#include "cmd/own_log.h"

#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/handler/log_global.h"

/* The global logs; they may be used longer than their configuration. */
struct logs {
    struct log_config *items[GLOBAL_LOGS_MAX]; /* counted */
    size_t count;
    struct log_sink *usual; /* borrowed; where all goes without a log "default"; or NULL */
    enum log_format usual_format;
    enum log_level usual_level;
};

static struct logs *held;

static bool has_default(const struct config *c)
{
    return c->global_logs && slice_eq(c->global_logs->log->name, S("default"));
}

static void write_usual(const struct logs *l, enum log_level level, const char *logger,
                        const char *msg, const struct log_field *fields, size_t count)
{
    struct dstr line;
    dstr_init(&line, (size_t)64 * 1024);
    log_line(&line, l->usual_format, level, logger, msg, fields, count);
    if (line.failed && line.p && line.n) {
        line.p[line.n - 1] = '\n';
    }
    log_sink_write(l->usual, dstr_slice(&line));
    dstr_fini(&line);
}

static void route(void *ctx, enum log_level level, const char *logger, const char *msg,
                  const struct log_field *fields, size_t count)
{
    const struct logs *l = ctx;
    if (l->usual && level >= l->usual_level) {
        write_usual(l, level, logger, msg, fields, count);
    }
    for (size_t i = 0; i < l->count; i++) {
        log_write_event(l->items[i], level, logger, msg, fields, count);
    }
}

static void let_go(struct logs *l)
{
    for (size_t i = 0; l && i < l->count; i++) {
        log_config_unref(l->items[i]);
    }
    free(l);
}

void own_log_level(const struct config *c)
{
    enum log_level least = has_default(c)        ? LOG_ERROR
                           : c->options->debug ? LOG_DEBUG
                                                 : LOG_INFO;
    for (const struct log_named *n = c->global_logs; n; n = n->next) {
        least = n->log->level < least ? n->log->level : least;
    }
    log_set_threshold(least);
}

void own_log_apply(const struct config *c, struct log_sink *usual)
{
    struct logs *before = held;
    struct logs *l = mem_zalloc(sizeof(*l));
    for (const struct log_named *n = c->global_logs; n && l->count < GLOBAL_LOGS_MAX; n = n->next) {
        atomic_fetch_add_explicit(&n->log->refs, 1, memory_order_relaxed);
        l->items[l->count++] = n->log;
    }
    l->usual = has_default(c) ? NULL : usual;
    l->usual_format = isatty(STDERR_FILENO) ? LOG_CONSOLE : LOG_JSON;
    l->usual_level = c->options->debug ? LOG_DEBUG : LOG_INFO;
    own_log_level(c);
    held = l;
    log_set_router(route, l);
    let_go(before);
}

void own_log_end(void)
{
    log_set_router(NULL, NULL);
    log_set_sink(NULL, NULL);
    let_go(held);
    held = NULL;
}
