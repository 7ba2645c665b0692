/* How an access log writes its lines: the `format` block of `log`. Const once read. */
#ifndef HANDLER_LOG_FORMAT_H
#define HANDLER_LOG_FORMAT_H

#include <cjson/cJSON.h>

#include "proxy/base/log.h"
#include "proxy/handler/handler.h"
#include "proxy/handler/log_filter.h"

enum log_encoding { ENCODE_CONSOLE, ENCODE_JSON, ENCODE_COMMON, ENCODE_COMBINED };
enum log_time { TIME_SECONDS, TIME_MS, TIME_NS, TIME_RFC3339, TIME_WALL, TIME_COMMON };
enum log_duration { DURATION_SECONDS, DURATION_MS, DURATION_NS, DURATION_TEXT };

/* A field that the configuration adds to a line. */
struct log_added {
    struct log_added *next;
    struct slice key;
    struct template *value;
};

struct log_format_config {
    enum log_encoding encoding;
    bool given;      /* else console on a terminal, json elsewhere */
    bool rearranged; /* anything below is set: the line is made as a tree first */
    struct log_filter *filters;
    struct log_added *added;
    enum log_time time;
    bool local_time; /* not UTC */
    enum log_duration duration;
    bool level_upper;
    const char *level_key; /* NULL: as it is; "" leaves the field out */
    const char *time_key;
    const char *message_key;
    const char *name_key;
};

/* Reads `format console|json|common|combined|filter|append ...` into f, whose texts are made in
 * b->arena. False after errors. */
NODISCARD bool log_format_read(struct build *b, const struct cf_directive *d,
                               struct log_format_config *f);
/* Renames, filters and prints a line's tree, with its newline, onto out. False: it must not be
 * written (log_filters_apply). */
NODISCARD bool log_format_print(const struct log_format_config *f, cJSON *line, int64_t now_ms,
                                int64_t duration_us, struct dstr *out);
/* "01/Jan/2026:10:00:00 +0000" */
void log_common_time(struct dstr *out, int64_t now_ms);

#endif
