/* The program's own log: events with a level, a logger's name, a message and typed fields, as JSON
 * lines (Caddy's names: level, ts, logger, msg) or for a terminal. Thread-safe. Formatting happens
 * in the caller; the bytes go to a sink, which must not block (default: write(2) to stderr, right
 * for start-up and tools; the server sets the background writer). Never give it secrets. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "proxy/base/dstr.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_CONSOLE, LOG_JSON };

struct log_field {
    const char *key; /* NULL: skipped */
    struct slice text;
    int64_t number;
    bool is_number;
};

#define LOG_S(k, slice_value) ((struct log_field){.key = (k), .text = (slice_value)})
#define LOG_Z(k, cstr) ((struct log_field){.key = (k), .text = slice_str(cstr)})
#define LOG_I(k, num) ((struct log_field){.key = (k), .number = (int64_t)(num), .is_number = true})

/* log_event(LOG_INFO, "acme", "certificate obtained", LOG_S("name", name), LOG_I("days", 90)); */
#define log_event(level, logger, msg, ...)                                                      \
    do {                                                                                        \
        if ((level) >= log_threshold()) {                                                       \
            const struct log_field log_fields_[] = {{.key = NULL}, ##__VA_ARGS__};              \
            log_emit((level), (logger), (msg), log_fields_, ARRAY_LEN(log_fields_));            \
        }                                                                                       \
    } while (0)

void log_emit(enum log_level level, const char *logger, const char *msg,
              const struct log_field *fields, size_t count);
/* Appends one finished line (with its newline) in the given format. */
void log_line(struct dstr *out, enum log_format format, enum log_level level, const char *logger,
              const char *msg, const struct log_field *fields, size_t count);
enum log_level log_threshold(void);
void log_set_threshold(enum log_level level);
void log_set_format(enum log_format format);
/* Takes events in place of the sink, one at a time: for who writes them to several places. NULL:
 * the sink has them again. */
void log_set_router(void (*router)(void *ctx, enum log_level level, const char *logger,
                                   const char *msg, const struct log_field *fields, size_t count),
                    void *ctx);
/* The sink gets whole lines. NULL restores write(2) to stderr. */
void log_set_sink(void (*sink)(void *ctx, struct slice line), void *ctx);

#endif
