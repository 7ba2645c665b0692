/* Access logs: the `log` directives of a site, which of them a request is written to, and the line
 * for one exchange. */
#ifndef HANDLER_ACCESS_LOG_H
#define HANDLER_ACCESS_LOG_H

#include <stdatomic.h>

#include "proxy/handler/log_format.h"
#include "proxy/loop/log_writer.h"

#define ACCESS_LOGS_MAX 8u /* of one request */

/* Only some of the lines of a busy time; interval_ms 0: all. */
struct log_sampling {
    int64_t interval_ms;
    unsigned first;
    unsigned thereafter; /* every so many-th; 0: none */
    _Atomic int64_t interval; /* the one that is counted */
    _Atomic unsigned count;
};

struct log_config {
    _Atomic unsigned refs;
    struct arena arena; /* of all texts: an exchange may hold it longer than its configuration */
    struct log_sink *sink; /* counted; NULL: discard */
    struct slice name;     /* as it is written, "log0" by default */
    struct slice logger;   /* "http.log.access.log0" */
    const struct slice *include; /* of a global log: loggers; see log_global.h */
    size_t include_count;
    const struct slice *exclude;
    size_t exclude_count;
    struct log_config *like; /* counted, or NULL: a global log that this one is made after */
    struct log_format_config format;
    enum log_level level;
    struct log_sampling sampling;
};

/* A log directive of a site. */
struct site_log {
    struct site_log *next;
    struct log_config *log;
    struct slice *hosts; /* only for requests to these; none: all */
    size_t host_count;
    bool no_hostname; /* only where log_name names it */
};

/* What handlers say about an exchange's line; in its chain. */
struct log_note {
    struct log_note *next;
    struct slice key;
    const struct template *value; /* NULL: text has been made */
    struct slice text;
};

struct log_notes {
    bool skip;
    bool credentials; /* Authorization, cookies and the like are shown */
    struct log_note *first;
    struct log_config *const *named; /* log_name's choice; NULL: the site's */
    size_t named_count;
};

struct access_logs {
    struct log_config *items[ACCESS_LOGS_MAX];
    unsigned count;
    bool chosen;
    bool held; /* each counted */
};

/* Empty; released with b's releases. */
struct log_config *log_config_new(struct build *b);
void log_config_unref(struct log_config *c);
/* Is this line one of those that sampling keeps? now_us: monotonic. */
bool log_sampled(struct log_sampling *s, int64_t now_us);

/* Which logs the exchange is written to. */
void access_logs_choose(struct access_logs *a, const struct site_log *of_site,
                        const struct log_notes *notes, const struct exchange *ex);
/* Makes everything that the lines show outlive the configuration. False: memory; nothing is held.
 */
NODISCARD bool access_logs_hold(struct access_logs *a, struct log_notes *notes,
                                struct exchange *ex);
/* Writes the lines of a finished exchange and lets go of what is held. now_us: monotonic. */
void access_logs_write(struct access_logs *a, struct log_notes *notes, struct exchange *ex,
                       int64_t now_us);
/* Frees this thread's buffer; when a thread ends. */
void access_log_drain(void);

#endif
