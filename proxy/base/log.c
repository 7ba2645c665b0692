/* Log lines and where they go; see log.h. */
#include "proxy/base/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "proxy/base/clock.h"

#define LINE_MAX_BYTES ((size_t)64 * 1024)

static _Atomic int threshold = LOG_INFO;
static _Atomic int format_now = LOG_CONSOLE;
static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*sink_fn)(void *ctx, struct slice line);
static void *sink_ctx;
static void (*router_fn)(void *ctx, enum log_level level, const char *logger, const char *msg,
                         const struct log_field *fields, size_t count);
static void *router_ctx;

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_labels[] = {"DEBUG", "INFO", "WARN", "ERROR"};

enum log_level log_threshold(void)
{
    return (enum log_level)atomic_load_explicit(&threshold, memory_order_relaxed);
}

void log_set_threshold(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

void log_set_format(enum log_format format)
{
    atomic_store(&format_now, (int)format);
}

void log_set_sink(void (*sink)(void *ctx, struct slice line), void *ctx)
{
    pthread_mutex_lock(&sink_lock);
    sink_fn = sink;
    sink_ctx = ctx;
    pthread_mutex_unlock(&sink_lock);
}

void log_set_router(void (*router)(void *ctx, enum log_level level, const char *logger,
                                   const char *msg, const struct log_field *fields, size_t count),
                    void *ctx)
{
    pthread_mutex_lock(&sink_lock);
    router_fn = router;
    router_ctx = ctx;
    pthread_mutex_unlock(&sink_lock);
}

/* True: a router has taken it. */
static bool route(enum log_level level, const char *logger, const char *msg,
                  const struct log_field *fields, size_t count)
{
    pthread_mutex_lock(&sink_lock);
    bool taken = router_fn != NULL;
    if (taken) {
        router_fn(router_ctx, level, logger, msg, fields, count);
    }
    pthread_mutex_unlock(&sink_lock);
    return taken;
}

static void field_value(struct dstr *out, const struct log_field *f)
{
    if (f->is_number) {
        dstr_printf(out, "%lld", (long long)f->number);
    } else {
        dstr_json(out, f->text);
    }
}

static void json_line(struct dstr *out, enum log_level level, int64_t now_ms, const char *logger,
                      const char *msg, const struct log_field *fields, size_t count)
{
    dstr_printf(out, "{\"level\":\"%s\",\"ts\":%lld.%03d,\"logger\":", level_names[level],
                (long long)(now_ms / 1000), (int)(now_ms % 1000));
    dstr_json(out, slice_str(logger));
    dstr_append(out, S(",\"msg\":"));
    dstr_json(out, slice_str(msg));
    for (size_t i = 0; i < count; i++) {
        if (fields[i].key) {
            dstr_byte(out, ',');
            dstr_json(out, slice_str(fields[i].key));
            dstr_byte(out, ':');
            field_value(out, &fields[i]);
        }
    }
    dstr_append(out, S("}\n"));
}

static void console_line(struct dstr *out, enum log_level level, int64_t now_ms,
                         const char *logger, const char *msg, const struct log_field *fields,
                         size_t count)
{
    char date[CLOCK_RFC3339_BYTES];
    clock_rfc3339(now_ms, date);
    date[10] = ' ';
    date[19] = '\0';
    dstr_printf(out, "%s.%03d  %-5s  %s  %s", date, (int)(now_ms % 1000), level_labels[level],
                logger, msg);
    for (size_t i = 0; i < count; i++) {
        if (fields[i].key) {
            dstr_printf(out, "  %s=", fields[i].key);
            field_value(out, &fields[i]);
        }
    }
    dstr_byte(out, '\n');
}

void log_line(struct dstr *out, enum log_format format, enum log_level level, const char *logger,
              const char *msg, const struct log_field *fields, size_t count)
{
    (format == LOG_JSON ? json_line : console_line)(out, level, clock_wall_ms(), logger, msg,
                                                    fields, count);
}

void log_emit(enum log_level level, const char *logger, const char *msg,
              const struct log_field *fields, size_t count)
{
    struct dstr line;
    if (route(level, logger, msg, fields, count)) {
        return;
    }
    dstr_init(&line, LINE_MAX_BYTES);
    log_line(&line, (enum log_format)atomic_load(&format_now), level, logger, msg, fields, count);
    if (line.failed && line.p && line.n) {
        line.p[line.n - 1] = '\n';
    }
    pthread_mutex_lock(&sink_lock);
    if (sink_fn) {
        sink_fn(sink_ctx, dstr_slice(&line));
    } else if (line.n) {
        ssize_t ignored = write(STDERR_FILENO, line.p, line.n);
        (void)ignored;
    }
    pthread_mutex_unlock(&sink_lock);
    dstr_fini(&line);
}
